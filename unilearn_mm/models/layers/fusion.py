"""Bottlenecks through which two streams of tokens learn of each other (MMA-DFER)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class GatedBottleneck(nn.Module):
    """One stream's side of a fusion bottleneck (MMA-DFER, arXiv 2404.09010).

    The tokens are reduced to a few channels. What is added to them is made of these channels and
    of the mean of the other stream's, behind a gate that is closed at first.

    Args:
        embed_dims (int): Channels C of the tokens.
        latent_dims (int): Channels d to which they are reduced; 128 in the paper.
    """

    def __init__(self, embed_dims: int, latent_dims: int = 128) -> None:
        super().__init__()
        self.down = nn.Linear(embed_dims, latent_dims)
        self.norm = nn.LayerNorm(latent_dims)
        self.up = nn.Linear(latent_dims, embed_dims)
        self.gate = nn.Parameter(torch.zeros(1))

    def reduce(self, tokens: Tensor) -> Tensor:
        """Tokens (N, L, C) in few channels, (N, L, d)."""
        return self.norm(self.down(tokens))

    def add(self, tokens: Tensor, reduced: Tensor) -> Tensor:
        """Tokens (N, L, C) with what the gate lets through of ``reduced`` (N, L, d).

        Args:
            tokens (Tensor): (N, L, C).
            reduced (Tensor): (N, L, d), the other stream's mean added where there is one.

        Returns:
            Tensor: (N, L, C), ``tokens + tanh(gate) * GELU(up(reduced))``.
        """
        return torch.addcmul(tokens, self.gate.tanh(), F.gelu(self.up(reduced)))
