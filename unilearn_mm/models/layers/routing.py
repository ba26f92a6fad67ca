"""Which experts a token goes to.

Shapes: B samples of N tokens, M = B * N tokens, C channels, E experts, k experts per token.
"""

from typing import NamedTuple, Optional

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NOISE_MODES = ('train', 'always', 'never')
CAPACITY_ORDERS = ('first', 'gate')


class Routing(NamedTuple):
    """Where each token goes.

    Attributes:
        experts (Tensor): (M, k) int64, chosen experts, best first.
        gates (Tensor): (M, k), weights of the chosen experts. They sum to one, but for
            assignments beyond the capacity, whose gates are zero.
        logits (Tensor): (M, E), noisy logits.
    """
    experts: Tensor
    gates: Tensor
    logits: Tensor


class NoisyTopKRouter(nn.Module):
    """Noisy top-k gating (Shazeer et al., arXiv 1701.06538, eq. 3-5), not autocast.

    ``z = W_r u + b_r + eps * softplus(W_n u + b_n)`` with standard normal ``eps``; the gates are
    the softmax of ``z`` over the chosen experts, which are the k largest entries of ``z``.

    Args:
        dim (int): Channels C.
        num_experts (int): Experts E.
        top_k (int): Experts per token k.
        noise (str): When ``eps`` is drawn (it is zero otherwise): 'train' (while training),
            'always' (the official code, in evaluation too), 'never'.
        selection_bias (bool): Whether there is a ``bias`` (E,), a buffer that is added to the
            probabilities when the experts are chosen, not in the gates, and is moved against the
            load by ``update_selection_bias`` (auxiliary-loss-free balancing, arXiv 2408.15664).

    Raises:
        ValueError: If ``top_k`` is not in 1..num_experts, or ``noise`` is unknown.
    """

    checkpoint_settings = ('top_k', 'noise_mode')

    def __init__(self,
                 dim: int,
                 num_experts: int,
                 top_k: int,
                 noise: str = 'train',
                 selection_bias: bool = False) -> None:
        super().__init__()
        if not 1 <= top_k <= num_experts:
            raise ValueError(f'top_k must be in 1..num_experts, found top_k={top_k} with '
                             f'num_experts={num_experts}')
        if noise not in NOISE_MODES:
            raise ValueError(f'noise must be one of {NOISE_MODES}, found {noise!r}')
        self.top_k = top_k
        self.noise_mode = noise
        self.route = nn.Linear(dim, num_experts)
        self.noise = nn.Linear(dim, num_experts)
        self.register_buffer('bias', torch.zeros(num_experts) if selection_bias else None)

    def forward(self, tokens: Tensor) -> Routing:
        """Choose the experts of each token.

        Args:
            tokens (Tensor): (M, C), of any floating type.

        Returns:
            Routing: In the type of the router's weights, float32 under autocast too.
        """
        with torch.autocast(tokens.device.type, enabled=False):
            tokens = tokens.to(self.route.weight.dtype)
            logits = self.route(tokens)
            if self.noise_mode == 'always' or (self.noise_mode == 'train' and self.training):
                logits = logits + torch.randn_like(logits) * F.softplus(self.noise(tokens))
            if self.bias is None:
                chosen, experts = logits.topk(self.top_k, dim=-1)
            else:
                preference = logits.detach().softmax(-1) + self.bias
                experts = preference.topk(self.top_k, dim=-1).indices
                chosen = logits.gather(-1, experts)
            return Routing(experts, chosen.softmax(dim=-1), logits)

    @torch.no_grad()
    def update_selection_bias(self, load: Tensor, rate: float = 1e-3) -> None:
        """Move the selection bias one step against the load.

        Args:
            load (Tensor): (E,) share of assignments of each expert, over all ranks.
            rate (float): Step; 1e-3 in arXiv 2408.15664.
        """
        self.bias += rate * torch.sign(load.mean() - load)


def limit_capacity(routing: Routing, capacity_factor: Optional[float], order: str) -> Routing:
    """Set the gates of assignments beyond an expert's capacity to zero.

    Every expert takes at most ``C = int(M * k / E * capacity_factor)`` tokens; the remaining
    gates are not renormalised (official code, s4d/videomae.py:264-282).

    Args:
        routing (Routing): Routing of M tokens, ordered by sample and position.
        capacity_factor (float, optional): None for no limit (dropless).
        order (str): Which tokens an expert takes: 'first' (official: the first in the batch, so
            that the result depends on the batch mates), or 'gate' (the largest gates).

    Returns:
        Routing: The same routing with some gates zero.

    Raises:
        ValueError: If ``order`` is unknown.
    """
    if capacity_factor is None:
        return routing
    if order not in CAPACITY_ORDERS:
        raise ValueError(f'capacity order must be one of {CAPACITY_ORDERS}, found {order!r}')
    experts, gates, logits = routing
    num_tokens, top_k = experts.shape
    num_experts = logits.shape[-1]
    capacity = int(num_tokens * top_k / num_experts * capacity_factor)
    flat = experts.flatten()
    # queue the assignments: a stable sort by expert of what is already in order of preference
    queue = (torch.arange(flat.numel(), device=flat.device) if order == 'first' else
             gates.detach().flatten().argsort(descending=True, stable=True))
    queue = queue[flat[queue].argsort(stable=True)]
    counts = F.one_hot(flat, num_experts).sum(0)
    place = torch.arange(flat.numel(), device=flat.device) - (counts.cumsum(0) - counts)[
        flat[queue]]
    kept = torch.empty_like(flat, dtype=torch.bool)
    kept[queue] = place < capacity
    return Routing(experts, gates * kept.view_as(gates), logits)
