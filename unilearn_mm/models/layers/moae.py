"""Mixture of Adapter Experts (MoAE): router -> experts -> combine, for one transformer block.

Source: UniLearn (arXiv 2409.06154), official code finetune/s4d/videomae.py:114-372. The defaults
are the corrected form (noise only while training, no capacity limit, a balance loss on
probabilities, experts whose last layer starts at zero); ``PRESETS['official']`` is the literal
one.
"""

from typing import NamedTuple, Optional, Tuple

from torch import Tensor, nn

from .balance import BALANCES, balance_loss, expert_load
from .experts import AdapterExperts
from .routing import CAPACITY_ORDERS, NoisyTopKRouter, limit_capacity

PRESETS = dict(
    default=dict(),
    # what the official training and evaluation do (s4d/videomae.py:114-372)
    official=dict(
        noise='always',
        balance='none',
        init='official',
        capacity_factor=1.0,
        capacity_order='first'))


class MoAEReport(NamedTuple):
    """What a MoAE says of a batch.

    Attributes:
        balance_loss (Tensor): Scalar to add to the loss; None if there is none.
        load (Tensor): (E,), share of the assignments of each expert, detached, sums to one.
        dropped (Tensor): Scalar, share of the assignments beyond the capacity, detached.
    """
    balance_loss: Optional[Tensor]
    load: Tensor
    dropped: Tensor


class MoAE(nn.Module):
    """Router, experts and balance loss of one transformer block.

    Args:
        dim (int): Channels C.
        num_experts (int): Experts E; 8 in the paper's scripts.
        top_k (int): Experts per token; 2 in the paper's scripts.
        hidden_ratio (float): Hidden units of an expert / C; 0.25 in the official code.
        noise (str): 'train', 'always' (official) or 'never'; see ``NoisyTopKRouter``.
        balance (str): 'switch' (loss on probabilities), 'bias' (no loss, a selection bias that
            ``RoutingHook`` moves against the load), 'official' (loss on raw logits), or 'none'
            (what the official training really did).
        balance_loss_weight (float): Factor on the balance loss; 1e-2 as in the Switch
            Transformer.
        z_loss_weight (float): Factor on the router z-loss; 1e-3 in ST-MoE.
        capacity_factor (float, optional): None for no limit; 1.0 in the official code.
        capacity_order (str): 'first' (official) or 'gate'; see ``limit_capacity``.
        init (str): 'zero_last' or 'official'; see ``AdapterExperts``.
        backend (str): 'auto', 'loop', 'grouped' or 'dense'; see ``AdapterExperts``.

    Raises:
        ValueError: If a choice is unknown or ``top_k`` is not in 1..num_experts.
    """

    checkpoint_settings = ('capacity_factor', 'capacity_order')

    def __init__(self,
                 dim: int,
                 num_experts: int = 8,
                 top_k: int = 2,
                 hidden_ratio: float = 0.25,
                 noise: str = 'train',
                 balance: str = 'switch',
                 balance_loss_weight: float = 1e-2,
                 z_loss_weight: float = 0.,
                 capacity_factor: Optional[float] = None,
                 capacity_order: str = 'first',
                 init: str = 'zero_last',
                 backend: str = 'auto') -> None:
        super().__init__()
        if balance not in BALANCES:
            raise ValueError(f'balance must be one of {BALANCES}, found {balance!r}')
        if capacity_order not in CAPACITY_ORDERS:
            raise ValueError(f'capacity_order must be one of {CAPACITY_ORDERS}, found '
                             f'{capacity_order!r}')
        self.balance = balance
        self.balance_loss_weight = balance_loss_weight
        self.z_loss_weight = z_loss_weight
        self.capacity_factor = capacity_factor
        self.capacity_order = capacity_order
        self.router = NoisyTopKRouter(
            dim, num_experts, top_k, noise, selection_bias=balance == 'bias')
        self.experts = AdapterExperts(dim, int(dim * hidden_ratio), num_experts, backend, init)

    def forward(self, x: Tensor) -> Tuple[Tensor, MoAEReport]:
        """Mix the experts for every token.

        Args:
            x (Tensor): (B, N, C), normalised tokens.

        Returns:
            tuple: Output (B, N, C), and the report.
        """
        tokens = x.flatten(0, 1)
        routing = self.router(tokens)
        load = expert_load(routing)
        loss = balance_loss(routing, load, len(x), self.balance, self.balance_loss_weight,
                            self.z_loss_weight)
        routing = limit_capacity(routing, self.capacity_factor, self.capacity_order)
        dropped = load.new_zeros(())
        if self.capacity_factor is not None:
            dropped = (routing.gates == 0).to(load.dtype).mean()
        out = self.experts(tokens, routing).view_as(x)
        return out, MoAEReport(loss, load.detach(), dropped.detach())
