"""A video with its predictions drawn on it."""

from pathlib import Path
from typing import Dict, List, Tuple

import cv2
import numpy as np
import pandas as pd
from matplotlib.colors import to_rgb

from ..faces.frames import open_frames
from ..faces.overlay import write_text
from ..faces.video_file import VideoFileWriter
from ..visualization.timeline import colour_of
from .face_windows import FaceLog
from .segments import Segment, segments
from .tables import OK, PROBABILITY_PREFIX, classes_of

UNSURE = (170, 170, 170)  # RGB, of faces without a label
MAX_SIDE = 1280  # px of the longer side of the video


def write_annotated(source: str, table: pd.DataFrame, log: FaceLog, path: Path,
                    step: float) -> None:
    """Draw boxes, labels and probabilities, and keep the sound.

    Args:
        source (str): A video file.
        table (pd.DataFrame): Its prediction, see :mod:`unilearn_mm.apis.tables`.
        log (FaceLog): Boxes of all sampled frames.
        path (Path): An mp4.
        step (float): Seconds between two sampled frames.

    Raises:
        OSError: If it cannot be written.
    """
    boxes: Dict[int, List[Tuple[int, np.ndarray]]] = {}
    for time, face, *box in log.boxes:
        boxes.setdefault(round(time / step), []).append((face, np.array(box)))
    labels: Dict[int, List[Segment]] = {}
    for part in segments(table):
        labels.setdefault(part.face, []).append(part)
    rows = {face: own.sort_values('start_s') for face, own in
            table[table['status'] == OK].groupby('face')}
    writer = VideoFileWriter(path, sound_of=source)
    try:
        with open_frames(source) as frames:
            for frame in frames:
                scale = min(1., MAX_SIDE / max(frame.image.shape[:2]))
                image = cv2.resize(frame.image, None, fx=scale, fy=scale,
                                   interpolation=cv2.INTER_AREA)
                for face, box in boxes.get(round(frame.time / step), ()):
                    _draw(image, face, box * scale, frame.time, labels.get(face, []),
                          rows.get(face))
                write_text(image, f'{frame.time:.2f} s', (4, 14), (255, 255, 255))
                writer.add(image, frame.time)
    finally:
        writer.close()


def _draw(image: np.ndarray, face: int, box: np.ndarray, time: float, labels: List[Segment],
          rows: pd.DataFrame) -> None:
    """One face: its box in the colour of its label, and the probabilities beside it."""
    now = next((part for part in labels if part.start <= time <= part.end), None)
    colour = UNSURE if now is None else _rgb(now.label)
    left, top, right, bottom = box.round().astype(int).tolist()
    cv2.rectangle(image, (left, top), (right, bottom), colour, 2, cv2.LINE_AA)
    text = f'face {face}' if now is None else f'{face}: {now.label} {now.confidence:.0%}'
    write_text(image, text, (max(left, 2), max(top - 5, 26)), colour)
    if rows is None or now is None:
        return
    middles = (rows['start_s'] + rows['end_s']).to_numpy() / 2
    row = rows.iloc[int(np.abs(middles - time).argmin())]
    classes = classes_of(rows)
    height = max(3, min(9, (bottom - top) // (len(classes) + 1)))
    x = right + 4 if right + 64 < image.shape[1] else max(0, left - 64)
    for place, name in enumerate(classes):
        share = row[f'{PROBABILITY_PREFIX}{name}']
        if np.isnan(share):
            continue
        y = top + place * height
        cv2.rectangle(image, (x, y), (x + round(60 * share), y + height - 2), _rgb(name), -1)


def _rgb(name: str) -> Tuple[int, int, int]:
    red, green, blue = to_rgb(colour_of(name))
    return round(255 * red), round(255 * green), round(255 * blue)
