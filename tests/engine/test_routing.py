"""The routing hook sums per source, logs at its interval and moves selection biases."""

import math
from types import SimpleNamespace

import pytest
import torch
from mmaction.registry import HOOKS
from mmaction.structures import ActionDataSample

from unilearn_mm.engine.hooks.routing import load_statistics
from unilearn_mm.models.layers.moae import MoAE


class Model(torch.nn.Module):

    def __init__(self, **options):
        super().__init__()
        self.moaes = torch.nn.ModuleList([MoAE(8, 4, **options) for _ in range(2)])
        self.routing = None


class Hub(dict):

    def update_scalar(self, name, value):
        self.setdefault(name, []).append(value)


def batch(source):
    sample = ActionDataSample()
    sample.set_metainfo(dict(source=source))
    return dict(data_samples=[sample])


def run(model, steps, interval, saved_after=None, path=None):
    """steps: (source, load (2, 4), dropped (2,)) of successive batches; another hook may take over.
    """
    written = []
    visualizer = SimpleNamespace(add_scalars=lambda scalars, step: written.append((step, scalars)))
    runner = SimpleNamespace(model=model, message_hub=Hub(), visualizer=visualizer, iter=0,
                             _resume=True)
    hook = HOOKS.build(dict(type='RoutingHook', interval=interval))
    for index, (source, load, dropped) in enumerate(steps):
        runner.iter = index
        model.routing = dict(expert_load=load, dropped=dropped)
        hook.after_train_iter(runner, index, batch(source), {})
        if saved_after == index + 1:
            checkpoint = dict(optimizer={})
            hook.before_save_checkpoint(runner, checkpoint)
            torch.save(checkpoint, path)
            hook = HOOKS.build(dict(type='RoutingHook', interval=interval))
            hook.after_load_checkpoint(runner, torch.load(path, weights_only=True))
    return runner.message_hub, written


def test_statistics_of_the_worst_block():
    load = torch.tensor([[0.25, 0.25, 0.25, 0.25], [0.5, 0.5, 0., 0.]])
    found = load_statistics(load)
    assert found['load_max_over_mean'] == pytest.approx(2.0)
    assert found['load_entropy'] == pytest.approx(math.log(2) / math.log(4))
    even = load_statistics(load[:1])
    assert even == pytest.approx(dict(load_max_over_mean=1.0, load_entropy=1.0))


def test_sources_are_kept_apart():
    """Together the load is uniform; each source alone uses two experts."""
    one = torch.tensor([[.5, .5, 0, 0]] * 2)
    two = torch.tensor([[0, 0, .5, .5]] * 2)
    none = torch.zeros(2)
    hub, written = run(Model(), [('dfew', one, none), ('affectnet7', two, none),
                                 ('dfew', one, none), ('affectnet7', two, none)], interval=4)
    assert hub['train/dfew_load_max_over_mean'] == [pytest.approx(2.)]
    assert hub['train/affectnet7_load_max_over_mean'] == [pytest.approx(2.)]
    assert not any('dropped' in name for name in hub)
    assert [step for step, _ in written] == [4, 4]
    assert written[0][1]['routing/dfew/moae1/expert0'] == pytest.approx(0.5)


def test_each_interval_starts_anew():
    one, even = torch.tensor([[1., 0, 0, 0]] * 2), torch.full((2, 4), .25)
    hub, _ = run(Model(), [('a', one, torch.ones(2)), ('a', even, torch.tensor([.2, .4]))],
                 interval=1)
    assert hub['train/a_load_max_over_mean'] == [pytest.approx(4.), pytest.approx(1.)]
    assert hub['train/a_dropped'] == [pytest.approx(1.), pytest.approx(.4)]


def test_sums_between_two_logs_survive_in_the_checkpoint(tmp_path):
    """Two steps before the checkpoint and two after it are logged as four in one go."""
    loads = torch.rand(4, 2, 4).softmax(-1)
    steps = [('ab'[index % 2], load, load[:, 0]) for index, load in enumerate(loads)]
    whole, _ = run(Model(), steps, interval=4)
    hub, _ = run(Model(), steps, interval=4, saved_after=2, path=tmp_path / 'checkpoint.pth')
    assert set(hub) == set(whole) and len(hub) == 6
    for name, values in whole.items():
        assert hub[name] == values


def test_what_cannot_be_resumed_gets_no_sums():
    hook, checkpoint = HOOKS.build(dict(type='RoutingHook')), dict(state_dict={})
    hook.before_save_checkpoint(None, checkpoint)
    assert checkpoint == dict(state_dict={})


def test_selection_biases_move_against_the_load():
    model = Model(balance='bias')
    load = torch.tensor([[.7, .1, .1, .1], [.25, .25, .25, .25]])
    run(model, [('a', load, torch.zeros(2))], interval=9)
    assert model.moaes[0].router.bias.tolist() == pytest.approx([-1e-3, 1e-3, 1e-3, 1e-3])
    assert model.moaes[1].router.bias.tolist() == [0] * 4


def test_models_without_experts_are_left_alone():
    hub, written = Hub(), []
    runner = SimpleNamespace(model=torch.nn.Linear(1, 1), message_hub=hub, iter=0)
    hook = HOOKS.build(dict(type='RoutingHook', interval=1))
    hook.after_train_iter(runner, 0, batch('a'), {})
    assert hub == {} and written == []
