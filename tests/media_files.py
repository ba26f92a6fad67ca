"""Small real media files whose content tells which frame it is."""

from pathlib import Path
from typing import Optional, Tuple

import av
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


def encode_video(path: Path, frames: np.ndarray, encoder: str = 'mpeg4',
                 options: Optional[dict] = None, keyframes: int = 12,
                 rotation: Tuple[int, bool] = (0, False),
                 container_options: Optional[dict] = None, title: str = '') -> None:
    """A video file of the frames (L, H, W, 3) uint8 RGB, 25 a second, through PyAV.

    Args:
        path (Path): File; its suffix chooses the container.
        frames (np.ndarray): Frames as they are to be stored.
        encoder (str): Name of an FFmpeg encoder.
        options (dict, optional): Of the encoder; nearly lossless MPEG-4 by default.
        keyframes (int): Frames from one keyframe to the next, at most.
        rotation (tuple): Degrees by which a player turns the frames counter-clockwise, and
            whether it mirrors them left to right then.
        container_options (dict, optional): Of the container.
        title (str): Tag of the file.
    """
    with av.open(str(path), 'w', options=container_options or {}) as container:
        if title:
            container.metadata['title'] = title
        stream = container.add_stream(
            encoder, 25, options=dict(qscale='2', flags='+qscale') if options is None else options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt, stream.gop_size = 'yuv420p', keyframes
        if rotation != (0, False):
            stream.set_display_rotation(rotation[0], hflip=rotation[1])
        for frame in frames:
            container.mux(stream.encode(
                av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format='rgb24')))
        container.mux(stream.encode())
