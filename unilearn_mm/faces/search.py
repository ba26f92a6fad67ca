"""Where a detector looks: over a whole picture for new faces, and at one face for its points.

A detector's points depend on how large the face is and how it is turned: for one photograph turned
by 30 degrees they are off by a tenth of the distance of the eyes. So the whole picture, reduced, is
only searched for faces; the points are then measured on the face alone, brought upright to one
size, where the detector always sees the same thing. Its own answer says how the face is turned,
and a second and third look follow that.
"""

import dataclasses
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

import cv2
import numpy as np

from .alignment import (
    ARCFACE_TEMPLATE,
    cut_out,
    similarity_transform,
    transform_points,
    transform_scale,
)
from .detector import Detections, FaceDetector

MIN_FACE = 12.0  # px; no crop of a smaller face shows an expression
LOOKS = 3  # at a face that was not seen before: 0.55, 0.95 and 0.97 SSIM of crops turned by 30 deg
LOOKS_AGAIN = 2  # at a face whose points in the frame before are known
STILL = 0.02  # of the distance of the eyes: when the points move less, another look is not needed
STILL_AGAIN = 0.05  # the same for a known face: it turned by 4 degrees since the frame before
REGION = 128  # px, sides of the square in which a face is measured
REGION_EYES = 32  # px between the eyes in it
# Which sizes: of 96/20, 96/24, 128/24, 128/32 and 160/32 the one whose points repeat best under
# shifts of the picture for its time (London set, the 51 faces that the project may look at).
_TEMPLATE = np.array(ARCFACE_TEMPLATE)
_TEMPLATE = (_TEMPLATE - _TEMPLATE.mean(0)) * REGION_EYES / np.ptp(_TEMPLATE[:2, 0])
REGION_TEMPLATE = _TEMPLATE + (REGION - 1) / 2


@dataclasses.dataclass(frozen=True)
class SearchSettings:
    """What is searched for.

    Attributes:
        smallest_face (float): Height of the smallest face: below 1, as a share of the long side of
            the picture; from 1 on, in pixels. It decides how far a picture is reduced before the
            search, and so what the search costs. Never below 12 px.
        threshold (float): The score that makes a new face.
        weak_threshold (float): The score with which a known face goes on.
        interval (float): Seconds from one search of the whole picture to the next; 0 searches
            every frame. The points of known faces are measured in every frame. Frames in between
            are searched as well when a face came or went.

    Raises:
        ValueError: If a value makes no sense; the message names it.
    """

    smallest_face: float = 24 / 640
    threshold: float = 0.5
    weak_threshold: float = 0.2
    interval: float = 0.1

    def __post_init__(self) -> None:
        for is_right, key, expected in (
                (0 < self.smallest_face < 1 or self.smallest_face >= MIN_FACE, 'smallest_face',
                 f'a share of the long side below 1, or at least {MIN_FACE:g} pixels'),
                (0 < self.threshold < 1, 'threshold', 'a score between 0 and 1'),
                (0 < self.weak_threshold < 1, 'weak_threshold', 'a score between 0 and 1'),
                (0 <= self.interval < float('inf'), 'interval', 'seconds from 0 on')):
            if not is_right:
                raise ValueError(f'search: {key} is {getattr(self, key)!r}, expected {expected}')

    def to_dict(self) -> Dict[str, Any]:
        """Plain values, for JSON."""
        return dataclasses.asdict(self)

    def smallest_in(self, width: int, height: int) -> float:
        """Height in pixels of the smallest face that is looked for in a picture of a size."""
        relative = self.smallest_face < 1
        return max(self.smallest_face * (max(width, height) if relative else 1), MIN_FACE)


class FaceLook(NamedTuple):
    """A face in a picture.

    Attributes:
        box (np.ndarray): (4,) float32 x1, y1, x2, y2 in pixels. Of a face that is not upright, its
            centre and sides are those of the box in which it would be if it were.
        points (np.ndarray): (5, 2) float32, as in :class:`.detector.Detections`.
        score (float): In 0..1.
    """

    box: np.ndarray
    points: np.ndarray
    score: float


class FaceSearch:
    """Looks for faces and at faces.

    Args:
        detector (FaceDetector): The detector.
        settings (SearchSettings): What is searched for.
    """

    def __init__(self, detector: FaceDetector, settings: SearchSettings) -> None:
        self.detector = detector
        self.settings = settings

    @property
    def weak_threshold(self) -> float:
        """The lowest score that counts; never above that of a new face."""
        return min(self.settings.threshold, self.settings.weak_threshold)

    def find(self, image: np.ndarray) -> Detections:
        """All faces of a picture, those with weak scores too; their points are coarse.

        Args:
            image (np.ndarray): (H, W, 3) uint8 RGB.
        """
        height, width = image.shape[:2]
        scale = self.detector.smallest_face / self.settings.smallest_in(width, height)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        small = image if size == (width, height) else cv2.resize(image, size, interpolation=method)
        found = self.detector.detect([small], self.weak_threshold)[0]
        ratio = np.array([width, height]) / size
        return Detections((((found.boxes.reshape(-1, 2, 2) + 0.5) * ratio - 0.5)
                           .reshape(-1, 4).astype(np.float32)), found.scores,
                          ((found.points + 0.5) * ratio - 0.5).astype(np.float32))

    def measure(self, image: np.ndarray, starts: Sequence[np.ndarray],
                is_known: bool = False) -> List[Optional[FaceLook]]:
        """Look at single faces of a picture, each upright and at one size.

        Args:
            image (np.ndarray): (H, W, 3) uint8 RGB.
            starts (Sequence[np.ndarray]): For each face (5, 2), roughly where its points are.
            is_known (bool): Whether these come from the frame before, and not from a search: then
                one look is mostly enough. Each look starts from the last one's points.

        Returns:
            List[FaceLook | None]: None where no face is seen with the weak threshold.
        """
        faces: List[Optional[FaceLook]] = [None] * len(starts)
        points = dict(enumerate(starts))  # of the faces that need a look
        still = STILL_AGAIN if is_known else STILL
        for _ in range(LOOKS_AGAIN if is_known else LOOKS):
            matrices = [similarity_transform(start, REGION_TEMPLATE) for start in points.values()]
            regions = [cut_out(image, matrix, REGION) for matrix in matrices]
            seen = self.detector.detect(regions, self.weak_threshold) if regions else []
            for matrix, found, (index, start) in zip(matrices, seen, list(points.items())):
                face = faces[index] = _nearest(found, matrix)
                if face is None or _moved(face.points, start) < still:
                    del points[index]
                else:
                    points[index] = face.points
        return faces

    def still(self, image: np.ndarray) -> List[FaceLook]:
        """The faces of a single picture, the largest first.

        Args:
            image (np.ndarray): (H, W, 3) uint8 RGB.
        """
        found = self.find(image)
        found = found.take(found.scores >= self.settings.threshold)
        looks = [look for look in self.measure(image, list(found.points))
                 if look is not None and look.score >= self.settings.threshold]
        return sorted(looks, key=lambda look: -float(np.prod(look.box[2:] - look.box[:2])))


def _nearest(found: Detections, matrix: np.ndarray) -> Optional[FaceLook]:
    """The face in the middle of a region, in coordinates of the picture; None if there is none."""
    if not len(found.scores):
        return None
    away = np.linalg.norm(found.points.mean(1) - (REGION - 1) / 2, axis=1)
    best = int(np.argmin(away))
    if away[best] > REGION_EYES:
        return None
    back = cv2.invertAffineTransform(matrix)
    box = found.boxes[best].astype(float)
    centre = transform_points(back, (box[:2] + box[2:]) / 2)
    half = (box[2:] - box[:2]) / 2 * transform_scale(back)
    return FaceLook(np.concatenate([centre - half, centre + half]).astype(np.float32),
                    transform_points(back, found.points[best]).astype(np.float32),
                    float(found.scores[best]))


def _moved(points: np.ndarray, start: np.ndarray) -> float:
    """Mean distance of points from where they started, as a share of the distance of the eyes."""
    return float(np.linalg.norm(points - start, axis=1).mean()
                 / max(np.linalg.norm(points[1] - points[0]), 1e-6))
