"""The figures of a real training and test, read back from the files of the local backend."""

import io
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.runner import Runner

from unilearn_mm.datasets.label_spaces import class_names
from unilearn_mm.engine.hooks.figures import DOTS_PER_INCH
from unilearn_mm.evaluation.expression_scores import scores_from_predictions
from unilearn_mm.evaluation.prediction_table import read_predictions
from unilearn_mm.visualization.task_figures import task_figures

ROOT = Path(__file__).parents[2]
TASKS = ('toy/image', 'toy_video')


@pytest.fixture
def toy_cfg(toy_root, tmp_path, monkeypatch):
    """The toy recipe, tiny, for one epoch."""
    monkeypatch.setenv('TOY_DATA', str(toy_root))
    monkeypatch.setattr(sys, 'argv', ['test'])
    cfg = Config.fromfile(ROOT / 'configs' / 'unilearn_toy.py')
    cfg.work_dir = str(tmp_path / 'run')
    cfg.experiment_name = tmp_path.name
    cfg.model.backbone.update(embed_dims=24, depth=2, num_heads=2)
    cfg.model.cls_head.in_channels = 24
    cfg.train_cfg.update(max_epochs=1, val_interval=1)
    cfg.param_scheduler = []
    cfg.train_dataloader.batch_size = 7
    cfg.train_dataloader.batch_sampler.update(batch_sizes=dict(toy_image=7),
                                              rates=dict(toy_video=1.))
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.update(num_workers=0, persistent_workers=False)
    return cfg


def picture(folder, name):
    return cv2.imread(str(folder / f'{name}.png'))[..., ::-1]


def test_figures_of_a_training_and_its_test(toy_cfg):
    """One of the tasks has a name that is no file name."""
    cfg = toy_cfg
    classes = {'toy/image': class_names('toy_image'), 'toy_video': class_names('toy_video')}
    cfg.model.cls_head.num_classes = dict.fromkeys(TASKS, 7)
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.dataset.datasets[1].update(
            task='toy/image', source='toy_image', classes=list(classes['toy/image']))
    runner = Runner.from_cfg(cfg)
    runner.train()
    runner.test()
    folder = Path(runner.log_dir, 'vis_data', 'vis_image')
    names = ('confusion', 'recall', 'reliability', 'risk_coverage')
    assert {path.stem for path in folder.iterdir()} == {
        'training_1', *(f'{stem}_{name}_0' for stem in ('toy=2Fimage', 'toy_video')
                        for name in names)}
    assert picture(folder, 'training_1').std() > 1, 'not blank'

    # the same numbers drawn from the predictions on the disk
    table = read_predictions(Path(cfg.work_dir, 'predictions.csv'))
    for task, scores in scores_from_predictions(table, classes).items():
        rows = table[table.task == task]
        values = rows[[f'score_{index}' for index in range(7)]].to_numpy()
        for name, figure in task_figures(task, scores, values, rows.label.to_numpy()).items():
            buffer = io.BytesIO()
            figure.savefig(buffer, dpi=DOTS_PER_INCH, format='png')
            drawn = cv2.imdecode(np.frombuffer(buffer.getvalue(), np.uint8), cv2.IMREAD_COLOR)
            shown = picture(folder, f'{task.replace("/", "=2F")}_{name}_0')
            np.testing.assert_array_equal(shown, drawn[..., ::-1])


def test_other_metrics_and_runs_without_a_log_have_no_figures(toy_cfg):
    cfg = toy_cfg
    cfg.test_evaluator = dict(type='AccMetric')
    cfg.custom_hooks = [dict(type='FigureHook')]
    cfg.default_hooks.logger = None
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.test_dataloader.dataset.datasets = cfg.test_dataloader.dataset.datasets[:1]
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert 'acc/top1' in runner.test()
    assert not Path(runner.log_dir, 'vis_data', 'vis_image').exists()
