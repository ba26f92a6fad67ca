"""One frame: all parts of a face drawn in order, then light, noise and occlusion."""
from __future__ import annotations

import cv2
import numpy as np

from .canvas import Projector
from .expressions import Actions
from .eyes import draw_brow, draw_eye, draw_glasses
from .head import PLAIN, draw_behind, draw_hair, draw_nose, draw_skin, face_outline, shade_layer
from .identity import Identity
from .mouth import draw_mouth
from .scene import Pose, Scene, background_picture, draw_occluder, finish, light_map

SUPERSAMPLING = 2  # drawn at twice the size and averaged down; enough on top of anti-aliasing


class Stage:
    """Draws one identity in one scene; what does not change between frames is made once."""

    def __init__(self, identity: Identity, scene: Scene, size: int):
        self.identity, self.scene, self.size = identity, scene, size
        self._side = SUPERSAMPLING * size
        self._background = background_picture(scene, self._side)
        self._light = light_map(scene, size)

    def frame(self, actions: Actions, pose: Pose | None = None,
              rng: np.random.Generator | None = None) -> np.ndarray:
        """One frame, uint8 (size, size, 3), blue green red.

        ``pose`` replaces the scene's own; ``rng`` gives the sensor noise, None means no noise.
        """
        project = Projector(pose or self.scene.pose, self._side)
        picture = self._background.copy()
        self._draw_face(picture, project, actions)
        draw_occluder(picture, self.scene)
        small = cv2.resize(picture, (self.size, self.size), interpolation=cv2.INTER_AREA)
        return finish(small, self.scene, self._light, rng)

    def _draw_face(self, picture: np.ndarray, project: Projector, actions: Actions) -> None:
        identity = self.identity
        outline = face_outline(identity, actions)
        draw_behind(picture, project, identity)
        draw_skin(picture, project, identity, outline)
        shade = shade_layer(project, identity, actions, self._side, outline)
        cv2.multiply(picture, cv2.merge([shade] * 3), picture, scale=1 / PLAIN)
        draw_nose(picture, project, identity, actions)
        draw_mouth(picture, project, identity, actions)
        for side in (-1, 1):
            draw_eye(picture, project, identity, actions, side)
        draw_hair(picture, project, identity)
        for side in (-1, 1):
            draw_brow(picture, project, identity, actions, side)
        draw_glasses(picture, project, identity)
