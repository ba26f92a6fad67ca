"""A small transformer over the moments of a clip (MMA-DFER)."""

import torch
from mmpretrain.models.backbones.vision_transformer import TransformerEncoderLayer
from torch import Tensor, nn

from .positions import positions_for


class TemporalTransformer(nn.Module):
    """One feature of a clip from one for each of its moments, by a class token.

    Args:
        num_frames (int): Moments for which positions are learnt; those of clips of another
            length are interpolated.
        embed_dims (int): Channels C; 512 in MMA-DFER (arXiv 2404.09010), as below.
        num_layers (int): Pre-norm layers; 1.
        num_heads (int): 8.
        feedforward_channels (int): 1024.
    """

    def __init__(self,
                 num_frames: int,
                 embed_dims: int = 512,
                 num_layers: int = 1,
                 num_heads: int = 8,
                 feedforward_channels: int = 1024) -> None:
        super().__init__()
        self.num_frames = num_frames
        self.embed_dims = embed_dims
        self.cls_token = nn.Parameter(torch.randn(1, 1, embed_dims))
        self.pos_embed = nn.Parameter(torch.randn(1, 1 + num_frames, embed_dims))
        self.layers = nn.ModuleList(
            TransformerEncoderLayer(
                embed_dims,
                num_heads,
                feedforward_channels,
                qkv_bias=False,
                act_cfg=dict(type='GELU', approximate='tanh'),
                norm_cfg=dict(type='LN', eps=1e-5)) for _ in range(num_layers))

    def forward(self, x: Tensor) -> Tensor:
        """Feature of each clip.

        Args:
            x (Tensor): (N, T, C).

        Returns:
            Tensor: (N, C).
        """
        moments = positions_for(self.pos_embed[:, 1:], (self.num_frames, 1, 1),
                                (x.shape[1], 1, 1), is_image=False)
        first = (self.cls_token + self.pos_embed[:, :1]).expand(len(x), -1, -1)
        x = torch.cat((first, x + moments), dim=1)
        for layer in self.layers:
            x = layer(x)
        return x[:, 0]
