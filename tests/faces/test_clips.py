"""The stream of faces: real clips, cuts, gaps, short tracks, and how far it runs behind."""

import cv2
import numpy as np
import pytest
from skimage.metrics import structural_similarity

from unilearn_mm.faces.alignment import PRESETS, crop_transform, cut_out
from unilearn_mm.faces.clips import FaceStream, collect_tracks
from unilearn_mm.faces.detector import box_overlaps
from unilearn_mm.faces.frames import Frame
from unilearn_mm.faces.search import SearchSettings
from unilearn_mm.faces.tracking import TrackingSettings

RATE = 25
SEARCH = SearchSettings(24 / 320)  # the frames are 320 pixels wide
SINGLE, WOLFGANG = 'single_face.mp4', 'WolfgangLanger_Pexels.mp4'


def frames(images, rate=RATE):
    return [Frame(image, place / rate, place) for place, image in enumerate(images)]


def covered(images, start, stop):
    """The frames of ``far`` from start to stop with the face covered."""
    images = [image.copy() for image in images]
    for image in images[start:stop]:
        image[45:135, 130:195] = 90
    return images


@pytest.fixture(scope='module')
def single(real_frames):
    return real_frames(SINGLE, 0, 72)


@pytest.fixture(scope='module')
def wolfgang(real_frames):
    return real_frames(WOLFGANG, 0, 40)


@pytest.fixture(scope='module')
def far(single):
    """The man further away: to cover his face is no cut."""
    wall = np.random.default_rng(0).integers(60, 220, (12, 20, 3), np.uint8)
    wall = cv2.resize(wall, (320, 180), interpolation=cv2.INTER_CUBIC)
    images = []
    for image in single:
        picture = wall.copy()
        picture[45:135, 80:240] = cv2.resize(image, (160, 90), interpolation=cv2.INTER_AREA)
        images.append(picture)
    return images


@pytest.fixture(scope='module')
def run(detector):
    def run(images, rate=RATE, search=SEARCH, **settings):
        stream = FaceStream(frames(images, rate), detector, search=search, **settings)
        return collect_tracks(stream), stream.summary
    return run


@pytest.fixture(scope='module')
def alone(run, single):
    """The only track of the whole clip."""
    (track,), summary = run(single, 30)
    return track, summary


def test_one_face(alone):
    track, summary = alone
    assert track.indices.tolist() == list(range(72)) and track.detected.all()
    assert (summary.frames, summary.frames_with_face, summary.cuts) == (72, 72, [])
    (row,) = summary.tracks
    assert (row.track, row.first_index, row.last_index) == (0, 0, 71)
    assert (row.frames, row.detected, row.dropped) == (72, 72, '')
    assert row.end == pytest.approx(71 / 30)
    areas = np.prod(track.boxes[:, 2:] - track.boxes[:, :2], axis=1)
    assert row.mean_area == pytest.approx(areas.mean())
    assert row.mean_score == pytest.approx(track.scores.mean(), rel=1e-5)


def test_crops_are_made_from_box_and_points(alone, single):
    track, _ = alone
    record = PRESETS['upright']
    for place in (0, 30, 71):
        matrix = crop_transform(record, track.boxes[place], track.points[place])
        np.testing.assert_array_equal(cut_out(single[place], matrix, 224), track.crops[place])


def test_no_jitter(alone, run, single):
    """Smoothing takes the shaking out and leaves the points where they were."""
    track, _ = alone
    (raw,), _ = run(single, 30, record=PRESETS['upright'].replace(smoothing=0.0))
    eyes = np.linalg.norm(raw.points[:, 1] - raw.points[:, 0], axis=1).mean()
    shakes = [np.median(np.abs(np.diff(each.points, 3, axis=0))) / eyes for each in (raw, track)]
    assert shakes[1] < 0.3 * shakes[0]
    assert np.linalg.norm(track.points - raw.points, axis=-1).max() < 0.04 * eyes


@pytest.mark.parametrize('interval', [0.0, 0.2])
def test_rare_search_finds_the_same(alone, run, single, interval):
    """Points are measured in each frame, however often the whole picture is searched."""
    (track,), _ = run(single[:40], 30, SearchSettings(24 / 320, interval=interval))
    eyes = np.linalg.norm(track.points[:, 1] - track.points[:, 0], axis=1).mean()
    away = np.linalg.norm(track.points - alone[0].points[:40], axis=-1)[:36]  # the end smooths
    assert away.mean() < 0.01 * eyes


def test_a_face_then_a_cartoon(run, real_frames):
    (track,), summary = run(real_frames('face_noface.mov', 40, 110), 30)
    assert track.indices.tolist() == list(range(32))
    assert summary.frames_with_face == 32 and len(summary.tracks) == 1
    assert summary.cuts[0] == pytest.approx(32 / 30)


def test_no_face(run, real_frames):
    tracks, summary = run(real_frames('no_face.mp4', 0, 95)[::3], 10)
    assert tracks == [] and summary.frames_with_face == 0 and summary.frames == 32


def test_small_video(run, real_frames):
    """176 x 144, a man who talks; the frames are enlarged here."""
    (track,), _ = run(real_frames('carphone_pristine.mp4', 0, 60)[::2], 15)
    assert len(track.times) == 30


def test_three_side_by_side(run, single, wolfgang, real_frames):
    """Three tracks, with the crops of the single clips."""
    other = [cv2.resize(image[20:-20], (320, 180)) for image in
             real_frames('carphone_pristine.mp4', 0, 24)]
    wide = [cv2.copyMakeBorder(image, 0, 0, 40, 40, cv2.BORDER_CONSTANT) for image in wolfgang]
    clips = [clip[:24] for clip in (single, wide, other)]
    tiled = [np.hstack(images) for images in zip(*clips)]
    tracks, summary = run(tiled, search=SearchSettings(24 / 640))
    assert [len(track.times) for track in tracks] == [24] * 3 and len(summary.tracks) == 3
    tracks.sort(key=lambda track: track.boxes[0, 0])
    assert (np.diff([track.boxes[:, 0].mean() for track in tracks]) > 100).all()
    for clip, track in zip(clips, tracks):
        (one,), _ = run(clip)
        values = [structural_similarity(*crops, channel_axis=2)
                  for crops in zip(one.crops, track.crops)]
        assert np.median(values) >= 0.98


def test_a_hard_cut_is_two_people(run, single, wolfgang):
    """Also when both faces are in the same place."""
    (first,), _ = run(single[:10])
    (second,), _ = run(wolfgang[:10])
    shift = (first.boxes[-1, :2] + first.boxes[-1, 2:] - second.boxes[0, :2] - second.boxes[0, 2:])
    matrix = np.array([[1, 0, shift[0] / 2], [0, 1, shift[1] / 2]])
    moved = [cv2.warpAffine(image, matrix, (320, 180), borderMode=cv2.BORDER_REPLICATE)
             for image in wolfgang[:20]]
    tracks, summary = run(single[:20] + moved)
    assert summary.cuts == [20 / RATE]
    assert [track.indices.tolist() for track in tracks] == [list(range(20)), list(range(20, 40))]
    assert box_overlaps(tracks[0].boxes[-1:], tracks[1].boxes[:1])[0, 0] > 0.4


def test_gaps(run, far):
    """A short one is filled with what lies in between, a long one ends the track."""
    (one, two), summary = run(covered(covered(far[:50], 10, 15), 25, 40))
    assert summary.cuts == []
    assert one.indices.tolist() == list(range(25)) and two.indices.tolist() == list(range(40, 50))
    np.testing.assert_array_equal(one.detected, ~np.isin(one.indices, range(10, 15)))
    assert np.isnan(one.scores[10:15]).all() and one.scores[15:].min() > 0.5
    share = np.arange(1, 6)[:, None, None] / 6
    line = (1 - share) * one.points[9] + share * one.points[15]
    eyes = np.linalg.norm(one.points[0, 1] - one.points[0, 0])
    assert np.linalg.norm(one.points[10:15] - line, axis=-1).max() < 0.05 * eyes


@pytest.mark.parametrize('length, tracks', [(10, 1), (16, 2)])
def test_a_face_that_cannot_be_measured(far, detector, length, tracks):
    """The search sees the face all the time; what counts is where it is measured."""
    tinted = [image.copy() for image in far[:50]]
    for image in tinted[15:15 + length]:
        image[..., 2] = image[..., 2] * 0.7

    class Blind:
        name, sha256 = detector.name, detector.sha256
        smallest_face = detector.smallest_face

        def detect(self, images, threshold):
            found = detector.detect(images, threshold)
            return [faces.take(faces.scores > 2)
                    if image.shape == (128, 128, 3) and is_tinted(image) else faces
                    for image, faces in zip(images, found)]

    def is_tinted(region):
        return region[..., 2].mean() / region[..., 0].mean() < ratio
    middle = far[0][60:120, 130:195].mean((0, 1))
    ratio = 0.85 * middle[2] / middle[0]
    stream = FaceStream(frames(tinted), Blind(), search=SEARCH)
    found = collect_tracks(stream)
    assert stream.summary.cuts == [] and len(found) == tracks
    seen = np.concatenate([track.indices[track.detected] for track in found])
    assert seen.tolist() == [*range(15), *range(15 + length, 50)]
    assert sum(len(track.times) for track in found) == (50 if tracks == 1 else 50 - length)


def test_short_tracks_are_dropped(run, far):
    images = covered(covered(far[:50], 0, 5), 10, 30)
    tracks, summary = run(images)
    assert [track.indices.tolist() for track in tracks] == [list(range(30, 50))]
    short, kept = summary.tracks
    assert (short.track, short.first_index, short.frames) == (-1, 5, 5)
    assert short.dropped == 'seen for 0.16 s, less than 0.3 s'
    assert (kept.track, kept.dropped) == (0, '')
    tracks, _ = run(images, tracking=TrackingSettings(min_length=0.1))
    assert [len(track.times) for track in tracks] == [5, 20]


def test_a_short_source_has_no_short_track(run, single):
    for count in (1, 5):
        (track,), _ = run(single[:count])
        assert len(track.times) == count


def test_a_face_that_comes_between_two_searches(run, far):
    """It is there from its first frame on, as if every frame were searched."""
    images = covered(far[:40], 0, 12)
    results = [run(images, search=SearchSettings(24 / 320, interval=interval))[0][0].indices
               for interval in (0.0, 0.4)]
    assert results[0].tolist() == results[1].tolist() == list(range(12, 40))


def test_repeated_pictures(single, detector):
    """A picture that is shown twice is looked at once."""
    calls = 0

    class Counting:
        name, sha256 = detector.name, detector.sha256
        smallest_face = detector.smallest_face

        def detect(self, images, threshold):
            nonlocal calls
            calls += len(images)
            return detector.detect(images, threshold)
    images = [single[place] for place in np.repeat(np.arange(15), 4)]
    (track,) = collect_tracks(FaceStream(frames(images, 60), Counting(), search=SEARCH))
    assert len(track.times) == 60 and track.detected.all()
    assert calls <= 15 * 2 + 5  # each picture searched and measured once, the first looked at again


def test_what_waits_is_bounded(detector, single):
    """However long the source, few frames are in memory; frames come in order, none is left out."""
    pulled = 0

    def endless():
        nonlocal pulled
        for place in range(200):
            pulled += 1
            yield Frame(single[min(place % 120, 71)].copy(), place / RATE, place)
    most = 0
    for given, step in enumerate(FaceStream(endless(), detector,
                                            search=SearchSettings(24 / 160, interval=0.3))):
        assert step.frame.index == given
        most = max(most, pulled - given)
    assert given == 199
    assert most <= (0.5 + 0.3 + 0.3) * RATE + 12  # gap, length, search; pictures for the cuts


def test_times_must_rise(detector, single):
    stream = FaceStream([Frame(single[0], 0.1, 0), Frame(single[1], 0.1, 1)], detector)
    with pytest.raises(ValueError, match='frame 1 of the stream is at 0.1 s, not later'):
        list(stream)


def test_empty_stream(detector):
    stream = FaceStream([], detector)
    assert list(stream) == [] and stream.summary.frames == 0
