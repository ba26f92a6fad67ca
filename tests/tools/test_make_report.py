"""The report's choice of samples, and a whole report."""

import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.image import imread
from mmaction.registry import DATASETS
from mmaction.structures import ActionDataSample
from mmengine.config import Config

from unilearn_mm.evaluation.war_uar_metric import WARUARMetric

ROOT = Path(__file__).parents[2]
spec = importlib.util.spec_from_file_location(
    'make_report', ROOT / 'tools' / 'analysis' / 'make_report.py')
make_report = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make_report)


@pytest.mark.parametrize('num_right, num_wrong', [(9, 9), (1, 9), (9, 0), (1, 0)])
def test_right_and_wrong_samples_are_shown(num_right, num_wrong):
    labels = np.zeros(num_right + num_wrong, int)
    predictions = np.r_[np.zeros(num_right, int), np.ones(num_wrong, int)]
    table = pd.DataFrame(dict(label=labels, prediction=predictions, name=range(len(labels))))
    rows = make_report.pick_rows(table)
    wrong = [row for row in rows if row.label != row.prediction]
    assert len(wrong) == min(num_wrong, 2) and len(rows) - len(wrong) == min(num_right, 2)
    assert len({row['name'] for row in rows}) == len(rows), 'no sample twice'


def write_predictions(cfg, path, ids=None):
    """Made-up predictions of the test data (or of some of it), and their scores."""
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    metric = WARUARMetric(prediction_file=str(path))
    metric.dataset_meta = dataset.metainfo
    generator = torch.Generator().manual_seed(0)
    ids = range(len(dataset)) if ids is None else ids
    for index in ids:
        info = dataset.get_data_info(index)
        scores = torch.randn(info['num_classes'], generator=generator).softmax(0)
        sample = ActionDataSample().set_gt_label(info['label']).set_pred_score(scores)
        sample.set_metainfo({key: info[key] for key in ('source', 'task', 'media', 'sample_id')})
        metric.process(None, [sample.to_dict()])
    return metric.evaluate(len(ids))


def run(monkeypatch, work, *options):
    monkeypatch.setattr(sys, 'argv', ['make_report.py', str(ROOT / 'configs/unilearn_toy.py'),
                                      'epoch_1.pth', '--work-dir', str(work), *options])
    make_report.main()


@pytest.fixture
def cfg(toy_root, monkeypatch):
    monkeypatch.setenv('TOY_DATA', str(toy_root))
    return Config.fromfile(ROOT / 'configs' / 'unilearn_toy.py')


def test_predictions_of_other_data_are_refused(cfg, tmp_path, monkeypatch):
    path = tmp_path / 'predictions.csv'
    write_predictions(cfg, path)
    table = path.read_text()
    path.write_text(table.replace(',00003,', ',elsewhere,'))
    with pytest.raises(ValueError, match=r"predictions\.csv is not of the test data of .*toy\.py: "
                                         r"1 samples are only there, e\.g\. 'elsewhere' of source "
                                         r"'toy_video' .*; 1 .* recipe.*'00003'.*tools/test\.py"):
        run(monkeypatch, tmp_path)
    rows = table.splitlines()
    rows[1] = rows[1].replace('toy_image,toy_image', 'toy_image,other')
    path.write_text('\n'.join(rows))
    with pytest.raises(ValueError, match=r"1 samples .* of task 'other'; 1 .* of task 'toy_image'"):
        run(monkeypatch, tmp_path)
    write_predictions(cfg, path, range(3, 20))
    with pytest.raises(ValueError, match=r"0 samples are only there; 18 .* only in the recipe, "
                                         r"e\.g\. .* of source 'toy_image'"):
        run(monkeypatch, tmp_path)
    assert not (tmp_path / 'report').exists()
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r'predictions\.csv does not exist.*tools/test\.py'):
        run(monkeypatch, tmp_path)
    with pytest.raises(ValueError, match=r'toy\.py: no metric of the test .*prediction_file'):
        run(monkeypatch, tmp_path, '--cfg-options', 'test_evaluator.prediction_file=None')


def test_a_report_shows_scores_figures_and_curves(cfg, tmp_path, monkeypatch):
    """Of a run on tiny data, whose predictions are made up."""
    scores = write_predictions(cfg, tmp_path / 'work' / 'predictions.csv')
    scalars = tmp_path / 'work' / '20260101_000000' / 'vis_data' / 'scalars.json'
    scalars.parent.mkdir(parents=True)
    scalars.write_text('{"loss": 2.0, "lr": 0.1, "epoch": 1, "step": 20}\n')
    run(monkeypatch, tmp_path / 'work')

    folder = tmp_path / 'work' / 'report'
    report = (folder / 'report.md').read_text()
    for task, count in (('toy_video', 14), ('toy_image', 21)):
        assert f'| {task} | {count} | {scores[task + "/WAR"]:.2%} (' in report
    pictures = set(re.findall(r'\]\((.*?\.png)\)', report))
    assert pictures == {path.name for path in folder.glob('*.png')} and len(pictures) == 11
    assert all(imread(folder / name).std() > .05 for name in pictures)
