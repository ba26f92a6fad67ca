"""The hooks of our recipes in runs whose model and batches are not ours."""

import json
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from mmaction.structures import ActionDataSample
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn

from unilearn_mm.engine.batches import samples_of
from unilearn_mm.engine.hooks.figures import FigureHook
from unilearn_mm.engine.hooks.reconstruction import ReconstructionHook
from unilearn_mm.engine.hooks.routing import RoutingHook
from unilearn_mm.models.layers.moae import MoAE
from unilearn_mm.run import first_file, stock_scripts

ROOT = Path(__file__).parents[2]


def test_the_stock_schedule_plot_of_our_recipe(tmp_path, monkeypatch):
    """Its model does nothing, and its batches are tensors."""
    work = tmp_path / 'work'
    work.mkdir()
    record = work / 'run_record.json'
    record.write_text(json.dumps(dict(starts=['of the real run'])))
    script = str(first_file(stock_scripts('tools/visualizations/vis_scheduler.py')))
    monkeypatch.setattr(sys, 'argv', [
        script, str(ROOT / 'configs/unilearn_toy.py'), '--dataset-size', '64', '--not-show',
        '--save-path', str(tmp_path / 'lr.png'), '--cfg-options', f'work_dir={work}'])
    runpy.run_path(script, run_name='__main__')
    assert (tmp_path / 'lr.png').stat().st_size > 1000
    assert json.loads(record.read_text())['starts'] == ['of the real run']


@pytest.mark.parametrize('batch', [torch.ones(2), [1, 2], (torch.ones(2), ), None, {},
                                   dict(data_samples=None), dict(data_samples=torch.ones(2)),
                                   dict(data_samples=['a'])])
def test_batches_without_data_samples(batch):
    assert samples_of(batch) == []


def test_samples_of_our_batches():
    samples = [ActionDataSample(), ActionDataSample()]
    assert samples_of(dict(inputs=[], data_samples=samples)) == samples
    assert samples_of(dict(data_samples=tuple(samples))) == samples


def test_pictures_of_a_model_that_draws_none():
    hook = ReconstructionHook()
    hook.before_val_epoch(None)
    sample = ActionDataSample()
    sample.set_metainfo(dict(source='clips'))
    for batch in (torch.ones(2), dict(data_samples=[sample])):
        hook.after_val_iter(SimpleNamespace(model=nn.Linear(1, 1)), 0, batch)


def test_tables_and_routing_of_others():
    metric = SimpleNamespace(table='of another')
    loop = SimpleNamespace(evaluator=SimpleNamespace(metrics=[metric]))
    FigureHook().after_test_epoch(SimpleNamespace(test_loop=loop))
    model = nn.Linear(1, 1)
    model.routing = nn.Linear(1, 1)
    RoutingHook().after_train_iter(SimpleNamespace(model=model), 0, torch.ones(2), {})


class Line(BaseModel):
    """Fits a line to batches of numbers, and has experts."""

    def __init__(self):
        super().__init__()
        self.line = nn.Linear(2, 1)
        self.moae = MoAE(8, 2)
        self.routing = dict(expert_load=torch.full((1, 2), 0.5), dropped=torch.zeros(1))

    def forward(self, numbers, mode='loss'):
        return dict(loss=self.line(numbers).square().mean())

    def train_step(self, data, optim_wrapper):
        """The batch is a tensor, which MMEngine would spread over the arguments."""
        loss = self(data)['loss']
        optim_wrapper.update_params(loss)
        return {}


class Numbers(torch.utils.data.Dataset):
    """16 pairs; the sixth is not finite."""

    def __len__(self):
        return 16

    def __getitem__(self, index):
        return np.array([index, np.nan if index == 5 else 1.], np.float32)


def test_a_training_on_tensors_with_all_hooks_of_our_recipes(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['test'])
    recipe = Config.fromfile(ROOT / 'configs/unilearn_toy.py')
    runner = Runner(
        Line(), str(tmp_path), default_scope='mmaction', experiment_name='numbers',
        train_dataloader=dict(batch_size=2, num_workers=0, dataset=Numbers(),
                              collate_fn=dict(type='default_collate'),
                              sampler=dict(type='DefaultSampler', shuffle=False)),
        train_cfg=dict(type='ResumableTrainLoop', max_epochs=2),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=1e-3)),
        default_hooks=recipe.default_hooks, custom_hooks=recipe.custom_hooks)
    runner.train()
    assert runner.iter == 16
    assert all(parameter.isfinite().all() for parameter in runner.model.parameters())
    table = pd.read_csv(Path(runner.log_dir, 'non_finite.csv'))
    assert table.step.tolist() == [3, 11] and table.sample_id.isna().all()
    resumed = torch.load(Path((tmp_path / 'last_checkpoint').read_text()), weights_only=True)
    assert resumed['meta']['iter'] == 16
