"""Transformer block with adapter experts."""

from typing import Optional, Tuple

from mmaction.models.backbones.vit_mae import Block
from torch import Tensor

from .attention import SDPAttention
from .moae import MoAE, MoAEReport


class MoAEBlock(Block):
    """Pre-norm block: ``x + Attn(LN1 x)``, then ``x + DropPath(MLP(u) + MoAE(u))``, u = LN2 x.

    The dense MLP stays; the experts are added beside it (official code, s4d/videomae.py:327-372).
    Parameter names are those of MMAction2's Block; the experts live under ``moae``.

    Args:
        moae (dict, optional): Arguments of :class:`MoAE`; None makes a dense block.
        embed_dims (int), num_heads (int), attn_drop_rate (float), and others: see ``Block``.
    """

    def __init__(self,
                 embed_dims: int,
                 num_heads: int,
                 moae: Optional[dict] = None,
                 qkv_bias: bool = True,
                 qk_scale: Optional[float] = None,
                 attn_drop_rate: float = 0.,
                 drop_rate: float = 0.,
                 **kwargs) -> None:
        super().__init__(embed_dims, num_heads, drop_rate=drop_rate, **kwargs)
        self.attn = SDPAttention(
            embed_dims,
            num_heads,
            qkv_bias=qkv_bias,
            qk_scale=qk_scale,
            attn_drop_rate=attn_drop_rate,
            drop_rate=drop_rate)
        self.moae = MoAE(embed_dims, **moae) if moae is not None else None

    def forward(self,
                x: Tensor,
                context: Optional[Tensor] = None) -> Tuple[Tensor, Optional[MoAEReport]]:
        """Transform tokens.

        Args:
            x (Tensor): (B, N, C).
            context (Tensor, optional): (B, M, C), normalised, what the tokens attend to; they
                attend to each other if None.

        Returns:
            tuple: Tokens (B, N, C), and the report of the experts (None in a dense block).
        """
        attended = self.attn(self.norm1(x), context)
        x = x + self.drop_path(self._scaled(attended, 'gamma_1'))
        normed = self.norm2(x)
        branch, report = self.mlp(normed), None
        if self.moae is not None:
            mixed, report = self.moae(normed)
            branch = branch + mixed
        return x + self.drop_path(self._scaled(branch, 'gamma_2')), report

    def _scaled(self, branch: Tensor, gamma: str) -> Tensor:
        # LayerScale; Block has the parameters only with init_values > 0
        return getattr(self, gamma) * branch if hasattr(self, gamma) else branch
