"""The benchmark compares equal work: both sides have the loss of plain loops over tokens."""

import argparse
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmaction.registry import MODELS
from scipy.special import erf, softmax

import unilearn_mm  # noqa: F401
from unilearn_mm.models.checkpoints.s4d import PRETRAINED

sys.path.insert(0, str(Path(__file__).parents[2] / 'tools' / 'benchmark'))
import bench_pretrain
from official_pretrain import MEAN, STD, OfficialPretrain, pixel_target

GRID, PATCH, TUBELET = (2, 2, 2), 4, 2
SIZES = dict(dim=8, depth=2, num_heads=2, decoder_dim=6, decoder_depth=1, decoder_heads=3)


def tiny(**sizes) -> OfficialPretrain:
    """Float64 and no weight zero or one."""
    torch.manual_seed(0)
    model = OfficialPretrain(**{**SIZES, **sizes}, grid=GRID, patch=PATCH, tubelet=TUBELET)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.double()


def batch(frames: int, num_masked: int):
    """Three normalised clips of pixels in [0, 1], and masks."""
    generator = torch.Generator().manual_seed(1)
    mean, std = (torch.tensor(values, dtype=torch.float64).view(1, 3, 1, 1, 1)
                 for values in (MEAN, STD))
    pixels = torch.rand(3, 3, frames, 8, 8, dtype=torch.float64, generator=generator)
    num_tokens = 4 * max(frames // TUBELET, 1)
    order = torch.rand(3, num_tokens, generator=generator).argsort(1)
    return (pixels - mean) / std, order < num_masked


class PlainNumbers:
    """The loss again, a token and a head at a time, from a dict of arrays."""

    def __init__(self, model: OfficialPretrain) -> None:
        self.weights = {key: value.numpy() for key, value in model.state_dict().items()}

    def linear(self, name, x):
        """A vector through a linear layer."""
        bias = self.weights.get(f'{name}.bias', 0.)
        return self.weights[f'{name}.weight'] @ x + bias

    def norm(self, name, x):
        """Layer norm of a vector."""
        x = (x - x.mean()) / np.sqrt(x.var() + 1e-6)
        return x * self.weights[f'{name}.weight'] + self.weights[f'{name}.bias']

    def block(self, name, tokens, heads):
        """A list of vectors through one block."""
        normed = [self.norm(f'{name}.norm1', x) for x in tokens]
        q, k, v = np.split(self.weights[f'{name}.attn.qkv.weight'], 3)
        queries = [q @ x + self.weights[f'{name}.attn.q_bias'] for x in normed]
        keys = [k @ x for x in normed]
        values = [v @ x + self.weights[f'{name}.attn.v_bias'] for x in normed]
        size = len(tokens[0]) // heads
        out = []
        for x, query in zip(tokens, queries):
            seen = []
            for part in (slice(head * size, (head + 1) * size) for head in range(heads)):
                logits = [query[part] @ key[part] / math.sqrt(size) for key in keys]
                seen.append(sum(weight * value[part]
                                for weight, value in zip(softmax(logits), values)))
            x = x + self.linear(f'{name}.attn.proj', np.concatenate(seen))
            inner = self.linear(f'{name}.mlp.fc1', self.norm(f'{name}.norm2', x))
            inner = inner * (1 + erf(inner / math.sqrt(2))) / 2
            out.append(x + self.linear(f'{name}.mlp.fc2', inner))
        return out

    @staticmethod
    def position(index, dim):
        """Row of the table, as float32 as the official one is."""
        return np.array([(math.cos if j % 2 else math.sin)(index / 10000**(2 * (j // 2) / dim))
                         for j in range(dim)], dtype=np.float32)

    def errors(self, clip, masked):
        """Mean squared error of each masked token of one clip (3, T, H, W)."""
        if clip.shape[1] == 1:
            clip = np.repeat(clip, TUBELET, axis=1)
        cubes = [clip[:, t:t + TUBELET, h:h + PATCH, w:w + PATCH]
                 for t in range(0, clip.shape[1], TUBELET)
                 for h in range(0, clip.shape[2], PATCH)
                 for w in range(0, clip.shape[3], PATCH)]
        kernel = self.weights['encoder.patch_embed.proj.weight']
        seen = [index for index in range(len(cubes)) if not masked[index]]
        tokens = [np.array([(filter_ * cubes[index]).sum() for filter_ in kernel])
                  + self.weights['encoder.patch_embed.proj.bias']
                  + self.position(index, SIZES['dim']) for index in seen]
        for number in range(SIZES['depth']):
            tokens = self.block(f'encoder.blocks.{number}', tokens, SIZES['num_heads'])
        tokens = [self.linear('encoder_to_decoder', self.norm('encoder.norm', x)) for x in tokens]
        full = [tokens[seen.index(index)] if index in seen else self.weights['mask_token'][0, 0]
                for index in range(len(cubes))]
        full = [x + self.position(index, SIZES['decoder_dim']) for index, x in enumerate(full)]
        for number in range(SIZES['decoder_depth']):
            full = self.block(f'decoder.blocks.{number}', full, SIZES['decoder_heads'])
        errors = []
        for index in np.flatnonzero(masked):
            prediction = self.linear('decoder.head', self.norm('decoder.norm', full[index]))
            target = np.empty((TUBELET, PATCH, PATCH, 3))
            for channel in range(3):
                pixels = cubes[index][channel] * STD[channel] + MEAN[channel]
                target[..., channel] = (pixels - pixels.mean()) / math.sqrt(
                    pixels.var(ddof=1) + 1e-6)
            errors.append(np.mean((prediction - target.ravel())**2))
        return errors


@pytest.mark.parametrize('frames, num_masked', [(4, 6), (1, 3)], ids=['video', 'image'])
def test_the_official_loss_is_that_of_plain_loops(frames, num_masked):
    model = tiny()
    clips, mask = batch(frames, num_masked)
    plain = PlainNumbers(model)
    errors = sum((plain.errors(clip, masked) for clip, masked in zip(clips.numpy(), mask.numpy())),
                 [])
    assert len(errors) == 3 * num_masked
    assert model(clips, mask).item() == pytest.approx(np.mean(errors), abs=1e-12)


def test_only_masked_tokens_are_scored():
    clips, mask = batch(4, 6)
    model = tiny()
    for parameter in model.decoder.head.parameters():
        torch.nn.init.zeros_(parameter)  # the loss is then the mean square of the targets
    squares = pixel_target(clips, TUBELET, PATCH).square().mean(-1)
    assert model(clips, mask).item() == pytest.approx(squares[mask].mean().item(), abs=1e-12)
    assert squares[mask].mean() != squares.mean()


def test_only_visible_tokens_are_encoded():
    """A shift of a token's pixels leaves its target as it is; only an encoder can see it."""
    clips, mask = batch(4, 6)
    model = tiny()
    loss = model(clips, mask).item()
    for place, masked in enumerate(mask[0].tolist()):
        time, row, column = (int(index) for index in np.unravel_index(place, GRID))
        shifted = clips.clone()
        shifted[0, :, TUBELET * time:, PATCH * row:, PATCH * column:][
            :, :TUBELET, :PATCH, :PATCH] += 0.5
        assert (abs(model(shifted, mask).item() - loss) < 1e-12) == masked


def test_an_image_is_a_still_first_tubelet():
    """It takes the positions of the first time slot."""
    model = tiny()
    image, mask = batch(1, 3)
    assert model(image, mask) == model(image.repeat(1, 1, TUBELET, 1, 1), mask)
    model.encoder.positions[:, 4:] = float('nan')
    model.positions[:, 4:] = float('nan')
    assert model(image, mask).isfinite()


def test_names_and_sizes_are_those_of_the_official_checkpoint():
    with torch.device('meta'):
        state = OfficialPretrain().state_dict()
    assert len(state) == 218
    assert sum(value.numel() for value in state.values()) == 94_210_944
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    layer = ('norm1.weight', 'norm1.bias', 'attn.q_bias', 'attn.v_bias', 'attn.qkv.weight',
             'attn.proj.weight', 'attn.proj.bias', 'norm2.weight', 'norm2.bias',
             'mlp.fc1.weight', 'mlp.fc1.bias', 'mlp.fc2.weight', 'mlp.fc2.bias')
    expected = {'mask_token': (1, 1, 384), 'encoder_to_decoder.weight': (384, 768),
                'encoder.patch_embed.proj.weight': (768, 3, 2, 16, 16),
                'encoder.patch_embed.proj.bias': (768,),
                'decoder.head.weight': (1536, 384), 'decoder.head.bias': (1536,)}
    for part, blocks, dim in (('encoder', 12, 768), ('decoder', 4, 384)):
        widths = [(dim,)] * 4 + [(3 * dim, dim), (dim, dim)] + [(dim,)] * 3 + [
            (4 * dim, dim), (4 * dim,), (dim, 4 * dim), (dim,)]
        expected |= {f'{part}.norm.weight': (dim,), f'{part}.norm.bias': (dim,)}
        expected |= {f'{part}.blocks.{number}.{name}': shape for number in range(blocks)
                     for name, shape in zip(layer, widths)}
    assert shapes == expected


def ours(official: OfficialPretrain):
    """Our model of the same sizes, with converted weights."""
    model = MODELS.build(dict(
        type='DualModalMAE',
        backbone=dict(
            type='VisionTransformerMoAE', moae=None, use_mean_pooling=False, img_size=8,
            patch_size=PATCH, num_frames=TUBELET * GRID[0], tubelet_size=TUBELET,
            embed_dims=SIZES['dim'], depth=SIZES['depth'], num_heads=SIZES['num_heads']),
        neck=dict(
            type='MAEDecoder', in_channels=SIZES['dim'], embed_dims=SIZES['decoder_dim'],
            depth=len(official.decoder.blocks), num_heads=SIZES['decoder_heads'],
            patch_values=3 * TUBELET * PATCH**2, table_grid=GRID),
        head=dict(type='PixelReconstructionHead', patch_size=PATCH, tubelet_size=TUBELET),
        data_preprocessor=dict(
            type='MixedMediaPreprocessor', mean=[255 * value for value in MEAN],
            std=[255 * value for value in STD])))
    missing, unexpected = model.load_state_dict(
        PRETRAINED.convert(official.state_dict(), model.backbone, {}).state, strict=False)
    assert (missing, unexpected) == (['backbone.pos_embed'], [])
    return model.double().train()


@pytest.mark.parametrize('decoder_depth', [1, 2])
@pytest.mark.parametrize('frames, num_masked', [(4, 6), (1, 3)], ids=['video', 'image'])
def test_our_loss_and_gradients_are_the_official_ones(frames, num_masked, decoder_depth):
    official = tiny(decoder_depth=decoder_depth)
    model = ours(official)
    clips, mask = batch(frames, num_masked)
    keep, masked = (chosen.nonzero()[:, 1].view(len(mask), -1) for chosen in (~mask, mask))
    both = bench_pretrain.Batch(clips, keep, masked, mask)
    losses = [bench_pretrain.loss_of(side, both) for side in (official, model)]
    assert losses[1].item() == pytest.approx(losses[0].item(), abs=1e-6)
    for loss in losses:
        loss.backward()
    gradients = {key: value.grad for key, value in model.named_parameters()
                 if value.requires_grad}
    for key, gradient in PRETRAINED.restore(gradients, {}).state.items():
        torch.testing.assert_close(
            gradient, official.get_parameter(key).grad, rtol=0, atol=1e-6, msg=key)


@pytest.mark.parametrize('media', ['video', 'image'])
def test_the_masks_of_both_sides_name_the_same_tokens(media):
    args = argparse.Namespace(media=media, batch_size=2, device='cpu', mask_ratio=0.95)
    drawn = bench_pretrain.draw_batch(args)
    for keep, masked, mask in zip(drawn.keep, drawn.masked, drawn.mask):
        assert set(keep.tolist()) == set((~mask).nonzero().flatten().tolist())
        assert set(masked.tolist()) == set(mask.nonzero().flatten().tolist())
        assert mask.sum() == int(0.95 * len(mask))


def test_the_faithful_recipe_has_the_official_tensors():
    with torch.device('meta'):
        official = OfficialPretrain().state_dict()
    state = bench_pretrain.our_model(bench_pretrain.FAITHFUL, {}).state_dict()
    converted = PRETRAINED.restore(state, {}).state
    assert {key: value.shape for key, value in converted.items()} == {
        key: value.shape for key, value in official.items()}
