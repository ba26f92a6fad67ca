"""Faces are found, followed and cut out for a prediction as they were for the training."""

import pytest

from unilearn_mm.apis.face_setting import FaceSettingError, face_setting
from unilearn_mm.faces.alignment import PRESETS
from unilearn_mm.faces.search import SearchSettings
from unilearn_mm.faces.tracking import TrackingSettings

RECORD = PRESETS['similarity'].replace(size=112)
SEARCH = SearchSettings(smallest_face=40., threshold=.6, weak_threshold=.3, interval=.2)
TRACKING = TrackingSettings(max_gap=.2, min_length=1.)
CROPS = dict(record=RECORD.to_dict(), detector=dict(name='yunet', sha256='ab' * 32),
             search=SEARCH.to_dict(), tracking=TRACKING.to_dict(), rate=12.5)


def meta(*crops):
    return dict(dataset_meta=dict(face_crops={f'set{place}': record
                                              for place, record in enumerate(crops)}))


def test_all_that_the_checkpoint_says_is_obeyed():
    found = face_setting(meta(CROPS, CROPS), 'upright')
    assert (found.record, found.detector, found.detector_sha256, found.search, found.tracking,
            found.rate) == (RECORD, 'yunet', 'ab' * 32, SEARCH, TRACKING, 12.5)
    assert set(found.sources.values()) == {'checkpoint'} and found.is_recorded


def test_arguments_win_part_by_part():
    found = face_setting(meta(CROPS), crop='upright', detector='centerface',
                         search=dict(threshold=.4), tracking=dict(max_gap=2.))
    assert found.record == PRESETS['upright'] and found.rate == 12.5
    assert (found.detector, found.detector_sha256) == ('centerface', None)
    assert found.search == SearchSettings(40., .4, .3, .2)
    assert found.tracking == TrackingSettings(2., 1.)
    assert found.sources == dict(
        record='argument', detector='argument', search='checkpoint; argument: threshold',
        tracking='checkpoint; argument: max_gap', rate='checkpoint')
    named = face_setting(meta(CROPS), detector='yunet', detector_weights='own.onnx')
    assert (named.detector_sha256, named.detector_weights) == (None, 'own.onnx')
    assert named.sources['detector'] == 'checkpoint; argument: weights'


@pytest.mark.parametrize('crops, why', [
    ((), 'the checkpoint does not say it'),
    ((CROPS, dict(CROPS, rate=None)), 'were cut out in 2 ways')])
def test_what_nobody_says_has_a_default_that_says_so(crops, why):
    found = face_setting(meta(*crops))
    assert (found.record, found.search, found.tracking, found.rate) == (
        PRESETS['upright'], SearchSettings(), TrackingSettings(), None)
    assert not found.is_recorded
    assert all(source.startswith('default: ') and why in source
               for source in found.sources.values())
    recipe = face_setting(meta(*crops), 'similarity')
    assert recipe.record == PRESETS['similarity'] and recipe.sources['record'] == 'recipe'


@pytest.mark.parametrize('change, message', [
    (dict(record=dict(RECORD.to_dict(), version=99)), 'version is 99'),
    (dict(search=dict(SEARCH.to_dict(), stride=3)), 'stride'),
    (dict(tracking=dict(max_gap='long', min_length=1.)), 'cannot do that'),
    (dict(detector='yunet'), 'cannot do that'), (dict(detector={}), 'sha256|name'),
    (dict(rate=-1), 'rate is -1'), (dict(rate='fast'), 'cannot do that'),
    (dict(record=None), 'cannot do that')])
def test_a_record_that_cannot_be_obeyed_is_refused(change, message):
    with pytest.raises(FaceSettingError, match=f'{message}.*'):
        face_setting(meta({**CROPS, **change}))


@pytest.mark.parametrize('crops', ['upright', {}, dict(record=RECORD.to_dict()), 3])
def test_what_is_no_record_is_refused(crops):
    if crops == {}:
        crops = dict(record={})
    with pytest.raises(FaceSettingError, match='of the crops of its training data .*expected'):
        face_setting(meta(crops))


@pytest.mark.parametrize('options, message', [
    (dict(crop='round'), "unknown crop 'round'; known are upright, similarity"),
    (dict(search=dict(depth=3)), 'depth.*known are smallest_face'),
    (dict(tracking=dict(max_gap=-1.)), 'max_gap is -1')])
def test_arguments_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        face_setting(**options)
