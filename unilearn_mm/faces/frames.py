"""Frames of a video file, a folder of images, a stream or a camera, one after the other.

Every frame is upright and has a time. No more than a few of them are in memory, however long the
source is, and damage after the first good frame ends nothing: what was good is kept, what was not
is told in :attr:`FrameStream.problems`.
"""

import os
from collections import deque
from typing import (
    Any,
    Callable,
    Deque,
    Dict,
    Generator,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Tuple,
    Union,
)

import av
import cv2
import numpy as np

from ..media import IMAGE_SUFFIXES, MediaReadError, first_line, list_frames
from .sources import IMAGES_PER_SECOND, CameraSource, ImagesSource, Source, VideoSource

MAX_GAP = 60.0  # s between two frames; more is a fault of the timestamps (a counter wrapped)


class Frame(NamedTuple):
    """A frame of a source.

    Attributes:
        image (np.ndarray): (H, W, 3) uint8 RGB, upright, of square pixels.
        time (float): Seconds since the first frame.
        index (int): Its place among the decoded frames of the source.
    """

    image: np.ndarray
    time: float
    index: int  # type: ignore[assignment]  # hides tuple.index


class TimedPicture(NamedTuple):
    """A picture at its place in time, seconds from the first one."""

    time: float
    duration: float
    convert: Callable[[], np.ndarray]


def open_frames(source: Union[str, os.PathLike, int],
                rate: Optional[float] = None,
                images_per_second: float = IMAGES_PER_SECOND,
                threads: int = 1) -> 'FrameStream':
    """Open a source of frames.

    Args:
        source (str | PathLike | int): A video file, an image, a folder of images (in natural
            order of their names), a URL (with ``://``), or the index of a camera.
        rate (float, optional): Frames per second to sample, by the times of the frames, whether
            these come regularly or not: so copies of a video at different rates give the same
            moments. The frame for the time ``k / rate`` is the nearest one, but a frame that
            starts more than half a step later is still to come. By default every frame is taken
            at its own time.
        images_per_second (float): Of a folder of images, which has no times of its own.
        threads (int): Threads that decode a file or URL; 0 leaves it to FFmpeg.

    Returns:
        FrameStream: To be iterated once, inside a ``with`` statement.

    Raises:
        MediaReadError: If the source cannot be opened. One without a single good frame raises it
            when it is iterated.
        ValueError: If a rate is not positive.
    """
    for name, value in (('rate', rate), ('images_per_second', images_per_second)):
        if value is not None and not 0 < value < float('inf'):
            raise ValueError(f'{name} must be a positive number of frames, found {value}')
    if isinstance(source, int):
        return FrameStream(f'camera {source}', CameraSource(source), rate)
    name = os.fspath(source)
    if '://' in name:
        return FrameStream(name, VideoSource(name, threads, is_url=True), rate)
    if os.path.isdir(name):
        return FrameStream(name, ImagesSource(list_frames(name), images_per_second), rate)
    if not os.path.exists(name):
        raise MediaReadError(f'{name}: does not exist')
    if not os.path.isfile(name):
        raise MediaReadError(f'{name}: neither a file nor a folder')
    if os.path.getsize(name) == 0:
        raise MediaReadError(f'{name}: empty file (0 bytes)')
    if name.lower().endswith(IMAGE_SUFFIXES):
        return FrameStream(name, ImagesSource([name], images_per_second), rate)
    return FrameStream(name, VideoSource(name, threads, is_url=False), rate)


class FrameStream:
    """One pass over the frames of a source, in a ``with`` statement.

    Attributes:
        name (str): The source in words.
        duration (float, optional): Seconds that the source claims to last; None if it does not
            say. It may be wrong.
        interval (float): Usual seconds from one frame that it gives to the next.
        num_decoded (int): Good frames so far, sampled or not.
    """

    def __init__(self, name: str, source: Source, rate: Optional[float]) -> None:
        self.name = name
        self.duration = source.duration
        self.interval = source.interval if rate is None else 1 / rate
        self.num_decoded = 0
        self._source = source
        self._rate = rate
        self._faults: Dict[str, Tuple[int, str]] = {}
        self._frames = self._read()

    def __enter__(self) -> 'FrameStream':
        return self

    def __exit__(self, *exception: object) -> None:
        self._frames.close()
        self._source.close()

    def __iter__(self) -> Iterator[Frame]:
        return self._frames

    def __next__(self) -> Frame:
        return next(self._frames)

    @property
    def problems(self) -> List[str]:
        """What was wrong with the source as far as it has been read, in plain words."""
        return [*self._source.problems(self.num_decoded),
                *(f'{kind}: {count} frame{"s" * (count > 1)}{first}'
                  for kind, (count, first) in self._faults.items())]

    def _note(self, kind: str, first: str = '') -> None:
        """Count a fault; only the first of a kind is kept in words."""
        count, first = self._faults.get(kind, (0, first))
        self._faults[kind] = (count + 1, first)

    def _read(self) -> Generator[Frame, None, None]:
        shown = _every(self._timed()) if self._rate is None else _at_rate(self._timed(), self._rate)
        image: Any = None
        image_index = -1
        for picture, moment, index in shown:
            if index != image_index:
                try:
                    new = picture.convert()
                except (av.FFmpegError, MediaReadError, ValueError) as error:
                    self._note('unreadable and left out', f', the first: {first_line(error)}')
                    continue
                if image is not None and new.shape != image.shape:
                    size = image.shape[1::-1]
                    self._note(f'scaled to the {size[0]} x {size[1]} px of the first',
                               f', from {new.shape[1]} x {new.shape[0]} px')
                    new = cv2.resize(new, size, interpolation=cv2.INTER_AREA)
                image, image_index = new, index
            yield Frame(image, moment, index)
        if image is None:
            why = '; '.join(self.problems) or 'it holds none'
            raise MediaReadError(f'{self.name}: no frame can be decoded: {why}')

    def _timed(self) -> Iterator[TimedPicture]:
        """The pictures with times that start at 0 and rise."""
        begin: Optional[float] = None
        last: Optional[float] = None
        usual = self._source.interval  # time from one frame to the next
        for picture in self._source.pictures():
            self.num_decoded += 1
            told = picture.time
            if told is None:
                self._note('no timestamp; time goes on at the usual distance')
            if last is None:
                begin, moment = told, 0.0
            else:
                moment = last + usual
                if told is not None and begin is None:
                    begin = told - moment
                elif (told is not None and begin is not None
                      and last < told - begin <= last + MAX_GAP):
                    moment = told - begin
                elif told is not None:
                    self._note('timestamps that run back, stand still or leap by more than '
                               f'{MAX_GAP:g} s; time goes on at the usual distance')
                    begin = told - moment
                usual = moment - last
            last = moment
            yield TimedPicture(moment, min(picture.duration or usual, MAX_GAP), picture.convert)


def _every(pictures: Iterator[TimedPicture]) -> Iterator[Tuple[TimedPicture, float, int]]:
    for index, picture in enumerate(pictures):
        yield picture, picture.time, index


def _at_rate(pictures: Iterator[TimedPicture],
             rate: float) -> Iterator[Tuple[TimedPicture, float, int]]:
    """A picture for each time ``k / rate``; see :func:`open_frames`."""
    half = 0.5 / rate
    point = 0
    last = None
    chosen: Deque[Tuple[TimedPicture, float, int]] = deque()
    for index, picture in enumerate(pictures):
        if last is not None:
            while point / rate <= max((last.time + picture.time) / 2, picture.time - half):
                chosen.append((last, point / rate, index - 1))
                point += 1
        last = picture
        while chosen and chosen[0][1] + half < last.time:
            yield chosen.popleft()
    if last is None:
        return
    # A video of d seconds has about d * rate moments, those whose middle it reaches: this does not
    # change with rounded timestamps, nor if the last frame is a little longer in a copy.
    end = last.time + last.duration
    while point / rate + half < end:
        chosen.append((last, point / rate, index))
        point += 1
    if point == 0:
        yield last, 0.0, index
    yield from (one for one in chosen if one[1] + half < end or one[1] == 0)
