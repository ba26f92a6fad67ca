"""Files of S2D: both ways bit for bit, tested as they are, put together from their parts."""

import logging
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from mmaction.registry import MODELS
from official_s2d import landmarks_of
from s2d_models import NET, SMALL, backbone_cfg, landmark_file, official

from unilearn_mm.models.checkpoints.family import FamilyError, known_families
from unilearn_mm.models.checkpoints.fit import CheckpointMismatchError, adopt, load_whole
from unilearn_mm.models.checkpoints.frozen import DIGEST_KEY, leave_out_frozen
from unilearn_mm.models.checkpoints.s2d import S2D

LOGGER = logging.getLogger('test')


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """A fine-tuned file and the landmark net's, as the official code writes them."""
    folder = tmp_path_factory.mktemp('s2d')
    model, net = official()
    path = folder / 'dfew_fold1.pth'
    torch.save(dict(model=model.state_dict(), epoch=99), path)
    return model, net, str(path), landmark_file(net, folder)


def recognizer(landmark=None, tasks=('dfew', ), start=None, **options):
    net = dict(NET, init_cfg=landmark and dict(type='Pretrained', checkpoint=landmark))
    return MODELS.build(dict(
        type='Recognizer3D',
        backbone=backbone_cfg(landmark_net=net, **options, init_cfg=start and dict(
            type='Pretrained', checkpoint=start)),
        cls_head=dict(type='EmotionAnchorHead', in_channels=SMALL.dim,
                      num_classes=dict.fromkeys(tasks, SMALL.num_classes)))).eval()


def logits_of(model, x):
    return model.cls_head(model.backbone(x))


def clips():
    return torch.randn(2, 3, SMALL.frames, 16, 16, generator=torch.Generator().manual_seed(3))


def test_an_official_file_is_tested_as_it_is(files):
    """With its head, and the landmark net of the file that the config names.

    The file that a training starts from is not needed, and may be absent.
    """
    theirs, net, path, landmark = files
    model = recognizer(landmark, start='absent.pth')
    load_whole(model, path, 'a config')
    x = clips()
    with torch.no_grad():
        expected = theirs(x, landmarks_of(net, x, 16))[0]
        torch.testing.assert_close(logits_of(model, x), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize('wrapped', [
    lambda state: state,
    lambda state: dict(model_state_dict=state, epoch=3),
    lambda state: dict(model={f'module.{key}': value for key, value in state.items()}),
    lambda state: dict(model=state, epoch=99, scaler=dict(scale=2.), optimizer=dict(state={}),
                       args=Namespace(lr=1e-5, opt_betas=None, data_set='DFEW', gpus=[0, 1])),
    lambda state: dict(model={**state, 'face_landmark.conv1.weight': torch.zeros(2),
                              'weak_head.fc_cls.weight': torch.zeros(7, 64)})],
    ids=['bare', 'model_state_dict', 'of several GPUs', 'with the arguments', 'with left-overs'])
def test_every_wrapping_of_an_official_file_is_read(files, tmp_path, wrapped):
    theirs, _, _, landmark = files
    torch.save(wrapped(theirs.state_dict()), tmp_path / 'official.pth')
    model = recognizer(landmark)
    load_whole(model, str(tmp_path / 'official.pth'), 'a config')
    restored = S2D.restore(dict(model.state_dict()), {}).state
    assert all(torch.equal(restored[key], value) for key, value in theirs.state_dict().items())


def test_what_a_test_of_an_official_file_lacks_is_said(files):
    _, _, path, landmark = files
    with pytest.raises(CheckpointMismatchError, match='not in the checkpoint: '
                                                      'backbone.landmark_net.conv1.conv.weight'):
        load_whole(recognizer(), path, 'a config')
    with pytest.raises(CheckpointMismatchError, match='cls_head.fc_cls.dfew.weight'):
        load_whole(recognizer(landmark, tasks=('dfew', 'affectnet7')), path, 'a config')
    with pytest.raises(CheckpointMismatchError, match='are not in the checkpoint.*temporal'):
        load_whole(recognizer(landmark), image_file(files), 'a config')


def image_file(files) -> str:
    """A file of the image stage, with the names that the official loader provides for."""
    model, net, path, _ = files
    image = official(temporal=False)[0].state_dict()
    state = {key.replace('ln_post.', 'norm.'): value for key, value in model.state_dict().items()
             if key in image and 'head' not in key}
    state.update({f'{head}.{part}': torch.rand(7, SMALL.dim)[:, 0] if part == 'bias' else
                  torch.rand(7, SMALL.dim) for head in ('head', 'weak_head')
                  for part in ('weight', 'bias')})
    state.update({f'landmark.{key}': value for key, value in net.state_dict().items()})
    target = Path(path).with_name('Pretrain-AffectNet-7.pth')
    torch.save(dict(model_state_dict=state), target)
    return str(target)


def test_training_starts_from_a_file_of_the_image_stage(files):
    theirs, _, _, landmark = files
    model = recognizer(landmark, start=image_file(files))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.init_weights()
    converted = S2D.convert(theirs.state_dict(), model.backbone, {}).state
    for name, value in converted.items():
        if 'temporal' not in name:
            torch.testing.assert_close(model.state_dict()[name], value, rtol=0, atol=0)
    name = 'backbone.temporal_adapters.0.spatial_up.weight'
    assert torch.equal(model.state_dict()[name], before[name]), 'keeps its initial value'


@pytest.mark.parametrize('kind', ['mae', 'timm'])
def test_training_starts_from_a_plain_vit(files, tmp_path, kind):
    """The official loader stops at one with a KeyError."""
    theirs, _, _, landmark = files
    vit = {key: value for key, value in theirs.state_dict().items()
           if key.split('.')[0] in ('cls_token', 'pos_embed', 'patch_embed', 'blocks')}
    ends = {f'norm.{part}': value for part, value in theirs.ln_post.state_dict().items()}
    more = (dict(mask_token=torch.rand(1, 1, 8), decoder_pos_embed=torch.rand(1, 5, 8))
            if kind == 'mae' else {'head.weight': torch.rand(1000, 64)})
    torch.save(dict(model={**vit, **ends, **more}), tmp_path / 'vit.pth')
    model = recognizer(landmark, start=str(tmp_path / 'vit.pth'))
    model.init_weights()
    converted = S2D.convert({**vit, **ends}, model.backbone, {}).state
    assert len(converted) == 2 + 2 + 12 * SMALL.depth + 2
    for name, value in converted.items():
        torch.testing.assert_close(model.state_dict()[name], value, rtol=0, atol=0)


def test_wrong_files_are_refused(files, tmp_path):
    theirs, _, path, landmark = files
    unilearn = dict(model={'patch_embed.proj.weight': torch.zeros(64, 3, 2, 8, 8)})
    with pytest.raises(CheckpointMismatchError, match='x.pth: a file of S4D or VideoMAE.*for the '
                       'backbone VisionTransformerMoAE.*understands S2D, MAE or ViT for images'):
        adopt(unilearn, recognizer(landmark), 'x.pth', LOGGER)
    moae = MODELS.build(dict(type='UniLearnRecognizer', backbone=dict(
        type='VisionTransformerMoAE', embed_dims=16, depth=2, num_heads=2)))
    with pytest.raises(CheckpointMismatchError, match='a file of S2D, for the backbone S2DVision'):
        adopt(dict(model=theirs.state_dict()), moae, 'x.pth', LOGGER)
    strange = {**theirs.state_dict(), 'blocks.0.extra': torch.zeros(1)}
    with pytest.raises(CheckpointMismatchError, match=r'x.pth \(S2D\).*blocks.0.extra'):
        adopt(dict(model=strange), recognizer(landmark), 'x.pth', LOGGER)
    eleven = {**theirs.state_dict(), 'head.fc_cls.weight': torch.zeros(11, SMALL.dim),
              'head.fc_cls.bias': torch.zeros(11)}
    torch.save(dict(model=eleven), tmp_path / 'mafw.pth')
    with pytest.raises(CheckpointMismatchError, match=r'fc_cls.dfew.weight: checkpoint \(11, 64\)'):
        load_whole(recognizer(landmark), str(tmp_path / 'mafw.pth'), 'a config')
    other_length = r'temporal_embedding: checkpoint \(1, 4, 64\), model \(1, 8, 64\)'
    with pytest.raises(CheckpointMismatchError, match=other_length):
        load_whole(recognizer(landmark, num_frames=8), path, 'a config')
    assert sum(family.recognises(theirs.state_dict()) for family in known_families()) == 1


def start_from(landmark, content, path):
    torch.save(content, path)
    recognizer(landmark, start=str(path)).init_weights()


def test_files_that_are_no_start_are_refused(files, tmp_path):
    """Nor would a frozen layer of random numbers ever be trained."""
    theirs, net, _, landmark = files
    state = {key: value for key, value in theirs.state_dict().items()
             if not key.startswith('blocks.1.')}
    with pytest.raises(CheckpointMismatchError, match='part.pth.*12 frozen tensors of the model '
                                                      'are in no file.*layers.1.ln1.weight'):
        start_from(landmark, dict(model=state), tmp_path / 'part.pth')
    trained = {key: value for key, value in theirs.state_dict().items() if 'TMA' not in key}
    start_from(landmark, dict(model=trained), tmp_path / 'whole.pth')
    with pytest.raises(CheckpointMismatchError, match='net.pth: has no backbone, and is no file of '
                                                      'S2D, MAE.*begin conv1.conv.weight'):
        start_from(landmark, dict(state_dict=net.state_dict()), tmp_path / 'net.pth')
    with pytest.raises(CheckpointMismatchError, match='empty.pth: holds no tensors.*keys model'):
        start_from(landmark, dict(model=None), tmp_path / 'empty.pth')


def test_round_trip_is_bitwise(files):
    theirs, _, _, landmark = files
    model = recognizer(landmark, tasks=('affectnet7', 'dfew'))
    state = theirs.state_dict()
    ours = S2D.convert(state, model.backbone, dict(video='dfew')).state
    model.load_state_dict(ours, strict=False)
    whole = dict(model.state_dict())
    assert S2D.restores(whole) and not S2D.recognises(whole)
    back = S2D.restore(whole, dict(video='dfew'))
    assert back.state.keys() == state.keys()
    assert all(torch.equal(back.state[key], value) for key, value in state.items())
    with pytest.raises(FamilyError, match='one head; found the tasks affectnet7, dfew'):
        S2D.restore(whole, {})
    with pytest.raises(FamilyError, match="no head for 'mafw', but for affectnet7, dfew"):
        S2D.restore(whole, dict(video='mafw'))
    with pytest.raises(FamilyError, match='found the tasks a, b'):
        S2D.convert(state, model.backbone, dict(video='a', image='b'))


def trained(landmark, start) -> dict:
    """Checkpoint of a model that moved away from the file it began with."""
    model = recognizer(landmark, start=start)
    model.init_weights()
    for value in model.parameters():
        if value.requires_grad:
            value.data.add_(torch.randn_like(value), alpha=0.1)
    return model, dict(state_dict=model.state_dict(), meta={})


def test_a_checkpoint_of_what_was_trained_is_put_together(files, tmp_path):
    _, _, _, landmark = files
    start = image_file(files)
    model, checkpoint = trained(landmark, start)
    sizes = [sum(value.numel() for value in checkpoint['state_dict'].values())]
    names = leave_out_frozen(checkpoint, model)
    sizes.append(sum(value.numel() for value in checkpoint['state_dict'].values()))
    assert sizes[1] < 0.5 * sizes[0] and 'backbone.layers.1.attn.qkv.weight' in names
    torch.save(checkpoint, tmp_path / 'trained.pth')
    again = recognizer(landmark, start=start)
    load_whole(again, str(tmp_path / 'trained.pth'), 'a config')
    for name, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
    with pytest.raises(CheckpointMismatchError, match='layers.0.ln1.weight'):
        load_whole(recognizer(landmark), str(tmp_path / 'trained.pth'), 'a config')
    other = Path(start).with_name('other.pth')
    spoilt = torch.load(start)
    spoilt['model_state_dict']['blocks.0.norm1.bias'] += 1e-6
    torch.save(spoilt, other)
    with pytest.raises(CheckpointMismatchError, match='trained.pth.*trained with others than those '
                                                      'of .*other.pth'):
        load_whole(recognizer(landmark, start=str(other)), str(tmp_path / 'trained.pth'), 'a cfg')
    assert len(checkpoint['meta'][DIGEST_KEY]) == 64
