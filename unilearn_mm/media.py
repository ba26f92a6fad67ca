"""Media files as they lie on the disk: what counts as one, and reading an image."""

import os
import re
from typing import List, Optional

import av
import cv2
import numpy as np
from av.sidedata.sidedata import SideDataContainer
from av.sidedata.sidedata import Type as SideData
from PIL import Image

VIDEO_SUFFIXES = ('.mp4', '.avi', '.mov', '.mkv', '.webm')
IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp')
JPEG_START, JPEG_END = b'\xff\xd8', b'\xff\xd9'


class MediaReadError(RuntimeError):
    """A media file cannot be read; the message names it."""


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


def read_image(path: str) -> np.ndarray:
    """An image file, upright (EXIF orientation applied), through OpenCV.

    Args:
        path (str): Image file.

    Returns:
        np.ndarray: (H, W, 3) uint8 RGB.

    Raises:
        MediaReadError: If the file is missing, no image, too large, or cut short.
    """
    try:
        with open(path, 'rb') as file:
            data = file.read()
    except OSError as error:
        raise MediaReadError(f'{path}: the image file cannot be read: {error.strerror}') from error
    if not data:
        raise MediaReadError(f'{path}: the image file is empty (0 bytes)')
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error as error:  # more pixels than OpenCV reads, for one
        raise MediaReadError(f'{path}: cannot be decoded as an image: {error.err}') from error
    if image is None:
        raise MediaReadError(f'{path}: cannot be decoded as an image (damaged or cut short?)')
    if data.startswith(JPEG_START) and not data.endswith(JPEG_END):
        _check_whole(path)
    return image


def display_matrix(frame: av.VideoFrame) -> Optional[bytes]:
    """How a decoded frame is to be turned, for :func:`upright_pixels`; None where it is not told.

    ``frame.side_data`` and the frame refer to each other, so that the pixels of every frame that
    was asked for it stay in memory until Python looks for such circles: hundreds of megabytes.
    """
    data = SideDataContainer(frame).get(SideData.DISPLAYMATRIX)
    return None if data is None else bytes(data)


def upright_pixels(pixels: np.ndarray, matrix: Optional[bytes]) -> np.ndarray:
    """Pixels turned and mirrored as a display matrix says.

    Phones store what the sensor saw and write beside it how to turn it. Players obey; so do
    OpenCV and, without mirroring, decord. Angles are taken to be multiples of 90 degrees.

    Args:
        pixels (np.ndarray): (H, W, 3) uint8, as they are stored.
        matrix (bytes, optional): The pixel (x, y) is shown at (a x + c y, b x + d y), in
            16.16 fixed point and the order a, b, u, c, d, v, x, y, w (libavutil/display.h; ISO
            14496-12, 8.3.2).

    Returns:
        np.ndarray: (H, W, 3) or (W, H, 3) uint8, contiguous.
    """
    if matrix is None:
        return pixels
    a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5]
    if abs(b) > abs(a):
        pixels, a, d = pixels.swapaxes(0, 1), c, b
    return np.ascontiguousarray(pixels[::-1 if d < 0 else 1, ::-1 if a < 0 else 1])


def first_line(error: object) -> str:
    """The first line of what a decoder says, or what it raised if it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def _natural_key(name: str) -> list:
    # split at digit runs: the odd places of the list are the numbers
    return [int(part) if i % 2 else part for i, part in enumerate(re.split(r'(\d+)', name))]


def _check_whole(path: str) -> None:
    """Before version 5, OpenCV fills what a truncated JPEG lacks with grey; Pillow refuses."""
    try:
        with Image.open(path) as image:
            image.load()
    except OSError as error:
        raise MediaReadError(f'{path}: cannot be decoded as an image: '
                             f'{first_line(error)}') from error
