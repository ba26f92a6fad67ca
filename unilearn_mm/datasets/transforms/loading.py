"""Open and decode a clip: a video file, a folder of frames, or an image (a one-frame clip).

Both transforms serve all three, so that stock MMAction2 samplers and augmentations can stand
between and after them: ``OpenClip -> SampleFrames -> DecodeClip -> ...``.
"""

import os
import re
from typing import List, Protocol, Sequence

import cv2
import decord
import numpy as np
from mmaction.registry import TRANSFORMS
from mmcv.transforms import BaseTransform

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp')


class MediaReadError(RuntimeError):
    """A media file cannot be read; the message names it."""


class ClipReader(Protocol):
    """Random access to the frames of one clip."""

    def __len__(self) -> int:
        """Number of frames."""

    def read(self, indices: Sequence[int]) -> List[np.ndarray]:
        """Frames at the (increasing) indices, each (H, W, 3) uint8 RGB."""


class VideoReader:
    """Frames of a video file, through decord.

    Raises:
        MediaReadError: If the file cannot be opened or a frame cannot be decoded.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            # one thread: the data loader's workers are the parallelism
            self.reader = decord.VideoReader(path, num_threads=1)
        except (decord.DECORDError, RuntimeError) as error:
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
        except (decord.DECORDError, RuntimeError, IndexError) as error:
            raise MediaReadError(f'{self.path}: frames {list(indices)} of {len(self)} cannot be '
                                 f'decoded: {_first_line(error)}') from error


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
        if not os.path.isfile(path):
            raise MediaReadError(f'{path}: the image file does not exist')
        image = cv2.imread(path, cv2.IMREAD_COLOR)
        if image is None:
            raise MediaReadError(f'{path}: cannot be decoded as an image')
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def list_frames(folder: str) -> List[str]:
    """Image files of a folder in natural order (``2.jpg`` before ``10.jpg``).

    Raises:
        MediaReadError: If the folder holds no image file.
    """
    names = [name for name in os.listdir(folder) if name.lower().endswith(IMAGE_SUFFIXES)]
    if not names:
        raise MediaReadError(f'{folder}: the frame folder holds no image '
                             f'({", ".join(IMAGE_SUFFIXES)})')
    return [os.path.join(folder, name) for name in sorted(names, key=_natural_key)]


def _natural_key(name: str) -> list:
    # split at digit runs: the odd places of the list are the numbers
    return [int(part) if i % 2 else part for i, part in enumerate(re.split(r'(\d+)', name))]


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


@TRANSFORMS.register_module()
class OpenClip(BaseTransform):
    """Open a clip and tell its length.

    Required keys: ``media`` and one of ``frame_dir`` (a folder of frames) or ``filename``.
    Added keys: ``clip_reader``, ``total_frames`` (1 for an image), ``start_index`` (0).

    Raises:
        MediaReadError: If the file or folder cannot be read.
    """

    def transform(self, results: dict) -> dict:
        """Add the reader to the sample dict."""
        reader: ClipReader
        if 'frame_dir' in results:
            reader = ImageFilesReader(list_frames(results['frame_dir']))
        elif results['media'] == 'image':
            reader = ImageFilesReader([results['filename']])
        else:
            reader = VideoReader(results['filename'])
        results['clip_reader'] = reader
        results['total_frames'] = len(reader)
        results['start_index'] = 0
        return results


@TRANSFORMS.register_module()
class DecodeClip(BaseTransform):
    """Decode the sampled frames; a frame that is asked for twice is decoded once.

    Required keys: ``clip_reader``, ``frame_inds`` (any shape, integers).
    Added keys: ``imgs`` (list of (H, W, 3) uint8 RGB), ``original_shape``, ``img_shape`` (H, W).

    Raises:
        MediaReadError: If a frame cannot be decoded, or the frames differ in size.
    """

    def transform(self, results: dict) -> dict:
        """Replace the reader by the frames."""
        wanted, inverse = np.unique(np.ravel(results['frame_inds']), return_inverse=True)
        frames = results.pop('clip_reader').read(wanted.tolist())
        shapes = {frame.shape[:2] for frame in frames}
        if len(shapes) != 1:
            raise MediaReadError(f'{results["path"]}: frames of different sizes {sorted(shapes)}')
        # a copy per use: some stock transforms write into the frames
        results['imgs'] = [frames[i].copy() for i in inverse]
        results['original_shape'] = results['img_shape'] = frames[0].shape[:2]
        return results
