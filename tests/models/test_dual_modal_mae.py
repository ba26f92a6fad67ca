"""Pre-training: what is predicted, scored, and never looked at."""

import pytest
import torch
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample

from unilearn_mm.models.backbones.vit_moae import InputSizeError
from unilearn_mm.models.checkpoints.family import FamilyError, unwrap
from unilearn_mm.models.checkpoints.fit import CheckpointMismatchError
from unilearn_mm.models.checkpoints.s4d import PRETRAINED
from unilearn_mm.models.heads.pixel_reconstruction_head import PixelReconstructionHead
from unilearn_mm.models.layers.patches import patchify, take, unpatchify

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]


def build(decoder='MAEDecoder', mask_ratio=dict(image=0.5, video=0.75), seed=0, **kwargs):
    torch.manual_seed(seed)
    neck = dict(type=decoder, in_channels=32, embed_dims=24, depth=2, num_heads=2,
                patch_values=3 * 2 * 64, table_grid=(2, 3, 3))
    neck.update(kwargs.pop('neck', {}))
    model = MODELS.build(dict(
        type='DualModalMAE',
        backbone=dict(type='VisionTransformerMoAE', img_size=24, patch_size=8, num_frames=4,
                      embed_dims=32, depth=2, num_heads=2, moae=None, use_mean_pooling=False),
        neck=neck, head=dict(type='PixelReconstructionHead', patch_size=8),
        data_preprocessor=dict(type='MixedMediaPreprocessor', mean=MEAN, std=STD),
        mask_ratio=mask_ratio, **kwargs))
    model.init_weights()
    return model.eval()


def batch(num=3, views=1, frames=4, source='vox'):
    samples = []
    for index in range(num):
        sample = ActionDataSample()
        sample.set_metainfo(dict(source=source, path=f'{index}.mp4', draw_seed=index))
        samples.append(sample)
    return torch.randn(num, views, 3, frames, 24, 24), samples


def test_parameters_of_the_official_base_model():
    model = MODELS.build(dict(
        type='DualModalMAE',
        backbone=dict(type='VisionTransformerMoAE', moae=None, use_mean_pooling=False),
        neck=dict(type='MAEDecoder'), head=dict(type='PixelReconstructionHead'),
        data_preprocessor=dict(type='MixedMediaPreprocessor', mean=MEAN, std=STD)))
    assert sum(p.numel() for p in model.parameters()) == 94_210_944


@pytest.mark.parametrize('frames', [4, 1])
@pytest.mark.parametrize('decoder', ['MAEDecoder', 'CrossMAEDecoder'])
def test_masked_pixels_do_not_reach_the_prediction(decoder, frames):
    """And visible ones do; the target of the masked patches ignores the visible pixels."""
    model = build(decoder)
    clips = torch.randn(2, 3, frames, 24, 24)
    grid, is_image = model.backbone.token_grid(clips)
    num_tokens = grid[0] * grid[1] * grid[2]
    keep, masked = model.masks(torch.rand(2, num_tokens), grid, is_image)
    prediction, places, _ = model.reconstruct(clips, keep, masked)
    assert torch.equal(places, masked)
    targets = model.head.targets(model.unnormalise(clips), masked)

    changed = {}
    for name, which in dict(masked=masked, visible=keep).items():
        filled = clips.expand(-1, -1, max(frames, 2), -1, -1)
        patches = patchify(filled, 2, 8)
        noise = torch.randn_like(patches).view(2, num_tokens, 3, 2, 64)
        noise[:, :, :, 1] = noise[:, :, :, 0] if frames == 1 else noise[:, :, :, 1]
        patches = patches.scatter_add(
            1, which.unsqueeze(-1).expand(-1, -1, patches.shape[-1]),
            take(noise.flatten(2), which))
        changed[name] = unpatchify(patches, grid, 2, 8)[:, :, :frames]
    with torch.no_grad():
        assert torch.equal(model.reconstruct(changed['masked'], keep, masked)[0], prediction)
        assert not torch.allclose(model.reconstruct(changed['visible'], keep, masked)[0],
                                  prediction, atol=1e-3)
    assert torch.equal(model.head.targets(model.unnormalise(changed['visible']), masked), targets)
    assert not torch.allclose(model.head.targets(model.unnormalise(changed['masked']), masked),
                              targets, atol=1e-3)


def test_trimming_the_decoder_changes_no_prediction():
    """Against the whole sequence through all blocks, norm and head."""
    model = build(neck=dict(depth=3))
    clips = torch.randn(2, 3, 4, 24, 24)
    keep, masked = model.masks(torch.rand(2, 18), (2, 3, 3), False)
    neck = model.neck
    with torch.no_grad():
        prediction, *_ = model.reconstruct(clips, keep, masked)
        tokens, _ = model.backbone.forward_tokens(clips)  # wrong tokens, right shape
        full = neck.mask_token.repeat(2, 18, 1)
        visible = neck.embed(model.backbone.forward_tokens(clips, keep)[0])
        for sample in range(2):
            for place, token in zip(keep[sample].tolist(), visible[sample]):
                full[sample, place] = token
        full = full + neck.pos_embed
        for block in neck.blocks:
            full, _ = block(full)
        whole = neck.head(neck.norm(full))
    assert tokens.shape[1] == 18
    torch.testing.assert_close(prediction, take(whole, masked), atol=1e-6, rtol=1e-5)


def test_only_visible_patches_are_embedded_and_it_is_exact():
    """Embedding first and dropping later, as the official code does, gives the same tokens."""
    backbone = build().backbone
    clips = torch.randn(2, 3, 4, 24, 24)
    keep = torch.tensor([[0, 5, 17], [3, 4, 9]])
    with torch.no_grad():
        x = backbone.patch_embed.projection(clips).flatten(2).transpose(1, 2) + backbone.pos_embed
        x = take(x, keep)
        for block in backbone.blocks:
            x, _ = block(x)
        torch.testing.assert_close(
            backbone.forward_tokens(clips, keep)[0], backbone.norm(x), atol=1e-6, rtol=1e-5)


def test_targets_in_closed_form():
    """A patch whose values are known: per channel, unbiased variance, channel fastest."""
    head = PixelReconstructionHead(patch_size=2, tubelet_size=2)
    pixels = torch.rand(1, 3, 2, 4, 4, dtype=torch.float64)
    found = head.targets(pixels, torch.tensor([[3]]))[0, 0]
    patch = pixels[0, :, :, 2:, 2:]  # the last patch: both frames, lower right
    expected = []
    for frame in range(2):
        for row in range(2):
            for column in range(2):
                for channel in range(3):
                    values = patch[channel].flatten()
                    mean = sum(values) / 8
                    variance = sum((value - mean)**2 for value in values) / 7
                    expected.append((patch[channel, frame, row, column] - mean)
                                    / (variance + 1e-6)**0.5)
    torch.testing.assert_close(found, torch.stack(expected), atol=1e-12, rtol=0)
    back = head.pixels(found.view(1, 1, -1), pixels, torch.tensor([[3]]))
    torch.testing.assert_close(back.view(3, 2, 2, 2), patch, atol=1e-12, rtol=0)


def test_predicting_zero_costs_about_one():
    head = PixelReconstructionHead(patch_size=8)
    pixels = torch.rand(2, 3, 4, 24, 24)
    places = torch.arange(18).expand(2, -1)
    loss = head.loss(torch.zeros(2, 18, 384), pixels, places)
    # biased over unbiased variance of the 128 values of a patch and channel
    torch.testing.assert_close(loss, torch.full((2, ), 127 / 128), atol=1e-3, rtol=0)


def test_views_are_samples_with_masks_of_their_own():
    model = build().train()
    inputs, samples = batch(num=2, views=3)
    inputs = inputs[:, :1].repeat(1, 3, 1, 1, 1, 1)  # three equal views
    torch.manual_seed(0)
    seen = []
    original = model.backbone.forward_tokens
    model.backbone.forward_tokens = lambda clips, keep: seen.append(keep) or original(clips, keep)
    losses = model(inputs, samples, mode='loss')
    assert list(losses) == ['loss_rec_vox']
    assert seen[0].shape == (6, 18 - 13)
    assert len({tuple(row.tolist()) for row in seen[0]}) == 6


def test_masks_of_a_held_out_sample_depend_on_it_alone():
    model = build()
    inputs, samples = batch(num=4)
    with torch.no_grad():
        together = [sample.rec_loss for sample in model(inputs, samples, mode='predict')]
        alone = model(inputs[2:3], samples[2:3], mode='predict')[0].rec_loss
    torch.testing.assert_close(alone, together[2], atol=1e-6, rtol=1e-5)


def test_the_fast_decoder_predicts_a_part_in_training_and_all_in_evaluation():
    model = build('CrossMAEDecoder', neck=dict(predict_ratio=0.5))
    clips = torch.randn(2, 3, 4, 24, 24)
    keep, masked = model.masks(torch.rand(2, 18), (2, 3, 3), False)
    with torch.no_grad():
        everything, places, _ = model.reconstruct(clips, keep, masked)
        assert torch.equal(places, masked)
        model.train()
        part, places, _ = model.reconstruct(clips, keep, masked)
    assert places.shape == (2, int(0.5 * 13))
    for sample in range(2):
        rows = [masked[sample].tolist().index(place) for place in places[sample].tolist()]
        torch.testing.assert_close(part[sample], everything[sample, rows], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize('option', ['with_cp'])
def test_checkpointed_decoder_has_the_same_gradients(option):
    grads = []
    for enabled in (False, True):
        model = build(neck={option: enabled}).train()
        clips = torch.randn(2, 3, 4, 24, 24, generator=torch.Generator().manual_seed(1))
        keep, masked = model.masks(
            torch.rand(2, 18, generator=torch.Generator().manual_seed(2)), (2, 3, 3), False)
        prediction, places, _ = model.reconstruct(clips, keep, masked)
        model.head.loss(prediction, model.unnormalise(clips), places).mean().backward()
        grads.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    torch.testing.assert_close(grads[0], grads[1], atol=1e-6, rtol=1e-5)


def test_tube_masking_masks_places():
    model = build(tube_masking=True)
    seen = []
    original = model.backbone.forward_tokens
    model.backbone.forward_tokens = lambda clips, keep: seen.append(keep) or original(clips, keep)
    model(*batch(), mode='loss')
    places = (seen[0] % 9).view(3, 2, -1)
    assert (places[:, 0] == places[:, 1]).all()


def test_wrong_use_is_refused():
    with pytest.raises(ValueError, match='at least one must be masked and one visible'):
        build(mask_ratio=dict(image=0.5, video=0.999))(*batch(frames=1, num=1), mode='loss')
        build(mask_ratio=dict(image=0.05, video=0.9))(*batch(frames=1), mode='loss')
    with pytest.raises(ValueError, match="must be dict\\(image=..., video=...\\)"):
        build(mask_ratio=dict(clip=0.9))
    with pytest.raises(InputSizeError, match=r'3 frames.*tubelets of 2.*batch: 0\.mp4'):
        build()(*batch(frames=3), mode='loss')
    with pytest.raises(ValueError, match='one source, found'):
        inputs, samples = batch()
        samples[0].set_metainfo(dict(source='affectnet'))
        build()(inputs, samples, mode='loss')
    with pytest.raises(ValueError, match='unequal shapes'):
        build().data_preprocessor(dict(
            inputs=[torch.zeros(1, 3, frames, 24, 24, dtype=torch.uint8) for frames in (1, 4)],
            data_samples=batch(num=2)[1]))
    with pytest.raises(ValueError, match='predict_ratio'):
        build('CrossMAEDecoder', neck=dict(predict_ratio=0.))


def pretrained_backbone(checkpoint, **sizes):
    cfg = dict(type='VisionTransformerMoAE', img_size=24, patch_size=8, num_frames=4,
               embed_dims=32, depth=2, num_heads=2, moae=dict(num_experts=2),
               init_cfg=dict(type='Pretrained', checkpoint=str(checkpoint)))
    backbone = MODELS.build({**cfg, **sizes})
    backbone.init_weights()
    return backbone


def test_hand_over_by_init_cfg(tmp_path, caplog):
    """A checkpoint of the pre-training, ours or official, starts a fine-tuning backbone."""
    model = build(seed=3)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'ours.pth')
    torch.save(dict(model=PRETRAINED.restore(model.state_dict(), {}).state),
               tmp_path / 'official.pth')
    for name in ('ours.pth', 'official.pth'):
        backbone = pretrained_backbone(tmp_path / name)
        loaded = dict(backbone.named_parameters())
        for key, value in model.backbone.named_parameters():
            if not key.startswith('norm.'):
                assert torch.equal(loaded[key], value), key
        fresh = loaded['blocks.1.moae.router.route.weight']
        assert 0.01 < fresh.std() < 0.03, 'what the file lacks has the usual initial values'
        assert (loaded['fc_norm.weight'] == 1).all()
    with pytest.raises(CheckpointMismatchError,
                       match=r'ours\.pth.*patch_embed\.projection\.weight: checkpoint '
                             r'\(32, 3, 2, 8, 8\), model \(32, 3, 2, 4, 4\)'):
        pretrained_backbone(tmp_path / 'ours.pth', patch_size=4)


def test_official_pre_training_weights_go_there_and_back():
    model = build(seed=4)
    official = PRETRAINED.restore(model.state_dict(), {}).state
    assert {'mask_token', 'encoder_to_decoder.weight', 'encoder.norm.bias',
            'decoder.blocks.1.attn.q_bias', 'decoder.head.weight'} < set(official)
    other = build(seed=5)
    wrapped = unwrap(dict(model={f'module.{key}': value for key, value in official.items()}))
    result = other.load_state_dict(PRETRAINED.convert(wrapped, other.backbone, {}).state,
                                   strict=False)
    assert not result.unexpected_keys and result.missing_keys == ['backbone.pos_embed']
    for key, value in model.state_dict().items():
        assert torch.equal(value, other.state_dict()[key])
    with pytest.raises(FamilyError, match='1 keys have no name.*encoder.cls_token'):
        PRETRAINED.convert({**official, 'encoder.cls_token': torch.zeros(1)}, other.backbone, {})
