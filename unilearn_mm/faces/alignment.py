"""How a face is cut out of its frame: the record of a crop, and similarity transforms.

Crops of faces are only comparable when they are cut in the same way, so that the way is one small
record: it goes into the manifest of a data set, from there into the checkpoint, and prediction
obeys it.
"""

import dataclasses
from typing import Any, Dict, Tuple

import cv2
import numpy as np

VERSION = 1  # of what the records mean: raise it when the same record would give other pixels

# The template of ArcFace (Deng et al., CVPR 2019; insightface, face_align.py) in shares of its
# 112-pixel crop: left eye, right eye, nose, left and right corner of the mouth.
ARCFACE_TEMPLATE = ((0.34192, 0.46157), (0.65653, 0.45983), (0.50022, 0.64051),
                    (0.37097, 0.82469), (0.63152, 0.82325))


@dataclasses.dataclass(frozen=True)
class CropRecord:
    """How faces are cut out.

    Attributes:
        name (str): Name of the setting; that of a preset unless something was changed.
        preset (str): 'upright': a square around the box of the face, as high as the box, turned
            so that the face is upright. 'similarity': the five points onto a template.
        size (int): Sides of the crop, in pixels.
        margin (float): What is added on each side, as a share of the side of the square (of the
            template).
        template (Tuple[Tuple[float, float], ...]): For 'similarity': x and y of the five points
            in shares of the side, in the order of :class:`.detector.Detections`. For 'upright':
            the same points; only the angle is taken from them.
        smoothing (float): Standard deviation in seconds of the Gaussian window in which the
            course of boxes and points is taken for a parabola; 0 smooths nothing.
        version (int): Of the meaning of all this (:data:`VERSION`).

    Raises:
        ValueError: If a value makes no sense; the message names it.
    """

    name: str
    preset: str
    size: int
    margin: float
    template: Tuple[Tuple[float, float], ...] = ARCFACE_TEMPLATE
    smoothing: float = 0.05
    version: int = VERSION

    def __post_init__(self) -> None:
        template = np.asarray(self.template, float)
        for is_right, key, expected in (
                (self.version == VERSION, 'version',
                 f'{VERSION}; the crops of another version cannot be made by this release'),
                (self.preset in ('upright', 'similarity'), 'preset', "'upright' or 'similarity'"),
                (isinstance(self.size, int) and 8 <= self.size <= 4096, 'size',
                 'a whole number of pixels from 8 to 4096'),
                (-0.4 <= self.margin <= 4, 'margin', 'a share of the side from -0.4 to 4'),
                (template.shape == (5, 2) and np.ptp(template, axis=0).all(), 'template',
                 'five different points (x, y)'),
                (0 <= self.smoothing <= 10, 'smoothing', 'seconds from 0 to 10')):
            if not is_right:
                raise ValueError(f'crop record {self.name!r}: {key} is {getattr(self, key)!r}, '
                                 f'expected {expected}')

    def replace(self, **changes: Any) -> 'CropRecord':
        """A copy with other values. Its name says so, unless the new one is among the changes."""
        if 'name' not in changes and dataclasses.replace(self, **changes) != self:
            changes['name'] = ', '.join([self.name, *(f'{key}={value}' for key, value
                                                      in changes.items() if key != 'template')])
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> Dict[str, Any]:
        """Plain values, for JSON."""
        return dict(dataclasses.asdict(self), template=[list(point) for point in self.template])

    @classmethod
    def from_dict(cls, values: Dict[str, Any]) -> 'CropRecord':
        """A record from :meth:`to_dict`.

        Raises:
            ValueError: If a key is unknown or missing, or a value makes no sense.
        """
        keys = {field.name for field in dataclasses.fields(cls)}
        if set(values) != keys:
            raise ValueError(f'crop record: unknown keys {sorted(set(values) - keys)}, missing '
                             f'keys {sorted(keys - set(values))}')
        return cls(**{**values, 'template': tuple(tuple(point) for point in values['template'])})


PRESETS = {record.name: record for record in (
    # what most expression data sets hold: the whole face, upright, a little around it
    CropRecord('upright', 'upright', size=224, margin=0.1),
    # what face recognition uses, with a margin that keeps forehead and chin
    CropRecord('similarity', 'similarity', size=224, margin=0.15))}


def similarity_transform(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The turn, scale and shift that bring points closest to others (least squares; Umeyama,
    PAMI 1991, without reflection).

    Args:
        source (np.ndarray): (n, 2) points x, y, not all the same.
        target (np.ndarray): (n, 2) where they should go.

    Returns:
        np.ndarray: (2, 3) float64, for ``matrix @ (x, y, 1)``.
    """
    # a plane is the complex numbers, and turn and scale are one factor
    start, end = (points @ np.array([1, 1j]) for points in (source, target))
    factor = (np.vdot(start - start.mean(), end - end.mean())
              / np.vdot(start - start.mean(), start - start.mean()))
    shift = end.mean() - factor * start.mean()
    return np.array([[factor.real, -factor.imag, shift.real],
                     [factor.imag, factor.real, shift.imag]])


def transform_points(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points (..., 2) after a (2, 3) transform."""
    return points @ matrix[:, :2].T + matrix[:, 2]


def transform_scale(matrix: np.ndarray) -> float:
    """By how much a (2, 3) similarity transform enlarges."""
    return float(np.hypot(matrix[0, 0], matrix[1, 0]))


def crop_transform(record: CropRecord, box: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The transform from a frame to the crop of a face.

    Args:
        record (CropRecord): How to cut.
        box (np.ndarray): (4,) x1, y1, x2, y2 of the face.
        points (np.ndarray): (5, 2) of the face.

    Returns:
        np.ndarray: (2, 3) float64.
    """
    inner = record.size / (1 + 2 * record.margin)  # px of the crop without its margins
    template = (np.array(record.template) - 0.5) * inner + (record.size - 1) / 2
    matrix = similarity_transform(points, template)
    if record.preset == 'upright':
        box = np.asarray(box, float)
        turn = matrix[:, :2] / transform_scale(matrix) * inner / max(box[2:] - box[:2])
        centre = (box[:2] + box[2:]) / 2
        matrix = np.column_stack([turn, (record.size - 1) / 2 - turn @ centre])
    return matrix


def cut_out(image: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """The part of an image that a similarity transform brings into a square, without aliasing.

    Args:
        image (np.ndarray): (H, W, 3) uint8.
        matrix (np.ndarray): (2, 3), from image to square.
        size (int): Sides of the square, in pixels.

    Returns:
        np.ndarray: (size, size, 3) uint8; black where it lies outside the image.
    """
    scale = transform_scale(matrix)
    if scale < 1:  # shrink what will be needed by averaging over areas, then turn
        corners = np.array([[-1, -1], [size, -1], [size, size], [-1, size]], float)
        corners = transform_points(cv2.invertAffineTransform(matrix), corners)
        limits = np.array(image.shape[1::-1])
        low = np.clip(np.floor(corners.min(0)), 0, limits - 1).astype(int)
        high = np.clip(np.ceil(corners.max(0)) + 1, low + 1, limits).astype(int)
        part = image[low[1]:high[1], low[0]:high[0]]
        width, height = np.maximum(np.round((high - low) * scale), 1).astype(int)
        image = cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA)
        # pixel i of the small image covers the pixels from i * ratio to (i + 1) * ratio
        ratio = (high - low) / (width, height)
        matrix = np.column_stack([matrix[:, :2] * ratio,
                                  transform_points(matrix, low + ratio / 2 - 0.5)])
    return cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR)
