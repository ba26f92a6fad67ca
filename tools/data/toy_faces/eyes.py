"""Eyes, eyelids, brows and glasses, moved by action units."""
from __future__ import annotations

import numpy as np

from .canvas import Projector, Window, darker, disc, fill, mixed, stroke
from .expressions import BLINK, Actions
from .identity import Identity

ALONG = np.linspace(-1.0, 1.0, 15)  # eye, from the inner corner (-1) to the outer corner (1)
BROW = np.linspace(0.0, 1.0, 9)     # brow, from the inner end (0) to the outer end (1)
SCLERA = (226.0, 232.0, 234.0)
PUPIL = (14.0, 12.0, 14.0)
HIGHLIGHT = (250.0, 250.0, 250.0)
EYE_HALF_WIDTH = 0.245
IRIS_RADIUS = 0.118
FRAME_COLOUR = (38.0, 34.0, 36.0)


def lid_curves(identity: Identity, actions: Actions, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Upper and lower lid of one eye (side -1 or 1), each float (15, 2) in face units."""
    size = identity.eye_size
    brow_only = actions(4, side) * max(0.0, 1 - actions(1, side))
    tilt = (-identity.eye_slant + 0.06 * max(0.0, actions(1, side) - actions(2, side))
            - 0.04 * brow_only)
    above = size * (0.115 + 0.1 * actions(5, side) - 0.045 * actions(7, side)
                    - 0.03 * actions(6, side) - 0.03 * actions(9, side) - 0.015 * brow_only)
    below = size * (0.085 + 0.012 * actions(5, side) - 0.045 * actions(7, side)
                    - 0.06 * actions(6, side) - 0.045 * actions(9, side))
    above, below = max(above, 0.03), max(below, 0.005)
    closing = min(1.0, actions(BLINK))
    x = side * (identity.eye_x + ALONG * EYE_HALF_WIDTH * size)
    base = identity.eye_y + tilt * ALONG
    lower = base + below * (1 - np.abs(ALONG)**2.2)
    upper = base - above * (1 - np.abs(ALONG)**2.4) + 0.5 * tilt * (1 - ALONG**2) * (-ALONG)
    upper = upper + (lower - upper) * closing
    return np.column_stack([x, upper]), np.column_stack([x, lower])


def draw_eye(picture: np.ndarray, project: Projector, identity: Identity, actions: Actions,
             side: int) -> None:
    """Draw one eye with its lids onto ``picture`` in place."""
    upper_units, lower_units = lid_curves(identity, actions, side)
    upper, lower = project(upper_units, 0.02), project(lower_units, 0.02)
    outline = np.vstack([upper, lower[::-1]])
    window = Window(picture, outline)
    fill(window.picture, outline - window.corner, SCLERA)
    middle = np.array([[side * identity.eye_x, identity.eye_y - 0.012]])
    centre = project(middle, 0.02)[0] - window.corner
    radius = IRIS_RADIUS * identity.eye_size * project.unit
    disc(window.picture, centre, radius, darker(identity.iris, 0.6))
    disc(window.picture, centre, 0.82 * radius, identity.iris)
    disc(window.picture, centre, 0.48 * radius, PUPIL)
    disc(window.picture, centre + radius * np.array([-0.3, -0.35]), 0.22 * radius, HIGHLIGHT)
    window.close()
    lash = mixed(darker(identity.skin, 0.35), (20.0, 20.0, 25.0), 0.5)
    crease = upper_units - [0.0, 0.055 - 0.02 * actions(5, side)]
    stroke(picture, project(crease[2:], 0.02), darker(identity.skin, 0.72), project.width(0.022))
    stroke(picture, lower, darker(identity.skin, 0.6), project.width(0.02))
    stroke(picture, upper, lash, project.width(0.045))


def brow_line(identity: Identity, actions: Actions, side: int) -> np.ndarray:
    """Middle line of one brow, float (9, 2) in face units, from the inner to the outer end."""
    inner, outer = (1 - BROW)**1.2, BROW
    frown = actions(4, side)
    sorrow = max(0.0, actions(1, side) - actions(2, side))
    x = identity.eye_x - 0.26 + 0.56 * BROW - 0.075 * frown * inner
    y = (identity.eye_y - identity.brow_height + identity.brow_slant * (2 * BROW - 1)
         - 0.055 * np.sin(np.pi * BROW**1.3)
         - 0.22 * actions(1, side) * inner - 0.17 * actions(2, side) * outer**0.7
         + frown * (0.13 * inner + 0.035) + 0.05 * sorrow * outer
         + 0.055 * actions(9, side) + 0.02 * actions(6, side))
    return np.column_stack([side * x, y])


def draw_brow(picture: np.ndarray, project: Projector, identity: Identity, actions: Actions,
              side: int) -> None:
    """Draw one tapered brow onto ``picture`` in place."""
    middle = brow_line(identity, actions, side)
    half = identity.brow_thickness * (0.55 + 0.5 * np.sin(np.pi * (0.25 + 0.75 * BROW))) / 1.6
    offset = np.column_stack([np.zeros_like(half), half])
    outline = np.vstack([middle - offset, (middle + offset)[::-1]])
    colour = mixed(darker(identity.hair, 0.6), darker(identity.skin, 0.22), 0.5)
    fill(picture, project(outline, 0.05), colour)


def draw_glasses(picture: np.ndarray, project: Projector, identity: Identity) -> None:
    """Draw the frames of this identity's glasses, if any, onto ``picture`` in place."""
    if identity.glasses == 'none':
        return
    angle = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    power = 1.0 if identity.glasses == 'round' else 0.5
    ring = np.column_stack([np.sign(np.cos(angle)) * np.abs(np.cos(angle))**power * 0.33,
                            np.sign(np.sin(angle)) * np.abs(np.sin(angle))**power * 0.27])
    width = project.width(0.035)
    top = identity.eye_y - 0.02
    for side in (-1, 1):
        lens = ring + [side * identity.eye_x, identity.eye_y + 0.03]
        stroke(picture, project(lens, 0.1), FRAME_COLOUR, width, closed=True)
        temple = np.array([[side * (identity.eye_x + 0.33), top],
                           [side * 0.97 * identity.face_width, top - 0.03]])
        stroke(picture, project(temple, 0.05), FRAME_COLOUR, width)
    bridge = np.array([[-identity.eye_x + 0.32, top], [0.0, top - 0.05],
                       [identity.eye_x - 0.32, top]])
    stroke(picture, project(bridge, 0.12), FRAME_COLOUR, width)
