"""Hard cuts: found where two clips meet, and nowhere else."""

import itertools

import cv2
import numpy as np
import pytest
from london import photographs

from unilearn_mm.faces.cuts import mark_cuts
from unilearn_mm.faces.frames import Frame


def cuts(images, times=None):
    times = np.arange(len(images)) / 25 if times is None else times
    marked = list(mark_cuts(Frame(*frame) for frame in zip(images, times, range(len(images)))))
    assert [frame.index for frame, _ in marked] == list(range(len(images)))
    return [frame.index for frame, is_cut in marked if is_cut]


@pytest.fixture(scope='module')
def clips(real_frames):
    return [real_frames(name, 0, 40) for name in
            ('single_face.mp4', 'WolfgangLanger_Pexels.mp4', 'carphone_pristine.mp4')]


def test_where_clips_meet(clips):
    one, two, three = ([cv2.resize(image, (160, 90)) for image in clip] for clip in clips)
    assert cuts(one + two + three) == [40, 80]
    assert cuts(one[:9] + two[:1] + three[:9]) == [9, 10]


@pytest.mark.parametrize('step', [1, 3, 6])
def test_none_within_a_clip(clips, step):
    for clip in clips:
        assert cuts(clip[::step]) == []


def test_dark_scenes_count_too(clips):
    one, two = ([(image / 12).astype(np.uint8) for image in clip] for clip in clips[:2])
    assert cuts(one[:15] + two[:15]) == [15]


def test_flashes_and_fades_are_no_cuts(clips):
    clip = clips[0][:30]
    flash = [*clip[:10], *([np.full_like(clip[0], 255)] * 2), *clip[12:]]
    assert cuts(flash) == []
    fade = [(image * min(1, place / 20)).astype(np.uint8) for place, image in enumerate(clip)]
    # from black it may begin with one, where next to nothing is to be seen
    assert all(place < 13 for place in cuts([np.zeros_like(clip[0])] * 10 + fade))
    assert cuts([(image * (1 - place / 60)).astype(np.uint8)
                 for place, image in enumerate(clip)]) == []


def test_whip_pans_are_no_cuts(clips):
    wide = np.hstack([clips[0][0], clips[0][0][:, ::-1]] * 4)
    assert cuts([wide[:, 40 * k:40 * k + 320] for k in range(50)]) == []


def test_titles_are_no_cuts(clips):
    titled = [image.copy() for image in clips[0][:30]]
    for image in titled[10:20]:
        image[130:] = (30, 60, 160)
        image[145:165:4, 20:280] = 255
    assert cuts(titled) == []


def test_repeated_pictures_are_no_cuts(clips):
    """A copy at a higher rate, whether it holds the same objects or equal ones; frames missing."""
    clip = clips[1]
    shows = np.repeat(np.arange(40), np.random.default_rng(0).integers(2, 4, 40))
    assert cuts([clip[k] for k in shows], np.arange(len(shows)) / 60) == []
    assert cuts([clip[k].copy() for k in shows], np.arange(len(shows)) / 60) == []
    kept = np.flatnonzero(np.random.default_rng(1).random(40) < 0.6)
    assert cuts([clip[k] for k in kept], kept / 24) == []


def test_a_long_standstill(clips):
    """Frames that hold one picture for minutes do not pile up."""
    pulled = 0

    def still():
        nonlocal pulled
        for index in range(1000):
            pulled += 1
            yield Frame(clips[0][0], index / 25, index)
    most = 0
    for count, (_, is_cut) in enumerate(mark_cuts(still()), 1):
        assert not is_cut
        most = max(most, pulled - count)
    assert count == 1000 and most <= 65


def test_two_people_in_one_place():
    """A jump from one person to another, photographed alike."""
    people = [image for _, image, _ in photographs('neutral')][:12]
    for one, two in itertools.pairwise(people):
        assert cuts([one] * 6 + [two] * 6) == [6]
        assert cuts([one.copy() for _ in range(6)] + [two.copy() for _ in range(6)]) == [6]
