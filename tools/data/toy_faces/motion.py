"""A clip over time: onset, apex and offset of an expression, blinks, speech and head motion."""
from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .expressions import BLINK, Actions, draw_actions, draw_stray
from .scene import Pose

FRAMES_PER_SECOND = 25
CLIP_FRAMES = (24, 40)            # shortest and longest clip, in frames
CLIP_INTENSITY = (0.45, 1.0)      # range of the peak intensity of clips
IMAGE_INTENSITY = (0.35, 1.0)     # range of the intensity of single images
RESIDUAL_LIMIT = 0.15             # highest intensity at a clip's ends, as share of its peak
APEX_PLACE = (0.3, 0.7)           # of the apex within the clip
PLATEAU_SHARE = (0.08, 0.25)      # of the clip's length spent at the apex
BLINK_SHAPE = (0.5, 1.0, 1.0, 0.5)
BLINKS = (0, 3)                   # fewest blinks, and one more than the most
# Slow head motion at --nuisance 1, chosen by eye.
DRIFT_DEGREES = {'yaw': 4.0, 'pitch': 2.5, 'roll': 2.5}
DRIFT_SHARE = 0.012


@dataclass(frozen=True)
class Performance:
    """One acted sample: actions and pose of every frame (an image has one frame).

    ``peak`` is 0 and ``apex_frame`` -1 for a neutral clip; frames count from 0.
    """

    frames: tuple[Actions, ...]
    poses: tuple[Pose, ...]
    peak: float
    apex_frame: int


def intensity_curve(frames: int, apex: int, plateau: int, ends: tuple[float, float]) -> np.ndarray:
    """Share of the peak intensity in each frame, float (frames,): smooth rise, apex, smooth fall.

    ``apex`` is the middle of a plateau of ``plateau`` frames; ``ends`` are first and last value.
    """
    start, stop = apex - plateau // 2, apex + plateau // 2
    place = np.arange(frames)
    rise = np.clip((place - 1) / max(1, start - 1), 0, 1)
    fall = np.clip((frames - 2 - place) / max(1, frames - 2 - stop), 0, 1)
    smooth_rise = ends[0] + (1 - ends[0]) * (0.5 - 0.5 * np.cos(np.pi * rise))
    smooth_fall = ends[1] + (1 - ends[1]) * (0.5 - 0.5 * np.cos(np.pi * fall))
    return np.where(place <= apex, smooth_rise, smooth_fall)


def perform_image(expression: str, pose: Pose, rng: np.random.Generator) -> Performance:
    """A single frame of an expression at a random intensity of 0.35 to 1 (0 for neutral)."""
    full = draw_actions(expression, rng)
    stray = draw_stray(rng)
    peak = float(rng.uniform(*IMAGE_INTENSITY))
    if expression == 'neutral':
        peak = 0.0
        stray[26] = float(rng.uniform(0, 0.2))
    return Performance((full.scaled(peak).plus(stray),), (pose,), peak, 0)


def perform_clip(expression: str, pose: Pose, nuisance: float,
                 rng: np.random.Generator) -> Performance:
    """A clip of 24 to 40 frames that rises from near neutral to its peak and falls back."""
    count = int(rng.integers(CLIP_FRAMES[0], CLIP_FRAMES[1] + 1))
    full = draw_actions(expression, rng)
    stray = draw_stray(rng)
    peak = float(rng.uniform(*CLIP_INTENSITY))
    apex = round(float(rng.uniform(*APEX_PLACE)) * (count - 1))
    plateau = round(float(rng.uniform(*PLATEAU_SHARE)) * count)
    ends = tuple(float(end) for end in rng.uniform(0, RESIDUAL_LIMIT, 2))
    curve = peak * intensity_curve(count, apex, plateau, ends)
    extras = [dict(stray) for _ in range(count)]
    _add_blinks(extras, rng)
    if expression == 'neutral':
        _add_speech(extras, rng)
        peak, apex = 0.0, -1
    frames = tuple(full.scaled(float(level)).plus(extra) for level, extra in zip(curve, extras))
    return Performance(frames, _drifting(pose, count, nuisance, rng), peak, apex)


def _add_blinks(extras: list[dict[int, float]], rng: np.random.Generator) -> None:
    for _ in range(int(rng.integers(*BLINKS))):
        start = int(rng.integers(0, len(extras) - len(BLINK_SHAPE)))
        for step, closing in enumerate(BLINK_SHAPE):
            extras[start + step][BLINK] = closing


def _add_speech(extras: list[dict[int, float]], rng: np.random.Generator) -> None:
    place = np.arange(len(extras)) / FRAMES_PER_SECOND
    syllables, phase = rng.uniform(2.0, 4.0), rng.uniform(0, 2 * np.pi)
    loudness = rng.uniform(0.05, 0.3)
    opening = loudness * (0.5 - 0.5 * np.cos(2 * np.pi * syllables * place + phase))
    rounding = 0.5 * loudness * (0.5 + 0.5 * np.sin(2 * np.pi * 1.3 * place + phase))
    for extra, opened, rounded in zip(extras, opening, rounding):
        extra[26] = float(opened)
        extra[23] = float(rounded)


def _drifting(pose: Pose, count: int, nuisance: float,
              rng: np.random.Generator) -> tuple[Pose, ...]:
    limits = {**DRIFT_DEGREES, 'shift_x': DRIFT_SHARE, 'shift_y': DRIFT_SHARE}
    place = np.arange(count) / FRAMES_PER_SECOND
    paths = {}
    for name, limit in limits.items():
        speed, phase = rng.uniform(0.25, 0.6), rng.uniform(0, 2 * np.pi)
        reach = rng.uniform(0.2, 1.0) * limit * nuisance
        paths[name] = getattr(pose, name) + reach * np.sin(2 * np.pi * speed * place + phase)
    return tuple(replace(pose, **{name: float(path[i]) for name, path in paths.items()})
                 for i in range(count))
