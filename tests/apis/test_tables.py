import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unilearn_mm.apis import tables
from unilearn_mm.apis.tables import classes_of, prediction_table, read_table, write_table

CLASSES = ('neutral', 'happiness')
finite = st.floats(0, 1e6, allow_nan=False)
row = st.fixed_dictionaries(
    dict(input=st.sampled_from(['a.mp4', 'ä, "b".mp4', 'NA', '007']), face=st.integers(-1, 3),
         start_s=finite, end_s=finite, frames=st.integers(0, 64), task=st.just('toy_video'),
         label=st.sampled_from(['', *CLASSES]), status=st.sampled_from(['ok', 'no face'])),
    optional=dict(confidence=st.floats(0, 1), p_neutral=st.floats(0, 1),
                  p_happiness=st.floats(0, 1), x1=finite, detector_score=st.floats(0, 1)))


@given(st.lists(row, max_size=5), st.sampled_from(['.csv', '.parquet', '.jsonl']))
def test_a_table_comes_back_as_it_was_written(tmp_path_factory, rows, suffix):
    table = prediction_table(rows, CLASSES)
    path = tmp_path_factory.mktemp('table') / f'table{suffix}'
    write_table(table, path)
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    if rows or suffix != '.jsonl':  # JSON lines of no rows have no columns
        tolerance = dict(rtol=1e-14, atol=1e-15) if suffix == '.jsonl' else dict(check_exact=True)
        pd.testing.assert_frame_equal(read_table(path), table, **tolerance)
        assert classes_of(read_table(path)) == list(CLASSES)


def test_columns_types_and_order_are_those_of_the_schema():
    """Written out once more: whoever changes them must raise SCHEMA_VERSION."""
    table = prediction_table([
        dict(input='v', face=1, start_s=2., end_s=3., frames=4, task='t', label='happiness',
             confidence=.75, p_neutral=.25, p_happiness=.75, x1=1., y1=2., x2=3., y2=4.,
             detector_score=.5, status='ok'),
        dict(input='v', face=-1, start_s=0., end_s=2., frames=0, task='t', label='',
             status='no face')], CLASSES)
    assert tables.SCHEMA_VERSION == 1
    assert list(table) == ['input', 'face', 'start_s', 'end_s', 'frames', 'task', 'label',
                           'confidence', 'p_neutral', 'p_happiness', 'x1', 'y1', 'x2', 'y2',
                           'detector_score', 'status']
    assert list(table['face']) == [-1, 1], 'in the order of time'
    assert math.isnan(table['confidence'][0]) and table['p_happiness'][1] == .75
    assert table['face'].dtype == np.int64 and table['frames'].dtype == np.int64


def test_a_column_that_the_schema_does_not_have_is_an_error():
    with pytest.raises(KeyError, match='surprise'):
        prediction_table([dict(input='v', p_surprise=.5)], CLASSES)


def test_an_unknown_format_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match=r"ends with '\.xlsx', expected one of \.csv"):
        write_table(prediction_table([], CLASSES), tmp_path / 'table.xlsx')
    assert not list(tmp_path.iterdir())
