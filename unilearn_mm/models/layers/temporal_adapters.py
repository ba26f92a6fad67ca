"""Adapters that let a ViT for images see motion (S2D)."""

import torch.nn.functional as F
from torch import Tensor, nn


class TemporalAttention(nn.Module):
    """Self-attention over the frames of a clip, at each place on its own.

    Args:
        embed_dims (int): Channels c.
        num_heads (int): Attention heads.
    """

    def __init__(self, embed_dims: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(embed_dims, 3 * embed_dims, bias=False)
        self.proj = nn.Linear(embed_dims, embed_dims)

    def forward(self, x: Tensor, num_frames: int) -> Tensor:
        """Attend over the frames.

        Args:
            x (Tensor): (N * T, L, c), the frames of a clip adjacent.
            num_frames (int): T.

        Returns:
            Tensor: (N * T, L, c).
        """
        places, channels = x.shape[1:]
        x = x.view(-1, num_frames, places, channels).transpose(1, 2)  # (N, L, T, c)
        heads = self.qkv(x).view(-1, num_frames, 3, self.num_heads, channels // self.num_heads)
        query, key, value = heads.permute(2, 0, 3, 1, 4)  # each (N * L, heads, T, c / heads)
        # not the fused kernel: for so short sequences it takes up to twice the time on a CPU
        weights = (query * query.shape[-1]**-0.5 @ key.transpose(-2, -1)).softmax(dim=-1)
        x = (weights @ value).transpose(1, 2).reshape(-1, places, num_frames, channels)
        return self.proj(x.transpose(1, 2).reshape(-1, places, channels))


class TemporalAdapter(nn.Module):
    """Temporal-modelling adapter, TMA (S2D, arXiv 2312.05447): over time, then in each frame.

    Two bottlenecks one after the other, a layer norm between them and no skip connection: the
    first attends over the frames, the second sees each token alone.

    Args:
        embed_dims (int): Channels C of the tokens.
        ratio (float): Channels of the bottlenecks, as a share of C; 0.25 in the paper.
        num_heads (int): Heads of the attention over time; 8 in the paper.
        zero_init (bool): Whether the last layer starts at zero, so that the adapter does nothing
            at first. The official code means to do so, but a later initialisation undoes it
            (model_finetuning.py:85, 213-215, 418-419).
    """

    def __init__(self,
                 embed_dims: int,
                 ratio: float = 0.25,
                 num_heads: int = 8,
                 zero_init: bool = False) -> None:
        super().__init__()
        hidden_dims = int(embed_dims * ratio)
        self.temporal_down = nn.Linear(embed_dims, hidden_dims)
        self.attn = TemporalAttention(hidden_dims, num_heads)
        self.temporal_up = nn.Linear(hidden_dims, embed_dims)
        self.norm = nn.LayerNorm(embed_dims)
        self.spatial_down = nn.Linear(embed_dims, hidden_dims)
        self.spatial_up = nn.Linear(hidden_dims, embed_dims)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        if zero_init:
            nn.init.zeros_(self.spatial_up.weight)

    def forward(self, x: Tensor, num_frames: int) -> Tensor:
        """What the frames of a clip tell each token.

        Args:
            x (Tensor): (N * T, L, C), normalised tokens, the frames of a clip adjacent.
            num_frames (int): T.

        Returns:
            Tensor: (N * T, L, C).
        """
        x = self.attn(F.gelu(self.temporal_down(x)), num_frames)
        x = self.norm(self.temporal_up(x))
        return self.spatial_up(F.gelu(self.spatial_down(x)))
