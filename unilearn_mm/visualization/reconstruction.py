"""Original, masked and reconstructed frames above each other."""

from typing import NamedTuple, Sequence

import numpy as np
from matplotlib.figure import Figure

ROWS = ('original', 'masked', 'reconstruction')
MAX_COLUMNS = 8
INCHES = 1.3  # of a frame


class ReconstructionStrip(NamedTuple):
    """One clip, or several images.

    Attributes:
        frames (np.ndarray): (3, T, H, W, 3) uint8 RGB: original, masked, reconstruction.
        title (str): What stands above it.
    """
    frames: np.ndarray
    title: str


def reconstruction_figure(strips: Sequence[ReconstructionStrip]) -> Figure:
    """Draw strips of three rows and up to eight evenly spaced frames.

    Args:
        strips (Sequence[ReconstructionStrip]): At least one.

    Returns:
        Figure: one subfigure per strip, whose axes are the frames in reading order.

    Raises:
        ValueError: If there is no strip.
    """
    if not strips:
        raise ValueError('strips is empty: there is nothing to draw')
    fig = Figure(figsize=((MAX_COLUMNS + 0.4) * INCHES, (3 * INCHES + 0.3) * len(strips)),
                 layout='constrained')
    for strip, part in zip(strips, fig.subfigures(len(strips), 1, squeeze=False)[:, 0]):
        num_frames = strip.frames.shape[1]
        columns = min(num_frames, MAX_COLUMNS)
        chosen = np.linspace(0, num_frames - 1, columns).round().astype(int)
        part.suptitle(strip.title, fontsize=9, x=0.01, ha='left')
        grid = part.subplots(3, MAX_COLUMNS, squeeze=False)
        for name, row, axes in zip(ROWS, strip.frames, grid):
            axes[0].set_ylabel(name, fontsize=8)
            for ax, frame in zip(axes, chosen):
                ax.imshow(row[frame])
                ax.set(xticks=[], yticks=[])
            for ax in axes[columns:]:
                ax.remove()
    return fig
