"""Positions of video and image tokens, taken from one table."""

from typing import Tuple

import torch.nn.functional as F
from torch import Tensor


def positions_for(table: Tensor, table_grid: Tuple[int, int, int], grid: Tuple[int, int, int],
                  is_image: bool) -> Tensor:
    """Rows of a position table for a token grid.

    An image takes temporal slot 0 of the video table, unmodified (official code,
    s4d/videomae.py:632-696). A grid of another size is interpolated: linearly in time, bicubically
    in space (as MMAction2's VisionTransformer does in space). The official code raises there.

    Args:
        table (Tensor): (1, T * H * W, C), rows ordered (t, h, w).
        table_grid (tuple[int, int, int]): (T, H, W) of the table.
        grid (tuple[int, int, int]): (T', H', W') of the tokens; T' is 1 for an image.
        is_image (bool): Whether the input is a single frame.

    Returns:
        Tensor: (1, T' * H' * W', C).
    """
    dim = table.shape[-1]
    frames, *table_space = table_grid
    volume = table.view(frames, *table_space, dim)
    if is_image:
        volume = volume[:1]
    elif grid[0] != frames:
        series = volume.reshape(frames, -1).T[None]  # (1, H * W * C, T)
        series = F.interpolate(series, size=grid[0], mode='linear', align_corners=False)
        volume = series[0].T.reshape(grid[0], *table_space, dim)
    if tuple(grid[1:]) != tuple(table_space):
        planes = F.interpolate(
            volume.permute(0, 3, 1, 2), size=grid[1:], mode='bicubic', align_corners=False)
        volume = planes.permute(0, 2, 3, 1)
    return volume.reshape(1, -1, dim)
