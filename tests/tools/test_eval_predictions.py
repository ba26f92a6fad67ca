"""Every number of a test comes back from its prediction file."""

import hashlib
import importlib.util
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from mmaction.structures import ActionDataSample
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from unilearn_mm.evaluation.war_uar_metric import WARUARMetric

PATH = Path(__file__).parents[2] / 'tools' / 'analysis' / 'eval_predictions.py'
spec = importlib.util.spec_from_file_location('eval_predictions', PATH)
eval_predictions = importlib.util.module_from_spec(spec)
spec.loader.exec_module(eval_predictions)

SPACES = dict(clips=('happy', 'sad', 'fear', 'anger', 'awe'), pictures=('calm', 'excited'))


def score_samples(path, logits_of=(), num=60):
    """Scores of WARUARMetric, which writes ``path``; (task, label, prediction, gender) of samples.

    Tasks in ``logits_of`` have scores that are no probabilities. No clip shows awe.
    """
    rng = np.random.default_rng(0)
    metric = WARUARMetric(prediction_file=str(path))
    metric.dataset_meta = dict(label_spaces=SPACES)
    rows = []
    for index in range(num):
        task = ('clips', 'pictures')[index % 2]
        label = int(rng.integers(2 if task == 'pictures' else 4))
        scores = torch.tensor(rng.normal(size=len(SPACES[task])), dtype=torch.float32)
        scores[label] += 1
        if task not in logits_of:
            scores = scores.softmax(0)
        gender = ('f', 'm', '')[index // 2 % 3]
        sample = ActionDataSample().set_gt_label(label).set_pred_score(scores)
        sample.set_metainfo(dict(
            source=f'{task}_{index % 4}', sample_id=f'{index:03d}', task=task, media='video',
            **(dict(groups=dict(gender=gender)) if task == 'clips' else {})))
        rows.append((task, label, int(scores.argmax()), gender))
        metric.process(None, [sample.to_dict()])
    return metric.evaluate(num), rows


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, 'argv', ['eval_predictions.py', *map(str, arguments)])
    eval_predictions.main()


@pytest.mark.filterwarnings('ignore:y_pred contains classes not in y_true')
@pytest.mark.parametrize('suffix', ['.csv', '.parquet'])
def test_the_numbers_are_exactly_those_of_the_metric(tmp_path, monkeypatch, capsys, suffix):
    path = tmp_path / f'predictions{suffix}'
    scores, rows = score_samples(path)
    run(monkeypatch, path, '--groups', 'gender', '--bootstrap', 500)
    out = tmp_path / 'evaluation'
    found = json.loads((out / 'scores.json').read_text())
    assert found['predictions_sha256'] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found['bootstrap']['resamples'] == 500
    named = {}
    for task, numbers in found['tasks'].items():
        for name in ('WAR', 'UAR', 'macro_F1', 'weighted_F1', 'ECE', 'NLL', 'num_samples'):
            named[f'{task}/{name}'] = numbers[name]
        for name, item in numbers['recall'].items():
            named[f'{task}/recall_{name}'] = item['recall']
            assert item['interval'][0] <= item['recall'] <= item['interval'][1]
        for name, (low, high) in numbers['intervals'].items():
            assert low <= numbers[name] <= high
    assert named == scores, 'exactly, not about'

    clips = [(label, prediction, gender) for task, label, prediction, gender in rows
             if task == 'clips']
    groups = found['tasks']['clips']['groups']['gender']
    for value, group in groups['groups'].items():
        labels, predictions = zip(*[(label, prediction) for label, prediction, gender in clips
                                    if gender == value])
        assert group['WAR'] == pytest.approx(accuracy_score(labels, predictions))
        assert group['UAR'] == pytest.approx(balanced_accuracy_score(labels, predictions))
    wars = [groups['groups'][value]['WAR'] for value in 'fm']
    assert groups['WAR_gap'] == abs(wars[0] - wars[1]) and groups['num_without'] == 10
    assert found['tasks']['pictures']['groups']['gender'] == dict(
        WAR_gap=None, UAR_gap=None, num_without=30, groups={})

    report = (out / 'scores.md').read_text()
    assert 'No sample has the label awe' in report and '### clips by gender' in report
    printed = capsys.readouterr().out
    assert f'| clips | 30 | {scores["clips/WAR"]:.2%} (' in report
    assert f'| clips | 30 | {scores["clips/WAR"]:.2%} (' in printed
    for task in SPACES:
        for figure in ('confusion', 'recall', 'reliability', 'risk_coverage'):
            assert imread(out / f'{task}_{figure}.png').std() > .05
            assert f'({task}_{figure}.png)' in report


def test_scores_that_are_no_probabilities(tmp_path, monkeypatch):
    path = tmp_path / 'predictions.csv'
    scores, _ = score_samples(path, logits_of=['clips'])
    run(monkeypatch, path, '--out', tmp_path / 'out')
    found = json.loads((tmp_path / 'out' / 'scores.json').read_text())['tasks']
    assert (found['clips']['ECE'], found['clips']['NLL'], found['clips']['AURC']) == (None, ) * 3
    assert found['clips']['WAR'] == scores['clips/WAR'] and found['pictures']['AURC'] > 0
    report = (tmp_path / 'out' / 'scores.md').read_text()
    assert report.count('ECE and NLL are not computed') == 1
    assert not (tmp_path / 'out' / 'clips_reliability.png').exists()


def test_an_unknown_group_leaves_no_half_report(tmp_path, monkeypatch):
    path = tmp_path / 'predictions.csv'
    score_samples(path)
    with pytest.raises(ValueError, match=r"no group 'subject', found \['gender'\]"):
        run(monkeypatch, path, '--groups', 'subject')
    assert [file.name for file in tmp_path.iterdir()] == ['predictions.csv']


def test_tasks_of_any_name(tmp_path, monkeypatch):
    """Figures lie in the folder, whatever the tasks are called, and the report shows them."""
    path = tmp_path / 'predictions.csv'
    score_samples(path)
    path.write_text(path.read_text().replace(',clips,', ',lab/clips 1,').replace(
        ',pictures,', ',../../pictures,'))
    run(monkeypatch, path, '--out', tmp_path / 'in' / 'out')
    out = tmp_path / 'in' / 'out'
    report = (out / 'scores.md').read_text()
    shown = re.findall(r'!\[\w+ of (.*?)\]\((\S+\.png)\)', report)
    assert {task for task, _ in shown} == {'lab/clips 1', '../../pictures'}
    assert {name for _, name in shown} == {file.name for file in out.glob('*.png')}
    assert len(shown) == 8 and len(list(tmp_path.rglob('*.png'))) == 8
