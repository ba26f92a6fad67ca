"""Parameter groups against the paper's rule and MMAction2's constructor; bf16 training."""

import runpy
import sys

import pytest
import torch
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from s2d_models import SMALL, backbone_cfg

from unilearn_mm.run import first_file, stock_scripts

DEPTH = 4


def model(**backbone):
    torch.manual_seed(0)
    built = MODELS.build(
        dict(type='UniLearnRecognizer',
             backbone=dict(type='VisionTransformerMoAE', img_size=16, patch_size=8, num_frames=4,
                           embed_dims=16, depth=DEPTH, num_heads=2, moae=dict(num_experts=3),
                           **backbone),
             cls_head=dict(type='MultiTaskHead', in_channels=16, num_classes=dict(dfew=7))))
    built.init_weights()
    return built


def optimizer_of(target, constructor='LayerDecayConstructor', **paramwise):
    return build_optim_wrapper(target, dict(
        optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05), constructor=constructor,
        paramwise_cfg=dict(decay_rate=0.5, num_layers=DEPTH, **paramwise))).optimizer


def settings(optimizer):
    return {name: (group['lr'], group['weight_decay'])
            for group in optimizer.param_groups for name in group['param_names']}


def test_same_groups_as_mmaction2():
    target = model()
    assert settings(optimizer_of(target)) == settings(
        optimizer_of(target, 'LearningRateDecayOptimizerConstructor', decay_type='layer_wise'))


def test_what_is_added_to_the_patches_has_their_rate():
    """Learnable positions and the tokens that some backbones have: layer 0, as in MMAction2."""
    target = model(use_learnable_pos_emb=True)
    for name in ('cls_token', 'mask_token'):
        target.backbone.register_parameter(name, torch.nn.Parameter(torch.zeros(1, 1, 16)))
    found = settings(optimizer_of(target))
    assert found == settings(
        optimizer_of(target, 'LearningRateDecayOptimizerConstructor', decay_type='layer_wise'))
    for name in ('pos_embed', 'cls_token', 'mask_token'):
        assert found[f'backbone.{name}'] == (pytest.approx(1e-3 * 0.5**(DEPTH + 1)), 0.05)


def test_rates_and_decay_of_every_parameter():
    found = settings(optimizer_of(model()))
    assert set(found) == {name for name, _ in model().named_parameters()}
    for name, parameter in model().named_parameters():
        if 'patch_embed' in name:
            power = DEPTH + 1
        elif 'blocks' in name:
            power = DEPTH - int(name.split('.')[2])
        else:
            power = 0
        decay = 0. if parameter.dim() == 1 or name.endswith('bias') else 0.05
        assert found[name] == (pytest.approx(1e-3 * 0.5**power), decay), name


def test_new_modules_at_the_full_rate():
    found = settings(optimizer_of(model(), full_rate=['.moae.']))
    assert found['backbone.blocks.2.moae.experts.fc1.weight'] == (1e-3, 0.05)
    assert found['backbone.blocks.2.moae.experts.fc1.bias'] == (1e-3, 0.)
    assert found['backbone.blocks.2.mlp.layers.1.weight'][0] == pytest.approx(1e-3 * 0.5**2)


def test_mmpretrains_names_have_mmpretrains_rates():
    """S2D's image stage: the ViT's layers by their depth, prompts and head at the full rate."""
    target = MODELS.build(dict(
        type='Recognizer3D',
        backbone=backbone_cfg(with_tma=True, freeze_vit=False),
        cls_head=dict(type='MultiTaskHead', in_channels=SMALL.dim, num_classes=dict(dfew=7))))
    found = settings(build_optim_wrapper(target, dict(
        optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05),
        constructor='LayerDecayConstructor', paramwise_cfg=dict(
            decay_rate=0.5, num_layers=SMALL.depth,
            no_decay=['pos_embed', 'cls_token', 'temporal_embedding']))).optimizer)
    trained = {name: value for name, value in target.named_parameters() if value.requires_grad}
    assert set(found) == set(trained) and len(found) > 100
    for name, value in trained.items():
        depth, depths = target.backbone.get_layer_depth(name, 'backbone.')
        decays = value.dim() > 1 and not name.endswith(('bias', 'embed', 'token', 'embedding'))
        assert found[name] == (pytest.approx(1e-3 * 0.5**(depths - 1 - depth)),
                               0.05 if decays else 0.), name
    assert found['backbone.temporal_embedding'] == (1e-3, 0.)


def test_frozen_parameters_are_left_out():
    target = model()
    target.backbone.patch_embed.requires_grad_(False)
    assert not any('patch_embed' in name for name in settings(optimizer_of(target)))


@pytest.mark.parametrize('paramwise, message', [
    (dict(num_layers=2), 'blocks.2.norm1.weight lies beyond num_layers=2'),
    (dict(decay_type='layer_wise'), r"found \['decay_rate', 'decay_type', 'num_layers'\]")])
def test_wrong_settings(paramwise, message):
    with pytest.raises(ValueError, match=message):
        build_optim_wrapper(model(), dict(
            optimizer=dict(type='AdamW', lr=1e-3), constructor='LayerDecayConstructor',
            paramwise_cfg={**dict(decay_rate=0.5, num_layers=DEPTH), **paramwise}))


def train(wrapper, steps=12):
    """Losses of a few steps on one batch."""
    target = model()
    optim = build_optim_wrapper(target, dict(
        type=wrapper, optimizer=dict(type='AdamW', lr=3e-3)))
    generator = torch.Generator().manual_seed(0)
    samples = []
    for label in range(4):
        samples.append(ActionDataSample())
        samples[-1].set_gt_label(label)
    clips = torch.randn(4, 1, 3, 4, 16, 16, generator=generator)
    losses, types = [], set()
    target.backbone.blocks[0].mlp.register_forward_hook(
        lambda module, args, out: types.add(out.dtype))
    for _ in range(steps):
        with optim.optim_context(target):
            loss, _ = target.parse_losses(target(clips, samples, mode='loss'))
        optim.update_params(loss)
        losses.append(loss.item())
    return losses, types


def test_bf16_really_trains():
    exact, exact_types = train('OptimWrapper')
    rough, rough_types = train('Bf16OptimWrapper')
    assert (exact_types, rough_types) == ({torch.float32}, {torch.bfloat16})
    assert rough[-1] < 0.7 * rough[0], 'it learns'
    assert rough[0] == pytest.approx(exact[0], rel=0.02)
    assert rough[-1] == pytest.approx(exact[-1], rel=0.25)


def test_amp_of_the_stock_script_and_bf16_exclude_each_other(tmp_path, monkeypatch):
    """--amp means fp16 there, and leaves its loss_scale to a type that --cfg-options sets."""
    config = tmp_path / 'config.py'
    config.write_text("optim_wrapper = dict(optimizer=dict(type='AdamW', lr=1e-3))\n")
    script = str(first_file(stock_scripts('tools/train.py')))
    monkeypatch.setattr(sys, 'argv', [script, str(config), '--amp', '--cfg-options',
                                      'optim_wrapper.type=Bf16OptimWrapper'])
    monkeypatch.setenv('LOCAL_RANK', '0')
    stock = runpy.run_path(script)
    cfg = stock['merge_args'](Config.fromfile(config), stock['parse_args']())
    with pytest.raises(TypeError, match="scales no loss, found loss_scale='dynamic'.*--amp.*leave "
                       'it out'):
        build_optim_wrapper(model(), cfg.optim_wrapper)
