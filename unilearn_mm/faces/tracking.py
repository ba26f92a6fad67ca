"""Which faces of one frame are those of the frames before: identities over time."""

import dataclasses
import itertools
from typing import Any, Dict, NamedTuple, Sequence

import numpy as np

from .detector import Detections, box_overlaps

TRACKER_RATE = 30.0  # 1/s, the unit in which the `trackers` library counts time


@dataclasses.dataclass(frozen=True)
class TrackingSettings:
    """What is one track.

    Attributes:
        max_gap (float): Seconds for which a face may be out of sight; the frames of a gap get
            boxes and points in between. After a longer gap the face begins a new track.
        min_length (float): Seconds; a shorter track is dropped, unless the whole source is shorter.

    Raises:
        ValueError: If a value makes no sense; the message names it.
    """

    max_gap: float = 0.5
    min_length: float = 0.3

    def __post_init__(self) -> None:
        for key, low in (('max_gap', 1 / TRACKER_RATE), ('min_length', 0.0)):
            if not low <= getattr(self, key) <= 60:
                raise ValueError(f'tracking: {key} is {getattr(self, key)!r}, expected '
                                 f'{low:.3g} to 60 seconds')

    def to_dict(self) -> Dict[str, Any]:
        """Plain values, for JSON."""
        return dataclasses.asdict(self)


class TrackSummary(NamedTuple):
    """What became of a track.

    Attributes:
        track (int): Its number; -1 if it was dropped.
        first_index (int): Place of its first frame among the frames of the stream.
        last_index (int): Place of its last frame.
        start (float): Time of its first frame in seconds.
        end (float): Time of its last frame.
        frames (int): Its frames.
        detected (int): Those of them in which the face was seen; it was out of sight in the others.
        mean_area (float): Of its boxes, in square pixels.
        mean_score (float): Of the frames in which it was seen.
        dropped (str): Why it was dropped; empty if it was kept.
    """

    track: int
    first_index: int
    last_index: int
    start: float
    end: float
    frames: int
    detected: int
    mean_area: float
    mean_score: float
    dropped: str


def largest_track(tracks: Sequence[TrackSummary]) -> TrackSummary:
    """The kept track that covers most of the picture for most of the time.

    Raises:
        ValueError: If none was kept.
    """
    kept = [track for track in tracks if not track.dropped]
    if not kept:
        raise ValueError('there is no track to choose from')
    return max(kept, key=lambda track: track.mean_area * track.frames)


class FaceTracker:
    """ByteTrack (Zhang et al., ECCV 2022) of the `trackers` library, for faces.

    As it comes, ByteTrack gives the first frame of a face no identity, begins a face at a score of
    0.7, counts in frames of 1/30 s, and keeps identities over a cut. Here a face has its identity
    from its first frame on, begins at the threshold of the search, time is time, and
    :meth:`new_scene` forgets all faces. No identity is ever given twice.

    Args:
        settings (TrackingSettings): What is one track.
        threshold (float): The score that makes a new face.

    Raises:
        ImportError: If the library is missing; the message says what to install.
    """

    def __init__(self, settings: TrackingSettings, threshold: float) -> None:
        try:
            import supervision
            import trackers
        except ImportError as error:
            raise ImportError("tracking needs the packages trackers and supervision: "
                              "pip install 'unilearn_mm[predict]'") from error
        self._pack = supervision.Detections
        self._tracker = trackers.ByteTrackTracker(
            lost_track_buffer=round(settings.max_gap * TRACKER_RATE), frame_rate=TRACKER_RATE,
            track_activation_threshold=threshold, high_conf_det_threshold=threshold,
            minimum_consecutive_frames=1)
        self._identities = itertools.count()

    def new_scene(self) -> None:
        """Forget all faces: the next ones are others."""
        self._tracker.reset()

    def update(self, time: float, faces: Detections) -> np.ndarray:
        """Recognise the faces of the next frame.

        Args:
            time (float): Of the frame, in seconds, later than that of the last update.
            faces (Detections): Its n faces.

        Returns:
            np.ndarray: (n,) int identities; -1 for a weak face that nothing makes likely.
        """
        identities = np.full(len(faces.scores), -1)
        given = self._pack(xyxy=faces.boxes, confidence=faces.scores,
                           data=dict(place=np.arange(len(faces.scores))))
        seen = self._tracker.update(given, timestamp=time)
        if len(seen):
            identities[seen.data['place']] = seen.tracker_id
        for track in self._tracker.tracks:
            if track.tracker_id == -1:  # it begins here, with the very box of its face
                track.tracker_id = next(self._identities)
                box = np.asarray(track.get_state_bbox())[None]
                identities[np.argmax(box_overlaps(box, faces.boxes)[0])] = track.tracker_id
        return identities
