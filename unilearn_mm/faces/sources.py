"""Where frames come from: video files and streams, image files, cameras.

A source gives its good frames in order and remembers what was wrong with the others.
"""

import time
from collections import Counter
from fractions import Fraction
from functools import partial
from typing import Callable, Iterator, List, NamedTuple, Optional, Protocol, Tuple, Union

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter
from PIL import Image

from ..media import MediaReadError, display_matrix, first_line, read_image, upright_pixels

IMAGES_PER_SECOND = 25.0  # of a folder, which has no times of its own
MAX_PIXELS = 1 << 27  # of a frame or image: 8K video has 2 ** 25; more is taken for an attack
MAX_PIXEL_ASPECT = 4  # width of a pixel over its height, or the inverse; more is a damaged header
MISSING_SECONDS = 0.5  # at the end of a video are told; sound often lasts a little longer
PATIENCE = 15.0  # s without an answer of a network stream
# A video file may be a play list that makes FFmpeg open other files: only containers are opened.
CONTAINERS = (
    'mov,mp4,m4a,3gp,3g2,mj2', 'matroska,webm', 'avi', 'mpeg', 'mpegts', 'mpegvideo', 'flv', 'asf',
    'ogg', 'gif', 'mxf', 'ivf', 'h264', 'hevc', 'obu', 'm4v', 'mjpeg', 'nut', 'rm', 'dv', 'wtv',
    'yuv4mpegpipe', 'wav', 'mp3', 'flac', 'aac')  # the last four: to say that there is no picture


class Picture(NamedTuple):
    """A decoded frame whose pixels have not been converted yet.

    ``time`` is None where the source gives none; ``duration`` is 0 where it is unknown.
    """

    time: Optional[float]
    duration: float
    convert: Callable[[], np.ndarray]


class Source(Protocol):
    """What can be opened; ``interval`` is the usual time between two frames, in seconds."""

    interval: float

    @property
    def duration(self) -> Optional[float]:
        """What it claims to last, in seconds."""

    def pictures(self) -> Iterator[Picture]:
        """The good frames of the source, in order."""

    def problems(self, num_good: int) -> List[str]:
        """What was wrong, as far as the frames have been read; ``num_good`` of them were good."""

    def close(self) -> None:
        """Release the source."""


class VideoSource:
    """A file or URL, through PyAV."""

    def __init__(self, name: str, threads: int, is_url: bool) -> None:
        options = dict(max_pixels=str(MAX_PIXELS))
        if is_url:
            options['rtsp_transport'] = 'tcp'  # UDP loses packets without a word
        else:
            options['format_whitelist'] = ','.join(CONTAINERS)
        try:
            self.container = av.open(name, options=options, metadata_errors='replace',
                                     timeout=PATIENCE if is_url else None)
        except (av.FFmpegError, OSError) as error:
            foreign = isinstance(error, av.ArgumentError) and not is_url
            why = 'its content is no video container' if foreign else _reason(error)
            raise MediaReadError(f'{name}: cannot be opened as a video (truncated, or no video?): '
                                 f'{why}') from error
        try:
            self.stream = _video_stream(self.container, name)
        except MediaReadError:
            self.container.close()
            raise
        self.stream.codec_context.thread_count = threads
        self.duration = _seconds(self.stream.duration, self.stream.time_base)
        if self.duration is None:
            self.duration = _seconds(self.container.duration, 1 / av.time_base)
        self.interval = float(1 / (self.stream.guessed_rate or IMAGES_PER_SECOND))
        self.declared = self.stream.frames  # 0 where the container does not say
        self.reformatter = VideoReformatter()
        self.stopped = ''
        self.whole = False
        self.begin: Optional[float] = None
        self.end = 0.0
        self.undecodable = self.damaged = 0

    def pictures(self) -> Iterator[Picture]:
        """See :class:`Source`."""
        packets = self.container.demux(self.stream)
        damaged = False  # since the last key frame
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                self.whole = True
                return
            except (av.FFmpegError, OSError) as error:
                self.stopped = _reason(error)
                return
            try:
                frames = packet.decode()
            except av.EOFError:  # what follows the end that the decoder was told of
                continue
            except av.FFmpegError:
                self.undecodable += 1
                damaged = True
                continue
            for frame in frames:
                # what builds on damage is damaged, whatever the decoder makes of it
                damaged = frame.is_corrupt or (damaged and not frame.key_frame)
                if damaged:
                    self.damaged += 1
                    continue
                moment = None if frame.pts is None else float(frame.pts * frame.time_base)
                duration = float((frame.duration or 0) * (frame.time_base or 0))
                if moment is not None:
                    self.begin = moment if self.begin is None else self.begin
                    self.end = moment + duration
                yield Picture(moment, max(duration, 0.0), partial(self._convert, frame))

    def problems(self, num_good: int) -> List[str]:
        """See :class:`Source`."""
        found = []
        if self.undecodable:
            found.append(f'undecodable packets: {self.undecodable}')
        if self.damaged:
            found.append(f'damaged frames, or built on damaged ones, left out: {self.damaged}')
        if self.stopped:
            found.append(f'broken off after {num_good} good frames: {self.stopped}')
        if self.whole and self.declared not in (0, num_good):
            found.append(f'the header declares {self.declared} frames, {num_good} are good')
        if self.whole and self.duration and self.begin is not None:
            lasts = self.end - self.begin
            if lasts < self.duration - MISSING_SECONDS:
                found.append(f'the header declares {self.duration:.2f} s, the good frames end at '
                             f'{lasts:.2f} s')
        return found

    def close(self) -> None:
        """See :class:`Source`."""
        self.container.close()

    def _convert(self, frame: av.VideoFrame) -> np.ndarray:
        width, height = _square_pixels(frame.width, frame.height, self.stream.sample_aspect_ratio)
        image = self.reformatter.reformat(frame, width, height, 'rgb24', threads=1).to_ndarray()
        return upright_pixels(image, display_matrix(frame))


def _video_stream(container: av.container.InputContainer, name: str) -> av.VideoStream:
    """The video stream that players show.

    Raises:
        MediaReadError: If there is none, or FFmpeg cannot decode it.
    """
    moving = [stream for stream in container.streams.video
              if not stream.disposition & av.stream.Disposition.attached_pic]
    if not moving:
        kinds = Counter(stream.type for stream in container.streams)
        held = ', '.join(f'{count} x {kind}' for kind, count in kinds.items()) or 'no stream'
        raise MediaReadError(f'{name}: no video stream; the file holds {held}'
                             + (' (a cover picture)' if kinds['video'] else ''))
    best = container.streams.best('video')
    stream = best if best in moving else moving[0]
    if stream.codec_context is None:
        raise MediaReadError(f'{name}: FFmpeg has no decoder for its video stream')
    return stream


def _square_pixels(width: int, height: int, aspect: Optional[Fraction]) -> Tuple[int, int]:
    """Size in square pixels of a frame whose pixels are ``aspect`` times as wide as high."""
    ratio = float(aspect or 1)
    if not 1 / MAX_PIXEL_ASPECT <= ratio <= MAX_PIXEL_ASPECT:
        return width, height
    return max(1, round(width * ratio)), height


def _reason(error: OSError) -> str:
    """What FFmpeg says, without numbers and paths."""
    return error.strerror or first_line(error)


def _seconds(count: Optional[int], unit: Union[Fraction, float, None]) -> Optional[float]:
    return float(count * unit) if count and unit and count > 0 else None


class ImagesSource:
    """Image files, one a frame."""

    def __init__(self, paths: List[str], per_second: float) -> None:
        self.paths = paths
        self.interval = 1 / per_second
        self.duration = len(paths) / per_second

    def pictures(self) -> Iterator[Picture]:
        """See :class:`Source`."""
        for place, path in enumerate(self.paths):
            yield Picture(place * self.interval, self.interval, partial(_read_bounded, path))

    def problems(self, num_good: int) -> List[str]:
        """See :class:`Source`."""
        return []

    def close(self) -> None:
        """See :class:`Source`."""


def _read_bounded(path: str) -> np.ndarray:
    try:
        with Image.open(path) as image:
            pixels = image.width * image.height
    except Image.DecompressionBombError:
        pixels = MAX_PIXELS + 1
    except (OSError, ValueError, SyntaxError):
        pixels = 0  # OpenCV may still read it, or says what is wrong
    if pixels > MAX_PIXELS:
        raise MediaReadError(f'{path}: images of more than {MAX_PIXELS} pixels are not read')
    return read_image(path)


class CameraSource:
    """A camera, through OpenCV; a frame has the time at which it arrived."""

    duration = None
    interval = 1 / IMAGES_PER_SECOND

    def __init__(self, index: int) -> None:
        self.capture = cv2.VideoCapture(index)
        if not self.capture.isOpened():
            self.capture.release()
            raise MediaReadError(f'camera {index}: cannot be opened; is it connected, and not in '
                                 'use by another program?')
        self.stopped = False

    def pictures(self) -> Iterator[Picture]:
        """See :class:`Source`."""
        while True:
            there, image = self.capture.read()
            if not there:
                self.stopped = True
                return
            yield Picture(time.monotonic(), 0.0, partial(cv2.cvtColor, image, cv2.COLOR_BGR2RGB))

    def problems(self, num_good: int) -> List[str]:
        """See :class:`Source`."""
        return [f'the camera stopped after {num_good} frames'] if self.stopped else []

    def close(self) -> None:
        """See :class:`Source`."""
        self.capture.release()
