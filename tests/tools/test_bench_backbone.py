"""The benchmark compares equal work: its official side computes what our official preset does."""

import sys
from pathlib import Path

import torch

from unilearn_mm.models.backbones.vit_moae import VisionTransformerMoAE
from unilearn_mm.models.checkpoints.s4d import FINE_TUNED

sys.path.insert(0, str(Path(__file__).parents[2] / 'tools' / 'benchmark'))
from official_backbone import OfficialBackbone


def test_the_official_side_computes_the_official_numbers(monkeypatch):
    monkeypatch.setattr(torch, 'randn_like', torch.zeros_like)  # no routing noise on either side
    torch.manual_seed(0)
    official = OfficialBackbone(dim=32, depth=2, num_heads=2, num_tokens=8).double().eval()
    ours = VisionTransformerMoAE(
        img_size=32, num_frames=4, embed_dims=32, depth=2, num_heads=2,
        moae=dict(preset='official')).double().eval()
    for parameter in official.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    names = (('patch_embed.', 'patch_embed.proj.'), ('.fc1.', '.mlp.fc1.'), ('.fc2.', '.mlp.fc2.'),
             ('.moe.route.', '.moe_layer.router.topkroute_linear.'),
             ('.moe.noise.', '.moe_layer.router.noise_linear.'),
             ('.moe.experts.', '.moe_layer.experts.'))
    state = {}
    for key, value in official.state_dict().items():
        for theirs, published in names:
            if 'experts' not in key or 'experts' in theirs:
                key = key.replace(theirs, published)
        state[key] = value
    missing, unexpected = ours.load_state_dict(
        {key.removeprefix('backbone.'): value
         for key, value in FINE_TUNED.convert(state, ours, {}).state.items()}, strict=False)
    assert (missing, unexpected) == (['pos_embed'], [])
    official.positions = ours.pos_embed
    clip = torch.randn(3, 3, 4, 32, 32, dtype=torch.float64)
    torch.testing.assert_close(ours(clip), official(clip), rtol=0, atol=1e-10)
