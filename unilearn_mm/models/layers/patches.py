"""Clips cut into space-time patches."""

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
