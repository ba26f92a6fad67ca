"""From validation predictions to the file beside the checkpoint."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax

from unilearn_mm.evaluation.prediction_table import PREDICTION_COLUMNS, write_predictions
from unilearn_mm.evaluation.temperature import read_temperatures

PATH = Path(__file__).parents[2] / 'tools' / 'analysis' / 'fit_temperature.py'
spec = importlib.util.spec_from_file_location('fit_temperature', PATH)
fit_temperature = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fit_temperature)


def predictions(temperatures, num=4000):
    """A table whose labels are drawn at a known temperature of each task, as (task, K) -> T."""
    rng = np.random.default_rng(0)
    parts = []
    for (task, num_classes), temperature in temperatures.items():
        logits = rng.normal(scale=2, size=(num, num_classes))
        honest = softmax(logits / temperature, axis=1).cumsum(1)
        labels = (rng.random((num, 1)) > honest).sum(1).clip(max=num_classes - 1)
        columns = ['s', task, 'video', [str(index) for index in range(num)], labels,
                   logits.argmax(1), 'x', 'y']
        table = pd.DataFrame(dict(zip(PREDICTION_COLUMNS, columns)))
        table['source'] = task
        parts.append(table.join(pd.DataFrame(softmax(logits, axis=1)).add_prefix('score_')))
    return pd.concat(parts, ignore_index=True)


@pytest.fixture
def run(tmp_path, monkeypatch):
    (tmp_path / 'epoch_1.pth').write_bytes(b'weights')

    def call(table):
        write_predictions(table, tmp_path / 'val.csv')
        monkeypatch.setattr(sys, 'argv', ['fit_temperature.py', str(tmp_path / 'val.csv'),
                                          str(tmp_path / 'epoch_1.pth')])
        fit_temperature.main()

    return call


def test_every_task_has_its_own_temperature(run, tmp_path, capsys):
    run(predictions({('dfew', 7): 2., ('rafdb', 3): .6}))
    found = read_temperatures(tmp_path / 'epoch_1.pth')
    assert found == pytest.approx(dict(dfew=2., rafdb=.6), rel=.08)
    content = json.loads((tmp_path / 'epoch_1.temperature.json').read_text())
    printed = capsys.readouterr().out
    for task, fit in content['tasks'].items():
        assert fit['nll_after'] < fit['nll_before'] and fit['num_samples'] == 4000
        assert f'| {task} | 4000 | {fit["temperature"]:.4f} |' in printed


def test_scores_that_are_no_probabilities_are_refused(run, tmp_path):
    table = predictions({('dfew', 7): 2.}, num=20)
    table.loc[3, 'score_0'] += 1
    table.loc[3, 'prediction'] = 0
    with pytest.raises(ValueError, match="val.csv: the scores of 1 samples of task 'dfew'.*'3'"):
        run(table)
    assert not (tmp_path / 'epoch_1.temperature.json').exists()
