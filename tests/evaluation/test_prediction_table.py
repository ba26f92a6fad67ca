from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unilearn_mm.evaluation.prediction_table import (
    PREDICTION_COLUMNS,
    check_predictions,
    group_names,
    names_in_table,
    read_predictions,
    write_predictions,
)

text = st.text(st.characters(codec='utf-8', exclude_categories=['Cc', 'Cs']), max_size=5)
number = st.floats(0, 1, allow_subnormal=False)


@st.composite
def tables(draw):
    rows = [('s', draw(st.sampled_from(['t', 'u'])), 'video', f'{index}{draw(text)}', 0, 1, 'a',
             'b', draw(text), draw(number), draw(number), draw(st.none() | number))
            for index in range(draw(st.integers(1, 4)))]
    columns = [*PREDICTION_COLUMNS, 'group_age (years)', 'score_0', 'score_1', 'score_2']
    return pd.DataFrame(rows, columns=columns).astype(dict(score_2=np.float64))


@pytest.mark.parametrize('suffix', ['.csv', '.parquet'])
@settings(deadline=None, max_examples=40)
@given(table=tables())
def test_every_value_comes_back(tmp_path_factory, suffix, table):
    path = tmp_path_factory.mktemp('round trip') / 'new folder' / f'p{suffix}'
    write_predictions(table, path)
    write_predictions(table, path)
    found = read_predictions(path)
    assert found.columns.tolist() == table.columns.tolist()
    for name in table:
        theirs, ours = found[name].tolist(), table[name].tolist()
        if name.startswith('score_'):
            np.testing.assert_array_equal(theirs, ours)
        else:
            assert theirs == ours, name
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_values_that_a_careless_reader_loses(tmp_path):
    values = ['', 'NA', '007', 'nan', '1', 'a,"b', ' x ']
    table = pd.DataFrame([('s', 't', 'video', f'00{index}', 0, 0, 'a', 'a', value, .1 + .2)
                          for index, value in enumerate(values)],
                         columns=[*PREDICTION_COLUMNS, 'group_subject', 'score_0'])
    write_predictions(table, tmp_path / 'p.csv')
    found = read_predictions(tmp_path / 'p.csv')
    assert found.group_subject.tolist() == values
    assert found.sample_id[1] == '001' and (found.score_0 == .1 + .2).all()
    assert group_names(found) == ['subject']


def test_two_tests_of_one_run_write_one_file(tmp_path):
    """The later one stays; none fails on the unfinished file of another."""
    tables = [pd.DataFrame([('s', 't', 'video', 'id', number, 1, 'a', 'b', 0.5)] * 50,
                           columns=[*PREDICTION_COLUMNS, 'score_0']) for number in range(4)]
    path = tmp_path / 'p.csv'
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: write_predictions(tables[number % 4], path), range(80)))
    assert read_predictions(path).label.nunique() == 1
    assert [file.name for file in tmp_path.iterdir()] == ['p.csv']


def test_other_suffixes_are_refused(tmp_path):
    for function in (read_predictions, lambda path: write_predictions(pd.DataFrame(), path)):
        with pytest.raises(ValueError, match=r"p.pkl' ends with '.pkl', expected one of .csv, .p"):
            function(tmp_path / 'p.pkl')


def test_a_table_without_scores_is_refused():
    table = pd.DataFrame([('s', 't', 'video', '1', 0, 0, 'a', 'a')], columns=PREDICTION_COLUMNS)
    with pytest.raises(ValueError, match=r"x.csv lacks the columns \['score_0'\]"):
        check_predictions(table, 'x.csv')


def test_names_of_classes_that_occur():
    rows = pd.DataFrame(dict(label=[3, 1], label_name=['fear', 'anger'], prediction=[1, 0],
                             prediction_name=['anger', 'joy'], score_0=[.1, .1], score_1=[.1, .2],
                             score_2=[.1, .3], score_3=[.1, .4], score_4=[np.nan] * 2))
    assert names_in_table(rows) == ['joy', 'anger', 'class_2', 'fear']
