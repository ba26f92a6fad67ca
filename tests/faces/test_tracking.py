"""Identities over time, and what a track's summary is for."""

import numpy as np
import pytest

from unilearn_mm.faces.detector import Detections
from unilearn_mm.faces.tracking import FaceTracker, TrackingSettings, TrackSummary, largest_track


def faces(*boxes, scores=None):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    scores = np.full(len(boxes), 0.9) if scores is None else np.array(scores)
    return Detections(boxes, scores.astype(np.float32), np.zeros((len(boxes), 5, 2), np.float32))


def box(x, y=100, size=50):
    return [x, y, x + size, y + size]


@pytest.fixture
def tracker():
    return FaceTracker(TrackingSettings(), 0.5)


def test_identity_from_the_first_frame_on(tracker):
    """ByteTrack alone gives -1 at first, and -1 for scores under 0.7 for ever."""
    for frame in range(20):
        assert tracker.update(frame / 25, faces(box(3 * frame), box(300), scores=[0.55, 0.9])
                              ).tolist() == [0, 1]


def test_order_does_not_matter(tracker):
    assert tracker.update(0.0, faces(box(0), box(300))).tolist() == [0, 1]
    assert tracker.update(0.1, faces(box(302), box(500), box(2))).tolist() == [1, 2, 0]


def test_weak_faces_only_go_on(tracker):
    assert tracker.update(0.0, faces(box(0), box(300), scores=[0.9, 0.3])).tolist() == [0, -1]
    assert tracker.update(0.1, faces(box(0), box(300), scores=[0.3, 0.4])).tolist() == [0, -1]


@pytest.mark.parametrize('gap, identity', [(0.4, 0), (0.6, 1)])
@pytest.mark.parametrize('rate', [10, 25, 60])
def test_gaps_are_time(tracker, gap, identity, rate):
    """What is allowed between two sights of a face is half a second, whatever the frame rate."""
    times = np.arange(0, 1, 1 / rate)
    for time in times:
        tracker.update(time, faces(box(100)))
    for time in np.arange(times[-1] + 1 / rate, times[-1] + gap - 1e-6, 1 / rate):
        assert len(tracker.update(time, faces())) == 0
    assert tracker.update(times[-1] + gap, faces(box(100))).tolist() == [identity]


def test_no_identity_twice(tracker):
    """Over a cut the same place is another face, also for one that was seen just once."""
    seen = set()
    for scene in range(4):
        tracker.new_scene()
        for frame in range(scene + 1):
            identity, = tracker.update(scene + frame / 25, faces(box(100)))
        assert identity not in seen
        seen.add(identity)


def summary(track, frames, area, dropped=''):
    return TrackSummary(track, 0, frames - 1, 0.0, frames / 25, frames, frames, area, 0.9, dropped)


def test_largest_track():
    tracks = [summary(0, 100, 50.0), summary(1, 10, 400.0), summary(-1, 3, 9e9, 'too short')]
    assert largest_track(tracks).track == 0
    with pytest.raises(ValueError, match='no track to choose from'):
        largest_track(tracks[2:])


@pytest.mark.parametrize('values', [dict(max_gap=0), dict(min_length=-1), dict(max_gap=1e9)])
def test_nonsense_is_refused(values):
    with pytest.raises(ValueError, match=f'{next(iter(values))} is .* expected'):
        TrackingSettings(**values)
