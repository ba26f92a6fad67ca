"""A test with temperatures: real runs on tiny data."""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.runner import Runner
from scipy.special import softmax

from unilearn_mm.engine.hooks.temperature import TemperatureHook
from unilearn_mm.evaluation.prediction_table import read_predictions
from unilearn_mm.evaluation.temperature import (
    TemperatureFileError,
    TemperatureFit,
    write_temperatures,
)

ROOT = Path(__file__).parents[2]
SCORES = [f'score_{index}' for index in range(7)]


@pytest.fixture
def run_test(toy_root, tmp_path, monkeypatch):
    """A function that tests an untrained toy model."""
    monkeypatch.setenv('TOY_DATA', str(toy_root))
    monkeypatch.setattr(sys, 'argv', ['test'])

    def cfg_of(name, **options):
        cfg = Config.fromfile(ROOT / 'configs' / 'unilearn_toy.py')
        cfg.merge_from_dict(options)
        cfg.merge_from_dict({'work_dir': str(tmp_path / name), 'experiment_name': name,
                             'test_dataloader.num_workers': 0,
                             'test_dataloader.persistent_workers': False})
        return cfg

    checkpoint = tmp_path / 'epoch_1.pth'
    torch.manual_seed(0)
    model = MODELS.build(cfg_of('weights').model)
    model.init_weights()
    for classifier in model.cls_head.fc_cls.values():
        torch.nn.init.normal_(classifier.weight, std=0.5)  # so that predictions are no ties
    torch.save(dict(state_dict=model.state_dict()), checkpoint)

    def run(name, change=None, before=None, **options):
        cfg = cfg_of(name, load_from=str(checkpoint), **options)
        if change:
            change(cfg)
        runner = Runner.from_cfg(cfg)
        if before:
            before(runner)
        runner.test()
        return runner, read_predictions(tmp_path / name / 'predictions.csv')

    run.checkpoint = checkpoint
    return run


def write(checkpoint, tmp_path, **temperatures):
    (tmp_path / 'val.csv').write_text('predictions')
    return write_temperatures({task: TemperatureFit(value, 1., 1., 1)
                               for task, value in temperatures.items()}, checkpoint,
                              tmp_path / 'val.csv')


WITH_HOOK = {'default_hooks.temperature.type': TemperatureHook.__name__}


def test_probabilities_of_one_view_are_scaled(run_test, tmp_path):
    _, plain = run_test('plain')
    write(run_test.checkpoint, tmp_path, toy_video=2.5, toy_image=.5)
    runner, scaled = run_test('scaled', **WITH_HOOK)
    for task, temperature in (('toy_video', 2.5), ('toy_image', .5)):
        before = plain.loc[plain.task == task, SCORES].to_numpy()
        after = scaled.loc[scaled.task == task, SCORES].to_numpy()
        np.testing.assert_allclose(after, softmax(np.log(before) / temperature, axis=1),
                                   atol=1e-6)
    pd.testing.assert_series_equal(plain.prediction, scaled.prediction)

    features = torch.randn(2, 128)
    with torch.no_grad():
        after_test = runner.model.cls_head(features, 'toy_video')
        expected = runner.model.cls_head.fc_cls['toy_video'](features)
    assert (after_test == expected).all(), 'the head is as it was'


def test_each_view_is_scaled_before_the_mean(run_test, tmp_path):
    write(run_test.checkpoint, tmp_path, toy_video=3., toy_image=3.)
    recorded = []

    def two_windows(cfg):
        cfg.test_dataloader.dataset.datasets[0].pipeline[1] = dict(
            type='WindowFrames', clip_len=8, frame_interval=1, num_clips=2)

    def record(runner):  # logits of the head before the hook of the run sees them
        runner.model.cls_head.register_forward_hook(
            lambda head, args, logits: recorded.append(logits.double().numpy()))

    _, found = run_test('both', change=two_windows, before=record, **WITH_HOOK)
    views = recorded[0].reshape(14, 2, 7)  # the clips are one batch
    assert np.abs(views[:, 0] - views[:, 1]).max() > .01, 'the views differ'
    expected = softmax(views / 3, axis=2).mean(1)
    np.testing.assert_allclose(found.loc[found.task == 'toy_video', SCORES], expected, atol=1e-6)


def test_what_does_not_fit_is_refused_before_the_test(run_test, tmp_path):
    runner, _ = run_test('plain')

    def refused(error, message):
        with pytest.raises(error, match=message):
            TemperatureHook().before_test(runner)
        assert not runner.model.cls_head._forward_hooks

    refused(FileNotFoundError, 'epoch_1.temperature.json does not exist')
    path = write(run_test.checkpoint, tmp_path, toy_video=2.)
    refused(ValueError, r"no temperature for \['toy_image'\], only for \['toy_video'\]")
    path.write_text(json.dumps({**json.loads(path.read_text()), 'checkpoint_sha256': '0'}))
    refused(TemperatureFileError, 'fitted for another content')
    runner._load_from = None
    refused(ValueError, 'this run has none; set load_from')
    runner._load_from, runner.model.cls_head = str(run_test.checkpoint), torch.nn.Linear(1, 1)
    with pytest.raises(TypeError, match='of a MultiTaskHead, found Linear'):
        TemperatureHook().before_test(runner)
