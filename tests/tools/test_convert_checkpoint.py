"""The converter on files: both formats, both directions, and refusals."""

import argparse
import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from mmaction.registry import MODELS
from safetensors.torch import load_file

from unilearn_mm.models.checkpoints.s4d import FINE_TUNED

PATH = Path(__file__).parents[2] / 'tools' / 'convert' / 'convert_checkpoint.py'
spec = importlib.util.spec_from_file_location('convert_checkpoint', PATH)
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)


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


def test_what_cannot_be_converted(tmp_path, monkeypatch, capsys):
    torch.save({'conv1.weight': torch.zeros(1)}, tmp_path / 'other.pth')
    assert convert(monkeypatch, tmp_path / 'other.pth', tmp_path / 'x.pth') == 1
    shown = capsys.readouterr().err
    assert 'other.pth: of no known family' in shown and not (tmp_path / 'x.pth').exists()
