"""The adapter experts and three equal ways to compute them.

Shapes: M tokens, C channels, E experts, H hidden units of an expert, k experts per token,
A = M * k assignments.
"""

from typing import Callable, Optional

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .routing import Routing

BACKENDS = ('auto', 'loop', 'grouped', 'dense')


class ExpertLinear(nn.Module):
    """E linear layers in one: parameters ``weight`` (E, out, in) and ``bias`` (E, out).

    Args:
        num_experts (int): Experts E.
        in_features (int): Size of an input row.
        out_features (int): Size of an output row.
    """

    def __init__(self, num_experts: int, in_features: int, out_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_experts, out_features, in_features))
        self.bias = nn.Parameter(torch.zeros(num_experts, out_features))


class AdapterExperts(nn.Module):
    """E two-layer adapters C -> H -> C with exact GELU, stacked.

    Args:
        dim (int): Channels C.
        hidden_dim (int): Hidden units H.
        num_experts (int): Experts E.
        backend (str): 'loop' (one expert after the other, the readable form), 'grouped' (tokens
            sorted by expert, grouped matrix products), 'dense' (all experts as one wide MLP whose
            hidden units are multiplied by the gates: no sorting, exportable), or 'auto'.
        init (str): 'zero_last' (the second layer starts at zero, so that the experts do not
            disturb pre-trained features) or 'official' (normal with std 0.02 as every linear
            layer; s4d/videomae.py:599-606).

    Raises:
        ValueError: If ``backend`` or ``init`` is unknown.
    """

    def __init__(self,
                 dim: int,
                 hidden_dim: int,
                 num_experts: int,
                 backend: str = 'auto',
                 init: str = 'zero_last') -> None:
        super().__init__()
        if backend not in BACKENDS:
            raise ValueError(f'experts backend must be one of {BACKENDS}, found {backend!r}')
        if init not in ('zero_last', 'official'):
            raise ValueError(f"experts init must be 'zero_last' or 'official', found {init!r}")
        self.backend = backend
        self.fc1 = ExpertLinear(num_experts, dim, hidden_dim)
        self.fc2 = ExpertLinear(num_experts, hidden_dim, dim)
        nn.init.trunc_normal_(self.fc1.weight, std=0.02)
        if init == 'official':
            nn.init.trunc_normal_(self.fc2.weight, std=0.02)
        else:
            nn.init.zeros_(self.fc2.weight)

    def forward(self, tokens: Tensor, routing: Routing) -> Tensor:
        """Sum of the chosen experts' outputs, weighted by their gates.

        Args:
            tokens (Tensor): (M, C).
            routing (Routing): Experts and gates of each token.

        Returns:
            Tensor: (M, C) in the gates' precision.
        """
        backend = self.backend
        if backend == 'auto':
            backend = choose_backend(tokens)
        return dict(loop=loop, grouped=grouped, dense=dense)[backend](
            tokens, routing, self.fc1, self.fc2)


def choose_backend(tokens: Tensor) -> str:
    """The backend of 'auto'.

    'dense' where 'grouped' cannot be traced (export; ``torch.compile`` knows the grouped product
    in bf16 only) or would synchronise with the host (CUDA outside bf16: there the grouped product
    copies its offsets back); 'grouped' elsewhere.

    Args:
        tokens (Tensor): (M, C), as the experts get them.
    """
    if torch.onnx.is_in_onnx_export() or torch.jit.is_tracing():
        return 'dense'
    if tokens.is_cuda or torch.compiler.is_compiling():
        return 'grouped' if compute_dtype(tokens) == torch.bfloat16 else 'dense'
    return 'grouped'


def compute_dtype(tokens: Tensor) -> torch.dtype:
    """Type of the matrix products: autocast's if it is on, else that of the tokens."""
    device = tokens.device.type
    if torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    return tokens.dtype


def loop(tokens: Tensor, routing: Routing, fc1: ExpertLinear, fc2: ExpertLinear) -> Tensor:
    """One expert after the other; the golden form. See :meth:`AdapterExperts.forward`."""
    out = tokens.new_zeros(tokens.shape, dtype=routing.gates.dtype)
    for expert in range(fc1.weight.shape[0]):
        token, place = (routing.experts == expert).nonzero(as_tuple=True)
        hidden = F.gelu(F.linear(tokens[token], fc1.weight[expert], fc1.bias[expert]))
        result = F.linear(hidden, fc2.weight[expert], fc2.bias[expert])
        gate = routing.gates[token, place].unsqueeze(-1)
        out = out.index_add(0, token, gate * result)
    return out


def dense(tokens: Tensor, routing: Routing, fc1: ExpertLinear, fc2: ExpertLinear) -> Tensor:
    """All experts as one wide MLP. See :meth:`AdapterExperts.forward`."""
    num_experts, hidden_dim, _ = fc1.weight.shape
    gates = gates_of_all(routing, num_experts)
    hidden = F.gelu(F.linear(tokens, fc1.weight.flatten(0, 1), fc1.bias.flatten()))
    hidden = hidden.view(-1, num_experts, hidden_dim) * gates.unsqueeze(-1).to(hidden.dtype)
    wide = fc2.weight.transpose(0, 1).flatten(1)  # (C, E * H)
    return F.linear(hidden.flatten(1), wide).to(gates.dtype) + gates @ fc2.bias.to(gates.dtype)


def gates_of_all(routing: Routing, num_experts: int) -> Tensor:
    """Gates of all experts, (M, E): zero for those that a token did not choose."""
    return routing.gates.new_zeros(len(routing.gates), num_experts).scatter(
        1, routing.experts, routing.gates)


def grouped(tokens: Tensor, routing: Routing, fc1: ExpertLinear, fc2: ExpertLinear) -> Tensor:
    """Tokens sorted by expert, one product per layer. See :meth:`AdapterExperts.forward`.

    The gates multiply the hidden units, not the outputs: the same sum, but the backward pass
    keeps (A, H) values for it instead of (A, C).
    """
    num_tokens, top_k = routing.experts.shape
    num_experts = fc1.weight.shape[0]
    flat = routing.experts.flatten()
    expert, order = flat.sort(stable=True)
    counts = F.one_hot(flat, num_experts).sum(0)
    dtype = compute_dtype(tokens)
    rows = tokens.to(dtype)[order // top_k]  # (A, C)
    hidden = grouped_product(rows, fc1.weight, counts) + fc1.bias.to(dtype)[expert]
    hidden = (F.gelu(hidden) * routing.gates.flatten()[order].unsqueeze(-1)).to(dtype)
    rows = grouped_product(hidden, fc2.weight, counts)
    back = torch.empty_like(order).scatter_(0, order, torch.arange(len(order),
                                                                   device=order.device))
    gates = gates_of_all(routing, num_experts)
    out = rows[back].view(num_tokens, top_k, -1).sum(1, dtype=gates.dtype)
    return out + gates @ fc2.bias.to(gates.dtype)


def grouped_product(rows: Tensor, weight: Tensor, counts: Tensor) -> Tensor:
    """``rows[a] @ weight[e].T`` for rows sorted by their expert e.

    Args:
        rows (Tensor): (A, in).
        weight (Tensor): (E, out, in).
        counts (Tensor): (E,) int64, rows of each expert.

    Returns:
        Tensor: (A, out) in the type of the rows.
    """
    weight = weight.to(rows.dtype)
    product = _grouped_mm()
    if product is not None and _fits_grouped_mm(rows, weight):
        return product(rows, weight.transpose(1, 2), offs=counts.cumsum(0).to(torch.int32))
    parts = rows.split(counts.tolist())
    return torch.cat([F.linear(part, weight[e]) for e, part in enumerate(parts)])


def _grouped_mm() -> Optional[Callable]:
    return getattr(F, 'grouped_mm', None)


def _fits_grouped_mm(rows: Tensor, weight: Tensor) -> bool:
    """grouped_mm refuses fp64 and rows that are no multiple of 16 bytes."""
    aligned = all(size * rows.element_size() % 16 == 0 for size in weight.shape[1:])
    return aligned and rows.dtype in (torch.bfloat16, torch.float16, torch.float32)
