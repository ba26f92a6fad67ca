"""Where brows, eyes, nose, mouth and chin of a face are in its picture."""
from __future__ import annotations

import numpy as np

from .canvas import Projector
from .expressions import Actions
from .eyes import brow_line, lid_curves
from .head import face_outline
from .identity import Identity
from .mouth import mouth_shape
from .scene import Pose

NUM_POINTS = 27


def landmarks(identity: Identity, actions: Actions, pose: Pose, size: int) -> np.ndarray:
    """Points of a face in a picture of ``size`` pixels, float (27, 2), x right and y down.

    In this order: for each side, left of the picture first, three points of the brow from its
    inner end, inner and outer corner of the eye, middle of the upper and of the lower lid; tip of
    the nose; six points around the jaw and the chin from left to right; corners of the mouth,
    middle of the upper and of the lower lip outside, of the opening above and below.
    """
    project, points = Projector(pose, size), []
    for side in (-1, 1):
        brow = brow_line(identity, actions, side)
        points += project(brow[[0, len(brow) // 2, -1]], 0.05).tolist()
        upper, lower = lid_curves(identity, actions, side)
        middle = len(upper) // 2
        points += project(np.stack([upper[0], upper[-1], upper[middle], lower[middle]]),
                          0.02).tolist()
    points += project(np.array([[0.0, identity.nose_length]]), 0.22).tolist()
    jaw = face_outline(identity, actions)[:33]  # from the right ear over the chin to the left one
    points += project(jaw[[32, 26, 19, 13, 6, 0]]).tolist()
    mouth = mouth_shape(identity, actions)
    middle = len(mouth.outer_upper) // 2
    lips = [mouth.inner_upper[0], mouth.inner_upper[-1], mouth.outer_upper[middle],
            mouth.outer_lower[middle], mouth.inner_upper[middle], mouth.inner_lower[middle]]
    points += project(np.stack(lips), 0.08).tolist()
    # the centre of pixel 0 is 0, while the drawing counts from the corner of the picture
    return np.array(points) - 0.5
