"""The mouth: lips, opening, teeth and tongue, moved by action units."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .canvas import Projector, Window, darker, fill, mixed, stroke
from .expressions import Actions
from .identity import Identity

ACROSS = np.linspace(-1.0, 1.0, 23)  # from the left corner (-1) to the right corner (1)
LIP_RED = (88.0, 82.0, 190.0)
INSIDE = (28.0, 18.0, 62.0)
TEETH = (228.0, 240.0, 245.0)
TONGUE = (92.0, 84.0, 196.0)
SMALLEST_OPENING = 0.025  # face units; below it the lips count as closed


@dataclass(frozen=True)
class MouthShape:
    """Curves over ``ACROSS``, each float (23, 2) in face units, and the opening's height."""

    outer_upper: np.ndarray
    inner_upper: np.ndarray
    inner_lower: np.ndarray
    outer_lower: np.ndarray
    opening: float


def jaw_drop(actions: Actions) -> float:
    """How far the chin moves down, in face units."""
    return 0.09 * actions(26) + 0.17 * actions(27)


def corner(identity: Identity, actions: Actions, side: int) -> np.ndarray:
    """Position (2,) of a mouth corner (side -1 or 1) in face units."""
    width = identity.mouth_width * (
        1 + 0.32 * actions(12, side) + 0.36 * actions(20, side) + 0.04 * actions(15, side)
        - 0.26 * actions(26) - 0.34 * actions(27) - 0.1 * actions(23) - 0.06 * actions(24)
        - 0.05 * actions(17))
    height = (identity.mouth_y + identity.mouth_rest - 0.025 - 0.2 * actions(12, side)
              + 0.15 * actions(15, side) + 0.06 * actions(20, side) + 0.13 * actions(26)
              + 0.2 * actions(27))
    return np.array([side * width, height])


def mouth_shape(identity: Identity, actions: Actions) -> MouthShape:
    """The mouth's four curves for these actions."""
    left, right = corner(identity, actions, -1), corner(identity, actions, 1)
    halfway = (ACROSS + 1) / 2
    x = left[0] + (right[0] - left[0]) * halfway
    corner_y = left[1] + (right[1] - left[1]) * halfway
    opening = (0.1 * actions(25) + 0.27 * actions(26) + 0.5 * actions(27)
               + 0.07 * actions(25) * actions(12) + 0.07 * actions(25) * actions(20))
    upper_middle = (identity.mouth_y - 0.13 * actions(10) - 0.04 * actions(9)
                    - 0.07 * actions(17) - 0.02 * actions(25) + 0.02 * actions(12)
                    - 0.03 * actions(27))
    lower_middle = upper_middle + opening
    roundness = 2.0 + 2.5 * actions(20) + 0.8 * actions(27) + 1.0 * actions(10)
    to_corner = np.abs(ACROSS)**roundness
    lift = 0.05 * actions(10) * np.exp(-((np.abs(ACROSS) - 0.45) / 0.22)**2)
    upper = upper_middle * (1 - to_corner) + corner_y * to_corner - lift
    lower = lower_middle * (1 - to_corner) + corner_y * to_corner
    lower = np.maximum(lower, upper)
    thickness = np.sqrt(np.maximum(0, 1 - ACROSS**2)) * identity.lip_fullness
    pressed = 1 - 0.42 * actions(23) - 0.42 * actions(24)
    stretched = 1 - 0.3 * actions(12) - 0.3 * actions(20)
    bow = 1 - 0.35 * np.exp(-(ACROSS / 0.16)**2)
    top = upper - 0.085 * thickness * bow * max(0.12, pressed) * stretched
    bottom = lower + 0.115 * thickness * max(0.15, pressed) * stretched + (
        0.03 * actions(17) * (1 - ACROSS**2))
    curves = [np.column_stack([x, y]) for y in (top, upper, lower, bottom)]
    return MouthShape(*curves, opening=opening)


def draw_mouth(picture: np.ndarray, project: Projector, identity: Identity,
               actions: Actions) -> None:
    """Draw lips and the mouth's inside onto ``picture`` in place."""
    shape = mouth_shape(identity, actions)
    lips = mixed(darker(identity.skin, 0.78), darker(LIP_RED, _lightness(identity)), 0.45)
    top, upper, lower, bottom = (project(curve, 0.08) for curve in (
        shape.outer_upper, shape.inner_upper, shape.inner_lower, shape.outer_lower))
    fill(picture, np.vstack([top, upper[::-1]]), darker(lips, 0.9))
    fill(picture, np.vstack([lower, bottom[::-1]]), lips)
    line = darker(lips, 0.42)
    if shape.opening > SMALLEST_OPENING:
        _draw_inside(picture, project, shape, actions, upper, lower)
        stroke(picture, np.vstack([upper, lower[::-1]]), line, project.width(0.022), closed=True)
    else:
        stroke(picture, upper, line, project.width(0.04))


def _lightness(identity: Identity) -> float:
    return 0.45 + 0.6 * float(np.mean(identity.skin)) / 255


def _draw_inside(picture: np.ndarray, project: Projector, shape: MouthShape, actions: Actions,
                 upper: np.ndarray, lower: np.ndarray) -> None:
    outline = np.vstack([upper, lower[::-1]])
    window = Window(picture, outline)
    down = np.array([0.0, 1.0])
    fill(window.picture, outline - window.corner, INSIDE)
    gap = shape.opening * project.unit
    if shape.opening > 0.25:
        tongue = lower - window.corner - down * 0.32 * gap
        fill(window.picture, np.vstack([tongue[5:-5], lower[::-1] - window.corner]), TONGUE)
    upper_teeth = min(0.13 * project.unit, 0.62 * gap)
    edge = upper + down * upper_teeth
    fill(window.picture, np.vstack([upper, edge[::-1]]) - window.corner, TEETH)
    if actions(20) > 0.3:
        edge = lower - down * min(0.09 * project.unit, 0.3 * gap)
        fill(window.picture, np.vstack([lower, edge[::-1]]) - window.corner, darker(TEETH, 0.93))
    window.close()
