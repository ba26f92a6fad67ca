"""A contact sheet: clips and images as rows of frames."""

from typing import NamedTuple, Optional, Sequence

import numpy as np
from matplotlib.figure import Figure

MAX_FRAMES = 8
INCHES = 1.35  # of a frame


class SheetRow(NamedTuple):
    """One clip or image.

    Attributes:
        frames (np.ndarray): (T, H, W, 3) uint8 RGB, T >= 1.
        text (str): What stands above it; the lines stand beside each other above a clip.
        captions (Sequence[str], optional): What stands below each frame of a clip; its number by
            default.
    """
    frames: np.ndarray
    text: str
    captions: Optional[Sequence[str]] = None


def contact_sheet(rows: Sequence[SheetRow], title: str) -> Figure:
    """Draw clips in rows of up to eight evenly spaced frames, images side by side.

    Args:
        rows (Sequence[SheetRow]): At least one, all with the same number of frames.
        title (str): Heading.

    Returns:
        Figure: for each row an axes with its title and one per drawn frame, in reading order.

    Raises:
        ValueError: If there are no rows, or they differ in their number of frames.
    """
    lengths = {len(row.frames) for row in rows}
    if len(lengths) != 1:
        raise ValueError('a contact sheet needs rows of one length, found '
                         f'{sorted(lengths) or "no rows"}')
    (num_frames, ) = lengths
    chosen = np.linspace(0, num_frames - 1, min(num_frames, MAX_FRAMES)).round().astype(int)
    across = max(1, MAX_FRAMES // len(chosen))  # clips or images beside each other
    down = -(-len(rows) // across)
    texts = [row.text if num_frames == 1 else '   '.join(row.text.splitlines()) for row in rows]
    lines = max(len(text.splitlines()) for text in texts)
    fig = Figure(
        figsize=(across * len(chosen) * INCHES, down * (INCHES + 0.2 + 0.13 * lines) + 0.5),
        layout='constrained')
    fig.suptitle(title, fontsize=11)
    grid = fig.add_gridspec(down, across * len(chosen))
    for place, (row, text) in enumerate(zip(rows, texts)):
        first = place % across * len(chosen)
        # a title of the whole clip: a long one must not widen the column of the first frame
        whole = fig.add_subplot(grid[place // across, first:first + len(chosen)])
        whole.set_title(text, fontsize=7, loc='left', pad=3)
        whole.set_axis_off()
        for column, frame in enumerate(chosen):
            ax = fig.add_subplot(grid[place // across, first + column])
            ax.imshow(row.frames[frame])
            ax.set(xticks=[], yticks=[])
            if num_frames > 1:
                caption = row.captions[frame] if row.captions else f'frame {frame}'
                ax.set_xlabel(caption, fontsize=6, labelpad=1)
    return fig
