"""Multi-head self-attention through scaled_dot_product_attention."""

from typing import Optional, Tuple

import torch
import torch.nn.functional as F
from mmaction.models.backbones.vit_mae import Attention
from torch import Tensor


class SDPAttention(Attention):
    """The attention of MMAction2's VideoMAE ViT, computed by the fused kernel.

    Same parameters and names (``qkv``, ``q_bias``, ``v_bias``, ``proj``), same result: the bias of
    the keys is fixed to zero, as in VideoMAE.
    """

    def forward(self, x: Tensor, context: Optional[Tensor] = None) -> Tensor:
        """Attend over all tokens of the context.

        Args:
            x (Tensor): (B, N, C).
            context (Tensor, optional): (B, M, C), whose keys and values are used; ``x`` if None.

        Returns:
            Tensor: (B, N, C).
        """
        dim = x.shape[-1]
        weight, bias = self.qkv.weight, None
        if hasattr(self, 'q_bias'):
            bias = torch.cat((self.q_bias, torch.zeros_like(self.v_bias), self.v_bias))
        if context is None:
            query, key, value = self._heads(F.linear(x, weight, bias), 3)
        else:
            query, = self._heads(F.linear(x, weight[:dim], None if bias is None else bias[:dim]),
                                 1)
            key, value = self._heads(
                F.linear(context, weight[dim:], None if bias is None else bias[dim:]), 2)
        dropout = self.attn_drop.p if self.training else 0.
        x = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout, scale=self.scale)
        return self.proj_drop(self.proj(x.transpose(1, 2).flatten(2)))

    def _heads(self, projected: Tensor, parts: int) -> Tuple[Tensor, ...]:
        """(B, N, parts * C) -> ``parts`` tensors (B, heads, N, C / heads)."""
        batch, num_tokens, _ = projected.shape
        return projected.view(batch, num_tokens, parts, self.num_heads, -1).permute(
            2, 0, 3, 1, 4).unbind(0)
