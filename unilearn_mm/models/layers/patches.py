"""Clips cut into space-time patches."""

from typing import Tuple

from torch import Tensor


def patchify(x: Tensor, tubelet_size: int, patch_size: int) -> Tensor:
    """Cut clips into patches, ordered as the inputs of a Conv3d kernel.

    Args:
        x (Tensor): (N, C, T, H, W), T a multiple of the tubelet size t, H and W of the patch
            size p.
        tubelet_size (int): Frames of a patch, t.
        patch_size (int): Height and width of a patch in pixels, p.

    Returns:
        Tensor: (N, L, C * t * p * p), patches in (t, h, w) order, their values in
        (channel, frame, row, column) order.
    """
    num, channels, frames, height, width = x.shape
    x = x.reshape(num, channels, frames // tubelet_size, tubelet_size, height // patch_size,
                  patch_size, width // patch_size, patch_size)
    return x.permute(0, 2, 4, 6, 1, 3, 5, 7).flatten(4).flatten(1, 3)


def take(tokens: Tensor, index: Tensor) -> Tensor:
    """Tokens at some places.

    Args:
        tokens (Tensor): (N, L, C).
        index (Tensor): (N, K) int64, in [0, L).

    Returns:
        Tensor: (N, K, C).
    """
    return tokens.gather(1, index.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))


def unpatchify(patches: Tensor, grid: Tuple[int, int, int], tubelet_size: int,
               patch_size: int) -> Tensor:
    """The reverse of :func:`patchify`.

    Args:
        patches (Tensor): (N, L, C * t * p * p).
        grid (tuple[int, int, int]): (T', H', W') of the patches, L = T' * H' * W'.
        tubelet_size (int): Frames of a patch, t.
        patch_size (int): Height and width of a patch in pixels, p.

    Returns:
        Tensor: (N, C, T' * t, H' * p, W' * p).
    """
    frames, height, width = grid
    x = patches.unflatten(2, (-1, tubelet_size, patch_size, patch_size))
    x = x.unflatten(1, (frames, height, width)).permute(0, 4, 1, 5, 2, 6, 3, 7)
    return x.flatten(6).flatten(4, 5).flatten(2, 3)
