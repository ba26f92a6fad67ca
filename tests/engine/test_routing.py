"""The routing hook sums per source, logs at its interval and moves selection biases."""

import logging
import math
from types import SimpleNamespace

import pytest
import torch
from mmaction.registry import HOOKS
from mmaction.structures import ActionDataSample
from mmengine.optim import OptimWrapper

from unilearn_mm.engine.hooks.finite_guard import FiniteGuardHook
from unilearn_mm.engine.hooks.routing import RoutingHook, load_statistics
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
                             optim_wrapper=None, _resume=True)
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


LOADS = torch.tensor([[[.7, .1, .1, .1], [.25, .25, .25, .25]],
                      [[.1, .5, .2, .2], [.4, .2, .2, .2]]])


class Steps:
    """Training steps with the hooks of a recipe, around a model that balances by biases."""

    def __init__(self, folder, build=OptimWrapper, fused=False, **options):
        torch.manual_seed(0)
        self.model = Model(balance='bias')
        optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3, fused=fused)
        self.optim = build(optimizer=optimizer, **options)
        self.optim.initialize_count_status(self.model, 0, 100)
        self.runner = SimpleNamespace(
            model=self.model, optim_wrapper=self.optim, iter=0, log_dir=folder,
            _resume=True, logger=logging.getLogger('routing'))
        self.guard, self.hook = FiniteGuardHook(9), RoutingHook(interval=99)
        for hook in (self.guard, self.hook):
            hook.before_train(self.runner)

    def step(self, load, factor=1., gradient=1.):
        """One batch; factors that are not finite spoil its loss or its gradient."""
        self.guard.before_train_iter(self.runner, self.runner.iter, batch('a'))
        parameter = next(self.model.parameters())
        handle = parameter.register_hook(lambda grad: grad * gradient)
        with self.optim.optim_context(self.model):
            self.model.routing = dict(expert_load=load, dropped=torch.zeros(2))
            self.optim.update_params(parameter.square().sum() * factor)
        handle.remove()
        for hook in (self.guard, self.hook):
            hook.after_train_iter(self.runner, self.runner.iter, batch('a'), {})
        self.runner.iter += 1

    def biases(self):
        """In thousandths, (blocks, E)."""
        return [(moae.router.bias * 1000).round().tolist() for moae in self.model.moaes]


def test_selection_biases_move_against_the_load(tmp_path):
    steps = Steps(tmp_path)
    steps.step(LOADS[0])
    assert steps.biases() == [[-1, 1, 1, 1], [0] * 4]
    steps.step(LOADS[1])
    assert steps.biases() == [[0, 0, 2, 2], [-1, 1, 1, 1]]


@pytest.mark.parametrize('fused', [False, True])
@pytest.mark.parametrize('bad', [dict(factor=float('nan')), dict(gradient=float('inf'))])
def test_a_step_that_is_skipped_moves_no_bias(fused, bad, tmp_path):
    steps = Steps(tmp_path, fused=fused)
    steps.step(LOADS[0])
    steps.step(LOADS[1], **bad)
    assert steps.biases() == [[-1, 1, 1, 1], [0] * 4]
    steps.step(LOADS[0])
    assert steps.biases() == [[-2, 2, 2, 2], [0] * 4]


class HalfWrapper(OptimWrapper):
    """As MMEngine's AmpOptimWrapper, which needs a GPU: torch's GradScaler, on the CPU."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.loss_scaler = torch.amp.GradScaler('cpu', init_scale=8.)

    def backward(self, loss, **kwargs):
        self.loss_scaler.scale(loss).backward(**kwargs)
        self._inner_count += 1

    def step(self, **kwargs):
        self.loss_scaler.step(self.optimizer, **kwargs)
        self.loss_scaler.update()


@pytest.mark.parametrize('fused', [False, True])
def test_an_overflow_in_fp16_moves_no_bias(fused, tmp_path):
    steps = Steps(tmp_path, HalfWrapper, fused)
    steps.step(LOADS[0])
    steps.step(LOADS[1], gradient=float('inf'))
    assert steps.biases() == [[-1, 1, 1, 1], [0] * 4]


@pytest.mark.parametrize('spoiled', [None, 0, 1])
def test_accumulated_batches_make_one_move(spoiled, tmp_path):
    """By their mean load; a checkpoint between them keeps the first."""
    steps = Steps(tmp_path, accumulative_counts=2)
    factors = [float('nan') if index == spoiled else 1. for index in range(2)]
    steps.step(LOADS[0], factors[0])
    assert steps.biases() == [[0] * 4] * 2
    checkpoint = dict(optimizer={})
    steps.hook.before_save_checkpoint(steps.runner, checkpoint)
    torch.save(checkpoint, tmp_path / 'checkpoint.pth')
    steps.hook.loads = []
    steps.hook.after_load_checkpoint(
        steps.runner, torch.load(tmp_path / 'checkpoint.pth', weights_only=True))
    steps.step(LOADS[1], factors[1])
    expected = torch.sign(0.25 - LOADS.mean(0)).tolist()  # [[-1, -1, 1, 1], [-1, 1, 1, 1]]
    assert steps.biases() == (expected if spoiled is None else [[0] * 4] * 2)


def test_biases_need_one_optimizer():
    runner = SimpleNamespace(model=Model(balance='bias'), optim_wrapper={})
    with pytest.raises(TypeError, match="balance='bias' moves with.*one OptimWrapper, found dict"):
        RoutingHook().before_train(runner)
    RoutingHook().before_train(SimpleNamespace(model=Model(), optim_wrapper={}))


def test_models_without_experts_are_left_alone():
    hub, written = Hub(), []
    runner = SimpleNamespace(model=torch.nn.Linear(1, 1), message_hub=hub, iter=0)
    hook = HOOKS.build(dict(type='RoutingHook', interval=1))
    hook.after_train_iter(runner, 0, batch('a'), {})
    assert hub == {} and written == []
