"""The converter on files: both formats, both directions, and refusals."""

import argparse
import hashlib
import importlib.util
import os
import sys
from pathlib import Path

import mma_dfer_models
import pytest
import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.logging import MMLogger
from s2d_models import NET, SMALL, backbone_cfg, landmark_file, official
from safetensors.torch import load_file

from unilearn_mm.engine.checkpoint_files import sidecar_of, verify
from unilearn_mm.models.checkpoints.frozen import leave_out_frozen
from unilearn_mm.models.checkpoints.s4d import FINE_TUNED

ROOT = Path(__file__).parents[2]
PATH = ROOT / 'tools' / 'convert' / 'convert_checkpoint.py'
spec = importlib.util.spec_from_file_location('convert_checkpoint', PATH)
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)


class Call:
    """Pickles as a call."""

    def __init__(self, function, *args):
        self.reduced = (function, args)

    def __reduce__(self):
        return self.reduced


def convert(monkeypatch, *arguments):
    monkeypatch.setattr(sys, 'argv', ['convert_checkpoint.py', *map(str, arguments)])
    return tool.main()


@pytest.fixture
def official_file(tmp_path):
    """A file as the official training writes it, arguments included."""
    model = MODELS.build(
        dict(type='UniLearnRecognizer',
             backbone=dict(type='VisionTransformerMoAE', img_size=16, patch_size=8, num_frames=4,
                           embed_dims=16, depth=2, num_heads=2, moae=dict(num_experts=3)),
             cls_head=dict(type='MultiTaskHead', in_channels=16,
                           num_classes=dict(dfew=7, affectnet7=7))))
    state = FINE_TUNED.restore(
        model.state_dict(), dict(video='dfew', image='affectnet7')).state
    torch.save(dict(model=state, epoch=3, args=argparse.Namespace(lr=1e-3)),
               tmp_path / 'official.pth')
    return tmp_path / 'official.pth', state


@pytest.mark.parametrize('suffix', ['pth', 'safetensors'])
def test_there_and_back_is_bitwise(official_file, suffix, tmp_path, monkeypatch, capsys):
    path, state = official_file
    ours, back = tmp_path / f'ours.{suffix}', tmp_path / f'back.{suffix}'
    heads = ['--video-task', 'dfew', '--image-task', 'affectnet7']
    assert convert(monkeypatch, path, ours, *heads) == 0
    shown = capsys.readouterr().out
    assert 'from S4D or VideoMAE, fine-tuned: 42 tensors; left out 0 (none)' in shown
    assert convert(monkeypatch, ours, back, '--to', 'official', *heads) == 0
    found = load_file(back) if suffix == 'safetensors' else torch.load(back)['model']
    assert found.keys() == state.keys()
    assert all(torch.equal(found[key], value) for key, value in state.items())


@pytest.mark.parametrize('harm, told', [
    ('unsafe', 'posix.system'), ('truncated', 'cannot be read as a checkpoint'),
    ('changed', 'truncated or damaged'), ('absent', 'no such checkpoint'),
    ('tensor', 'holds a Tensor')])
def test_files_come_through_the_safe_door(official_file, tmp_path, monkeypatch, capsys, harm,
                                          told):
    path, state = official_file
    if harm == 'unsafe':
        torch.save(dict(model=state, args=Call(os.system, f'touch {tmp_path}/ran')), path)
    elif harm == 'truncated':
        path.write_bytes(path.read_bytes()[:-1000])
    elif harm == 'changed':
        sidecar_of(path).write_text(f'{hashlib.sha256(b"other").hexdigest()}  {path.name}\n')
    elif harm == 'absent':
        path.unlink()
    else:
        torch.save(torch.zeros(2), path)
    # loggers of earlier tests write to streams that are closed
    monkeypatch.setattr(MMLogger, '_instance_dict', type(MMLogger._instance_dict)())
    assert convert(monkeypatch, path, tmp_path / 'ours.pth') == 1
    shown = capsys.readouterr().err
    assert str(path) in shown and told in shown and 'Traceback' not in shown
    assert not (tmp_path / 'ours.pth').exists() and not (tmp_path / 'ran').exists()


def test_what_is_written_has_a_checksum(official_file, tmp_path, monkeypatch):
    for suffix in ('pth', 'safetensors'):
        written = tmp_path / f'ours.{suffix}'
        convert(monkeypatch, official_file[0], written)
        assert verify(written)


def test_an_image_model_is_spread_over_the_tubelets_of_the_config(tmp_path, monkeypatch, capsys):
    shapes = {'patch_embed.proj.weight': (128, 3, 16, 16), 'patch_embed.proj.bias': (128, ),
              'cls_token': (1, 1, 128), 'blocks.0.attn.qkv.bias': (384, )}
    torch.save(dict(model={key: torch.randn(shape) for key, shape in shapes.items()}),
               tmp_path / 'mae.pth')
    for frames in (1, 2):
        (tmp_path / 'recipe.py').write_text(
            f'_base_ = [{str(ROOT / "configs" / "unilearn_toy.py")!r}]\n'
            f'model = dict(backbone=dict(tubelet_size={frames}))\n')
        assert convert(monkeypatch, tmp_path / 'mae.pth', tmp_path / 'ours.pth', '--config',
                       tmp_path / 'recipe.py') == 0
        weight = torch.load(tmp_path / 'ours.pth')['state_dict'][
            'backbone.patch_embed.projection.weight']
        assert weight.shape == (128, 3, frames, 16, 16)
    (tmp_path / 'recipe.py').write_text(
        f'_base_ = [{str(ROOT / "configs" / "compose_slowonly_toy.py")!r}]\n')
    assert convert(monkeypatch, tmp_path / 'mae.pth', tmp_path / 'x.pth', '--config',
                   tmp_path / 'recipe.py') == 1
    assert 'ResNet3dSlowOnly, which understands only our own names' in capsys.readouterr().err


def test_what_cannot_be_converted(tmp_path, monkeypatch, capsys):
    torch.save({'conv1.weight': torch.zeros(1)}, tmp_path / 'other.pth')
    assert convert(monkeypatch, tmp_path / 'other.pth', tmp_path / 'x.pth') == 1
    shown = capsys.readouterr().err
    assert 'other.pth: of no known family' in shown and not (tmp_path / 'x.pth').exists()


def test_a_file_of_s2d_gets_the_landmark_net_of_the_recipe(tmp_path, monkeypatch, capsys):
    """So that no other file is needed; and back, with the official names only."""
    model, net = official()
    torch.save(dict(model=model.state_dict()), tmp_path / 'official.pth')
    landmark = landmark_file(net, tmp_path)
    config = tmp_path / 's2d.py'
    for file in (landmark, str(tmp_path / 'none.pth')):
        recipe = dict(type='Recognizer3D', backbone=backbone_cfg(landmark_net=dict(
            NET, init_cfg=dict(type='Pretrained', checkpoint=file))),
            cls_head=dict(type='MultiTaskHead', in_channels=SMALL.dim, num_classes=dict(dfew=7)))
        Config(dict(model=recipe)).dump(config)
        code = convert(monkeypatch, tmp_path / 'official.pth', tmp_path / 'ours.pth', '--config',
                       config, '--video-task', 'dfew')
        if file == landmark:
            assert code == 0
            found = torch.load(tmp_path / 'ours.pth')['state_dict']
            assert found.keys() == MODELS.build(recipe).state_dict().keys()
            name = 'conv_4.model.1.project.bn.running_var'
            assert torch.equal(found[f'backbone.landmark_net.{name}'], net.state_dict()[name])
    assert code == 1 and 'none.pth: there is no such file' in capsys.readouterr().err
    assert convert(monkeypatch, tmp_path / 'ours.pth', tmp_path / 'back.pth', '--to',
                   'official') == 0
    back = torch.load(tmp_path / 'back.pth')['model']
    assert back.keys() == model.state_dict().keys()
    assert all(torch.equal(back[name], value) for name, value in model.state_dict().items())


def test_what_was_saved_without_frozen_weights_is_put_together(tmp_path, monkeypatch, capsys):
    """An official file without its ViT would be of no use."""
    model, net = official()
    torch.save(dict(model=model.state_dict()), tmp_path / 'start.pth')
    recipe = dict(type='Recognizer3D', backbone=backbone_cfg(
        init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'start.pth')),
        landmark_net=dict(NET, init_cfg=dict(
            type='Pretrained', checkpoint=landmark_file(net, tmp_path)))),
        cls_head=dict(type='MultiTaskHead', in_channels=SMALL.dim, num_classes=dict(dfew=7)))
    Config(dict(model=recipe)).dump(tmp_path / 's2d.py')
    trained = MODELS.build(recipe)
    trained.init_weights()
    checkpoint = dict(state_dict=trained.state_dict(), meta={})
    leave_out_frozen(checkpoint, trained)
    torch.save(checkpoint, tmp_path / 'trained.pth')
    for target in ('ours', 'official'):
        assert convert(monkeypatch, tmp_path / 'trained.pth', tmp_path / 'x.pth', '--to',
                       target) == 1
        assert 'without its frozen weights' in capsys.readouterr().err
    assert convert(monkeypatch, tmp_path / 'trained.pth', tmp_path / 'whole.pth', '--to',
                   'official', '--config', tmp_path / 's2d.py') == 0
    found = torch.load(tmp_path / 'whole.pth')['model']
    assert found.keys() == model.state_dict().keys()
    assert all(torch.equal(found[name], value) for name, value in model.state_dict().items()
               if not name.startswith('head'))
    del recipe['backbone']['init_cfg']
    Config(dict(model=recipe)).dump(tmp_path / 's2d.py')
    assert convert(monkeypatch, tmp_path / 'trained.pth', tmp_path / 'x.pth', '--config',
                   tmp_path / 's2d.py') == 1
    assert 'lacks backbone.cls_token' in capsys.readouterr().err


def test_a_file_of_mma_dfer_there_and_back(tmp_path, monkeypatch, capsys):
    """With one command each; the files that it starts from become parts of ours."""
    theirs, config = mma_dfer_models.official(), tmp_path / 'mma_dfer.py'
    recipe = mma_dfer_models.recognizer_cfg()
    Config(dict(model=recipe)).dump(config)
    torch.save(dict(state_dict={f'module.{key}': value
                                for key, value in theirs.state_dict().items()}),
               tmp_path / 'official.pth')
    options = ('--config', config, '--video-task', 'dfew')
    assert convert(monkeypatch, tmp_path / 'official.pth', tmp_path / 'ours.safetensors',
                   *options) == 0
    assert 'MMA-DFER' in capsys.readouterr().out
    found = load_file(tmp_path / 'ours.safetensors')
    model = MODELS.build(recipe).eval()
    model.load_state_dict(found)
    imgs, audios = mma_dfer_models.inputs()
    torch.testing.assert_close(model.cls_head(model.backbone(imgs.transpose(1, 2), audios)),
                               theirs(imgs, audios), rtol=0, atol=1e-5)
    assert convert(monkeypatch, tmp_path / 'ours.safetensors', tmp_path / 'back.pth', '--to',
                   'official') == 0
    back = torch.load(tmp_path / 'back.pth')['model']
    state = theirs.state_dict()
    assert back.keys() == state.keys()
    unused = [key for key in state if not torch.equal(back[key], state[key])]
    assert len(unused) == 8 and all('.head.' in key or '.norm2.' in key for key in unused)

    for branch, encoder in (('visual', theirs.image_encoder), ('audio', theirs.audio_model)):
        start = {key: value for key, value in encoder.state_dict().items()
                 if key.split('.')[0] in ('cls_token', 'patch_embed', 'blocks', 'norm')}
        torch.save(dict(model=start), tmp_path / 'start.pth')
        assert convert(monkeypatch, tmp_path / 'start.pth', tmp_path / 'part.pth', *options) == 0
        part = torch.load(tmp_path / 'part.pth')['state_dict']
        assert len(part) == len(start)
        for key, value in part.items():
            assert key.startswith(f'backbone.branches.{branch}.encoder.')
            assert torch.equal(value, found[key])
