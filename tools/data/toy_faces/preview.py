"""The contact sheet: seven expressions of several identities, and one clip over time."""
from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from .expressions import VARIANTS, VIDEO_ORDER, prototype
from .motion import perform_clip
from .render import Stage
from .samples import Settings, ToySetError, make_identity, stream
from .scene import Scene, draw_scene

PEOPLE = 6
WITH_GLASSES = {2: 'round', 4: 'square'}  # so that the sheet always shows some
ZOOM = 1.5
HEADING_HEIGHT = 22
HEADING_SCALE = 0.45
CLIP_EXPRESSION = 'happy'


def contact_sheet(settings: Settings) -> np.ndarray:
    """The sheet, uint8 (height, width, 3): full intensity, no nuisance; below, one clip."""
    rows = [_heading(list(VIDEO_ORDER), settings.size)]
    for person in range(PEOPLE):
        identity = make_identity(f'preview-{person}', settings)
        if person in WITH_GLASSES:
            identity = replace(identity, glasses=WITH_GLASSES[person])
        stage = Stage(identity, Scene(), settings.size)
        rows.append(_row([stage.frame(prototype(name, person % len(VARIANTS[name])))
                          for name in VIDEO_ORDER]))
    frames, places = _clip_frames(settings)
    titles = [f'frame {place}' for place in places]
    titles[0] = f'{CLIP_EXPRESSION}: {places[0]}'
    return np.vstack([*rows, _heading(titles, settings.size), _row(frames)])


def write_preview(path: Path, settings: Settings) -> None:
    """Write the contact sheet as a picture file; the folder must exist."""
    if not path.parent.is_dir():
        raise ToySetError(f'the folder {path.parent} of --preview does not exist: create it first')
    path.write_bytes(cv2.imencode('.png', contact_sheet(settings))[1].tobytes())


def _clip_frames(settings: Settings) -> tuple[list[np.ndarray], list[int]]:
    rng = stream(settings.seed, 'preview clip')
    scene = draw_scene(rng, settings.nuisance)
    stage = Stage(make_identity('preview-clip', settings), scene, settings.size)
    clip = perform_clip(CLIP_EXPRESSION, scene.pose, settings.nuisance, rng)
    places = np.linspace(0, len(clip.frames) - 1, len(VIDEO_ORDER)).round().astype(int).tolist()
    return [stage.frame(clip.frames[i], clip.poses[i], rng) for i in places], places


def _cell(size: int) -> int:
    return round(ZOOM * size)


def _row(frames: list[np.ndarray]) -> np.ndarray:
    cell = _cell(frames[0].shape[0])
    return np.hstack([cv2.resize(frame, (cell, cell), interpolation=cv2.INTER_CUBIC)
                      for frame in frames])


def _heading(titles: list[str], size: int) -> np.ndarray:
    cell = _cell(size)
    strip = np.full((HEADING_HEIGHT, cell * len(titles), 3), 255, np.uint8)
    for column, title in enumerate(titles):
        cv2.putText(strip, title, (column * cell + 4, HEADING_HEIGHT - 7),
                    cv2.FONT_HERSHEY_SIMPLEX, HEADING_SCALE, (0, 0, 0), 1, cv2.LINE_AA)
    return strip
