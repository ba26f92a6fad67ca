"""From frames to the crops of each face over time, as a stream in constant memory.

Frames wait in a queue until all that matters for them is known: whether a face that is out of sight
comes back, whether a track is long enough, where its points were before and after. So the output
runs about a second behind the input, and an hour of video needs the memory of that second.
"""

import dataclasses
import itertools
from collections import deque
from typing import Deque, Dict, Iterable, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np

from .alignment import PRESETS, CropRecord, crop_transform, cut_out
from .cuts import mark_cuts
from .detector import Detections, FaceDetector, box_overlaps
from .frames import Frame
from .search import FaceLook, FaceSearch, SearchSettings
from .smoothing import WINDOW, smooth_at
from .tracking import FaceTracker, TrackingSettings, TrackSummary

SAME_FACE = 0.3  # IoU of the boxes of one face in two searches
TWICE = 0.6  # IoU of the boxes of two tracks that look at one face
ROUNDING = 1e-6  # s


class TrackedFace(NamedTuple):
    """A face in a frame.

    Attributes:
        track (int): Number of its track: 0, 1, ... by first appearance.
        box (np.ndarray): (4,) float32 x1, y1, x2, y2 in pixels of the frame.
        points (np.ndarray): (5, 2) float32, as in :class:`.detector.Detections`. Box and points
            are smoothed along the track; the crop is made from just these.
        score (float): Of the detector; NaN where the face was out of sight.
        detected (bool): Whether the face was seen in this frame.
        crop (np.ndarray): (S, S, 3) uint8 RGB.
    """

    track: int
    box: np.ndarray
    points: np.ndarray
    score: float
    detected: bool
    crop: np.ndarray


class FrameFaces(NamedTuple):
    """A frame and its faces.

    Attributes:
        frame (Frame): The frame.
        faces (Tuple[TrackedFace, ...]): Its faces, by the number of their track.
        cut (bool): Whether a new scene begins with it.
    """

    frame: Frame
    faces: Tuple[TrackedFace, ...]
    cut: bool


@dataclasses.dataclass
class StreamSummary:
    """What a stream held.

    Attributes:
        frames (int): Its frames.
        frames_with_face (int): Those with a face of a track that was kept.
        cuts (List[float]): Times in seconds at which a scene begins after a hard cut.
        tracks (List[TrackSummary]): All tracks in the order in which they ended, with those that
            were dropped.
    """

    frames: int = 0
    frames_with_face: int = 0
    cuts: List[float] = dataclasses.field(default_factory=list)
    tracks: List[TrackSummary] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class FaceTrack:
    """A whole track in memory.

    Attributes:
        track (int): Its number.
        indices (np.ndarray): (n,) int, places of its frames in the stream.
        times (np.ndarray): (n,) float64 seconds.
        boxes (np.ndarray): (n, 4) float32.
        points (np.ndarray): (n, 5, 2) float32.
        scores (np.ndarray): (n,) float32.
        detected (np.ndarray): (n,) bool.
        crops (np.ndarray): (n, S, S, 3) uint8 RGB.
    """

    track: int
    indices: np.ndarray
    times: np.ndarray
    boxes: np.ndarray
    points: np.ndarray
    scores: np.ndarray
    detected: np.ndarray
    crops: np.ndarray


def collect_tracks(stream: Iterable[FrameFaces]) -> List[FaceTrack]:
    """The tracks of a short stream, all crops in memory, by their number.

    Args:
        stream (Iterable[FrameFaces]): For instance a :class:`FaceStream`.
    """
    rows: Dict[int, List[tuple]] = {}
    for index, step in enumerate(stream):
        for track, *values in step.faces:
            rows.setdefault(track, []).append((index, step.frame.time, *values))
    return [FaceTrack(track, *(np.array(column) for column in zip(*of_track)))
            for track, of_track in sorted(rows.items())]


def still_faces(image: np.ndarray, detector: FaceDetector,
                record: CropRecord = PRESETS['upright'],
                search: SearchSettings = SearchSettings()) -> List[TrackedFace]:
    """The faces of a single picture, the largest first, numbered in this order.

    Args:
        image (np.ndarray): (H, W, 3) uint8 RGB.
        detector (FaceDetector): The detector.
        record (CropRecord): How to cut.
        search (SearchSettings): What to search for.
    """
    looks = FaceSearch(detector, search).still(image)
    return [TrackedFace(place, look.box, look.points, look.score, True,
                        cut_out(image, crop_transform(record, look.box, look.points), record.size))
            for place, look in enumerate(looks)]


@dataclasses.dataclass
class _Step:
    """A frame on its way: ``coarse`` are its faces as the search sees them, ``looks`` as they are
    measured, both by identity."""

    frame: Frame
    index: int
    cut: bool
    coarse: Dict[int, np.ndarray] = dataclasses.field(default_factory=dict)
    looks: Dict[int, FaceLook] = dataclasses.field(default_factory=dict)


class _Point(NamedTuple):
    """A frame of a track: ``shape`` (14,) is the box, then the points."""

    index: int  # type: ignore[assignment]  # hides tuple.index
    time: float
    shape: np.ndarray
    score: float


@dataclasses.dataclass
class _Course:
    """A track whose frames have not all been given out: its points without a gap, from those that
    are still needed for smoothing on."""

    points: List[_Point]
    first: _Point
    number: int = -1  # while it is not shown
    frames: int = 0
    detected: int = 0
    area: float = 0.0
    score: float = 0.0


class FaceStream:
    """The faces of a stream of frames. To be iterated once.

    One :class:`FrameFaces` comes for each frame, in order, and the frames of a track are
    consecutive: when a track is missing, it has ended.

    Args:
        frames (Iterable[Frame]): Frames with rising times, such as
            :func:`.frames.open_frames` gives. A frame whose image is the very object of the frame
            before keeps its faces.
        detector (FaceDetector): The detector.
        record (CropRecord): How to cut faces out.
        tracking (TrackingSettings): What is one track.
        search (SearchSettings): What to search for.

    Attributes:
        summary (StreamSummary): What has been given out so far; complete after the last frame.

    Raises:
        ValueError: While it is iterated, if a frame is not later than the one before.
    """

    def __init__(self, frames: Iterable[Frame], detector: FaceDetector,
                 record: CropRecord = PRESETS['upright'],
                 tracking: TrackingSettings = TrackingSettings(),
                 search: SearchSettings = SearchSettings()) -> None:
        self.record = record
        self.tracking = tracking
        self.summary = StreamSummary()
        self._frames = frames
        self._search = FaceSearch(detector, search)
        self._tracker = FaceTracker(tracking, search.threshold)
        # after this time a face that is out of sight stays so, a short track is known to be one,
        # and smoothing sees nothing new
        self._delay = max(tracking.max_gap + tracking.min_length, WINDOW * record.smoothing)
        self._queue: Deque[_Step] = deque()
        self._searched: Optional[Tuple[_Step, Detections]] = None  # the last of the scene
        self._last: Optional[_Step] = None  # the last one in which faces were measured
        self._confirmed: set = set()
        self._courses: Dict[int, _Course] = {}  # by keys: 0, 1, ... in the order of beginning
        self._keys: Dict[int, int] = {}  # of the latest course of each identity of the scene
        self._count = itertools.count()
        self._numbers = itertools.count()

    def __iter__(self) -> Iterator[FrameFaces]:
        end = 0.0
        for group, ends_scene, ends_source in self._groups():
            if group[0].cut:
                self._forget()
            self._track(group)
            for step in group:
                self._queue.append(step)
                self._look(step)
                self._extend_courses(step)
                end = step.frame.time
            known = float('inf') if ends_scene else end - self._delay
            # a source that is shorter than any track must be has no short tracks
            shortest = 0.0 if ends_source and end < self.tracking.min_length else None
            while self._queue and self._queue[0].frame.time <= known:
                yield self._finish(self._queue.popleft(), shortest)

    def _groups(self) -> Iterator[Tuple[List[_Step], bool, bool]]:
        """Frames up to one that is to be searched; whether a scene, or the source, ends there."""
        group: List[_Step] = []
        due = 0.0
        for step, following in _with_next(_steps(self._frames)):
            group.append(step)
            ends_scene = following is None or following.cut
            if step.cut or ends_scene or step.frame.time >= due - ROUNDING:
                yield group, ends_scene, following is None
                due = step.frame.time + self._search.settings.interval
                group = []

    def _forget(self) -> None:
        """Begin a new scene."""
        self._tracker.new_scene()
        self._searched = self._last = None
        self._confirmed.clear()
        self._keys.clear()

    def _track(self, group: List[_Step]) -> None:
        """Search the last frame of a group, and the others too if a face came or went."""
        last, found = group[-1], self._search.find(group[-1].frame.image)
        before = self._searched
        threshold = self._search.settings.threshold
        if before is not None and not _same_faces(before[1], found, threshold):
            for step in group[:-1]:
                self._identify(step, self._search.find(step.frame.image))
            before = None
        self._identify(last, found)
        if before is not None:
            for step in group[:-1]:
                _carry(step, before[0], last)
        self._searched = last, found

    def _identify(self, step: _Step, found: Detections) -> None:
        identities = self._tracker.update(step.frame.time, found)
        step.coarse = {int(identity): points for identity, points
                       in zip(identities, found.points) if identity >= 0}

    def _look(self, step: _Step) -> None:
        """Measure the faces of a frame."""
        last, self._last = self._last, step
        before = last.looks if last is not None else {}
        if last is not None and step.frame.image is last.frame.image:
            step.coarse, step.looks = last.coarse, before
            return
        starts, known, new = {}, [], []
        for identity, points in step.coarse.items():
            # turned and sized as it was, moved as the search says
            if last is not None and identity in before:
                moved = points.mean(0) - last.coarse[identity].mean(0)
                starts[identity] = before[identity].points + moved
                known.append(identity)
            else:
                starts[identity] = points
                new.append(identity)
        looks: Dict[int, Optional[FaceLook]] = {}
        for identities in (known, new):
            looks.update(zip(identities, self._search.measure(
                step.frame.image, [starts[identity] for identity in identities],
                is_known=identities is known)))
        for identity in sorted(starts):  # the older one of two tracks keeps a face
            look = looks[identity]
            if look is None or any(box_overlaps(look.box[None], other.box[None])[0, 0] > TWICE
                                   for other in step.looks.values()):
                continue
            if look.score >= self._search.settings.threshold:
                self._confirmed.add(identity)
            if identity in self._confirmed:
                step.looks[identity] = look

    def _extend_courses(self, step: _Step) -> None:
        """Add the looks of a frame to the courses, with what lies between them and the last."""
        time = step.frame.time
        for identity, look in step.looks.items():
            new = _Point(step.index, time, np.concatenate([look.box, look.points.reshape(-1)]),
                         look.score)
            course = self._courses.get(self._keys.get(identity, -1))
            if course is None or time - course.points[-1].time > self.tracking.max_gap + ROUNDING:
                self._keys[identity] = next(self._count)
                self._courses[self._keys[identity]] = _Course([new], new)
                continue
            last = course.points[-1]
            for missed in self._queue:
                if last.index < missed.index < new.index:
                    share = (missed.frame.time - last.time) / (new.time - last.time)
                    course.points.append(_Point(
                        missed.index, missed.frame.time,
                        (1 - share) * last.shape + share * new.shape, float('nan')))
            course.points.append(new)

    def _finish(self, step: _Step, shortest: Optional[float]) -> FrameFaces:
        """Give a frame out, now that all is known."""
        faces = []
        for key, course in list(self._courses.items()):
            if course.first.index > step.index:
                continue
            if course.number < 0:
                lasts = course.points[-1].time - course.first.time
                needed = self.tracking.min_length if shortest is None else shortest
                if lasts < needed - ROUNDING:
                    self._close(key, f'seen for {lasts:.2f} s, less than {needed:g} s')
                    continue
                course.number = next(self._numbers)
            faces.append(self._cut(course, step))
            if course.points[-1].index == step.index:
                self._close(key)
        self.summary.frames += 1
        self.summary.frames_with_face += bool(faces)
        if step.cut:
            self.summary.cuts.append(step.frame.time)
        return FrameFaces(step.frame, tuple(sorted(faces, key=lambda face: face.track)), step.cut)

    def _cut(self, course: _Course, step: _Step) -> TrackedFace:
        """The face of a track in a frame of it."""
        time, width = step.frame.time, self.record.smoothing
        course.points = [point for point in course.points
                         if point.index == step.index or point.time >= time - WINDOW * width]
        here = next(point for point in course.points if point.index == step.index)
        shape = smooth_at(np.array([point.time for point in course.points]),
                          np.array([point.shape for point in course.points]), time, width)
        box, points = shape[:4].astype(np.float32), shape[4:].reshape(5, 2).astype(np.float32)
        crop = cut_out(step.frame.image, crop_transform(self.record, box, points), self.record.size)
        seen = not np.isnan(here.score)
        course.frames += 1
        course.detected += seen
        course.area += float(np.prod(box[2:] - box[:2]))
        course.score += here.score if seen else 0.0
        return TrackedFace(course.number, box, points, here.score, seen, crop)

    def _close(self, key: int, dropped: str = '') -> None:
        """End a track, at its last point."""
        course = self._courses.pop(key)
        first, last = course.first, course.points[-1]
        if dropped:  # nothing was given out; its own points speak for it
            sizes = np.array([point.shape[2:4] - point.shape[:2] for point in course.points])
            scores = np.array([point.score for point in course.points])
            course.number, course.frames = -1, len(course.points)
            course.detected = int((~np.isnan(scores)).sum())
            course.area, course.score = float(np.prod(sizes, 1).sum()), float(np.nansum(scores))
        self.summary.tracks.append(TrackSummary(
            course.number, first.index, last.index, first.time, last.time, course.frames,
            course.detected, course.area / course.frames, course.score / course.detected, dropped))


def _steps(frames: Iterable[Frame]) -> Iterator[_Step]:
    last = None
    for index, (frame, cut) in enumerate(mark_cuts(frames)):
        if last is not None and frame.time <= last:
            raise ValueError(f'frame {index} of the stream is at {frame.time:g} s, not later than '
                             f'the frame before, at {last:g} s')
        last = frame.time
        yield _Step(frame, index, cut)


def _with_next(steps: Iterator[_Step]) -> Iterator[Tuple[_Step, Optional[_Step]]]:
    """Each step with the one after it."""
    last = None
    for step in steps:
        if last is not None:
            yield last, step
        last = step
    if last is not None:
        yield last, None


def _same_faces(some: Detections, others: Detections, threshold: float) -> bool:
    """Whether each sure face of one frame is in the other, roughly in its place."""
    overlaps = box_overlaps(some.boxes, others.boxes) >= SAME_FACE
    return bool(overlaps[some.scores >= threshold].any(1).all()
                and overlaps[:, others.scores >= threshold].any(0).all())


def _carry(step: _Step, before: _Step, after: _Step) -> None:
    """Coarse faces of a frame that was not searched, from two that were."""
    share = ((step.frame.time - before.frame.time) / (after.frame.time - before.frame.time))
    step.coarse = {identity: (1 - share) * points + share * after.coarse[identity]
                   for identity, points in before.coarse.items() if identity in after.coarse}
