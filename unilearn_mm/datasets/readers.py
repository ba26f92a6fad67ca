"""Random access to the frames of a clip: a video file, a folder of images, one image, or a
packed array."""

import os
import re
from typing import Callable, Dict, List, Protocol, Sequence

import cv2
import numpy as np
from PIL import Image

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp')
PACKED_SUFFIX = '.npy'
JPEG_START, JPEG_END = b'\xff\xd8', b'\xff\xd9'


class MediaReadError(RuntimeError):
    """A media file cannot be read; the message names it."""


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
                                 f'file?): {_first_line(error)}') from error
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
                                 f'file?): {_first_line(error)}') from error
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
                                 f'file?): {_first_line(error)}') from error

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
        return [self._read_one(self.paths[index]) for index in indices]

    @staticmethod
    def _read_one(path: str) -> np.ndarray:
        try:
            with open(path, 'rb') as file:
                data = file.read()
        except OSError as error:
            raise MediaReadError(f'{path}: the image file cannot be read: '
                                 f'{error.strerror}') from error
        if not data:
            raise MediaReadError(f'{path}: the image file is empty (0 bytes)')
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
        if image is None:
            raise MediaReadError(f'{path}: cannot be decoded as an image (damaged or cut short?)')
        if data.startswith(JPEG_START) and not data.endswith(JPEG_END):
            _check_whole(path)
        return image


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
                                 f'{_first_line(error)}') from error
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


def list_frames(folder: str, order: str = 'natural') -> List[str]:
    """Image files of a folder.

    Args:
        folder (str): Folder of frames.
        order (str): 'natural' (``2.jpg`` before ``10.jpg``) or 'lexicographic' (``10.jpg`` before
            ``2.jpg``, as S4D, datasets/kinetics.py:683, and MMA-DFER read folders).

    Raises:
        MediaReadError: If the folder cannot be read or holds no image file.
    """
    try:
        names = [name for name in os.listdir(folder) if name.lower().endswith(IMAGE_SUFFIXES)]
    except OSError as error:
        raise MediaReadError(f'{folder}: the frame folder cannot be read: '
                             f'{error.strerror}') from error
    if not names:
        raise MediaReadError(f'{folder}: the frame folder holds no image '
                             f'({", ".join(IMAGE_SUFFIXES)})')
    names.sort(key=_natural_key if order == 'natural' else None)
    return [os.path.join(folder, name) for name in names]


def _natural_key(name: str) -> list:
    # split at digit runs: the odd places of the list are the numbers
    return [int(part) if i % 2 else part for i, part in enumerate(re.split(r'(\d+)', name))]


def _undecodable(path: str, indices: Sequence[int], num_frames: int, why) -> MediaReadError:
    return MediaReadError(f'{path}: frames {list(indices)} of {num_frames} cannot be decoded: '
                          f'{_first_line(why)}')


def _check_whole(path: str) -> None:
    """Before version 5, OpenCV fills what a truncated JPEG lacks with grey; Pillow refuses."""
    try:
        with Image.open(path) as image:
            image.load()
    except OSError as error:
        raise MediaReadError(f'{path}: cannot be decoded as an image: {_first_line(error)}') from error


def _first_line(error) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
