"""Write a video frame by frame, at the times of the frames, with the sound of another file."""

from fractions import Fraction
from pathlib import Path
from typing import Iterator, Optional

import av
import numpy as np

TICKS = 90_000  # of a second, for the times of the frames (as in MPEG)


class VideoFileWriter:
    """An mp4 (H.264; sound as AAC).

    Args:
        path (Path): The video; its name need not end with '.mp4'.
        sound_of (str, optional): A video whose sound is kept, if it has any.
    """

    def __init__(self, path: Path, sound_of: Optional[str] = None) -> None:
        self.path = path
        self.container: Optional[av.container.OutputContainer] = None
        self.sound = _Sound(sound_of) if sound_of is not None else None

    def add(self, image: np.ndarray, time: float) -> None:
        """Append a frame.

        Args:
            image (np.ndarray): (H, W, 3) uint8 RGB, all of one size.
            time (float): In seconds, rising.

        Raises:
            OSError: If the disk refuses.
        """
        # the codec takes even sides only
        image = np.ascontiguousarray(image[:len(image) // 2 * 2, :image.shape[1] // 2 * 2])
        container = self.container or self._open(*image.shape[:2])
        frame = av.VideoFrame.from_ndarray(image)
        frame.pts, frame.time_base = round(time * TICKS), Fraction(1, TICKS)
        container.mux(self.stream.encode(frame))
        if self.sound is not None:
            self.sound.write(until=time)

    def close(self) -> None:
        """End the video."""
        if self.container is not None:
            self.container.mux(self.stream.encode())
            if self.sound is not None:
                self.sound.write(until=None)
            self.container.close()
        if self.sound is not None:
            self.sound.close()

    def _open(self, height: int, width: int) -> av.container.OutputContainer:
        self.container = container = av.open(str(self.path), 'w', format='mp4')
        # mbtree makes x264 read memory that it never wrote: equal frames give other bytes
        self.stream = container.add_stream('libx264', options={
            'preset': 'veryfast', 'x264-params': 'mbtree=0'})
        self.stream.height, self.stream.width = height, width
        self.stream.pix_fmt = 'yuv420p'
        self.stream.time_base = self.stream.codec_context.time_base = Fraction(1, TICKS)
        self.stream.codec_context.thread_count = 1  # the same bytes every time
        if self.sound is not None:
            self.sound.begin(container)
        return container


class _Sound:
    """The first sound track of a file, encoded anew: not every codec fits into an mp4."""

    def __init__(self, path: str) -> None:
        self.source = av.open(path, metadata_errors='replace')
        self.track = next(iter(self.source.streams.audio), None)
        pictures = next(iter(self.source.streams.video), None)
        # times of frames start at 0 with the first picture
        self.origin = float((pictures.start_time or 0) * pictures.time_base) if pictures else 0.
        self.frames: Iterator[av.AudioFrame] = iter(())
        self.waiting: Optional[av.AudioFrame] = None

    def begin(self, target: av.container.OutputContainer) -> None:
        if self.track is None or self.track.codec_context is None:
            return
        self.target = target
        self.stream = target.add_stream('aac', rate=self.track.rate)
        self.stream.layout = 'stereo' if self.track.channels > 1 else 'mono'
        self.resampler = av.AudioResampler('fltp', self.stream.layout, self.stream.rate)
        self.frames = self._decoded()

    def _decoded(self) -> Iterator[av.AudioFrame]:
        try:
            yield from self.source.decode(self.track)
        except (av.FFmpegError, OSError):  # a damaged end: what was good is kept
            return

    def write(self, until: Optional[float]) -> None:
        """What sounds before a time, or all that is left."""
        while True:
            frame = self.waiting or next(self.frames, None)
            self.waiting = None
            if frame is None:
                break
            if until is not None and frame.time is not None and frame.time - self.origin > until:
                self.waiting = frame
                return
            for part in self.resampler.resample(frame):
                if part.pts is not None:
                    part.pts -= round(self.origin / part.time_base)
                    if part.pts < 0:  # before the first picture
                        continue
                self.target.mux(self.stream.encode(part))
        if until is None and self.track is not None and hasattr(self, 'target'):
            self.target.mux(self.stream.encode())

    def close(self) -> None:
        self.source.close()
