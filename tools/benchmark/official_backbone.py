"""A plain restatement of the official fine-tuning model's computation, to measure against.

The computation of S4D's finetune/s4d/videomae.py, in our own words: Conv3d
patches, explicit attention matrices, and in the upper half of the blocks a loop over experts that
gathers the first C tokens of each and adds their results (capacity 1.0).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
    """Explicit softmax(q k^T) v with q and v biases."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads, self.scale = num_heads, (dim // num_heads)**-0.5
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.q_bias, self.v_bias = nn.Parameter(torch.zeros(dim)), nn.Parameter(torch.zeros(dim))
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        batch, num, dim = x.shape
        bias = torch.cat((self.q_bias, torch.zeros_like(self.v_bias), self.v_bias))
        qkv = F.linear(x, self.qkv.weight, bias).reshape(batch, num, 3, self.num_heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        weights = (q * self.scale @ k.transpose(-2, -1)).softmax(dim=-1)
        return self.proj((weights @ v).transpose(1, 2).reshape(batch, num, dim))


class Expert(nn.Module):
    """Two-layer adapter."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, dim // 4), nn.Linear(dim // 4, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(M, C) -> (M, C)."""
        return self.fc2(F.gelu(self.fc1(x)))


class MoE(nn.Module):
    """Noisy top-k routing with capacity 1.0, one expert after the other."""

    def __init__(self, dim: int, num_experts: int = 8, top_k: int = 2) -> None:
        super().__init__()
        self.num_experts, self.top_k = num_experts, top_k
        self.route, self.noise = nn.Linear(dim, num_experts), nn.Linear(dim, num_experts)
        self.experts = nn.ModuleList(Expert(dim) for _ in range(num_experts))

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        logits = self.route(x)
        logits = logits + torch.randn_like(logits) * F.softplus(self.noise(x))
        best, index = logits.topk(self.top_k, dim=-1)
        gates = torch.full_like(logits, float('-inf')).scatter(-1, index, best).softmax(dim=-1)
        tokens, gates = x.reshape(-1, x.shape[-1]), gates.reshape(-1, self.num_experts)
        out = torch.zeros_like(tokens)
        capacity = int(len(tokens) * self.top_k / self.num_experts)
        for number, expert in enumerate(self.experts):
            chosen = (index == number).any(dim=-1).flatten().nonzero().squeeze(1)[:capacity]
            if len(chosen):
                result = expert(tokens[chosen]) * gates[chosen, number].unsqueeze(1)
                out.index_add_(0, chosen, result.to(out.dtype))
        return out.view_as(x)


class Block(nn.Module):
    """Pre-norm block; the experts stand beside the MLP."""

    def __init__(self, dim: int, num_heads: int, experts: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps=1e-6), nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, num_heads)
        self.fc1, self.fc2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)
        self.moe = MoE(dim) if experts else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        x = x + self.attn(self.norm1(x))
        normed = self.norm2(x)
        branch = self.fc2(F.gelu(self.fc1(normed)))
        return x + (branch if self.moe is None else branch + self.moe(normed))


class OfficialBackbone(nn.Module):
    """ViT with experts in the upper half of its blocks.

    Args:
        dim (int), depth (int), num_heads (int): As ``VisionTransformerMoAE``.
        num_tokens (int): Tokens of a clip.
    """

    def __init__(self, dim: int = 768, depth: int = 12, num_heads: int = 12,
                 num_tokens: int = 800) -> None:
        super().__init__()
        self.patch_embed = nn.Conv3d(3, dim, (2, 16, 16), (2, 16, 16))
        self.positions = torch.zeros(1, num_tokens, dim)
        self.blocks = nn.ModuleList(
            Block(dim, num_heads, experts=index >= depth // 2) for index in range(depth))
        self.fc_norm = nn.LayerNorm(dim, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """Clip (B, 3, T, H, W) -> feature (B, C)."""
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = x + self.positions.type_as(x).to(x.device).clone().detach()
        for block in self.blocks:
            x = block(x)
        return self.fc_norm(x.mean(1))
