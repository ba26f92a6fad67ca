"""Random access to the frames of a clip: a video file, a folder of images, one image, or a
packed array."""

from typing import Callable, Dict, List, Protocol, Sequence

import numpy as np

from ..media import MediaReadError, first_line, read_image

PACKED_SUFFIX = '.npy'


class ClipReader(Protocol):
    """Random access to the frames of one clip."""

    def __len__(self) -> int:
        """Number of frames."""

    def read(self, indices: Sequence[int]) -> List[np.ndarray]:
        """Frames at the increasing indices, each (H, W, 3) uint8 RGB and writable."""


class VideoReader:
    """Frames of a video file, through decord.

    Args:
        path (str): Video file.

    Raises:
        MediaReadError: If the file cannot be opened or a frame cannot be decoded.
    """

    def __init__(self, path: str) -> None:
        import decord
        self.path = path
        self.errors = (decord.DECORDError, RuntimeError, IndexError)
        try:
            # one thread: the data loader's workers are the parallelism
            self.reader = decord.VideoReader(path, num_threads=1)
        except self.errors as error:
            raise MediaReadError(f'{path}: cannot be opened as a video (truncated or not a video '
                                 f'file?): {first_line(error)}') from error
        if len(self.reader) == 0:
            raise MediaReadError(f'{path}: the video has no frames')

    def __len__(self) -> int:
        return len(self.reader)

    def read(self, indices: Sequence[int]) -> List[np.ndarray]:
        """See :class:`ClipReader`."""
        try:
            return list(self.reader.get_batch(list(indices)).asnumpy())
        except self.errors as error:
            raise _undecodable(self.path, indices, len(self), error) from error


class PyAVReader:
    """Frames of a video file, through PyAV, decoded from the start: exact for every file.

    Args:
        path (str): Video file.

    Raises:
        MediaReadError: If the file cannot be opened or a frame cannot be decoded.
    """

    def __init__(self, path: str) -> None:
        import av
        self.path = path
        self.av = av
        self.errors = (av.FFmpegError, OSError, IndexError)
        try:
            with av.open(path) as container:
                stream = container.streams.video[0]
                # some containers do not say their number of frames
                self.num_frames = stream.frames or sum(1 for _ in container.decode(stream))
        except self.errors as error:
            raise MediaReadError(f'{path}: cannot be opened as a video (truncated or not a video '
                                 f'file?): {first_line(error)}') from error
        if self.num_frames == 0:
            raise MediaReadError(f'{path}: the video has no frames')

    def __len__(self) -> int:
        return self.num_frames

    def read(self, indices: Sequence[int]) -> List[np.ndarray]:
        """See :class:`ClipReader`."""
        wanted = set(indices)
        frames = {}
        to_rgb = self.av.video.reformatter.VideoReformatter().reformat
        try:
            with self.av.open(self.path) as container:
                # the data loader's workers are the parallelism
                container.streams.video[0].codec_context.thread_count = 1
                for index, frame in enumerate(container.decode(video=0)):
                    if index in wanted:
                        frames[index] = to_rgb(frame, format='rgb24').to_ndarray()
                    if len(frames) == len(wanted):
                        break
        except self.errors as error:
            raise _undecodable(self.path, indices, len(self), error) from error
        missing = sorted(wanted - set(frames))
        if missing:
            raise _undecodable(self.path, missing, len(self), 'the stream ends before them')
        return [frames[index] for index in indices]


class TorchCodecReader:
    """Frames of a video file, through torchcodec (needs FFmpeg's libraries).

    Args:
        path (str): Video file.

    Raises:
        MediaReadError: If the file cannot be opened or a frame cannot be decoded.
    """

    def __init__(self, path: str) -> None:
        from torchcodec.decoders import VideoDecoder
        self.path = path
        try:
            self.decoder = VideoDecoder(path, dimension_order='NHWC', num_ffmpeg_threads=1)
        except (RuntimeError, ValueError) as error:
            raise MediaReadError(f'{path}: cannot be opened as a video (truncated or not a video '
                                 f'file?): {first_line(error)}') from error

    def __len__(self) -> int:
        return len(self.decoder)

    def read(self, indices: Sequence[int]) -> List[np.ndarray]:
        """See :class:`ClipReader`."""
        try:
            return list(self.decoder.get_frames_at(list(indices)).data.numpy())
        except (RuntimeError, IndexError) as error:
            raise _undecodable(self.path, indices, len(self), error) from error


class ImageFilesReader:
    """Frames that are image files, through OpenCV.

    Args:
        paths (Sequence[str]): One file per frame, in temporal order.

    Raises:
        MediaReadError: If a file is missing or is not an image.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, indices: Sequence[int]) -> List[np.ndarray]:
        """See :class:`ClipReader`."""
        return [read_image(self.paths[index]) for index in indices]


class PackedReader:
    """Frames of a packed clip, a NumPy file of one (L, H, W, 3) uint8 array, memory-mapped.

    Args:
        path (str): File made by ``tools/data/pack_frames.py``.

    Raises:
        MediaReadError: If the file is not such an array, or is cut short.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self.frames = np.load(path, mmap_mode='r', allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise MediaReadError(f'{path}: cannot be opened as a packed clip: '
                                 f'{first_line(error)}') from error
        if (self.frames.ndim != 4 or self.frames.shape[3] != 3 or len(self.frames) == 0
                or self.frames.dtype != np.uint8):
            raise MediaReadError(f'{path}: a packed clip is a (L, H, W, 3) uint8 array, found '
                                 f'{self.frames.shape} {self.frames.dtype}')

    def __len__(self) -> int:
        return len(self.frames)

    def read(self, indices: Sequence[int]) -> List[np.ndarray]:
        """See :class:`ClipReader`."""
        try:
            return list(self.frames[list(indices)])
        except IndexError as error:
            raise _undecodable(self.path, indices, len(self), error) from error


DECODERS: Dict[str, Callable[[str], ClipReader]] = dict(
    decord=VideoReader, pyav=PyAVReader, torchcodec=TorchCodecReader)


def _undecodable(path: str, indices: Sequence[int], num_frames: int, why) -> MediaReadError:
    return MediaReadError(f'{path}: frames {list(indices)} of {num_frames} cannot be decoded: '
                          f'{first_line(why)}')
