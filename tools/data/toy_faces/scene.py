"""Nuisance: pose, light, background, occlusion, noise and compression, and its small pictures."""
from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .identity import SKIN_TONES

# Ranges at --nuisance 1, light on purpose: with heavy pose and background noise a small network
# trained from scratch for minutes stays near chance.
YAW_DEGREES = 12.0
PITCH_DEGREES = 7.0
ROLL_DEGREES = 8.0
SHIFT_SHARE = 0.04
SCALE_SHARE = 0.06
BRIGHTNESS_SHARE = 0.2
SIDE_LIGHT = 0.22
WARMTH_SHARE = 0.06
BACKGROUND_CONTRAST = 22.0
BACKGROUND_HUE = 45.0
OCCLUSION_PROBABILITY = 0.08
NOISE_SIGMA = 4.0
BLUR_SIGMA = 0.6
BEST_JPEG_QUALITY = 95
JPEG_QUALITY_DROP = 45.0
WORST_JPEG_QUALITY = 20

HEAD_HALF_SIZE = (0.40, 0.50)  # of the head in shares of the picture side, for the light's falloff
EDGE_FALLOFF = 0.12


@dataclass(frozen=True)
class Pose:
    """Angles in degrees; shifts in shares of the picture side; scale as a factor."""

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    shift_x: float = 0.0
    shift_y: float = 0.0
    scale: float = 1.0


@dataclass(frozen=True)
class Scene:
    """All nuisance of one sample; the defaults are no nuisance at all."""

    pose: Pose = Pose()
    light_x: float = 0.0
    light_y: float = 0.0
    brightness: float = 1.0
    warmth: float = 0.0
    background: tuple[float, float, float] = (150.0, 150.0, 150.0)
    background_seed: int = 0
    background_contrast: float = 0.0
    occluder: str = 'none'
    occluder_x: float = 0.0
    occluder_y: float = 0.0
    occluder_size: float = 0.0
    occluder_angle: float = 0.0
    occluder_colour: tuple[float, float, float] = (0.0, 0.0, 0.0)
    noise_sigma: float = 0.0
    blur_sigma: float = 0.0
    jpeg_quality: int = BEST_JPEG_QUALITY


def draw_scene(rng: np.random.Generator, nuisance: float) -> Scene:
    """A random scene; ``nuisance`` (0 or more) multiplies every range, 0 gives ``Scene()``."""
    def spread(limit: float) -> float:
        return float(rng.uniform(-limit, limit) * nuisance)

    def upto(limit: float) -> float:
        return float(rng.uniform(0.0, limit) * nuisance)

    pose = Pose(spread(YAW_DEGREES), spread(PITCH_DEGREES), spread(ROLL_DEGREES),
                spread(SHIFT_SHARE), spread(SHIFT_SHARE), 1.0 + spread(SCALE_SHARE))
    quality = BEST_JPEG_QUALITY - upto(JPEG_QUALITY_DROP)
    return Scene(
        pose=pose, light_x=spread(SIDE_LIGHT), light_y=spread(SIDE_LIGHT),
        brightness=max(0.3, 1.0 + spread(BRIGHTNESS_SHARE)), warmth=spread(WARMTH_SHARE),
        background=tuple(float(np.clip(150.0 + spread(BACKGROUND_HUE), 0, 255)) for _ in range(3)),
        background_seed=int(rng.integers(2**31)) if nuisance > 0 else 0,
        background_contrast=upto(BACKGROUND_CONTRAST),
        noise_sigma=upto(NOISE_SIGMA), blur_sigma=upto(BLUR_SIGMA),
        jpeg_quality=max(WORST_JPEG_QUALITY, round(quality)),
        **_draw_occluder(rng, nuisance),
    )


def _draw_occluder(rng: np.random.Generator, nuisance: float) -> dict:
    present = rng.random() < OCCLUSION_PROBABILITY * nuisance
    if not present:
        return {}
    kind = ('patch', 'hand')[int(rng.integers(2))]
    if kind == 'hand':
        colour = SKIN_TONES[int(rng.integers(len(SKIN_TONES)))]
    else:
        colour = tuple(float(value) for value in rng.uniform(40, 210, 3))
    angle = float(rng.uniform(0, 2 * np.pi))
    return dict(
        occluder=kind, occluder_x=0.5 + 0.3 * np.cos(angle), occluder_y=0.55 + 0.3 * np.sin(angle),
        occluder_size=float(rng.uniform(0.13, 0.2)), occluder_angle=float(rng.uniform(0, 360)),
        occluder_colour=tuple(0.92 * value for value in colour),
    )


def background_picture(scene: Scene, side: int) -> np.ndarray:
    """Smooth low-contrast background, uint8 (side, side, 3), blue green red."""
    rng = np.random.Generator(np.random.PCG64(scene.background_seed))
    coarse = rng.uniform(-1, 1, (4, 4, 3)) * scene.background_contrast + scene.background
    smooth = cv2.resize(coarse.astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
    return np.clip(smooth, 0, 255).astype(np.uint8)


def light_map(scene: Scene, side: int) -> np.ndarray:
    """Factor by which the light multiplies every pixel, float32 (side, side, 3), about 0.4-1.6."""
    axis = (np.arange(side, dtype=np.float32) + 0.5) / side - 0.5
    across = np.clip(axis / HEAD_HALF_SIZE[0], -1, 1)[None, :]
    down = np.clip(axis / HEAD_HALF_SIZE[1], -1, 1)[:, None]
    directed = scene.light_x * across + scene.light_y * down
    falloff = EDGE_FALLOFF * (across**2 + down**2)
    tint = np.array([1 - scene.warmth, 1.0, 1 + scene.warmth], np.float32)
    factor = scene.brightness * (1.0 + directed - falloff)
    return (factor[..., None] * tint).astype(np.float32)


def draw_occluder(picture: np.ndarray, scene: Scene) -> None:
    """Draw the scene's occluder, if any, onto ``picture`` (uint8, square) in place."""
    side = picture.shape[0]
    centre = np.array([scene.occluder_x, scene.occluder_y]) * side
    radius = scene.occluder_size * side
    if scene.occluder == 'patch':
        corners = cv2.boxPoints((centre.tolist(), (2 * radius, 1.4 * radius),
                                 scene.occluder_angle))
        cv2.fillPoly(picture, [np.round(corners).astype(np.int32)], scene.occluder_colour,
                     cv2.LINE_AA)
    elif scene.occluder == 'hand':
        _draw_hand(picture, centre, radius, scene)


def _draw_hand(picture: np.ndarray, centre: np.ndarray, radius: float, scene: Scene) -> None:
    side = picture.shape[0]
    inward = np.array([0.5, 0.55]) * side - centre
    inward = inward / max(1e-6, np.linalg.norm(inward))
    sideways = np.array([-inward[1], inward[0]])
    edge = tuple(0.75 * value for value in scene.occluder_colour)
    parts = [(centre - 0.5 * radius * inward, (0.85 * radius, 0.9 * radius))]
    parts += [(centre + 0.6 * radius * inward + offset * radius * sideways,
               (0.7 * radius, 0.21 * radius)) for offset in (-0.6, -0.2, 0.2, 0.6)]
    angle = float(np.degrees(np.arctan2(inward[1], inward[0])))
    for middle, axes in parts:
        box = (middle.tolist(), (2 * axes[0], 2 * axes[1]), angle)
        cv2.ellipse(picture, box, scene.occluder_colour, -1, cv2.LINE_AA)
        cv2.ellipse(picture, box, edge, max(1, side // 96), cv2.LINE_AA)


def finish(picture: np.ndarray, scene: Scene, light: np.ndarray,
           rng: np.random.Generator | None) -> np.ndarray:
    """Apply light, blur and sensor noise; uint8 (side, side, 3) in and out."""
    lit = picture.astype(np.float32) * light
    if scene.blur_sigma > 0.2:
        lit = cv2.GaussianBlur(lit, (0, 0), scene.blur_sigma)
    if rng is not None and scene.noise_sigma > 0:
        noise = rng.standard_normal(lit.shape[:2], dtype=np.float32) * scene.noise_sigma
        lit += noise[..., None]
    return np.clip(lit, 0, 255).astype(np.uint8)
