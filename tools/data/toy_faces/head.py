"""Head, hair, nose, and the shadows and wrinkles that action units leave on the skin."""
from __future__ import annotations

import cv2
import numpy as np

from .canvas import Projector, darker, disc, fill, mixed, stroke
from .expressions import Actions
from .identity import Identity
from .mouth import corner, jaw_drop

PLAIN = 200          # value of the shade layer that leaves the skin as it is; 0 is black
SKULL_TOP = -1.22
WRINKLE = 0.5        # factor of the deepest wrinkle
# Weights (9, 3) of three points on the parabola through them.
PARABOLA = np.array([[(1 - t) * (1 - 2 * t), 4 * t * (1 - t), t * (2 * t - 1)]
                     for t in np.linspace(0, 1, 9)])
FAINTEST = 0.08      # depth below which a wrinkle is not drawn
COARSER = 4          # soft shadows are blurred at a quarter of the size, which is faster
SOFT_BLUR_SHARE = 0.022  # blur of soft shadows in shares of the picture side


def face_outline(identity: Identity, actions: Actions) -> np.ndarray:
    """Outline of skull and jaw, float (64, 2) in face units."""
    angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    sine, cosine = np.sin(angle), np.cos(angle)
    chin = identity.chin + jaw_drop(actions)
    y = np.where(sine > 0, chin * sine, -SKULL_TOP * sine)
    jaw = 1 - identity.jaw_taper * np.maximum(sine, 0)**2 * np.abs(cosine)
    x = identity.face_width * np.sign(cosine) * np.abs(cosine)**0.85 * jaw
    return np.column_stack([x, y])


def draw_behind(picture: np.ndarray, project: Projector, identity: Identity) -> None:
    """Draw shoulders, neck, and the hair behind the head."""
    wide = identity.face_width
    if identity.hair_style == 'long':
        back = np.array([[-1.2, 1.7], [-1.28, 0.3], [-1.15, -0.8], [-0.6, -1.38], [0.6, -1.38],
                         [1.15, -0.8], [1.28, 0.3], [1.2, 1.7]]) * [wide, 1.0]
        fill(picture, project(back), darker(identity.hair, 0.8))
    elif identity.hair_style == 'bun':
        disc(picture, project(np.array([[0.0, -1.35]]))[0], 0.4 * project.unit,
             darker(identity.hair, 0.9))
    body = np.array([[-1.7, 2.2], [-1.2, 1.6], [-0.5, 1.4], [0.5, 1.4], [1.2, 1.6], [1.7, 2.2]])
    fill(picture, project(body), identity.clothes)
    neck = np.array([[-0.52, 0.7], [-0.5, 1.5], [0.0, 1.66], [0.5, 1.5], [0.52, 0.7]])
    fill(picture, project(neck), darker(identity.skin, 0.74))


def draw_skin(picture: np.ndarray, project: Projector, identity: Identity,
              outline: np.ndarray) -> None:
    """Draw ears and the bare face; ``outline`` is ``face_outline``."""
    for side in (-1, 1):
        centre = project(np.array([[side * identity.face_width, 0.05]]))[0]
        box = (centre.tolist(), (0.26 * project.unit, 0.52 * project.unit), 0)
        cv2.ellipse(picture, box, darker(identity.skin, 0.88), -1, cv2.LINE_AA)
    fill(picture, project(outline), identity.skin)


def draw_hair(picture: np.ndarray, project: Projector, identity: Identity) -> None:
    """Draw the hair in front of the skull."""
    style, line, wide = identity.hair_style, identity.hairline, identity.face_width
    if style == 'bald':
        return
    x = np.linspace(-1, 1, 15)
    rim = {
        'short': line + 0.45 * np.abs(x)**3.0,
        'fringe': line + 0.12 + 0.25 * np.abs(x)**6 + 0.02 * np.cos(9 * x),
        'side': line - 0.1 + 0.24 * np.abs(x + 0.35)**1.5 + 0.25 * np.abs(x)**6,
        'long': line - 0.12 + 0.62 * np.abs(x)**1.6,
        'curly': line - 0.02 + 0.4 * np.abs(x)**4,
        'bun': line - 0.05 + 0.5 * np.abs(x)**2.5,
    }[style]
    angle = np.linspace(0, np.pi, 21)
    thick = 0.2 if style == 'curly' else 0.1
    cap = np.column_stack([(wide + thick * 0.7) * np.cos(angle),
                           -0.35 - (0.87 + thick) * np.sin(angle)])
    hairline = np.column_stack([x * (wide + 0.02), rim])
    fill(picture, np.vstack([project(cap), project(hairline)]), identity.hair)
    if style == 'curly':
        for step in np.linspace(0.0, np.pi, 13):
            knot = np.array([[1.1 * wide * np.cos(step), -0.4 - 0.92 * np.sin(step)]])
            disc(picture, project(knot)[0], 0.2 * project.unit, identity.hair)
    shine = np.column_stack([0.7 * np.cos(angle[5:12]), -0.5 - 0.62 * np.sin(angle[5:12])])
    if style != 'curly':
        stroke(picture, project(shine), mixed(identity.hair, (255, 255, 255), 0.16),
               project.width(0.06))


def draw_nose(picture: np.ndarray, project: Projector, identity: Identity,
              actions: Actions) -> None:
    """Draw nose wings and nostrils."""
    raised = 0.085 * actions(9) + 0.03 * actions(10)
    half = identity.nose_width * (1 + 0.25 * actions(9) + 0.08 * actions(12))
    base = identity.nose_length - raised
    shadow = darker(identity.skin, 0.62)
    for side in (-1, 1):
        wing = np.array([[0.8, -0.14], [1.05, -0.04], [0.98, 0.05], [0.7, 0.06]])
        wing = wing * [side * half, 1.0] + [0.0, base]
        stroke(picture, project(wing, 0.12), shadow, project.width(0.03))
        nostril = project(np.array([[side * 0.48 * half, base + 0.055]]), 0.18)[0]
        disc(picture, nostril, 0.042 * project.unit, darker(identity.skin, 0.4))
    tip = np.array([[-0.3 * half, base + 0.085], [0.0, base + 0.1], [0.3 * half, base + 0.085]])
    stroke(picture, project(tip, 0.22), shadow, project.width(0.025))


def shade_layer(project: Projector, identity: Identity, actions: Actions, side: int,
                outline: np.ndarray) -> np.ndarray:
    """Shadows and wrinkles of the skin, uint8 (side, side); ``PLAIN`` means unchanged."""
    layer = np.full((side, side), PLAIN, np.uint8)
    _soft_shadows(layer, project, identity, actions, outline)
    coarse = cv2.resize(layer, None, fx=1 / COARSER, fy=1 / COARSER, interpolation=cv2.INTER_AREA)
    coarse = cv2.GaussianBlur(coarse, (0, 0), SOFT_BLUR_SHARE * side / COARSER)
    layer = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_LINEAR)
    for points, depth in wrinkles(identity, actions):
        depth *= identity.crease
        if depth > FAINTEST:
            darkness = (1 - WRINKLE) * min(1.0, depth)
            stroke(layer, project(_rounded(points), 0.05), PLAIN * (1 - darkness),
                   project.width(0.032))
    return layer


def _rounded(points: np.ndarray) -> np.ndarray:
    if len(points) != 3:
        return points
    return PARABOLA @ points


def _soft_shadows(layer: np.ndarray, project: Projector, identity: Identity, actions: Actions,
                  outline: np.ndarray) -> None:
    if identity.stubble > 0:
        beard = outline[(outline[:, 1] > 0.45)]
        fill(layer, project(beard), PLAIN * (1 - identity.stubble))
    for side in (-1, 1):
        cheek = max(actions(6, side), 0.6 * actions(12, side))
        blobs = (
            ((side * 0.56, 0.33 - 0.06 * cheek), (0.24, 0.16), 1 + 0.1 * cheek),
            ((side * identity.eye_x, identity.eye_y - 0.02), (0.3, 0.17), 0.86),
            ((side * 0.2, 0.14), (0.05, 0.24), 0.9),
        )
        for centre, axes, factor in blobs:
            middle = project(np.array([centre]), 0.0)[0]
            box = (middle.tolist(), (2 * axes[0] * project.unit, 2 * axes[1] * project.unit), 0)
            cv2.ellipse(layer, box, PLAIN * factor, -1)
    ridge = project(np.array([[0.0, -0.15], [0.0, 0.34]]), 0.18)
    stroke(layer, ridge, PLAIN * 1.1, project.width(0.1))
    under_lip = np.array([[-0.18, 0.21], [0.0, 0.23], [0.18, 0.21]])
    under_lip += [0.0, identity.mouth_y + jaw_drop(actions) * 1.6 + 0.05 * actions(27)]
    stroke(layer, project(under_lip), PLAIN * 0.82, project.width(0.06))


def wrinkles(identity: Identity, actions: Actions) -> list[tuple[np.ndarray, float]]:
    """Lines of the skin: each float (n, 2) in face units, and its depth from 0 to about 1."""
    eye_y, mouth_y = identity.eye_y, identity.mouth_y
    lines = []
    raised = 0.5 * (actions(1) + actions(2))
    for height in (0.0, 0.095):
        x = np.linspace(-0.55, 0.55, 9) if actions(2) > 0.3 else np.linspace(-0.25, 0.25, 7)
        y = eye_y - identity.brow_height - 0.27 - height + 0.05 * np.cos(4 * x) - 0.03 * raised
        lines.append((np.column_stack([x, y]), 0.75 * raised))
    for side in (-1, 1):
        frown = max(actions(4, side), 0.6 * actions(9, side))
        lines.append((np.array([[side * 0.085, eye_y - 0.34], [side * 0.065, eye_y - 0.2],
                                [side * 0.09, eye_y - 0.1]]), 1.1 * frown))
        lines += _nose_and_cheek_lines(identity, actions, side)
        lips = corner(identity, actions, side)
        lines.append((lips + [[side * 0.05, 0.02], [side * 0.1, 0.12], [side * 0.1, 0.2]],
                      0.6 * actions(15, side)))
        lines.append((lips + [[side * 0.07, -0.09], [side * 0.1, 0.0], [side * 0.07, 0.1]],
                      0.7 * max(actions(20, side), 0.6 * actions(12, side))))
        lines.append((np.array([[side * 0.05, 0.24], [side * 0.17, 0.27], [side * 0.22, 0.33]])
                      + [0.0, mouth_y], 0.8 * actions(17, side)))
        lines.append((np.array([[side * 0.1, 0.13], [side * 0.24, 0.11]]) + [0.0, mouth_y],
                      0.6 * actions(24, side)))
    return lines


def _nose_and_cheek_lines(identity: Identity, actions: Actions,
                          side: int) -> list[tuple[np.ndarray, float]]:
    eye_y, nose = identity.eye_y, identity.nose_length
    lips = corner(identity, actions, side)
    fold_top = np.array([side * (identity.nose_width + 0.06),
                         nose - 0.08 - 0.09 * actions(9, side)])
    fold_low = np.array([side * (abs(lips[0]) + 0.1), lips[1] - 0.06])
    bulge = np.array([side * (0.04 + 0.05 * actions(12, side) + 0.04 * actions(10, side)), -0.02])
    fold = np.array([fold_top, 0.5 * (fold_top + fold_low) + bulge, fold_low])
    depth = max(0.16, actions(12, side), 0.95 * actions(10, side), 0.7 * actions(9, side))
    lines = [(fold, 0.7 * depth)]
    for step in range(3):
        y = eye_y + 0.02 + 0.1 * step
        lines.append((np.array([[side * 0.02, y - 0.02], [side * 0.1, y], [side * 0.17, y + 0.06]]),
                      1.2 * actions(9, side)))
    outer = side * (identity.eye_x + 0.27)
    for rise in (-0.09, 0.0, 0.09):
        lines.append((np.array([[outer, eye_y + 0.3 * rise], [outer + side * 0.14, eye_y + rise]]),
                      0.75 * actions(6, side)))
    pouch = np.array([[-0.2, 0.13], [0.0, 0.18], [0.2, 0.13]]) * [side, 1.0]
    lines.append((pouch + [side * identity.eye_x, eye_y],
                  0.75 * max(actions(6, side), 0.6 * actions(7, side), 0.6 * actions(9, side))))
    return lines
