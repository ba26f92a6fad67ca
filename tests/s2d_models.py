"""Small models of S2D, ours and the restatement of the official ones, with the same weights."""

from pathlib import Path

import torch
from mmaction.registry import MODELS
from official_s2d import LandmarkNet, OfficialS2D, Sizes
from torch import nn

SMALL = Sizes(dim=64, depth=3, num_heads=4, patch=8, grid=2, frames=4, narrow=8, wide=16,
              narrow_blocks=1, wide_blocks=2)
PIXELS = SMALL.patch * SMALL.grid
NET = dict(type='MobileFaceNet', channels=(8, 16), num_blocks=(1, 2))


def drawn(module: nn.Module, seed: int) -> nn.Module:
    """A module with no weight or statistic at a value that would hide a mistake."""
    generator = torch.Generator().manual_seed(seed)
    for name, values in module.state_dict().items():
        if values.is_floating_point():
            spread = 0.5 + torch.rand(values.shape, generator=generator)
            noise = 0.2 * torch.randn(values.shape, generator=generator)
            values.copy_(spread if 'running_var' in name else noise)
    return module


def official(temporal: bool = True, sizes: Sizes = SMALL, seed: int = 0):
    """The official model and landmark net, restated, with drawn weights."""
    return drawn(OfficialS2D(sizes, temporal), seed).eval(), drawn(LandmarkNet(sizes), seed + 1)


def landmark_file(net: LandmarkNet, folder: Path) -> str:
    """A file as the official one of the landmark net is."""
    path = folder / 'mobilefacenet_model_best.pth.tar'
    torch.save(dict(epoch=7, arch='MobileFaceNet', state_dict=net.state_dict()), path)
    return str(path)


def backbone_cfg(sizes: Sizes = SMALL, **options) -> dict:
    """Config of our backbone with these sizes."""
    return {**dict(
        type='S2DVisionTransformer',
        arch=dict(embed_dims=sizes.dim, num_layers=sizes.depth, num_heads=sizes.num_heads,
                  feedforward_channels=4 * sizes.dim),
        img_size=sizes.patch * sizes.grid, patch_size=sizes.patch, num_frames=sizes.frames,
        landmark_net=NET), **options}


def ours(model: OfficialS2D, net: LandmarkNet, **options) -> nn.Module:
    """Our backbone with the weights of the official nets."""
    backbone = MODELS.build(backbone_cfg(**options))
    family = backbone.checkpoint_families[0]
    state = family.convert(model.state_dict(), backbone, {}).state
    own = backbone.state_dict()
    state.update({f'backbone.landmark_net.{key}': value for key, value in net.state_dict().items()
                  if f'landmark_net.{key}' in own})
    backbone.load_state_dict({key.removeprefix('backbone.'): value
                              for key, value in state.items()})
    return backbone.eval()
