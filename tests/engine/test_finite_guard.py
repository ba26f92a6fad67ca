"""Steps on NaN and infinity: skipped, named, bounded, the same on all ranks."""

import logging
import math
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
import torch.distributed as dist
from mmaction.structures import ActionDataSample
from mmengine.optim import OptimWrapper
from ranks import run_ranks
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from unilearn_mm.engine.hooks.finite_guard import FiniteGuardHook, NonFiniteError
from unilearn_mm.engine.optimizers import Bf16OptimWrapper

NAN, INF = float('nan'), float('inf')
WRAPPERS = [OptimWrapper, Bf16OptimWrapper]


def optimizer(model, fused=False):
    return torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.1, fused=fused)


class Training:
    """The steps of a train loop around a linear model, with the guard.

    ``factors`` multiply the loss after its value is known, so the gradient alone is hit.
    """

    def __init__(self, folder, build=OptimWrapper, fused=False, max_consecutive=3, model=None,
                 **options):
        torch.manual_seed(0)
        self.model = model or nn.Linear(3, 2)
        self.optim = build(optimizer=optimizer(self.model, fused), **options)
        self.runner = SimpleNamespace(optim_wrapper=self.optim, log_dir=str(folder), iter=0,
                                      model=self.model, logger=logging.getLogger('finite_guard'))
        self.hook = FiniteGuardHook(max_consecutive)
        self.hook.before_train(self.runner)

    def step(self, value=1., gradient=1.):
        """One iteration; ``value`` multiplies the loss, ``gradient`` only the gradient."""
        number = self.runner.iter
        sample = ActionDataSample()
        sample.set_metainfo(dict(source='clips', sample_id=f'id{number}', path=f'{number}.mp4',
                                 draw_seed=100 + number))
        batch = dict(data_samples=[sample])
        self.hook.before_train_iter(self.runner, number, batch)
        weight = next(self.model.parameters())
        handle = weight.register_hook(lambda grad: grad * gradient)
        inputs = torch.randn(4, 3, generator=torch.Generator().manual_seed(number))
        with self.optim.optim_context(self.model):
            loss = self.model(inputs).float().square().mean() * value
        self.optim.update_params(loss)
        handle.remove()
        self.hook.after_train_iter(self.runner, number, batch)
        self.runner.iter += 1
        return loss

    def state(self):
        moments = [value for state in self.optim.optimizer.state.values()
                   for value in state.values()]
        return [tensor.detach().clone() for tensor in (*self.model.parameters(), *moments)]


def same(one, other):
    return len(one) == len(other) and all(map(torch.equal, one, other))


@pytest.mark.parametrize('build', WRAPPERS)
@pytest.mark.parametrize('fused', [False, True])
@pytest.mark.parametrize('bad', [dict(value=NAN), dict(value=INF), dict(gradient=NAN),
                                 dict(gradient=-INF)])
@pytest.mark.parametrize('clip', [None, dict(max_norm=1.)])
def test_a_bad_step_changes_nothing_and_is_named(build, fused, bad, clip, tmp_path, caplog):
    """Weights, both moments and the optimizer's step count; the next good step trains on."""
    training = Training(tmp_path, build, fused, clip_grad=clip)
    training.step()
    before = training.state()
    training.step(**bad)
    assert same(training.state(), before)
    assert 'step 2 is skipped on all ranks' in caplog.text
    row, = pd.read_csv(tmp_path / 'non_finite.csv').itertuples()
    assert (row.step, row.rank, row.source, row.sample_id, row.path, row.draw_seed) == (
        2, 0, 'clips', 'id1', '1.mp4', 101)
    assert not math.isfinite(row.grad_norm)
    assert math.isfinite(row.loss) == ('gradient' in bad)
    training.step()
    assert not same(training.state(), before)
    assert all(tensor.isfinite().all() for tensor in training.state())


def test_a_bad_step_leaves_no_trace_in_the_statistics_of_the_model(tmp_path):
    """BatchNorm keeps them in the forward pass, long before the guard sees the loss."""
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    training = Training(tmp_path, model=model)
    training.step()
    before = [buffer.clone() for buffer in model.buffers()]
    hook = model[0].register_forward_hook(lambda *args: args[-1] * NAN)
    training.step()
    hook.remove()
    assert same(list(model.buffers()), before)
    training.step()
    assert not same(list(model.buffers()), before)
    assert all(buffer.isfinite().all() for buffer in model.buffers())


def test_a_loss_scaler_that_is_switched_off_checks_nothing_so_the_guard_does(tmp_path):
    training = Training(tmp_path)
    training.hook.after_train(training.runner)
    training.optim.loss_scaler = torch.amp.GradScaler('cpu', enabled=False)
    training.hook.before_train(training.runner)
    training.step()
    before = training.state()
    training.step(gradient=NAN)
    assert same(training.state(), before)


@pytest.mark.parametrize('fused', [False, True])
def test_a_guarded_run_equals_an_unguarded_one(fused, tmp_path):
    guarded, plain = Training(tmp_path, fused=fused), Training(tmp_path, fused=fused)
    plain.hook.after_train(plain.runner)
    assert plain.optim.step.__func__ is OptimWrapper.step, 'the hook is gone'
    plain.hook = SimpleNamespace(before_train_iter=lambda *args: None,
                                 after_train_iter=lambda *args: None)
    for _ in range(3):
        guarded.step()
        plain.step()
    assert same(guarded.state(), plain.state())
    assert not (tmp_path / 'non_finite.csv').exists()


@pytest.mark.parametrize('fused', [False, True])
def test_some_in_a_row_end_the_run(fused, tmp_path):
    training = Training(tmp_path, fused=fused, max_consecutive=2)
    for good in (False, True, False, True):  # never two in a row
        training.step(1. if good else NAN)
    training.step(NAN)
    before = training.state()
    with pytest.raises(NonFiniteError, match=r'2 training steps in a row.*now loss nan on rank 0, '
                       r'gradient norm nan.*non_finite\.csv names'):
        training.step(gradient=NAN, value=NAN)
    assert same(training.state(), before)
    assert pd.read_csv(tmp_path / 'non_finite.csv').step.tolist() == [1, 3, 5, 6]


@pytest.mark.parametrize('bad', [0, 1])
def test_one_bad_batch_of_an_accumulated_step_costs_the_step(bad, tmp_path):
    training = Training(tmp_path, accumulative_counts=2)
    for _ in range(2):
        training.step()
    before = training.state()
    for number in range(2):
        training.step(NAN if number == bad else 1.)
    assert same(training.state(), before)
    table = pd.read_csv(tmp_path / 'non_finite.csv')
    assert table.sample_id.tolist() == ['id2', 'id3'], 'both batches made the gradient'
    for _ in range(2):
        training.step()
    assert not same(training.state(), before)


class HalfWrapper(OptimWrapper):
    """As MMEngine's AmpOptimWrapper, which refuses to be built without a GPU: torch's own
    GradScaler, on the CPU."""

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
def test_overflow_in_fp16_is_no_fault_but_a_bad_loss_is(fused, tmp_path):
    training = Training(tmp_path, HalfWrapper, fused, max_consecutive=1)
    training.step()
    before = training.state()
    for _ in range(3):
        training.step(gradient=INF)
    assert same(training.state(), before), 'the scaler skips'
    assert training.optim.loss_scaler.get_scale() == 8. / 2**3
    assert not (tmp_path / 'non_finite.csv').exists()
    with pytest.raises(NonFiniteError, match='now loss nan on rank 0[)]'):
        training.step(NAN)
    assert same(training.state(), before)
    assert training.optim.loss_scaler.get_scale() == 1., 'its own check did not run'


def test_several_optimizers_are_refused(tmp_path):
    runner = SimpleNamespace(optim_wrapper=dict())
    with pytest.raises(TypeError, match='guards one OptimWrapper, found dict'):
        FiniteGuardHook().before_train(runner)


def two_ranks(rank, folder):
    """Rank 1 meets a NaN loss, rank 0 an infinite gradient; the third in a row ends both."""
    torch.manual_seed(0)
    model = DistributedDataParallel(nn.Linear(3, 2))
    training = Training(folder, max_consecutive=2, model=model)
    states = []
    for value, gradient in ((1., 1.), (NAN if rank else 1., 1.), (1., 1.),
                            (1., 1. if rank else INF)):
        training.step(value, gradient)
        states.append(training.state())
    assert same(states[0], states[1]), 'skipped'
    assert not same(states[1], states[2]), 'not skipped'
    assert same(states[2], states[3]), 'skipped'
    # a loss that is bad on one rank, but has no part in any gradient
    training.hook.before_train_iter(training.runner, 4, dict(data_samples=[]))
    loss = model(torch.ones(1, 3)).sum() + (torch.tensor(NAN) if rank else 0.)
    training.optim.update_params(loss)
    assert same(training.state(), states[3])
    with pytest.raises(NonFiniteError, match='2 training steps in a row'):
        training.hook.after_train_iter(training.runner, 4, dict(data_samples=[]))
    gathered = [torch.empty_like(training.state()[0]) for _ in range(2)]
    dist.all_gather(gathered, training.state()[0])
    assert torch.equal(*gathered)


@pytest.mark.slow
def test_ranks_stay_in_step(tmp_path):
    run_ranks(two_ranks, str(tmp_path))
    table = pd.read_csv(tmp_path / 'non_finite.csv')
    assert table.groupby('step')['rank'].apply(list).to_dict() == {
        2: [0, 1], 4: [0, 1], 5: [0, 1]}
    assert table[table.step == 5].sample_id.isna().all(), 'the batch had no samples'
    losses = {(row.step, row.rank): row.loss for row in table.itertuples()}
    assert losses[2, 0] > 0 and pd.isna(losses[2, 1])
