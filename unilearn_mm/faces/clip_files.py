"""Write face crops as a clip: a folder of images, or one packed array."""

import io
from pathlib import Path
from typing import Tuple, Union

import cv2
import numpy as np

JPEG_QUALITY = 95
FORMATS = ('jpg', 'png', 'npy')


class ImageFolderWriter:
    """A folder of images named by six digits.

    Args:
        folder (Path): Made; it must not exist.
        suffix (str): '.png' (without loss) or '.jpg'.
    """

    def __init__(self, folder: Path, suffix: str) -> None:
        self.folder = folder
        self.suffix = suffix
        self.options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if suffix == '.jpg' else []
        self.num_frames = self.num_bytes = 0
        folder.mkdir()

    def add(self, crop: np.ndarray) -> None:
        """Write an image (S, S, 3) uint8 RGB.

        Raises:
            OSError: If the disk refuses.
        """
        _, code = cv2.imencode(self.suffix, cv2.cvtColor(crop, cv2.COLOR_RGB2BGR), self.options)
        (self.folder / f'{self.num_frames:06d}{self.suffix}').write_bytes(code)
        self.num_frames += 1
        self.num_bytes += len(code)

    def close(self) -> None:
        """End the clip."""


class PackedWriter:
    """A packed clip, one (L, S, S, 3) uint8 array as ``datasets.readers.PackedReader`` reads it,
    written frame by frame.

    Args:
        path (Path): A .npy file; it must not exist.
    """

    def __init__(self, path: Path) -> None:
        self.file = path.open('xb')
        self.shape: Tuple[int, ...] = ()
        self.num_frames = self.num_bytes = 0

    def add(self, crop: np.ndarray) -> None:
        """Append an image (S, S, 3) uint8 RGB.

        Raises:
            OSError: If the disk refuses.
        """
        if not self.shape:
            self.shape = crop.shape
            self.file.write(self._header())
        self.file.write(crop.tobytes())
        self.num_frames += 1

    def close(self) -> None:
        """Write the number of frames into the header, and end the clip; once is enough."""
        if self.file.closed:
            return
        if self.shape:
            self.file.seek(0)
            self.file.write(self._header())
            self.num_bytes = self.file.seek(0, io.SEEK_END)
        self.file.close()

    def _header(self) -> bytes:
        """Its length does not depend on the number of frames: NumPy leaves room for 21 digits."""
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            header, dict(descr='|u1', fortran_order=False, shape=(self.num_frames, *self.shape)))
        return header.getvalue()


def open_clip_writer(path: Path, file_format: str) -> Union[ImageFolderWriter, PackedWriter]:
    """A writer of the clip ``path`` (a folder; a packed clip gets the suffix .npy).

    Args:
        path (Path): In an existing folder.
        file_format (str): One of ``FORMATS``.
    """
    if file_format == 'npy':
        return PackedWriter(path.with_name(f'{path.name}.npy'))
    return ImageFolderWriter(path, f'.{file_format}')
