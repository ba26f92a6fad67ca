"""Random access to the frames of a clip: a folder of images, one image, a packed clip, or frames
in memory. Video files have a room of their own, :mod:`unilearn_mm.datasets.video_reader`."""

from typing import List, Protocol, Sequence

import numpy as np

from ..media import MediaReadError, first_line, read_image

PACKED_SUFFIX = '.npy'


class ClipReader(Protocol):
    """Random access to the frames of one clip."""

    def __len__(self) -> int:
        """Number of frames."""

    def read(self, indices: Sequence[int]) -> List[np.ndarray]:
        """Frames at the increasing indices, each (H, W, 3) uint8 RGB and writable."""


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
            raise undecodable(self.path, indices, len(self), error) from error


class ArrayReader:
    """Frames in memory.

    Args:
        frames (Sequence[np.ndarray]): (H, W, 3) uint8 RGB each, or one array (L, H, W, 3).
    """

    def __init__(self, frames: Sequence[np.ndarray]) -> None:
        self.frames = frames

    def __len__(self) -> int:
        return len(self.frames)

    def read(self, indices: Sequence[int]) -> List[np.ndarray]:
        """See :class:`ClipReader`; these are copies.

        Raises:
            MediaReadError: If one is no such frame.
        """
        for index in indices:
            frame = np.asarray(self.frames[index])
            if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
                raise MediaReadError(f'frame {index} of the clip in memory is an array of '
                                     f'{frame.shape} {frame.dtype}, expected (H, W, 3) uint8 RGB')
        return [np.array(self.frames[index]) for index in indices]


def undecodable(path: str, indices: Sequence[int], num_frames: int, why) -> MediaReadError:
    """The error for frames of a clip that cannot be decoded."""
    return MediaReadError(f'{path}: frames {list(indices)} of {num_frames} cannot be decoded: '
                          f'{first_line(why)}')
