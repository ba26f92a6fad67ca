import itertools

import numpy as np
import pysubs2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pympi import Eaf

from unilearn_mm.apis.segments import segments, write_elan, write_subtitles
from unilearn_mm.apis.tables import prediction_table

CLASSES = ('neutral', 'happiness', 'fear')


def windows(*labels, face=0, start=0., hop=1., length=2., status='ok'):
    return [dict(input='v.mp4', face=face, start_s=start + hop * place,
                 end_s=start + hop * place + length, frames=50, task='t', label=label,
                 confidence=.5 + .1 * place, status=status if label else 'not confident')
            for place, label in enumerate(labels)]


def test_overlapping_windows_share_their_time():
    """Windows of 2 s, a second apart: borders lie between the middles 1, 2, 3 s."""
    table = prediction_table(windows('neutral', 'happiness', 'happiness'), CLASSES)
    first, second = segments(table)
    assert first == (0, 0., 1.5, 'neutral', .5)
    assert second[:4] == (0, 1.5, 4., 'happiness') and second.confidence == pytest.approx(.65)


def test_what_has_no_label_is_a_gap():
    table = prediction_table(windows('fear', '', 'fear') + [
        dict(input='v.mp4', face=-1, start_s=9., end_s=10., status='no face', frames=0, task='t',
             label='')], CLASSES)
    assert [part[1:4] for part in segments(table)] == [(0., 1.5, 'fear'), (2.5, 4., 'fear')]


@given(st.lists(st.sampled_from(['', *CLASSES]), min_size=1, max_size=12),
       st.floats(.1, 3), st.floats(.2, 3))
def test_each_moment_gets_the_label_of_the_nearest_window(labels, hop, length):
    table = prediction_table(windows(*labels, hop=hop, length=length), CLASSES)
    found = segments(table)
    assert all(left.end <= right.start + 1e-9 for left, right in itertools.pairwise(found))
    middles = hop * np.arange(len(labels)) + length / 2
    for moment in np.linspace(0, middles[-1] + length / 2, 97)[1:-1]:
        distances = np.abs(middles - moment)
        nearest = int(distances.argmin())
        runner_up = np.sort(distances)[1] if len(labels) > 1 else np.inf
        if distances[nearest] > length / 2 - 1e-9 or runner_up - distances[nearest] < 1e-6:
            continue  # outside of all windows, or on a border
        here = [part.label for part in found if part.start <= moment < part.end]
        assert here == ([labels[nearest]] if labels[nearest] else [])


@pytest.mark.parametrize('suffix', ['.srt', '.vtt'])
def test_subtitles_are_read_by_others(tmp_path, suffix):
    table = prediction_table(windows('neutral', 'happiness')
                             + windows('fear', face=1, start=.5), CLASSES)
    write_subtitles(table, tmp_path / f'v{suffix}')
    found = pysubs2.load(str(tmp_path / f'v{suffix}'))
    assert [(line.start, line.end, line.text) for line in found] == [
        (0, 1500, 'face 0: neutral 50%'), (500, 2500, 'face 1: fear 50%'),
        (1500, 3000, 'face 0: happiness 60%')]


def test_elan_gets_a_tier_for_each_face_and_the_video(tmp_path):
    table = prediction_table(windows('neutral', 'happiness')
                             + windows('fear', face=1, start=.5), CLASSES)
    write_elan(table, tmp_path / 'v.eaf', tmp_path / 'v.mp4')
    assert sorted(file.name for file in tmp_path.iterdir()) == ['v.eaf']
    document = Eaf(str(tmp_path / 'v.eaf'))
    assert sorted(document.get_tier_names()) == ['face 0', 'face 1']
    assert document.get_annotation_data_for_tier('face 0') == [
        (0, 1500, 'neutral 0.50'), (1500, 3000, 'happiness 0.60')]
    (media, ) = document.get_linked_files()
    assert media['MEDIA_URL'] == (tmp_path / 'v.mp4').as_uri()
    assert media['MIME_TYPE'] == 'video/mp4'
