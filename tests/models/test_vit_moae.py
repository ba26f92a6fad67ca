"""The backbone against MMAction2's VideoMAE ViT, an explicit position table, and its contract."""

import math

import pytest
import torch
from mmaction.models.backbones.vit_mae import VisionTransformer
from mmaction.registry import MODELS
from torch import nn

from unilearn_mm.models.backbones.vit_moae import InputSizeError
from unilearn_mm.models.layers.patches import patchify
from unilearn_mm.models.layers.positions import positions_for

TINY = dict(img_size=16, patch_size=8, num_frames=4, tubelet_size=2, embed_dims=16, depth=4,
            num_heads=2)


def build(**changes):
    torch.manual_seed(0)
    model = MODELS.build(dict(type='VisionTransformerMoAE', **{**TINY, **changes}))
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    return model


@pytest.mark.parametrize('qkv_bias', [True, False])
@pytest.mark.parametrize('size', [16, 24])
def test_dense_form_equals_the_stock_vit(qkv_bias, size):
    """Its checkpoint loads key for key and gives the same features, in fp64."""
    ours = build(moae=None, qkv_bias=qkv_bias).double().eval()
    stock = VisionTransformer(**TINY, qkv_bias=qkv_bias).double().eval()
    assert set(ours.state_dict()) == set(stock.state_dict())
    stock.load_state_dict(ours.state_dict())
    clip = torch.randn(2, 3, 4, size, size, dtype=torch.float64)
    torch.testing.assert_close(ours(clip), stock(clip), rtol=0, atol=1e-10)


def test_experts_that_are_zero_leave_the_stock_vit():
    ours = build().double().eval()
    nn.init.zeros_(ours.blocks[2].moae.experts.fc2.weight)
    nn.init.zeros_(ours.blocks[3].moae.experts.fc2.weight)
    for index in (2, 3):
        nn.init.zeros_(ours.blocks[index].moae.experts.fc2.bias)
    stock = VisionTransformer(**TINY).double().eval()
    missing = stock.load_state_dict(ours.state_dict(), strict=False)
    assert not missing.missing_keys and all('moae' in key for key in missing.unexpected_keys)
    clip = torch.randn(1, 3, 4, 16, 16, dtype=torch.float64)
    torch.testing.assert_close(ours(clip), stock(clip), rtol=0, atol=1e-10)


@pytest.mark.parametrize('moae, total', [(dict(), 100_513_646), (None, 86_237_966)])
def test_parameters_of_the_official_base_model(moae, total):
    """Counted on the official code: ViT-B, 8 experts in 6 blocks, two heads of 7 classes."""
    backbone = MODELS.build(dict(type='VisionTransformerMoAE', moae=moae))
    head = MODELS.build(dict(type='MultiTaskHead', in_channels=768,
                             num_classes=dict(dfew=7, affectnet7=7)))
    assert sum(p.numel() for m in (backbone, head) for p in m.parameters()) == total


def sinusoid(position, channel, dim):
    """The official table (s4d/videomae.py:632-696), entry by entry."""
    angle = position / 10000**(2 * (channel // 2) / dim)
    return math.sin(angle) if channel % 2 == 0 else math.cos(angle)


def test_positions_are_the_official_table():
    table = build().pos_embed[0]
    expected = torch.tensor([[sinusoid(p, c, 16) for c in range(16)] for p in range(8)])
    torch.testing.assert_close(table, expected, rtol=0, atol=1e-6)


def test_an_image_takes_temporal_slot_0():
    table = torch.randn(1, 8, 16)
    torch.testing.assert_close(positions_for(table, (2, 2, 2), (1, 2, 2), True), table[:, :4])
    torch.testing.assert_close(positions_for(table, (2, 2, 2), (2, 2, 2), False), table)


def test_interpolated_positions():
    # a table linear in t: linear interpolation must stay on the line (at the sampled centres)
    line = torch.arange(4.).view(4, 1, 1, 1).expand(4, 2, 2, 3).reshape(1, -1, 3)
    found = positions_for(line, (4, 2, 2), (2, 2, 2), False).view(2, 4, 3)
    torch.testing.assert_close(found[:, 0, 0], torch.tensor([0.5, 2.5]))
    constant = torch.full((1, 8, 3), 7.)
    found = positions_for(constant, (2, 2, 2), (5, 3, 4), False)
    torch.testing.assert_close(found, torch.full((1, 60, 3), 7.))
    image = positions_for(line, (4, 2, 2), (1, 3, 3), True)
    torch.testing.assert_close(image, torch.zeros(1, 9, 3))


def test_an_image_is_its_frame_twice_at_slot_0():
    """The same as the visible tokens of the first tubelet of a clip that repeats it."""
    model = build().eval()
    image = torch.randn(2, 3, 1, 16, 16)
    clip = torch.cat([image.expand(-1, -1, 2, -1, -1), torch.randn(2, 3, 2, 16, 16)], dim=2)
    first = torch.arange(4).expand(2, -1)
    tokens, _ = model.forward_tokens(image)
    assert tokens.shape == (2, 4, 16)
    torch.testing.assert_close(tokens, model.forward_tokens(clip, keep=first)[0])
    torch.testing.assert_close(model(image), model(image[:, :, 0]), msg='4-D input is an image')


def test_keep_selects_tokens_before_the_blocks():
    model = build(depth=2, moae=None).eval()
    clip = torch.randn(2, 3, 4, 16, 16)
    keep = torch.tensor([[5, 0, 3], [1, 7, 2]])
    tokens, aux = model.forward_tokens(clip, keep=keep)
    embedded = model.patch_embed(clip)[0] + model.pos_embed  # the Conv3d over everything
    for block in model.blocks:
        embedded_kept = embedded if embedded.shape[1] == 3 else torch.stack(
            [embedded[n, keep[n]] for n in range(2)])
        embedded = block(embedded_kept)[0]
    torch.testing.assert_close(tokens, embedded)
    assert aux == {}


def test_feature_is_the_normalised_mean():
    model = build().eval()
    clip = torch.randn(2, 3, 4, 16, 16)
    tokens, _ = model.forward_tokens(clip)
    mean = tokens.mean(1)
    expected = (mean - mean.mean(-1, keepdim=True)) / (
        mean.var(-1, unbiased=False, keepdim=True) + 1e-6).sqrt()
    expected = expected * model.fc_norm.weight + model.fc_norm.bias
    torch.testing.assert_close(model(clip), expected, rtol=1e-4, atol=1e-5)


def test_feature_map_has_the_tokens_in_place():
    model = build(return_feat_map=True).eval()
    clip = torch.randn(1, 3, 4, 16, 24)
    tokens, _ = model.forward_tokens(clip)
    feature_map = model(clip)
    assert feature_map.shape == (1, 16, 2, 2, 3)
    torch.testing.assert_close(feature_map[0, :, 1, 0, 2], tokens[0, 1 * 6 + 0 * 3 + 2])


def test_aux_reports_every_moae_block():
    model = build(moae=dict(num_experts=3, blocks=[1, 3], balance_loss_weight=0.5)).train()
    _, aux = model.forward_tokens(torch.randn(2, 3, 4, 16, 16))
    assert aux['expert_load'].shape == (2, 3)
    torch.testing.assert_close(aux['expert_load'].sum(1), torch.ones(2))
    double = build(moae=dict(num_experts=3, blocks=[1, 3], balance_loss_weight=1.)).eval()
    single = build(moae=dict(num_experts=3, blocks=[1, 3], balance_loss_weight=0.5)).eval()
    clip = torch.randn(2, 3, 4, 16, 16)
    torch.testing.assert_close(double.forward_tokens(clip)[1]['loss_balance'],
                               2 * single.forward_tokens(clip)[1]['loss_balance'])


def test_patches_are_embedded_as_by_the_conv3d():
    model = build().double()
    clip = torch.randn(2, 3, 4, 16, 24, dtype=torch.float64)
    weight = model.patch_embed.projection
    found = patchify(clip, 2, 8) @ weight.weight.flatten(1).T + weight.bias
    torch.testing.assert_close(found, model.patch_embed(clip)[0], rtol=0, atol=1e-12)


def test_checkpointed_blocks_have_the_same_gradients():
    clip = torch.randn(2, 3, 4, 16, 16)
    gradients = []
    for with_cp in (False, True):
        model = build(with_cp=with_cp, drop_path_rate=0.3).train()
        torch.manual_seed(1)  # the same routing noise and dropped paths
        tokens, aux = model.forward_tokens(clip)
        (tokens.square().mean() + aux['loss_balance']).backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, msg=name)


@pytest.mark.slow
def test_compiled_blocks_compute_the_same():
    clip = torch.randn(2, 3, 4, 16, 16)
    plain, compiled = build().eval(), build(compile_blocks=True).eval()
    assert set(plain.state_dict()) == set(compiled.state_dict()), 'names stay'
    torch.testing.assert_close(compiled(clip), plain(clip), rtol=1e-4, atol=1e-5)


def test_layer_scale_scales_the_experts_too():
    """The official code leaves the experts out if LayerScale is on (videomae.py:369-371)."""
    model = build(depth=1, init_values=0.1, moae=dict(blocks=1)).eval()
    block = model.blocks[0]
    x = torch.randn(1, 5, 16)
    attended = x + block.gamma_1 * block.attn(block.norm1(x))
    normed = block.norm2(attended)
    expected = attended + block.gamma_2 * (block.mlp(normed) + block.moae(normed)[0])
    torch.testing.assert_close(block(x)[0], expected)


@pytest.mark.parametrize('arch, dims, depth', [('small', 384, 12), ('large', 1024, 24)])
def test_arch_presets(arch, dims, depth):
    with torch.device('meta'):
        model = build(arch=arch, embed_dims=None, depth=None, num_heads=None)
    assert len(model.blocks) == depth and model.embed_dims == dims
    with_experts = [i for i, block in enumerate(model.blocks) if block.moae is not None]
    assert with_experts == list(range(depth // 2, depth)), 'the upper half, for ViT-L too'


def test_official_preset_is_the_literal_form_and_can_be_changed():
    model = build(moae=dict(preset='official', noise='never'))
    moae = model.blocks[3].moae
    assert (moae.router.noise_mode, moae.capacity_factor, moae.balance) == ('never', 1.0, 'none')
    _, aux = model.train().forward_tokens(torch.randn(2, 3, 4, 16, 16))
    assert 'loss_balance' not in aux and aux['dropped'].shape == (2, )


@pytest.mark.parametrize('blocks, expected', [
    (0.5, {2, 3}), (1, {0, 1, 2, 3}), (0.25, {3}), ([0, 2], {0, 2})])
def test_which_blocks_have_experts(blocks, expected):
    model = build(moae=dict(blocks=blocks))
    assert {i for i, block in enumerate(model.blocks) if block.moae is not None} == expected


def test_a_clip_does_not_feel_its_batch_mates():
    model = build().double().eval()
    clips = torch.randn(4, 3, 4, 16, 16, dtype=torch.float64)
    together = model(clips)
    torch.testing.assert_close(model(clips[2:3])[0], together[2], rtol=0, atol=1e-10)
    torch.testing.assert_close(model(clips.flip(0)).flip(0), together, rtol=0, atol=1e-10)
    assert (model(clips) == model(clips)).all(), 'evaluation is deterministic'


@pytest.mark.parametrize('shape, message', [
    ((1, 3, 4, 16, 20), r'16 x 20 pixels are not divisible into patches of 8'),
    ((1, 3, 1, 15, 16), r'15 x 16 pixels'),
    ((1, 3, 3, 16, 16), r'a clip of 3 frames is not divisible into tubelets of 2'),
])
def test_input_that_does_not_fit(shape, message):
    with pytest.raises(InputSizeError, match=message):
        build()(torch.zeros(shape))


@pytest.mark.parametrize('changes, message', [
    (dict(moae=dict(blocks=[3, 4])), r'moae blocks \[4\] do not exist.*0\.\.3'),
    (dict(moae=dict(blocks=0.1)), 'blocks=0.1 of a depth of 4 is no block at all'),
    (dict(moae=dict(blocks=1.5)), r'share of the depth must be in \(0, 1\]'),
    (dict(moae=dict(top_k=9)), r'top_k=9 with num_experts=8'),
    (dict(moae=dict(preset='paper')), r"preset must be one of .*'official'.*'paper'"),
    (dict(arch='base'), "arch='base' sets embed_dims"),
    (dict(arch='huge', embed_dims=None, depth=None, num_heads=None), "one of .*'huge'"),
    (dict(depth=None), 'give all of embed_dims, depth and num_heads'),
    (dict(num_frames=5), 'num_frames must be a multiple of tubelet_size, found 5 and 2'),
])
def test_impossible_settings(changes, message):
    with pytest.raises(ValueError, match=message):
        build(**changes)


@pytest.mark.parametrize('name', ['num_head', 'pretrained'])
def test_unknown_arguments_are_refused(name):
    with pytest.raises(TypeError, match=name):
        build(**{name: 3})


def test_building_twice_from_one_config_is_possible():
    cfg = dict(type='VisionTransformerMoAE', **TINY, moae=dict(num_experts=3, blocks=[1]))
    first, second = MODELS.build(cfg), MODELS.build(cfg)
    assert [b.moae is None for b in first.blocks] == [b.moae is None for b in second.blocks]
