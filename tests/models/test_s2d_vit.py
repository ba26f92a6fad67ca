"""S2D's backbone computes what the official code does, and nothing else at one frame."""

import mmpretrain.registry
import numpy as np
import pytest
import torch
from mmaction.registry import MODELS
from mmengine.registry import DefaultScope
from mmpretrain.structures import DataSample
from official_s2d import LandmarkNet, OfficialS2D, Sizes, landmarks_of
from s2d_models import NET, PIXELS, SMALL, backbone_cfg, landmark_file, official, ours

from unilearn_mm.models.backbones.landmark_net import LandmarkWeightsError
from unilearn_mm.models.backbones.vit_moae import InputSizeError
from unilearn_mm.models.layers.class_token import class_token_of


def clips(num=2, frames=SMALL.frames, size=PIXELS, dtype=torch.float64):
    return torch.randn(num, 3, frames, size, size, dtype=dtype,
                       generator=torch.Generator().manual_seed(3))


def official_logits(model, net, x):
    return model(x, landmarks_of(net, x, PIXELS))[0]


@pytest.mark.parametrize('temporal', [True, False], ids=['video', 'image'])
def test_logits_and_gradients_are_the_official_ones(temporal):
    model, net = (module.double() for module in official(temporal))
    backbone = ours(model, net, with_tma=temporal).double()
    x = clips(frames=SMALL.frames if temporal else 1)
    expected = official_logits(model, net, x)
    found = model.head['fc_cls'](backbone(x))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)

    weights = torch.randn(found.shape, dtype=found.dtype)
    head = set(model.head.parameters())
    (expected * weights).sum().backward()
    theirs = {name: value.grad for name, value in model.named_parameters() if value not in head}
    (model.head['fc_cls'](backbone(x)) * weights).sum().backward()
    mine = {f'backbone.{name}': value.grad for name, value in backbone.named_parameters()
            if value.grad is not None}
    converted = backbone.checkpoint_families[0].convert(
        {name: value for name, value in theirs.items() if value is not None}, backbone, {}).state
    assert set(mine) == set(converted)
    for name, gradient in converted.items():
        torch.testing.assert_close(mine[name], gradient, rtol=0, atol=1e-10, msg=name)
    # A.5: of what is trained, only the last norm gets none
    assert {name for name, value in backbone.named_parameters() if value.requires_grad} - {
        name.removeprefix('backbone.') for name in mine} == {
            f'prompt_norms.{SMALL.depth - 1}.weight', f'prompt_norms.{SMALL.depth - 1}.bias'}


def test_numbers_of_parameters_are_the_published_ones():
    """Of the paper's model; on the meta device, which holds shapes only."""
    with torch.device('meta'):
        backbone = MODELS.build(dict(type='S2DVisionTransformer'))
        theirs = {classes: OfficialS2D(Sizes(num_classes=classes)) for classes in (7, 11)}
        net = LandmarkNet()
    own = {name: value for name, value in backbone.named_parameters()
           if not name.startswith('landmark_net.')}
    trained = sum(value.numel() for value in own.values() if value.requires_grad)
    for classes, expected in ((7, 9_258_451), (11, 9_261_527)):
        assert trained + 769 * classes == expected
        assert sum(value.numel() for value in theirs[classes].parameters()
                   if value.requires_grad) == expected
    assert sum(value.numel() for value in own.values()) + 769 * 7 == 95_055_571
    assert len(own) + 2 == len(theirs[7].state_dict()) == 419
    assert sum(value.numel() for value in theirs[7].parameters()) == 95_055_571
    assert sum(value.numel() for value in backbone.landmark_net.parameters()) == 565_888
    assert sum(value.numel() for value in net.parameters()) == 1_007_248
    assert len(net.state_dict()) == 333
    # what is saved has the official names and shapes
    state = {f'backbone.{name}': value for name, value in backbone.state_dict().items()}
    state.update({f'cls_head.fc_cls.dfew.{name}': value
                  for name, value in theirs[7].head['fc_cls'].state_dict().items()})
    restored = backbone.checkpoint_families[0].restore(state, {}).state
    assert {name: value.shape for name, value in restored.items()} == {
        name: value.shape for name, value in theirs[7].state_dict().items()}


def test_one_frame_is_the_image_model():
    model, net = official()
    video, image = ours(model, net), ours(model, net, with_tma=False)
    x = clips(frames=1, dtype=torch.float32)
    torch.testing.assert_close(video(x), image(x), rtol=0, atol=0)
    torch.testing.assert_close(video(x[:, :, 0]), video(x), rtol=0, atol=0)
    video(x).square().sum().backward()
    trained = {name for name, value in video.named_parameters() if value.grad is not None}
    assert 'prompters.0.up.weight' in trained
    assert not [name for name in trained if 'temporal' in name], 'images do not move the adapters'
    frames = clips(num=1, dtype=torch.float32)
    each = image(frames[0].transpose(0, 1)[:, :, None])
    torch.testing.assert_close(image(frames)[0], each.mean(0), rtol=0, atol=1e-6)
    assert (video(frames)[0] - each.mean(0)).abs().max() > 1e-3, 'the adapters do nothing'


def test_without_prompts_the_image_model_is_a_plain_vit():
    """MMPretrain's own; with landmarks silenced, the whole model's adapters stay what they are."""
    model, net = official()
    plain = ours(model, net, landmark_net=None, with_tma=False)
    stock = MODELS.build(dict(type='mmpretrain.VisionTransformer', patch_size=SMALL.patch,
                              arch=backbone_cfg()['arch'], img_size=PIXELS))
    stock.load_state_dict({name: value for name, value in plain.state_dict().items()
                           if not name.startswith('prompt_norms')})
    stock.eval()
    x = clips(dtype=torch.float32)
    each = stock(x.transpose(1, 2).flatten(0, 1))[0].unflatten(0, (2, -1))
    torch.testing.assert_close(plain(x), each.mean(1), rtol=0, atol=1e-5)
    whole, adapted = ours(model, net), ours(model, net, landmark_net=None)
    for prompter in whole.prompters:
        for parameter in prompter.up.parameters():
            parameter.data.zero_()
    torch.testing.assert_close(adapted(x), whole(x), rtol=0, atol=1e-5)


def test_frames_see_each_other_and_their_order():
    backbone = ours(*official())
    x = clips(num=1, dtype=torch.float32)
    assert (backbone(x) - backbone(x.flip(2))).abs().max() > 1e-4
    backbone.temporal_embedding.data.zero_()
    torch.testing.assert_close(backbone(x), backbone(x.flip(2)), rtol=0, atol=1e-5)


@pytest.mark.parametrize('frames', [2, 7])
def test_other_frame_counts_take_interpolated_positions(frames):
    model, net = official()
    backbone = ours(model, net)
    table = backbone.temporal_embedding.detach()[0].numpy()
    # centres of `frames` equal parts of the learnt time, as in images without aligned corners
    places = (np.arange(frames) + 0.5) * SMALL.frames / frames - 0.5
    rows = np.stack([np.interp(places, np.arange(SMALL.frames), column) for column in table.T], 1)
    exact = MODELS.build(backbone_cfg(num_frames=frames))
    exact.load_state_dict({**backbone.state_dict(),
                           'temporal_embedding': torch.tensor(rows[None], dtype=torch.float32)})
    x = clips(frames=frames, dtype=torch.float32)
    torch.testing.assert_close(backbone(x), exact.eval()(x), rtol=0, atol=1e-5)


def test_checkpointing_and_bf16():
    model, net = official()
    x, losses, gradients = clips(dtype=torch.float32), [], []
    for with_cp in (False, True):
        backbone = ours(model, net, with_cp=with_cp).train()
        loss = backbone(x).square().sum()
        loss.backward()
        losses.append(loss.item())
        gradients.append({name: value.grad for name, value in backbone.named_parameters()
                          if value.grad is not None})
    assert losses[0] == losses[1] and gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, msg=name)
    backbone.zero_grad()
    with torch.autocast('cpu', torch.bfloat16):
        loss = backbone(x).float().square().sum()
    loss.backward()
    assert loss.item() == pytest.approx(losses[0], rel=0.05)
    name = 'landmark_embed.weight'  # through all layers
    cosine = torch.cosine_similarity(backbone.get_parameter(name).grad.flatten(),
                                     gradients[0][name].flatten(), dim=0)
    assert cosine > 0.98


def test_class_token_alone_equals_the_whole_layer():
    layer = MODELS.build(dict(type='mmpretrain.VisionTransformer', arch='deit-tiny', img_size=32,
                              layer_cfgs=dict(layer_scale_init_value=0.3))).double().layers[0]
    layer.init_weights()
    x = torch.randn(2, 5, 192, dtype=torch.float64, requires_grad=True)
    whole, = torch.autograd.grad(layer(x)[:, :1].square().sum(), x)
    alone, = torch.autograd.grad(class_token_of(layer, x).square().sum(), x)
    torch.testing.assert_close(class_token_of(layer, x), layer(x)[:, :1], rtol=0, atol=1e-12)
    torch.testing.assert_close(alone, whole, rtol=0, atol=1e-12)


def test_feature_map_has_its_places():
    """With prompts and attention silenced, each place depends on its own pixels only."""
    backbone = ours(*official(), return_feat_map=True)
    for name, value in backbone.named_parameters():
        if name.endswith(('up.weight', 'up.bias')) or '.attn.proj.' in name:
            value.data.zero_()
    x = clips(num=1, dtype=torch.float32)
    before = backbone(x)
    assert before.shape == (1, SMALL.dim, SMALL.frames, 2, 2)
    x[0, :, 3, 8:, :8] += 1.  # fourth frame, lower left patch
    changed = (backbone(x) != before)[0].any(0)
    assert changed.nonzero().tolist() == [[3, 1, 0]]


def test_wrong_frames_are_refused():
    backbone = ours(*official())
    for frames, size in ((4, 10), (0, PIXELS)):
        with pytest.raises(InputSizeError, match=rf'{frames} frames of {size} x {size} pixels, '
                                                 rf'expected at least one of {PIXELS} x {PIXELS}'):
            backbone(torch.zeros(1, 3, frames, size, size))
    with pytest.raises(ValueError, match='multiple of patch_size, found 30 and 8'):
        MODELS.build(backbone_cfg(img_size=30))


def test_nothing_frozen_moves_in_training():
    backbone = ours(*official()).train()
    assert not backbone.landmark_net.training
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    optimizer = torch.optim.AdamW([value for value in backbone.parameters()
                                   if value.requires_grad], lr=0.1)
    backbone(clips(dtype=torch.float32)).square().sum().backward()
    optimizer.step()
    moved = {name for name, value in backbone.state_dict().items() if (value != before[name]).any()}
    trained = {name for name, value in backbone.named_parameters() if value.requires_grad}
    last = f'prompt_norms.{SMALL.depth - 1}.'
    assert moved == {name for name in trained if not name.startswith(last)}
    whole = MODELS.build(backbone_cfg(freeze_vit=False))
    assert {name.split('.')[0] for name, value in whole.named_parameters()
            if not value.requires_grad} == {'landmark_net'}


# the landmark net


def test_landmark_features_of_the_official_file(tmp_path):
    _, net = official()
    found = MODELS.build({**NET, 'init_cfg': dict(type='Pretrained',
                                                  checkpoint=landmark_file(net, tmp_path))})
    found.init_weights()
    faces = torch.rand(2, 3, 48, 32)
    torch.testing.assert_close(found(faces), net(faces), rtol=0, atol=1e-5)
    assert found(faces).shape == (2, found.out_channels, 6, 4)
    found.train()
    before = found(faces)
    torch.testing.assert_close(found(faces), before, rtol=0, atol=0)


def test_a_landmark_net_without_its_weights_is_refused(tmp_path):
    where = 'official S2D repository .*mobilefacenet_model_best.pth.tar'
    backbone = MODELS.build(backbone_cfg())
    backbone.init_weights()
    with pytest.raises(LandmarkWeightsError, match=f'no weights.*{where}'):
        backbone(clips(dtype=torch.float32))
    absent = MODELS.build({**NET, 'init_cfg': dict(type='Pretrained',
                                                   checkpoint=str(tmp_path / 'none.pth.tar'))})
    with pytest.raises(FileNotFoundError, match=f'none.pth.tar: there is no such file.*{where}'):
        absent.init_weights()


@pytest.mark.parametrize('spoil, message', [
    (lambda state: state.pop('conv_4.model.1.project.bn.weight'),
     'Missing are conv_4.model.1.project.bn.weight'),
    (lambda state: state.update({'conv_7.weight': torch.zeros(2)}), 'not known are conv_7.weight'),
    (lambda state: state.update({'conv1.prelu.weight': torch.zeros(2)}),
     r'conv1.prelu.weight: file \(2,\), net \(8,\)')])
def test_weights_of_another_net_are_refused(tmp_path, spoil, message):
    _, net = official()
    state = net.state_dict()
    spoil(state)
    torch.save(state, tmp_path / 'other.pth')
    found = MODELS.build(NET)
    with pytest.raises(LandmarkWeightsError, match=f'other.pth.*{message}.*S2D repository'):
        found.load_file(str(tmp_path / 'other.pth'))
    assert not found.has_weights


def test_image_model_in_a_classifier_of_mmpretrain():
    """The stock classifier trains it, and computes what the official image model does."""
    model, net = official(temporal=False)
    backbone = backbone_cfg(
        type='mmaction.S2DVisionTransformer', with_tma=False, return_tuple=True,
        landmark_net={**NET, 'type': 'mmaction.MobileFaceNet'})
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        classifier = mmpretrain.registry.MODELS.build(dict(
            type='ImageClassifier', backbone=backbone,
            head=dict(type='LinearClsHead', num_classes=7, in_channels=SMALL.dim)))
    classifier.backbone.load_state_dict(ours(model, net, with_tma=False).state_dict())
    classifier.head.fc.load_state_dict(model.head['fc_cls'].state_dict())
    images = clips(frames=1, dtype=torch.float32)[:, :, 0]
    expected = official_logits(model, net, images[:, :, None])
    torch.testing.assert_close(classifier(images), expected, rtol=0, atol=1e-5)
    labels = torch.tensor([4, 1])
    samples = [DataSample().set_gt_label(label) for label in labels]
    loss = classifier(images, samples, mode='loss')['loss']
    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(expected, labels))
    loss.backward()
    assert classifier.backbone.prompters[0].up.weight.grad.abs().sum() > 0
    found = classifier.predict(images, samples)
    assert [sample.pred_label.item() for sample in found] == expected.argmax(-1).tolist()
    # MMPretrain's layer-wise rates know it
    assert classifier.get_layer_depth('backbone.layers.2.ln1.bias') == (3, 5)
