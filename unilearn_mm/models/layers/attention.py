"""Multi-head self-attention through scaled_dot_product_attention."""

import torch
import torch.nn.functional as F
from mmaction.models.backbones.vit_mae import Attention
from torch import Tensor


class SDPAttention(Attention):
    """The attention of MMAction2's VideoMAE ViT, computed by the fused kernel.

    Same parameters and names (``qkv``, ``q_bias``, ``v_bias``, ``proj``), same result: the bias of
    the keys is fixed to zero, as in VideoMAE.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Attend over all tokens.

        Args:
            x (Tensor): (B, N, C).

        Returns:
            Tensor: (B, N, C).
        """
        batch, num_tokens, dim = x.shape
        bias = None
        if hasattr(self, 'q_bias'):
            bias = torch.cat((self.q_bias, torch.zeros_like(self.v_bias), self.v_bias))
        qkv = F.linear(x, self.qkv.weight, bias)
        query, key, value = qkv.view(batch, num_tokens, 3, self.num_heads, -1).permute(
            2, 0, 3, 1, 4).unbind(0)
        dropout = self.attn_drop.p if self.training else 0.
        x = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout, scale=self.scale)
        x = x.transpose(1, 2).reshape(batch, num_tokens, dim)
        return self.proj_drop(self.proj(x))
