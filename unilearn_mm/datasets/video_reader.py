"""Random access to the frames of a video file, upright, through PyAV (FFmpeg)."""

from bisect import bisect_left, bisect_right
from itertools import dropwhile
from typing import Iterator, List, Optional, Sequence

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from ..media import MediaReadError, display_matrix, first_line, upright_pixels
from .readers import undecodable

# containers that store when a frame is shown; of the others (AVI) only the order is known
TIMED = ('mp4', 'matroska')
# no playlists: they make FFmpeg open other files and addresses
FORMATS = 'mov,mp4,matroska,webm,avi,mpeg,mpegts,asf,flv,ogg'
USUAL_RATE = 25  # frames per second of a file that does not say
# PyAV raises ValueError and IndexError for what FFmpeg does not call an error
VIDEO_ERRORS = (av.FFmpegError, OSError, ValueError, IndexError)


class VideoReader:
    """Frames of a video file, upright.

    Decoding starts at the last keyframe before a wanted frame, or goes on where the last read
    ended. Frames are told apart by their presentation times, so that each is the one that
    decoding from the start would give; files without such times are decoded from the start and
    counted. What the file's edit list cuts off is no frame.

    Args:
        path (str): Video file.

    Raises:
        MediaReadError: If the file cannot be opened, is cut short, or a frame cannot be decoded.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.times: Optional[List[int]] = None  # increasing; None: frames are counted
        self.keyframe_times: List[int] = []
        try:
            self.num_frames = self._scan()
        except VIDEO_ERRORS as error:
            raise MediaReadError(f'{path}: cannot be opened as a video (truncated or not a video '
                                 f'file?): {first_line(error)}') from error
        self.decoded: Iterator[av.VideoFrame] = iter(())
        self.position = self.num_frames  # index of the next frame of ``decoded``
        self.reformatter = VideoReformatter()

    def __len__(self) -> int:
        return self.num_frames

    def read(self, indices: Sequence[int]) -> List[np.ndarray]:
        """See :class:`~unilearn_mm.datasets.readers.ClipReader`."""
        try:
            return [self._pixels(self._frame(index)) for index in indices]
        except VIDEO_ERRORS as error:
            self.position = self.num_frames  # the next read starts anew
            raise undecodable(self.path, indices, len(self), error) from error

    def time_of(self, index: int) -> float:
        """Seconds from the first frame to frame ``index``, which may be one past the last."""
        rate = self.stream.average_rate or self.stream.guessed_rate or USUAL_RATE
        if self.times is None:
            return float(index / rate)
        known = min(index, self.num_frames - 1)
        return float((self.times[known] - self.times[0]) * self.stream.time_base
                     + (index - known) / rate)

    def _scan(self) -> int:
        """Number of frames; their times and the keyframes', all from undecoded packets."""
        self._open()
        count, end, times, keyframe_times = 0, 0, [], []
        for packet in self.container.demux(self.stream):
            if packet.size == 0:  # tells the decoder that the stream ends
                continue
            count += 1
            if packet.is_corrupt:
                raise ValueError(f'cut short in frame {count}')
            if packet.pts is not None:
                end = max(end, packet.pts + (packet.duration or 0))
            if packet.is_keyframe:
                keyframe_times.append(packet.pts)
            if not packet.is_discard:
                times.append(packet.pts)
        declared = self.stream.frames  # 0 where the container does not say
        # packets that an edit list cuts off or a camera dropped do not make the stream longer
        if count < declared and end < (self.stream.duration or 0):
            raise ValueError(f'{declared} frames are declared, {count} are there')
        timed = not set(TIMED).isdisjoint(self.container.format.name.split(','))
        if timed and None not in times + keyframe_times and len(set(times)) == len(times):
            self.times, self.keyframe_times = sorted(times), sorted(keyframe_times)
        return len(times)

    def _open(self) -> None:
        self.container = open_video(self.path)
        if not self.container.streams.video:
            raise ValueError('no video in it')
        self.stream = self.container.streams.video[0]
        if self.stream.codec_context is None:
            raise ValueError('no decoder for it')
        # the data loader's workers are the parallelism
        self.stream.codec_context.thread_count = 1

    def _frame(self, index: int) -> av.VideoFrame:
        if not 0 <= index < self.num_frames:
            raise IndexError(f'there is no frame {index}')
        start = self._start_of(index)
        if not start <= self.position <= index:
            self._start_at(start)
        for frame in self.decoded:
            if self.times is not None and frame.pts != self.times[self.position]:
                break
            self.position += 1
            if self.position > index:
                return frame
        if self.times is None:
            raise IndexError(f'the stream ends before frame {index}')
        self.times = None  # the packets do not have the frames' times
        self.position = self.num_frames
        return self._frame(index)

    def _pixels(self, frame: av.VideoFrame) -> np.ndarray:
        pixels = self.reformatter.reformat(frame, format='rgb24').to_ndarray()
        return upright_pixels(pixels, display_matrix(frame))

    def _start_of(self, index: int) -> int:
        """The last frame, up to ``index``, at which decoding can start."""
        if self.times is None:
            return 0
        keyframe = bisect_right(self.keyframe_times, self.times[index]) - 1
        return 0 if keyframe < 0 else bisect_left(self.times, self.keyframe_times[keyframe])

    def _start_at(self, start: int) -> None:
        self.position = start
        if self.times is None:
            self._open()
            self.decoded = self.container.decode(self.stream)
        else:
            time = self.times[start]
            self.container.seek(time, stream=self.stream)
            self.decoded = dropwhile(
                lambda frame: frame.pts is not None and frame.pts < time,
                self.container.decode(self.stream))


def open_video(path: str) -> av.container.InputContainer:
    """A container to be read; whatever language its tags are in."""
    return av.open(path, options=dict(format_whitelist=FORMATS), metadata_errors='replace')
