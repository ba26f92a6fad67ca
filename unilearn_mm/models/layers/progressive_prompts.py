"""Learnable tokens beside those of the input, renewed on the way through a ViT (MMA-DFER)."""

import torch
from torch import Tensor, nn


class ProgressivePrompts(nn.Module):
    """Prompt tokens of a ViT (MMA-DFER, arXiv 2404.09010): groups of them, one for each part of
    its depth.

    All groups are appended to the input. After the first layer of its part, a group has another
    learnable offset added.

    Args:
        embed_dims (int): Channels C of the tokens.
        num_layers (int): Layers of the ViT.
        num_prompts (int): Prompts of a group; 3 in the paper.
        every (int): Layers of a part; 6 in the paper, so that a ViT of 12 layers has two groups.

    Raises:
        ValueError: If ``num_prompts`` or ``every`` is not positive.
    """

    checkpoint_settings = ('every', )

    def __init__(self,
                 embed_dims: int,
                 num_layers: int,
                 num_prompts: int = 3,
                 every: int = 6) -> None:
        super().__init__()
        if num_prompts < 1 or every < 1:
            raise ValueError('num_prompts and prompt_every must be positive, found '
                             f'{num_prompts} and {every}')
        self.num_prompts = num_prompts
        self.every = every
        groups = len(range(0, num_layers, every))
        scale = embed_dims**-0.5
        self.initial = nn.Parameter(scale * torch.randn(groups * num_prompts, embed_dims))
        # not scaled: the official code draws them so (Generate_Model.py:124, 154)
        self.positions = nn.Parameter(torch.randn(groups * num_prompts, embed_dims))
        self.offsets = nn.ParameterList(
            scale * torch.randn(num_prompts, embed_dims) for _ in range(groups))

    def append(self, tokens: Tensor) -> Tensor:
        """Tokens (N, L, C) with the prompts behind them, (N, L + P, C)."""
        prompts = (self.initial + self.positions).expand(len(tokens), -1, -1)
        return torch.cat((tokens, prompts.to(tokens.dtype)), dim=1)

    def renew(self, index: int, tokens: Tensor) -> Tensor:
        """Tokens (N, L + P, C) after layer ``index``, with its offset if it has one."""
        group, later = divmod(index, self.every)
        if later:
            return tokens
        start = tokens.shape[1] - len(self.initial) + group * self.num_prompts
        before, own, after = tokens.tensor_split((start, start + self.num_prompts), dim=1)
        return torch.cat((before, own + self.offsets[group], after), dim=1)
