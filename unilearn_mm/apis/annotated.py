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
BAR, LINE = 100, 15  # px: of a probability of 1; height of a class
MIN_SIDE, MAX_SIDE = 640, 1280  # px of the longer side of the video


def write_annotated(source: str, table: pd.DataFrame, log: FaceLog, path: Path, interval: float,
                    caution: str = '') -> None:
    """Draw boxes, labels and probabilities, and keep the sound.

    Args:
        source (str): A video file.
        table (pd.DataFrame): Its prediction, see :mod:`unilearn_mm.apis.tables`.
        log (FaceLog): Boxes of all frames that were looked at.
        path (Path): An mp4.
        interval (float): Seconds between two of these.
        caution (str): Stands at the bottom of every frame.

    Raises:
        OSError: If it cannot be written.
    """
    boxes: Dict[float, List[Tuple[int, np.ndarray]]] = {}
    for time, face, *box in log.boxes:
        boxes.setdefault(time, []).append((face, np.array(box)))
    times = np.array(list(boxes))
    labels: Dict[int, List[Segment]] = {}
    for part in segments(table):
        labels.setdefault(part.face, []).append(part)
    rows = {face: own.sort_values('start_s') for face, own in
            table[table['status'] == OK].groupby('face')}
    writer = VideoFileWriter(path, sound_of=source)
    try:
        with open_frames(source) as frames:
            for frame in frames:
                image, scale = _sized(frame.image)
                for face, box in boxes.get(_nearest(times, frame.time, interval), ()):
                    _draw(image, face, box * scale, frame.time, labels.get(face, []),
                          rows.get(face))
                write_text(image, f'{frame.time:.2f} s', (4, 14), (255, 255, 255))
                if caution:
                    write_text(image, caution, (4, image.shape[0] - 6), (255, 255, 255))
                writer.add(image, frame.time)
    finally:
        writer.close()


def _sized(image: np.ndarray) -> Tuple[np.ndarray, float]:
    """A copy to draw on, of a size on which text can be read, and by how much it is enlarged."""
    longer = max(image.shape[:2])
    scale = min(max(longer, MIN_SIDE), MAX_SIDE) / longer
    size = [max(2, round(side * scale)) for side in image.shape[1::-1]]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else
                      cv2.INTER_LINEAR), scale


def _nearest(times: np.ndarray, time: float, interval: float) -> float:
    """The time nearest to another, NaN if it is more than ``interval`` away."""
    if not len(times):
        return np.nan
    place = np.searchsorted(times, time)
    near = times[max(0, place - 1):place + 1]
    best = near[np.abs(near - time).argmin()]
    return best if abs(best - time) <= interval else np.nan


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
    _draw_bars(image, {name: row[f'{PROBABILITY_PREFIX}{name}'] for name in classes_of(rows)
                       if not np.isnan(row[f'{PROBABILITY_PREFIX}{name}'])}, left, top, right)


def _draw_bars(image: np.ndarray, shares: Dict[str, float], left: int, top: int,
               right: int) -> None:
    """Probabilities of the classes on a darker ground, where there is room beside a box."""
    height, width = image.shape[:2]
    panel = BAR + 8
    x = right + 3 if right + 3 + panel < width else left - 3 - panel
    x, y = max(0, min(x, width - panel)), max(0, min(top, height - LINE * len(shares) - 24))
    ground = image[y:y + LINE * len(shares) + 4, x:x + panel]
    ground //= 3
    for place, (name, share) in enumerate(shares.items()):
        low = y + 2 + place * LINE
        cv2.rectangle(image, (x + 4, low + 2), (x + 4 + round(BAR * share), low + LINE - 2),
                      _rgb(name), -1)
        cv2.putText(image, name, (x + 6, low + LINE - 4), cv2.FONT_HERSHEY_SIMPLEX, 0.38,
                    (255, 255, 255), 1, cv2.LINE_AA)


def _rgb(name: str) -> Tuple[int, int, int]:
    red, green, blue = to_rgb(colour_of(name))
    return round(255 * red), round(255 * green), round(255 * blue)
