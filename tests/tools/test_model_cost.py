"""Counted operations against the sizes of the matrix products; whole tables of recipes."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest
import torch
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmengine.config import Config

ROOT = Path(__file__).parents[2]
PATH = ROOT / 'tools' / 'analysis' / 'model_cost.py'
spec = importlib.util.spec_from_file_location('model_cost', PATH)
model_cost = importlib.util.module_from_spec(spec)
spec.loader.exec_module(model_cost)


@pytest.mark.parametrize('frames, tokens', [(4, 8), (1, 4)])
@pytest.mark.parametrize('moae', [None, dict(num_experts=4, top_k=2, blocks=0.5)])
def test_macs_are_those_of_the_products(frames, tokens, moae):
    dim, depth, hidden = 16, 2, 4
    backbone = MODELS.build(
        dict(type='VisionTransformerMoAE', img_size=16, patch_size=8, num_frames=4,
             embed_dims=dim, depth=depth, num_heads=2, moae=moae)).eval()
    expected = tokens * dim * 3 * 2 * 8 * 8  # patches
    block = tokens * dim * (3 * dim + dim + 4 * dim + 4 * dim) + 2 * tokens**2 * dim
    expected += depth * block
    if moae is not None:
        # router, two experts of two layers, gates x biases of the second layers
        expected += tokens * (dim * 4 + 2 * 2 * dim * hidden + 4 * dim)
    inputs = torch.randn(1, 3, frames, 16, 16)
    assert model_cost.count_macs(lambda: backbone(inputs)) == expected


def test_parameters_add_up():
    model = MODELS.build(
        dict(type='UniLearnRecognizer',
             backbone=dict(type='VisionTransformerMoAE', img_size=16, patch_size=8, num_frames=4,
                           embed_dims=16, depth=2, num_heads=2, moae=dict(num_experts=3)),
             cls_head=dict(type='MultiTaskHead', in_channels=16, num_classes=dict(dfew=7))))
    model.backbone.blocks[0].requires_grad_(False)
    table = model_cost.parameter_table(model, ['.moae.', 'cls_head.fc_cls.dfew.bias'])
    assert table['cls_head'] == (7 * 16 + 7, ) * 2
    assert table['*.moae.*'] == (3 * (2 * 16 * 4 + 16 + 4) + 2 * (3 * 16 + 3), ) * 2
    assert table['*cls_head.fc_cls.dfew.bias*'] == (7, 7)
    assert table['all'] == tuple(sum(two) for two in zip(table['backbone'], table['cls_head']))
    # two norms; query, key and value with two biases; projection; MLP
    block = 2 * 2 * 16 + 3 * 16 * 16 + 2 * 16 + 16 * 16 + 16 + 2 * 16 * 64 + 64 + 16
    assert table['all'][0] - table['all'][1] == block
    with pytest.raises(ValueError, match="UniLearnRecognizer has 'landmark' in its name"):
        model_cost.parameter_table(model, ['landmark'])


SMALL = '''
_base_ = ['{root}/configs/unilearn_toy.py']
custom_imports = _base_.custom_imports
model = dict(backbone=dict(_delete_=True, type='VisionTransformerMoAE', arch='small'),
             cls_head=dict(in_channels=384))
'''


def products_of_modules(cfg, shape):
    """Multiply-accumulates of a stock model's convolutions and linear layers, from their sizes."""
    model, macs = MODELS.build(cfg.model).eval(), []
    for module in model.modules():
        if isinstance(module, (torch.nn.Conv3d, torch.nn.Linear)):
            module.register_forward_hook(
                lambda layer, _, out: macs.append(out.numel() * layer.weight[0].numel()))
    with torch.no_grad():
        model(torch.zeros(1, *shape), mode='predict', data_samples=[ActionDataSample()])
    return sum(macs)


@pytest.mark.parametrize('name', ['compose_slowonly_toy', 'small', 's2d_toy'])
def test_recipes_without_sizes_in_their_backbone(name, tmp_path, monkeypatch, capsys):
    """A stock model, ours by an arch, and one that must not run before weights were loaded."""
    config = ROOT / 'configs' / f'{name}.py'
    if name == 'small':
        config = tmp_path / 'small.py'
        config.write_text(SMALL.format(root=ROOT))
    monkeypatch.setattr(sys, 'argv', ['model_cost.py', str(config), '--device', 'cpu',
                                      '--repeats', '1'])
    model_cost.main()
    rows = re.findall(r'\| (toy_\w+) \| ([\dx ]+) \| ([\d.]+) \| ([\d.]+) \|',
                      capsys.readouterr().out)
    expected = [('toy_video', '1 x 3 x 8 x 64 x 64'), ('toy_image', '1 x 3 x 1 x 64 x 64')]
    assert [row[:2] for row in rows] == (expected[:1] if name == 's2d_toy' else expected)
    for _, shape, macs, milliseconds in rows:
        assert float(milliseconds) > 0
        if name == 'compose_slowonly_toy':
            expected = products_of_modules(Config.fromfile(config), map(int, shape.split(' x ')))
            assert float(macs) == pytest.approx(expected / 1e9, abs=0.005)


def test_made_up_samples_have_the_shape_of_the_test():
    cfg = Config.fromfile(ROOT / 'configs' / 'unilearn_dfew.py')
    model_cost.own_pipelines(cfg.test_dataloader)
    parts = model_cost.data_parts(cfg.test_dataloader)
    shapes = [tuple(model_cost.made_up_sample(part)['inputs'].shape) for part in parts]
    assert shapes == [(2, 3, 16, 160, 160), (1, 3, 1, 160, 160)]
    stock = Config(dict(type='VideoDataset', pipeline=[
        dict(type='DecordInit'), dict(type='UniformSample', clip_len=6), dict(type='DecordDecode'),
        dict(type='Resize', scale=(48, 32), keep_ratio=False),
        dict(type='FormatShape', input_format='NCTHW'), dict(type='PackActionInputs')]))
    assert model_cost.made_up_sample(stock)['inputs'].shape == (1, 3, 6, 32, 48)
