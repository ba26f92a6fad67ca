"""The report's numbers and choice of samples."""

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from unilearn_mm.evaluation.expression_scores import task_scores

PATH = Path(__file__).parents[2] / 'tools' / 'analysis' / 'make_report.py'
spec = importlib.util.spec_from_file_location('make_report', PATH)
make_report = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make_report)


def test_tables_show_the_scores_in_percent():
    scores = task_scores(np.array([0, 0, 0, 0, 2]), np.array([0, 0, 0, 2, 0]), ('a', 'b', 'c'))
    assert make_report.score_table(dict(dfew=scores))[-1] == '| dfew | 5 | 60.00% | 37.50% |'
    assert make_report.recall_table(scores)[2:] == [
        '| a | 4 | 75.0% |', '| b | 0 | - |', '| c | 1 | 0.0% |']


@pytest.mark.parametrize('num_right, num_wrong', [(9, 9), (1, 9), (9, 0), (1, 0)])
def test_right_and_wrong_samples_are_shown(num_right, num_wrong):
    labels = np.zeros(num_right + num_wrong, int)
    predictions = np.r_[np.zeros(num_right, int), np.ones(num_wrong, int)]
    table = pd.DataFrame(dict(label=labels, prediction=predictions, name=range(len(labels))))
    rows = make_report.pick_rows(table)
    wrong = [row for row in rows if row.label != row.prediction]
    assert len(wrong) == min(num_wrong, 2) and len(rows) - len(wrong) == min(num_right, 2)
    assert len({row['name'] for row in rows}) == len(rows), 'no sample twice'
