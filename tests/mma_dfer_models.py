"""Small models of MMA-DFER, ours and the restatement of the official one, of the same weights."""

import torch
from mmaction.registry import MODELS
from official_mma_dfer import OfficialMMADFER, Sizes
from torch import nn

SMALL = Sizes(dim=32, depth=4, num_heads=4, patch=8, image=(2, 2), sound=(3, 2), frames=4,
              prompts=2, every=2, latent=8, temporal_dim=24, temporal_heads=2, temporal_hidden=40)


def drawn(module: nn.Module, seed: int) -> nn.Module:
    """A module with no weight at a value that would hide a mistake, and lively outputs."""
    generator = torch.Generator().manual_seed(seed)
    for name, values in module.state_dict().items():
        noise = torch.randn(values.shape, generator=generator)
        if values.dim() > 1 and name.endswith('weight'):
            values.copy_(noise * (2 / values[0].numel())**0.5)
        else:
            values.copy_((1. if 'norm' in name and 'weight' in name else 0.) + 0.4 * noise)
    return module


def official(sizes: Sizes = SMALL) -> OfficialMMADFER:
    """The official model, restated, with drawn weights."""
    return drawn(OfficialMMADFER(sizes), 0).eval()


def backbone_cfg(sizes: Sizes = SMALL, **options) -> dict:
    """Config of our backbone with these sizes."""
    def encoder(grid):
        return dict(img_size=tuple(sizes.patch * length for length in grid),
                    patch_size=sizes.patch, drop_path_rate=sizes.drop_path)

    return {**dict(
        type='AVFusionViT',
        arch=dict(embed_dims=sizes.dim, num_layers=sizes.depth, num_heads=sizes.num_heads,
                  feedforward_channels=4 * sizes.dim),
        visual=encoder(sizes.image), audio=encoder(sizes.sound), num_frames=sizes.frames,
        num_prompts=sizes.prompts, prompt_every=sizes.every, latent_dims=sizes.latent,
        temporal=dict(embed_dims=sizes.temporal_dim, num_heads=sizes.temporal_heads,
                      feedforward_channels=sizes.temporal_hidden)), **options}


def recognizer_cfg(sizes: Sizes = SMALL, task: str = 'dfew', **options) -> dict:
    """Config of our recognizer with these sizes and the official normalisation."""
    return dict(
        type='MMRecognizer3D', backbone=backbone_cfg(sizes, **options),
        cls_head=dict(type='MultiTaskHead', in_channels=sizes.temporal_dim,
                      num_classes={task: sizes.num_classes}),
        data_preprocessor=dict(
            type='MixedMediaPreprocessor', mean=[0.] * 3, std=[255.] * 3,
            audios=dict(mean=-4.2677393, std=2 * 4.5689974)))


def ours(model: OfficialMMADFER, sizes: Sizes = SMALL, **options) -> nn.Module:
    """Our recognizer with the weights of the official model."""
    recognizer = MODELS.build(recognizer_cfg(sizes, **options))
    family = recognizer.backbone.checkpoint_families[0]
    recognizer.load_state_dict(
        family.convert(model.state_dict(), recognizer.backbone, dict(video='dfew')).state)
    return recognizer.eval()


def inputs(num: int = 2, sizes: Sizes = SMALL, frames: int = 0, dtype=torch.float32, seed: int = 3):
    """Normalised frames (B, T, 3, H, W) and sound (B, 1, F, M)."""
    generator = torch.Generator().manual_seed(seed)
    image, sound = ([sizes.patch * length for length in grid]
                    for grid in (sizes.image, sizes.sound))
    return (torch.rand(num, frames or sizes.frames, 3, *image, dtype=dtype, generator=generator),
            torch.randn(num, 1, *sound, dtype=dtype, generator=generator))
