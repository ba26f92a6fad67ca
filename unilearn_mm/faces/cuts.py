"""Where a scene ends: hard cuts in a stream of frames.

Pictures are compared as thumbnails by their correlation, so that dark scenes count like bright
ones. A cut is a step that is large in itself and larger than most around it, or that stands alone
among small ones: motion and fades come in several steps of like size, and a flash is over after a
frame or two. Dissolves are not found.
"""

from collections import deque
from typing import Deque, Iterable, Iterator, List, Tuple

import cv2
import numpy as np

from .frames import Frame

# In eight real clips at 2 to 30 frames a second the steps of 10 cuts are 0.77 to 1.3, the largest
# of all others 0.39 (0.24 from 5 frames a second on).
LARGE_STEP = 0.45
LARGER_THAN_MOST = 2.0  # times the median of its neighbours: whip pans are no cuts
# Two people photographed alike, one after the other: 0.06 to 0.3. Steps over 0.05 within a shot
# are up to 3.5 times as large as the largest of their neighbours.
SMALL_STEP = 0.05
STANDS_OUT = 6.0
LONG_GAP = 1.5  # times the median time between pictures: where frames are missing, steps are large
REACH = 3  # pictures on each side of a step; shorter flashes are no cuts
NEIGHBOURS = 5  # steps on each side: copies at a higher rate show a picture several times
BLOCKS = 3  # rows and columns; a title or a hand in front changes only some of the blocks
PATIENCE = 64  # frames; then what is known must do
THUMBNAIL = (32, 18)  # px
GREY_NOISE = 3.0  # of 255: thumbnails with less contrast than this count as plain


def mark_cuts(frames: Iterable[Frame]) -> Iterator[Tuple[Frame, bool]]:
    """Say of each frame whether a new scene begins with it.

    Runs eight pictures behind its input, and 64 frames at most.

    Args:
        frames (Iterable[Frame]): Frames in order. One whose image is the very object of the frame
            before is the same picture.

    Yields:
        Tuple[Frame, bool]: Each frame, and True where it is the first after a hard cut.
    """
    finder = _CutFinder()
    waiting: Deque[Tuple[Frame, int]] = deque()
    image = None
    for frame in frames:
        finder.add(frame, is_new=frame.image is not image)
        # the place of the step to a picture; -1 where there is none
        waiting.append((frame, finder.latest if frame.image is not image else -1))
        image = frame.image
        while waiting and (len(waiting) > PATIENCE or waiting[0][1] == -1
                           or finder.latest - waiting[0][1] >= NEIGHBOURS + REACH - 1):
            ready, place = waiting.popleft()
            yield ready, place >= 0 and finder.is_cut(place)
    for ready, place in waiting:
        yield ready, place >= 0 and finder.is_cut(place)


class _CutFinder:
    """The last pictures as thumbnails.

    Attributes:
        latest (int): Place of the last one, counted from the first of the stream; -1 before it.
    """

    def __init__(self) -> None:
        self.latest = -1
        self._thumbnails: Deque[np.ndarray] = deque(maxlen=2 * (NEIGHBOURS + REACH) + PATIENCE)
        self._shown: Deque[int] = deque(maxlen=self._thumbnails.maxlen)  # how often each is
        self._times: Deque[float] = deque(maxlen=self._thumbnails.maxlen)  # from when on

    def add(self, frame: Frame, is_new: bool) -> None:
        """Take the next frame."""
        if is_new:
            self.latest += 1
            self._thumbnails.append(_thumbnail(frame.image))
            self._shown.append(1)
            self._times.append(frame.time)
        else:
            self._shown[-1] += 1

    def is_cut(self, place: int) -> bool:
        """Whether there is a cut before the picture at a place."""
        place += len(self._thumbnails) - 1 - self.latest
        thumbnails, shown = list(self._thumbnails), self._shown
        step = _step(thumbnails, place)
        if step < SMALL_STEP:
            return False
        around = range(max(1, place - NEIGHBOURS), min(len(thumbnails), place + NEIGHBOURS + 1))
        neighbours = [_step(thumbnails, other) for other in around if other != place] or [0.0]
        if step >= LARGE_STEP:
            return step >= LARGER_THAN_MOST * float(np.median(neighbours))
        # what stands alone needs company on both sides
        has_company = ((place > 1 or shown[place - 1] > 1)
                       and (place + 1 < len(thumbnails) or shown[place] > 1))
        gaps = np.diff([self._times[other] for other in (around[0] - 1, *around)])
        is_usual = gaps[place - around[0]] <= LONG_GAP * np.median(gaps)
        return bool(has_company and is_usual and step >= STANDS_OUT * max(neighbours)
                    and _is_everywhere(thumbnails[place - 1], thumbnails[place]))


def _thumbnail(image: np.ndarray) -> np.ndarray:
    """A small image (h, w, 3) of mean 0."""
    small = cv2.resize(image, THUMBNAIL, interpolation=cv2.INTER_AREA).astype(np.float32)
    return small - small.mean((0, 1))


def _step(thumbnails: List[np.ndarray], place: int) -> float:
    """How unlike each other the pictures before and from ``place`` on are: the smallest of
    1 - correlation over all pairs, or 0 where one side is empty."""
    before = thumbnails[max(0, place - REACH):max(0, place)]
    after = thumbnails[max(0, place):max(0, place + REACH)]
    return min((_unlike(first, second) for first in before for second in after), default=0.0)


def _unlike(first: np.ndarray, second: np.ndarray) -> float:
    noise = GREY_NOISE ** 2 * first.size
    first, second = first.reshape(-1), second.reshape(-1)
    return float(1 - (first @ second + noise)
                 / np.sqrt((first @ first + noise) * (second @ second + noise)))


def _is_everywhere(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether most parts of a picture changed."""
    changed = [_unlike(one - one.mean((0, 1)), other - other.mean((0, 1))) >= SMALL_STEP
               for one, other in zip(_blocks(first), _blocks(second))]
    return sum(changed) > len(changed) / 2


def _blocks(thumbnail: np.ndarray) -> List[np.ndarray]:
    return [block for row in np.array_split(thumbnail, BLOCKS)
            for block in np.array_split(row, BLOCKS, axis=1)]
