"""Mixture of Adapter Experts (MoAE): router -> experts -> combine.

Shapes: B samples, N tokens each, M = B * N tokens of the batch, C channels, E experts, k experts
chosen per token, H hidden units of an expert.

Source: UniLearn (arXiv 2409.06154), official code finetune/s4d/videomae.py:114-372, corrected as
unilearn_s4d section 7 demands: noise only while training, no capacity limit (dropless), balance
loss on probabilities, experts whose last layer starts at zero.
"""

from typing import NamedTuple, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Routing(NamedTuple):
    """Where each token goes.

    Attributes:
        experts (Tensor): (M, k) int64, chosen experts, best first.
        gates (Tensor): (M, k) float32, weights of the chosen experts; they sum to one.
        probabilities (Tensor): (M, E) float32, softmax over all experts.
    """
    experts: Tensor
    gates: Tensor
    probabilities: Tensor


class NoisyTopKRouter(nn.Module):
    """Noisy top-k gating (Shazeer et al., arXiv 1701.06538, eq. 3-5), computed in float32.

    ``z = W_r u + b_r + eps * softplus(W_n u + b_n)`` with standard normal ``eps`` while training
    and ``eps = 0`` otherwise; gates are the softmax of ``z`` over its k largest entries.

    Args:
        dim (int): Channels C.
        num_experts (int): Experts E.
        top_k (int): Experts per token.

    Raises:
        ValueError: If ``top_k`` is not in 1..num_experts.
    """

    def __init__(self, dim: int, num_experts: int, top_k: int) -> None:
        super().__init__()
        if not 1 <= top_k <= num_experts:
            raise ValueError(f'top_k must be in 1..num_experts, found top_k={top_k} with '
                             f'num_experts={num_experts}')
        self.top_k = top_k
        self.route = nn.Linear(dim, num_experts)
        self.noise = nn.Linear(dim, num_experts)

    def forward(self, tokens: Tensor) -> Routing:
        """Route tokens (M, C)."""
        with torch.autocast(tokens.device.type, enabled=False):
            tokens = tokens.to(self.route.weight.dtype)
            logits = self.route(tokens)
            if self.training:
                logits = logits + torch.randn_like(logits) * F.softplus(self.noise(tokens))
            best, experts = logits.topk(self.top_k, dim=-1)
            return Routing(experts, best.softmax(dim=-1), logits.softmax(dim=-1))


class ExpertLinear(nn.Module):
    """E linear layers in one: weight (E, out, in), bias (E, out)."""

    def __init__(self, num_experts: int, in_features: int, out_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_experts, out_features, in_features))
        self.bias = nn.Parameter(torch.zeros(num_experts, out_features))


class AdapterExperts(nn.Module):
    """E two-layer adapters C -> H -> C with exact GELU; the second layer starts at zero.

    Args:
        dim (int): Channels C.
        hidden_dim (int): Hidden units H.
        num_experts (int): Experts E.
    """

    def __init__(self, dim: int, hidden_dim: int, num_experts: int) -> None:
        super().__init__()
        self.fc1 = ExpertLinear(num_experts, dim, hidden_dim)
        self.fc2 = ExpertLinear(num_experts, hidden_dim, dim)
        nn.init.trunc_normal_(self.fc1.weight, std=0.02)  # as every linear layer of the ViT
        nn.init.zeros_(self.fc2.weight)

    def forward(self, tokens: Tensor, routing: Routing) -> Tensor:
        """Sum of the chosen experts' outputs, weighted by their gates.

        Args:
            tokens (Tensor): (M, C).
            routing (Routing): Experts and gates of each token.

        Returns:
            Tensor: (M, C) in the gates' precision.
        """
        out = tokens.new_zeros(tokens.shape, dtype=routing.gates.dtype)
        for expert in range(self.fc1.weight.shape[0]):
            token, place = (routing.experts == expert).nonzero(as_tuple=True)
            hidden = F.gelu(F.linear(tokens[token], self.fc1.weight[expert],
                                     self.fc1.bias[expert]))
            result = F.linear(hidden, self.fc2.weight[expert], self.fc2.bias[expert])
            gate = routing.gates[token, place].unsqueeze(-1)
            out = out.index_add(0, token, gate * result)
        return out


def switch_balance_loss(routing: Routing) -> Tuple[Tensor, Tensor]:
    """Load-balance loss of the Switch Transformer (arXiv 2101.03961, eq. 4-6), for top-k.

    ``E * sum_e f_e P_e`` with ``f_e`` the share of all M * k assignments that go to expert e and
    ``P_e`` its mean probability: 1 at uniform load and probabilities.

    Args:
        routing (Routing): Experts and probabilities of M tokens.

    Returns:
        tuple: The loss (scalar, differentiable through the probabilities), and ``f`` (E,).
    """
    num_experts = routing.probabilities.shape[-1]
    load = F.one_hot(routing.experts, num_experts).sum((0, 1)).to(routing.gates.dtype)
    load = load / load.sum()
    return num_experts * (load * routing.probabilities.mean(0)).sum(), load


class MoAE(nn.Module):
    """Router, experts and balance loss of one transformer block.

    Args:
        dim (int): Channels C.
        num_experts (int): Experts E; 8 in the paper's scripts.
        top_k (int): Experts per token; 2 in the paper's scripts.
        hidden_ratio (float): H / C; 0.25 in the official code.
    """

    def __init__(self,
                 dim: int,
                 num_experts: int = 8,
                 top_k: int = 2,
                 hidden_ratio: float = 0.25) -> None:
        super().__init__()
        self.router = NoisyTopKRouter(dim, num_experts, top_k)
        self.experts = AdapterExperts(dim, int(dim * hidden_ratio), num_experts)

    def forward(self, x: Tensor) -> Tuple[Tensor, Tensor, Tensor]:
        """Mix the experts for every token.

        Args:
            x (Tensor): (B, N, C), normalised tokens.

        Returns:
            tuple: Output (B, N, C), balance loss (scalar), load (E,) that sums to one.
        """
        tokens = x.flatten(0, 1)
        routing = self.router(tokens)
        balance_loss, load = switch_balance_loss(routing)
        return self.experts(tokens, routing).view_as(x), balance_loss, load
