"""Losses that keep the experts equally busy.

Shapes: B samples of N tokens, M = B * N tokens, E experts, k experts per token.
"""

from typing import Optional

import torch
import torch.nn.functional as F
from torch import Tensor

from .routing import Routing

BALANCES = ('switch', 'bias', 'official', 'none')


def expert_load(routing: Routing) -> Tensor:
    """Share of all M * k assignments that each expert was chosen for: (E,), sums to one."""
    chosen = F.one_hot(routing.experts, routing.logits.shape[-1]).sum((0, 1))
    return chosen.to(routing.gates.dtype) / routing.experts.numel()


def switch_balance_loss(routing: Routing, load: Tensor) -> Tensor:
    """Load-balance loss of the Switch Transformer (arXiv 2101.03961, eq. 4-6), for top-k.

    ``E * sum_e f_e P_e`` with the load ``f_e`` and the mean probability ``P_e``: 1 at uniform
    load or uniform probabilities.

    Args:
        routing (Routing): Logits of M tokens.
        load (Tensor): (E,), see :func:`expert_load`.

    Returns:
        Tensor: Scalar, differentiable through the probabilities.
    """
    return len(load) * (load * routing.logits.softmax(-1).mean(0)).sum()


def official_balance_loss(routing: Routing, num_samples: int) -> Tensor:
    """The official form on raw logits (s4d/videomae.py:125-135), for comparison only.

    ``E^2 * mean_{b,e}(f_be * m_be)`` with the share ``f_be`` of the N tokens of sample b that
    chose e, and the mean logit ``m_be``. It has no lower bound, and the official training never
    applied it (the call fails on the DDP wrapper and the error is swallowed).

    Args:
        routing (Routing): Routing of M tokens, ordered by sample.
        num_samples (int): Samples B.

    Returns:
        Tensor: Scalar.
    """
    num_experts = routing.logits.shape[-1]
    chosen = F.one_hot(routing.experts, num_experts).sum(1)  # (M, E)
    share = chosen.view(num_samples, -1, num_experts).to(routing.logits.dtype).mean(1)
    logit = routing.logits.view(num_samples, -1, num_experts).mean(1)
    return num_experts**2 * (share * logit).mean()


def z_loss(routing: Routing) -> Tensor:
    """Router z-loss (ST-MoE, arXiv 2202.08906, eq. 5): mean squared logsumexp of the logits."""
    return torch.logsumexp(routing.logits, dim=-1).square().mean()


def balance_loss(routing: Routing, load: Tensor, num_samples: int, balance: str, weight: float,
                 z_weight: float) -> Optional[Tensor]:
    """Weighted sum of the chosen losses.

    Args:
        routing (Routing): Routing of M tokens, ordered by sample.
        load (Tensor): (E,), see :func:`expert_load`.
        num_samples (int): Samples B.
        balance (str): 'switch', 'official', or 'bias' and 'none', which have no loss.
        weight (float): Factor on the chosen loss.
        z_weight (float): Factor on the z-loss; 0 leaves it out.

    Returns:
        Tensor: Scalar; None if nothing is chosen.
    """
    total = None
    if balance == 'switch':
        total = weight * switch_balance_loss(routing, load)
    elif balance == 'official':
        total = weight * official_balance_loss(routing, num_samples)
    if z_weight:
        total = (0. if total is None else total) + z_weight * z_loss(routing)
    return total
