"""A run that is stopped anywhere and resumed equals one that was never stopped, bit for bit."""

import os
import random
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from mmaction.registry import DATASETS, HOOKS, METRICS, MODELS
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from ranks import run_ranks

from unilearn_mm.engine.hooks.atomic_checkpoint import AtomicCheckpointHook  # noqa: F401
from unilearn_mm.engine.hooks.exact_resume import KEY
from unilearn_mm.engine.random_states import fresh_seed, random_state, set_random_state

STEPS = 5  # of an epoch: 12 // 4 of one source, 8 // 4 of the other
EPOCHS = 3
CLOCKS = ('time', 'data_time', 'memory')


class Interrupted(Exception):
    """The run is over, at once."""


@DATASETS.register_module()
class TinyMedia(torch.utils.data.Dataset):
    """Two sources whose samples are functions of the draw; it notes what was read."""

    metainfo = dict(classes=('a', 'b'))
    source_ranges = dict(clips=(0, 12), images=(12, 20))

    def __init__(self):
        self.read = []

    def __len__(self):
        return 20

    def __getitem__(self, draw):
        self.read.append(tuple(draw) if isinstance(draw, tuple) else draw)
        generator = torch.Generator().manual_seed(hash(self.read[-1]) % 2**31)
        return dict(inputs=torch.randn(6, generator=generator))


@MODELS.register_module()
class Noisy(BaseModel):
    """Every generator has a say in the loss; a buffer counts the training steps."""

    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(6, 8), torch.nn.Dropout(0.5), torch.nn.GELU(), torch.nn.Linear(8, 1))
        self.register_buffer('steps', torch.zeros(()))

    def forward(self, inputs, mode='tensor'):
        outputs = self.layers(torch.stack(inputs) if isinstance(inputs, list) else inputs)
        if mode != 'loss':
            return outputs.flatten().tolist()
        self.steps += 1
        noise = torch.randn_like(outputs) * np.random.rand() + random.random()
        return dict(loss=(outputs - noise).square().mean())


@METRICS.register_module()
class MeanOutput(BaseMetric):
    """Random numbers are drawn in the validation too."""

    def process(self, data_batch, outputs):
        self.results += outputs

    def compute_metrics(self, results):
        return dict(acc=float(np.mean(results)), drawn=torch.rand(()).item() + random.random())


@HOOKS.register_module()
class Interruption(Hook):
    """Raises when a stage is called for the n-th time."""

    priority = 90  # after CheckpointHook

    def __init__(self, stage, call):
        self.calls = 0

        def interrupt(runner, *args, **kwargs):
            self.calls += 1
            if self.calls == call:
                raise Interrupted

        setattr(self, stage, interrupt)


def run(work_dir, stop=None, by_epoch=True, interval=1, counts=1, resume=False, hooks=(),
        **changes):
    """Train; returns the runner."""
    loader = dict(batch_size=4, num_workers=0, dataset=dict(type='TinyMedia'))
    cfg = dict(
        model=dict(type='Noisy'),
        work_dir=str(work_dir),
        train_dataloader=dict(
            **loader, sampler=dict(type='DefaultSampler', shuffle=True),
            batch_sampler=dict(type='MixedMediaBatchSampler')),
        val_dataloader=dict(**loader, sampler=dict(type='DefaultSampler', shuffle=False)),
        val_evaluator=dict(type='MeanOutput'),
        train_cfg=dict(type='ResumableTrainLoop', max_epochs=EPOCHS),
        val_cfg=dict(),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.05), accumulative_counts=counts,
                           clip_grad=dict(max_norm=1.)),
        param_scheduler=[
            dict(type='LinearLR', start_factor=0.1, end=2, convert_to_iter_based=True),
            dict(type='StepLR', step_size=1, gamma=0.7)],
        default_hooks=dict(checkpoint=dict(
            type='AtomicCheckpointHook', by_epoch=by_epoch, interval=interval, max_keep_ckpts=2,
            save_best='acc', rule='greater')),
        custom_hooks=[dict(type='EMAHook', momentum=0.3), dict(type='ExactResumeHook'), *hooks],
        randomness=dict(seed=7, diff_rank_seed=True),
        resume=resume,
        default_scope='mmaction',
        log_level='WARNING',
        experiment_name=f'{work_dir}{stop}{resume}{random_name()}')
    if stop:
        cfg['custom_hooks'].append(dict(type='Interruption', stage=stop[0], call=stop[1]))
    cfg.update(changes)
    runner = Runner(**cfg)
    try:
        runner.train()
    except Interrupted:
        assert stop
    else:
        assert not stop, f'{stop} never came'
    return runner


def random_name():
    """Another one at each call, without touching the global generators."""
    return os.urandom(8).hex()


def numbers(runner):
    """All numbers that a run has computed: weights, moments, averages, scores, next draws."""
    state = {f'model.{key}': value for key, value in runner.model.state_dict().items()}
    ema = next(hook for hook in runner.hooks if type(hook).__name__ == 'EMAHook').ema_model
    state.update({f'ema.{key}': value for key, value in ema.state_dict().items()})
    optimizer = runner.optim_wrapper.optimizer.state_dict()
    for index, moments in optimizer['state'].items():
        state.update({f'optimizer.{index}.{key}': value for key, value in moments.items()})
    state['lr'] = torch.tensor([group['lr'] for group in optimizer['param_groups']])
    for key, buffer in runner.message_hub.log_scalars.items():
        if key.split('/')[-1] not in CLOCKS:
            state[key] = torch.tensor(buffer.data[0])
    state['best'] = torch.tensor(runner.message_hub.get_info('best_score'))
    state['next'] = torch.tensor([random.random(), np.random.rand(), torch.rand(()).item()])
    return state


def differences(one, two):
    return [key for key in one.keys() | two.keys()
            if key not in one or key not in two or not torch.equal(one[key], two[key])]


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    """Uninterrupted runs by number of accumulated steps; which batches they read."""
    with DefaultScope.overwrite_default_scope('mmaction'):
        found = {}
        for counts in (1, 2):
            runner = run(tmp_path_factory.mktemp('whole'), counts=counts)
            found[counts] = numbers(runner), runner.train_dataloader.dataset.read
        return found


def test_the_run_is_sensitive_to_its_seed_and_noise(whole, tmp_path):
    """Otherwise equality below would say little."""
    other = numbers(run(tmp_path, randomness=dict(seed=8, diff_rank_seed=True)))
    assert {'model.layers.0.weight', 'ema.module.layers.3.bias', 'train/loss', 'val/acc',
            'next'} <= set(differences(whole[1][0], other))


@pytest.mark.parametrize('counts', [1, 2])
@pytest.mark.parametrize('step', [1, 3, 5, 6, 10, 14, 15])
def test_stopped_after_any_step(whole, tmp_path, step, counts):
    """Steps 5, 10, 15 end an epoch; with counts=2 every second step only accumulates."""
    run(tmp_path, ('after_train_iter', step), by_epoch=False, counts=counts)
    resumed = run(tmp_path, by_epoch=False, counts=counts, resume=True)
    expected, read = whole[counts]
    assert not differences(expected, numbers(resumed))
    assert resumed.train_dataloader.dataset.read == read[4 * step:], 'no sample is read again'


@pytest.mark.parametrize('stop, repeated', [
    (('before_train_epoch', 2), 0),  # epoch 1 is validated, its checkpoint from before
    (('before_val_epoch', 2), 0),
    (('after_val_iter', 7), 0),
    (('after_val_epoch', 2), 0),
    (('after_train_iter', 8), 2),  # epoch checkpoints only: two steps are computed again
    (('after_train_epoch', 3), 0),
    (('after_val_epoch', 3), 0),
    (('after_train', 1), 0)])
def test_stopped_between_epoch_validation_and_the_end(whole, tmp_path, stop, repeated):
    stopped = run(tmp_path, stop)
    done = stopped.iter
    resumed = run(tmp_path, resume=True)
    expected, read = whole[1]
    assert not differences(expected, numbers(resumed))
    assert resumed.train_dataloader.dataset.read == read[4 * (done - repeated):]
    scored = len(resumed.message_hub.get_scalar('val/acc').data[0])
    assert scored == EPOCHS, 'each epoch is validated once'


def test_stopped_again_and_again_with_worker_processes(whole, tmp_path):
    """Workers read ahead; what they have read is read again, and nothing of it counts."""
    changes = dict(by_epoch=False, interval=2)
    loader = dict(batch_size=4, num_workers=1, persistent_workers=True,
                  dataset=dict(type='TinyMedia'))
    changes['train_dataloader'] = dict(
        **loader, sampler=dict(type='DefaultSampler', shuffle=True),
        batch_sampler=dict(type='MixedMediaBatchSampler'))
    changes['val_dataloader'] = dict(**loader, sampler=dict(type='DefaultSampler', shuffle=False))
    run(tmp_path, ('after_train_iter', 3), **changes)
    for steps in (5, 6):
        run(tmp_path, ('after_train_iter', steps), resume=True, **changes)
    resumed = run(tmp_path, resume=True, **changes)
    assert not differences(whole[1][0], numbers(resumed))


def test_without_a_seed_in_the_config_it_is_that_of_the_checkpoint(tmp_path):
    free = dict(randomness=dict(seed=None, diff_rank_seed=True), by_epoch=False, interval=2)
    stopped = run(tmp_path, ('after_train_iter', 7), **free)
    seed = stopped.train_dataloader.batch_sampler.sampler.seed
    read = stopped.train_dataloader.dataset.read
    resumed = run(tmp_path, resume=True, **free)
    sampler = resumed.train_dataloader.batch_sampler.sampler
    assert (sampler.seed, resumed.seed) == (seed, stopped.seed)
    assert resumed.train_dataloader.dataset.read[:4] == read[24:28]


def test_a_stock_sampler_begins_the_epoch_anew_and_says_so(tmp_path, caplog):
    stock = dict(by_epoch=False, train_dataloader=dict(
        batch_size=4, num_workers=0, dataset=dict(type='TinyMedia'),
        sampler=dict(type='DefaultSampler', shuffle=True)))
    stopped = run(tmp_path, ('after_train_iter', 7), **stock)
    resumed = run(tmp_path, resume=True, **stock)
    assert 'has no state_dict: the epoch, of which 2 steps were done, begins anew' in log(resumed)
    second_epoch = stopped.train_dataloader.dataset.read[20:28]
    assert resumed.train_dataloader.dataset.read[:8] == second_epoch


@HOOKS.register_module()
class OrderOfReading(Hook):
    """Notes the first numbers of each epoch; nothing draws from the global generators between."""

    def before_train_epoch(self, runner):
        """Another epoch."""
        vars(self).setdefault('epochs', []).append([])

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        """Another batch."""
        self.epochs[-1] += data_batch['inputs'].flatten().tolist()


@MODELS.register_module()
class Quiet(BaseModel):
    """Draws no random number."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def forward(self, inputs, mode='tensor'):
        return dict(loss=self.layer(inputs).mean())


@DATASETS.register_module()
class Augmented(torch.utils.data.Dataset):
    """A sample is its index, in disguise."""

    def __len__(self):
        return 8

    def __getitem__(self, index):
        return dict(inputs=torch.tensor([index + torch.rand(()).item() / 2]))


@pytest.mark.parametrize('num_workers', [0, 1])
def test_a_stock_loader_shuffles_and_augments_differently_in_each_epoch(tmp_path, num_workers):
    """The loop draws its numbers on the side, but others in each epoch, and again the same."""

    def epochs(name):
        loader = torch.utils.data.DataLoader(Augmented(), 4, shuffle=True,
                                             num_workers=num_workers)
        runner = Runner(
            model=dict(type='Quiet'), work_dir=str(tmp_path / name), train_dataloader=loader,
            train_cfg=dict(type='ResumableTrainLoop', max_epochs=3),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.)),
            custom_hooks=[dict(type='OrderOfReading')], randomness=dict(seed=3),
            default_scope='mmaction', log_level='WARNING', experiment_name=random_name())
        runner.train()
        return next(hook for hook in runner.hooks if isinstance(hook, OrderOfReading)).epochs

    found = epochs('one')
    assert [sorted(map(int, epoch)) for epoch in found] == [list(range(8))] * 3
    assert len({tuple(map(int, epoch)) for epoch in found}) == 3, 'orders'
    assert len({value % 1 for epoch in found for value in epoch}) == 24, 'augmentations'
    assert epochs('two') == found


def test_a_checkpoint_of_another_hook_resumes_with_a_warning(tmp_path):
    stock = dict(default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1)))
    stop = ('after_train_iter', 7)
    run(tmp_path, stop, **stock, custom_hooks=[
        dict(type='EMAHook'), dict(type='Interruption', stage=stop[0], call=stop[1])])
    resumed = run(tmp_path, resume=True)
    assert resumed.iter == EPOCHS * STEPS
    assert 'written without ExactResumeHook' in log(resumed)
    assert 'taken without verification' in log(resumed)


def test_another_number_of_ranks_gets_fresh_stated_seeds(tmp_path):
    """The file is made to look like one of two ranks."""
    run(tmp_path, ('after_train_iter', 7), by_epoch=False)
    state = torch.load(tmp_path / 'iter_7.pth', weights_only=True)
    state[KEY]['random_states'] *= 2
    torch.save(state, tmp_path / 'two.pth')
    resumed = run(tmp_path, by_epoch=False, resume=True, load_from=str(tmp_path / 'two.pth'),
                  stop=('before_train_iter', 1))
    seed = fresh_seed(7, 7, 0)
    assert f'written on 2: the run goes on, but not bit for bit. Seeds of the ranks: [{seed}]' \
        in log(resumed)
    found = random.random(), np.random.rand(), torch.rand(()).item()
    random.seed(seed), np.random.seed(seed), torch.manual_seed(seed)
    assert found == (random.random(), np.random.rand(), torch.rand(()).item())
    assert len({fresh_seed(7, 7, rank) for rank in range(64)} |
               {fresh_seed(7, step, 0) for step in range(64)}) == 127


def test_a_changed_batch_size_cannot_resume_in_mid_epoch(tmp_path):
    run(tmp_path, ('after_train_iter', 7), by_epoch=False)
    changed = dict(
        batch_size=2, num_workers=0, dataset=dict(type='TinyMedia'),
        sampler=dict(type='DefaultSampler', shuffle=True),
        batch_sampler=dict(type='MixedMediaBatchSampler'))
    with pytest.raises(ValueError, match='cannot resume in mid-epoch: global_batch_sizes was'):
        run(tmp_path, by_epoch=False, resume=True, train_dataloader=changed)


def test_another_train_loop_is_refused(tmp_path):
    with pytest.raises(TypeError, match='ResumableTrainLoop.*found EpochBasedTrainLoop'):
        run(tmp_path, train_cfg=dict(by_epoch=True, max_epochs=1))


def test_training_does_not_depend_on_validation(whole, tmp_path):
    rare = numbers(run(tmp_path, train_cfg=dict(type='ResumableTrainLoop', max_epochs=EPOCHS,
                                                val_interval=3)))
    changed = differences(whole[1][0], rare)
    assert changed and all(key.startswith('val/') or key == 'best' for key in changed)


def test_random_states_come_back():
    random.gauss(0, 1), np.random.randn(), torch.randn(3)  # half of a pair is kept for later
    state = random_state()
    found = [(random.gauss(0, 1), np.random.randn(), torch.randn(3).tolist(), random.random(),
              np.random.rand()) for _ in range(2) if set_random_state(state) is None]
    assert found[0] == found[1]


def log(runner):
    return ''.join(path.read_text() for path in Path(runner.log_dir).glob('*.log'))


def one_rank(rank, folder, report):
    """Three runs on one of two ranks: whole, stopped, resumed; rank 0 reports the numbers."""
    changes = dict(by_epoch=False, interval=3, launcher='pytorch', train_dataloader=dict(
        batch_size=2, num_workers=0, dataset=dict(type='TinyMedia'),
        sampler=dict(type='DefaultSampler', shuffle=True),
        batch_sampler=dict(type='MixedMediaBatchSampler')))
    found = []
    with DefaultScope.overwrite_default_scope('mmaction'):
        found.append(numbers(run(folder / 'whole', **changes)))
        run(folder / 'stopped', ('after_train_iter', 8), **changes)
        found.append(numbers(run(folder / 'stopped', resume=True, **changes)))
    found = [{key: value.tolist() for key, value in part.items()} for part in found]
    together = [None, None]
    dist.all_gather_object(together, found)
    if rank == 0:
        report.put(together)


@pytest.mark.slow
def test_two_ranks_get_their_own_random_states_back(tmp_path):
    context = mp.get_context('spawn')
    report = context.SimpleQueue()
    run_ranks(one_rank, tmp_path, report)
    ranks = report.get()
    for rank, (whole_run, resumed) in enumerate(ranks):
        if rank:  # the log of the past is rank 0's, and only rank 0 logs
            assert whole_run.pop('train/loss')[6:] == resumed.pop('train/loss')[6:]
        assert whole_run == resumed
    assert ranks[0][0]['next'] != ranks[1][0]['next'], 'the ranks draw different numbers'
    key = 'model.module.layers.0.weight'
    assert ranks[0][0][key] == ranks[1][0][key]
