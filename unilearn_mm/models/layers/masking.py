"""Which tokens a masked auto-encoder sees: index tensors with exact counts."""

from typing import Tuple

import torch
from torch import Tensor


def random_masks(scores: Tensor, mask_ratio: float) -> Tuple[Tensor, Tensor]:
    """Mask the tokens of the lowest scores: with random scores, a uniform choice.

    Args:
        scores (Tensor): (N, L), one number per token.
        mask_ratio (float): Share of the tokens to mask; ``int(mask_ratio * L)`` are masked (S4D,
            pretrain/omnivision/data/transforms/mask_image_modeling.py).

    Returns:
        tuple: Indices of the visible tokens (N, K) and of the masked ones (N, L - K), int64,
        ascending.

    Raises:
        ValueError: If no token would be visible, or none masked.
    """
    num_tokens = scores.shape[1]
    num_masked = int(mask_ratio * num_tokens)
    if not 0 < num_masked < num_tokens:
        raise ValueError(f'mask_ratio={mask_ratio} masks {num_masked} of {num_tokens} tokens; at '
                         'least one must be masked and one visible: change the ratio, or use '
                         'smaller patches')
    order = scores.argsort(dim=1)
    return order[:, num_masked:].sort(dim=1).values, order[:, :num_masked].sort(dim=1).values


def tube_masks(scores: Tensor, num_slots: int, mask_ratio: float) -> Tuple[Tensor, Tensor]:
    """Mask the same places in all temporal slots (tube masking, VideoMAE, arXiv 2203.12602).

    Args:
        scores (Tensor): (N, S), one number per place.
        num_slots (int): Temporal slots T; the tokens are ordered (t, place).
        mask_ratio (float): Share of the places to mask.

    Returns:
        tuple: Indices of the visible tokens (N, T * K) and of the masked ones (N, T * (S - K)),
        int64, ascending.

    Raises:
        ValueError: If no place would be visible, or none masked.
    """
    starts = torch.arange(num_slots, device=scores.device)[None, :, None] * scores.shape[1]
    keep, masked = random_masks(scores, mask_ratio)
    return (keep[:, None] + starts).flatten(1), (masked[:, None] + starts).flatten(1)
