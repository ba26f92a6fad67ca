"""A transformer layer computed for its class token alone."""

import torch.nn.functional as F
from mmpretrain.models.backbones.vision_transformer import TransformerEncoderLayer
from torch import Tensor


def class_token_of(layer: TransformerEncoderLayer, x: Tensor) -> Tensor:
    """What ``layer(x)[:, :1]`` is, without computing the other tokens.

    In a last layer of which only the class token is used, this saves the query, the output
    projection and the MLP of all others: 10/12 of its products.

    Args:
        layer (TransformerEncoderLayer): Layer of MMPretrain's ViT.
        x (Tensor): (N, L, C), the class token first.

    Returns:
        Tensor: (N, 1, C).
    """
    attn, normed = layer.attn, layer.ln1(x)
    weight, bias = attn.qkv.weight, attn.qkv.bias
    dim = x.shape[-1]
    query = F.linear(normed[:, :1], weight[:dim], bias[:dim])
    key, value = F.linear(normed, weight[dim:], bias[dim:]).chunk(2, dim=-1)
    heads = (part.unflatten(-1, (attn.num_heads, -1)).transpose(1, 2)
             for part in (query, key, value))
    dropout = attn.attn_drop if attn.training else 0.
    seen = F.scaled_dot_product_attention(*heads, dropout_p=dropout).transpose(1, 2).flatten(2)
    x = x[:, :1] + attn.out_drop(attn.gamma1(attn.proj_drop(attn.proj(seen))))
    return layer.ffn(layer.ln2(x), identity=x)
