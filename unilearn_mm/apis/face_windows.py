"""What is scored of a source: windows of its face tracks, and the stretches without a face."""

from dataclasses import dataclass, field
from typing import Dict, Iterable, Iterator, List, NamedTuple, Optional, Tuple

import cv2
import numpy as np

from ..faces.clips import FrameFaces, TrackedFace
from .tables import FEW_FRAMES, NO_FACE, OK, SMALL
from .windows import WindowCutter, WindowRule

MIN_SHARE = 0.25  # of a window that must show the face: fewer frames are no dynamics to speak of

FIRST_APART = 0.5  # seconds between two thumbnails of a face; longer ones have fewer
MAX_THUMBNAILS, THUMBNAIL = 32, 112  # of a face; px


class FaceWindow(NamedTuple):
    """A stretch of a source: frames of one face that are scored together, or what it lacks.

    Attributes:
        face (int): Number of the face, -1 for none.
        start (float): Seconds of the source.
        end (float): Seconds of the source.
        frames (int): Frames that are scored, 0 if it is not.
        crops (np.ndarray | None): (T, S, S, 3) uint8 RGB; None if it is not to be scored.
        box (np.ndarray): (4,) x1, y1, x2, y2 in pixels of the source, median of the frames; NaN
            without a face.
        detector_score (float): Mean over the frames with a detection; NaN without any.
        status (str): 'ok' if it is to be scored, else why it is not (see
            :mod:`unilearn_mm.apis.tables`).
    """
    face: int
    start: float
    end: float
    frames: int
    crops: Optional[np.ndarray]
    box: np.ndarray
    detector_score: float
    status: str


@dataclass
class FaceLog:
    """What the pictures of a prediction need besides its table: boxes of all frames, some crops.

    Attributes:
        boxes (list[tuple]): (time, face, x1, y1, x2, y2) of every face in every frame.
        thumbnails (dict[int, list]): face -> (time, crop), evenly over time, at most 32 of a
            face.
        apart (dict[int, float]): face -> seconds between two of them.
    """
    boxes: List[Tuple[float, int, float, float, float, float]] = field(default_factory=list)
    thumbnails: Dict[int, List[Tuple[float, np.ndarray]]] = field(default_factory=dict)
    apart: Dict[int, float] = field(default_factory=dict)

    def note(self, time: float, face: TrackedFace) -> None:
        """Keep the box of a face, and its crop if the last one is long ago."""
        x1, y1, x2, y2 = map(float, face.box)
        self.boxes.append((time, face.track, x1, y1, x2, y2))
        kept = self.thumbnails.setdefault(face.track, [])
        apart = self.apart.get(face.track, FIRST_APART)
        if not kept or time >= kept[-1][0] + apart:
            kept.append((time, cv2.resize(face.crop, (THUMBNAIL, THUMBNAIL),
                                          interpolation=cv2.INTER_AREA)))
        if len(kept) > MAX_THUMBNAILS:
            del kept[1::2]
            self.apart[face.track] = 2 * apart


def face_windows(stream: Iterable[FrameFaces], rule: WindowRule, interval: float, smallest: float,
                 log: Optional[FaceLog] = None,
                 min_share: float = MIN_SHARE) -> Iterator[FaceWindow]:
    """Windows of all faces, as they become complete, and each stretch without any face.

    Args:
        stream (Iterable[FrameFaces]): Frames with their faces.
        rule (WindowRule): Length and distance of the windows, in frames.
        interval (float): Seconds for which the last frame of a window is seen.
        smallest (float): Shorter side in pixels of the smallest box that is worth a score.
        log (FaceLog, optional): Gets every face.
        min_share (float): Of the frames of a window that must show the face; with fewer it has
            'few frames'.

    Yields:
        FaceWindow: In the order in which they end.
    """
    cutter: WindowCutter[Tuple[float, TrackedFace]] = WindowCutter(rule)
    empty_since: Optional[float] = None
    time = -interval
    for step in stream:
        time = step.frame.time
        if step.faces and empty_since is not None:
            yield _without_face(empty_since, time)
            empty_since = None
        elif not step.faces and empty_since is None:
            empty_since = time
        if log is not None:
            for face in step.faces:
                log.note(time, face)
        for track, window in cutter.push({face.track: (time, face) for face in step.faces}):
            yield _window(track, window, round(min_share * rule.length), interval, smallest)
    for track, window in cutter.finish():
        yield _window(track, window, round(min_share * rule.length), interval, smallest)
    if empty_since is not None:
        yield _without_face(empty_since, time + interval)


def _without_face(start: float, end: float) -> FaceWindow:
    return FaceWindow(-1, start, end, 0, None, np.full(4, np.nan), np.nan, NO_FACE)


def _window(track: int, window: List[Tuple[float, TrackedFace]], least: int, interval: float,
            smallest: float) -> FaceWindow:
    faces = [face for _, face in window]
    box = np.median([face.box for face in faces], axis=0)
    scores = [face.score for face in faces if face.detected]
    status = OK
    if min(box[2] - box[0], box[3] - box[1]) < smallest:
        status = SMALL
    elif len(faces) < least:
        status = FEW_FRAMES
    return FaceWindow(
        face=track, start=window[0][0], end=window[-1][0] + interval,
        frames=len(faces) if status == OK else 0,
        crops=np.stack([face.crop for face in faces]) if status == OK else None,
        box=box, detector_score=float(np.mean(scores)) if scores else np.nan, status=status)
