"""From face units to pixels, and anti-aliased drawing of polygons and lines."""
from __future__ import annotations

import cv2
import numpy as np

from .identity import Colour
from .scene import Pose

UNIT_SHARE = 0.36   # one face unit in shares of the picture side: a tight face crop
CENTRE_Y = 0.49     # of the face's origin (between eyes and nose) in the picture
HEAD_DEPTH = 0.85   # of an ellipsoid head, in face units
HEAD_SHAPE = np.array([1.05, 1.45])**-2.0  # of its half width and half height
FRACTION_BITS = 4   # sub-pixel bits of OpenCV's drawing functions


class Projector:
    """Turns face units (x right, y down, origin mid-face) into pixels for one pose."""

    def __init__(self, pose: Pose, side: int):
        self.unit = UNIT_SHARE * side * pose.scale
        yaw, pitch, roll = np.radians([pose.yaw, pose.pitch, pose.roll])
        tilted = np.array([[np.cos(yaw), 0.0], [0.0, np.cos(pitch)], [np.sin(yaw), -np.sin(pitch)]])
        turn = np.array([[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]])
        self._to_pixels = tilted @ turn * self.unit  # (3, 2): from x, y and depth
        self._origin = np.array([0.5 + pose.shift_x, CENTRE_Y + pose.shift_y]) * side

    def __call__(self, points: np.ndarray, lift: float = 0.0) -> np.ndarray:
        """Pixels, float (n, 2), of points (n, 2) on the head, ``lift`` units in front of it."""
        solid = np.empty((len(points), 3))
        solid[:, :2] = points
        inside = 1 - (solid[:, :2]**2) @ HEAD_SHAPE
        solid[:, 2] = HEAD_DEPTH * np.sqrt(np.maximum(0.0, inside)) + lift
        return solid @ self._to_pixels + self._origin

    def width(self, units: float) -> int:
        """Line width in whole pixels, at least 1, of a width in face units."""
        return max(1, round(units * self.unit))


def mixed(first: Colour, second: Colour, share: float) -> Colour:
    """Colour between two: ``share`` 0 gives the first and 1 the second."""
    return tuple(a + (b - a) * share for a, b in zip(first, second))


def darker(colour: Colour, factor: float) -> Colour:
    """Colour with every channel multiplied by ``factor``."""
    return tuple(value * factor for value in colour)


def _fixed(pixels: np.ndarray) -> np.ndarray:
    return np.rint(pixels * (1 << FRACTION_BITS)).astype(np.int32)


def fill(picture: np.ndarray, pixels: np.ndarray, colour) -> None:
    """Fill a polygon given by float pixels (n, 2), in place."""
    cv2.fillPoly(picture, [_fixed(pixels)], colour, cv2.LINE_AA, FRACTION_BITS)


def stroke(picture: np.ndarray, pixels: np.ndarray, colour, width: int,
           closed: bool = False) -> None:
    """Draw an anti-aliased line through float pixels (n, 2), in place."""
    cv2.polylines(picture, [_fixed(pixels)], closed, colour, width, cv2.LINE_AA, FRACTION_BITS)


def disc(picture: np.ndarray, centre: np.ndarray, radius: float, colour) -> None:
    """Fill a circle; centre (2,) and radius in pixels, in place."""
    scale = 1 << FRACTION_BITS
    cv2.circle(picture, (round(centre[0] * scale), round(centre[1] * scale)),
               max(1, round(radius * scale)), colour, -1, cv2.LINE_AA, FRACTION_BITS)


class Window:
    """Drawing that shows only inside a polygon: draw on ``.picture`` at ``pixels - .corner``."""

    def __init__(self, picture: np.ndarray, outline: np.ndarray):
        side = picture.shape[0]
        low = np.clip(np.floor(outline.min(axis=0)).astype(int) - 2, 0, side - 1)
        high = np.clip(np.ceil(outline.max(axis=0)).astype(int) + 3, low + 1, side)
        self.corner = low.astype(float)
        self._target = picture[low[1]:high[1], low[0]:high[0]]
        self._mask = np.zeros(self._target.shape[:2], np.uint8)
        fill(self._mask, outline - self.corner, 255)
        self.picture = self._target.copy()

    def close(self) -> None:
        """Blend what was drawn back into the picture."""
        weight = (self._mask.astype(np.float32) / 255)[..., None]
        blended = self._target + (self.picture.astype(np.float32) - self._target) * weight
        self._target[...] = np.round(blended).astype(np.uint8)
