"""Where a scene ends: hard cuts in a stream of frames.

Frames are compared as thumbnails by their correlation, so that dark scenes count like bright ones.
A cut is a step that is large in itself, or that stands alone between two small ones: motion and
fades come in several steps of like size, and a flash is over after a frame or two. Dissolves are
not found.
"""

from collections import deque
from typing import Deque, Iterable, Iterator, List, Tuple

import cv2
import numpy as np

from .frames import Frame

# In eight real clips at 2 to 30 frames a second the steps of 10 cuts are 0.77 to 1.3, the largest
# of all others 0.39 (0.24 from 5 frames a second on).
LARGE_STEP = 0.45
# Two people photographed alike, one after the other: 0.06 to 0.3. Steps over 0.05 within a shot
# are up to 3.5 times as large as the larger of their neighbours.
SMALL_STEP = 0.05
STANDS_OUT = 5.0
REACH = 3  # frames on each side of a step; shorter flashes are no cuts
THUMBNAIL = (32, 18)  # px
GREY_NOISE = 3.0  # of 255: thumbnails with less contrast than this count as plain


def mark_cuts(frames: Iterable[Frame]) -> Iterator[Tuple[Frame, bool]]:
    """Say of each frame whether a new scene begins with it. Runs three frames behind its input.

    Args:
        frames (Iterable[Frame]): Frames in order.

    Yields:
        Tuple[Frame, bool]: Each frame, and True where it is the first after a hard cut.
    """
    waiting: Deque[Frame] = deque()
    thumbnails: List[np.ndarray] = []  # of the last frames: those that wait, and REACH + 1 before
    image = None
    for frame in frames:
        if frame.image is not image:  # a frame that is shown again is not compared again
            image, thumbnail = frame.image, _thumbnail(frame.image)
        waiting.append(frame)
        thumbnails.append(thumbnail)
        if len(waiting) > REACH:
            yield waiting.popleft(), _is_cut(thumbnails, len(thumbnails) - REACH - 1)
            del thumbnails[:-2 * REACH - 1]
    for place in range(len(thumbnails) - len(waiting), len(thumbnails)):
        yield waiting.popleft(), _is_cut(thumbnails, place)


def _thumbnail(image: np.ndarray) -> np.ndarray:
    """A flat image, (n,), of mean 0."""
    small = cv2.resize(image, THUMBNAIL, interpolation=cv2.INTER_AREA).astype(np.float32)
    return (small - small.mean((0, 1))).reshape(-1)


def _step(thumbnails: List[np.ndarray], place: int) -> float:
    """How unlike each other the frames before and from ``place`` on are: the smallest of
    1 - correlation over all pairs, or 0 where one side is empty."""
    before = thumbnails[max(0, place - REACH):place]
    after = thumbnails[place:place + REACH]
    return min((_unlike(first, second) for first in before for second in after), default=0.0)


def _unlike(first: np.ndarray, second: np.ndarray) -> float:
    noise = GREY_NOISE ** 2 * len(first)
    return float(1 - (first @ second + noise)
                 / np.sqrt((first @ first + noise) * (second @ second + noise)))


def _is_cut(thumbnails: List[np.ndarray], place: int) -> bool:
    step = _step(thumbnails, place)
    if step < SMALL_STEP or step >= LARGE_STEP:
        return step >= LARGE_STEP
    neighbours = max(_step(thumbnails, place - 1), _step(thumbnails, place + 1))
    has_both = 2 <= place < len(thumbnails) - 1
    return has_both and step >= STANDS_OUT * neighbours
