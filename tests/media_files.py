"""Small real media files whose content tells which frame it is."""

from pathlib import Path

import cv2
import numpy as np


def coloured_frame(index: int, size: int = 32) -> np.ndarray:
    """Frame (size, size, 3) uint8 whose grey level tells its index, so that decoding can be
    checked: level 20 + 10 * index."""
    return np.full((size, size, 3), 20 + 10 * index, np.uint8)


def write_video(path: Path, num_frames: int = 12, size: int = 32, ramp: int = 0) -> None:
    """An mp4 of ``coloured_frame`` 0 .. num_frames - 1, brighter by ``ramp`` in each column."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'mp4v'), 25, (size, size))
    assert writer.isOpened()
    for index in range(num_frames):
        columns = ramp * np.arange(size, dtype=np.uint8)
        writer.write(coloured_frame(index, size) + columns[:, None])
    writer.release()


def write_frames(folder: Path, num_frames: int = 12, size: int = 32) -> None:
    """A folder of JPEGs named 1.jpg, 2.jpg, ..., 10.jpg: not in lexicographic order."""
    folder.mkdir(parents=True)
    for index in range(num_frames):
        cv2.imwrite(str(folder / f'{index + 1}.jpg'), coloured_frame(index, size))
