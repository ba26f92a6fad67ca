"""Counted operations against the sizes of the matrix products."""

import importlib.util
from pathlib import Path

import pytest
import torch
from mmaction.registry import MODELS

PATH = Path(__file__).parents[2] / 'tools' / 'analysis' / 'model_cost.py'
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
        expected += tokens * (dim * 4 + 2 * 2 * dim * hidden)  # router, two experts of two layers
        assert backbone.blocks[1].moae.experts.backend == 'auto'
    found = model_cost.count_macs(backbone, torch.randn(1, 3, frames, 16, 16))
    assert found == expected
    if moae is not None:
        assert backbone.blocks[1].moae.experts.backend == 'auto', 'left as it was'


def test_parameters_add_up():
    model = MODELS.build(
        dict(type='UniLearnRecognizer',
             backbone=dict(type='VisionTransformerMoAE', img_size=16, patch_size=8, num_frames=4,
                           embed_dims=16, depth=2, num_heads=2, moae=dict(num_experts=3)),
             cls_head=dict(type='MultiTaskHead', in_channels=16, num_classes=dict(dfew=7))))
    table = model_cost.parameter_table(model)
    assert table['heads'] == 7 * 16 + 7
    assert table['experts and routers'] == 3 * (2 * 16 * 4 + 16 + 4) + 2 * (3 * 16 + 3)
    assert sum(table.values()) == 2 * table['all']
