"""A video that shows what was found: boxes, points and tracks, drawn on the frames."""

from pathlib import Path
from typing import Tuple

import cv2
import numpy as np

from .clips import FrameFaces, TrackedFace
from .video_file import VideoFileWriter

MIN_SIDE, MAX_SIDE = 320, 960  # px of the longer side of the drawn frames
COLOURS = ((76, 175, 80), (33, 150, 243), (255, 152, 0), (233, 30, 99), (156, 39, 176),
           (0, 188, 212), (255, 235, 59), (121, 85, 72))  # RGB, one a track in turn


class OverlayWriter:
    """An mp4 of the frames at their own times, with the faces of each drawn on it.

    A box is drawn thick where a face was detected, thin where it was carried from one detection
    to the next.

    Args:
        path (Path): The video.
    """

    def __init__(self, path: Path) -> None:
        self.writer = VideoFileWriter(path)

    def add(self, step: FrameFaces) -> None:
        """Draw a frame with its faces.

        Raises:
            OSError: If the disk refuses.
        """
        self.writer.add(draw_faces(step), step.frame.time)

    def close(self) -> None:
        """End the video."""
        self.writer.close()


def draw_faces(step: FrameFaces) -> np.ndarray:
    """A frame with its faces, its time, and a mark where a new scene begins.

    Args:
        step (FrameFaces): A frame and its faces.

    Returns:
        np.ndarray: (H, W, 3) uint8 RGB, its longer side ``MIN_SIDE`` to ``MAX_SIDE`` px.
    """
    image = step.frame.image
    longer = max(image.shape[:2])
    scale = min(max(longer, MIN_SIDE), MAX_SIDE) / longer
    size = [max(2, round(side * scale)) for side in image.shape[1::-1]]
    image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    for face in step.faces:
        _draw_face(image, face, scale)
    found = f'{len(step.faces)} face{"s" * (len(step.faces) != 1)}' if step.faces else 'no face'
    write_text(image, f'{step.frame.time:.2f} s  {found}', (4, 14), (255, 255, 255))
    if step.cut:
        write_text(image, 'new scene', (4, 30), (255, 82, 82))
    return image


def _draw_face(image: np.ndarray, face: TrackedFace, scale: float) -> None:
    colour = COLOURS[face.track % len(COLOURS)]
    left, top, right, bottom = (np.asarray(face.box) * scale).round().astype(int).tolist()
    cv2.rectangle(image, (left, top), (right, bottom), colour, 2 if face.detected else 1,
                  cv2.LINE_AA)
    for x, y in (np.asarray(face.points) * scale).round().astype(int).tolist():
        cv2.circle(image, (x, y), 2, colour, -1, cv2.LINE_AA)
    score = f' {face.score:.2f}' if face.detected else ''
    write_text(image, f'face {face.track}{score}', (left, max(top - 5, 12)), colour)


def write_text(image: np.ndarray, text: str, place: Tuple[int, int],
           colour: Tuple[int, int, int]) -> None:
    """Write on a black ground; ``place`` is the left end of the base line."""
    font = dict(fontFace=cv2.FONT_HERSHEY_SIMPLEX, fontScale=0.45, thickness=1)
    (width, height), below = cv2.getTextSize(text, **font)
    x, y = place
    cv2.rectangle(image, (x - 1, y - height - 1), (x + width + 1, y + below), (0, 0, 0), -1)
    cv2.putText(image, text, place, color=colour, lineType=cv2.LINE_AA, **font)
