"""Copies of one video give the same windows and the same crops, however they are stored."""

import cv2
import numpy as np
import pytest
from real_media import real_media
from videos import TURNS, turn, write_clip

from unilearn_mm.faces.clips import FaceStream, collect_tracks
from unilearn_mm.faces.detector import open_detector
from unilearn_mm.faces.frames import open_frames

RATE = 10  # frames a second that are sampled
POINTS = 0.035  # of the distance of the eyes: how far coding again moves a point of the same frame
CROPS = 4.0  # of 255: mean difference of two crops of the same frame


@pytest.fixture(scope='module')
def detector():
    return open_detector()


@pytest.fixture(scope='module')
def original():
    """30 frames at 30 a second."""
    with open_frames(real_media('single_face.mp4')) as frames:
        return [cv2.resize(frame.image, (320, 180)) for frame, _ in zip(frames, range(30))]


def tracks(path, detector):
    with open_frames(path, RATE) as frames:
        return collect_tracks(FaceStream(frames, detector))


def indices(path):
    with open_frames(path, RATE) as frames:
        return np.array([frame.index for frame in frames])


@pytest.mark.parametrize('copy', ['turned', '60 frames a second', 'irregular'])
def test_copies(tmp_path, original, detector, copy):
    """The same times; a picture that is one frame away at most (irregular: as far as frames are
    missing); crops of the same picture differ by coding only."""
    times = np.arange(30) / 30
    write_clip(tmp_path / 'original.mp4', original, times)
    shows = np.arange(30)  # which frame of the original each frame of the copy shows
    off = 0
    if copy == 'turned':
        write_clip(tmp_path / 'copy.mp4', [np.rot90(image) for image in original], times)
        turn(tmp_path / 'copy.mp4', TURNS[90])
    elif copy == '60 frames a second':
        shows = np.repeat(shows, 2)
        write_clip(tmp_path / 'copy.mp4', [original[k] for k in shows], np.arange(60) / 60)
    else:
        shows = np.setdiff1d(shows, [3, 10, 11, 17, 21, 26])
        write_clip(tmp_path / 'copy.mp4', [original[k] for k in shows], times[shows])
        off = 1
    shown, expected = shows[indices(tmp_path / 'copy.mp4')], indices(tmp_path / 'original.mp4')
    assert np.abs(shown - expected).max() <= off
    (one,), (other,) = tracks(tmp_path / 'original.mp4', detector), tracks(tmp_path / 'copy.mp4',
                                                                           detector)
    np.testing.assert_array_equal(one.times, other.times)
    assert len(one.times) == RATE
    same = shown == expected
    assert same.mean() >= 0.7
    eyes = np.linalg.norm(one.points[:, 1] - one.points[:, 0], axis=-1).mean()
    assert np.linalg.norm(one.points - other.points, axis=-1)[same].max() < POINTS * eyes
    assert np.abs(one.crops[same].astype(int) - other.crops[same]).mean() < CROPS
