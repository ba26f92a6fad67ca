"""A signal ends the run after the step, saved; --resume goes on as if nothing had been."""

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

ROOT = Path(__file__).parents[2]
SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
STEPS = 8  # of an epoch: 2 * (21 images // 5)


def train(toy_root, work_dir, monkeypatch, *hooks, resume=False):
    """Two epochs of the toy recipe on images."""
    monkeypatch.setenv('TOY_DATA', str(toy_root))
    monkeypatch.setattr(sys, 'argv', ['test'])
    cfg = Config.fromfile(ROOT / 'configs/unilearn_toy_image_only.py')
    cfg.work_dir = str(work_dir)
    cfg.experiment_name = f'{work_dir.name}_{resume}'
    cfg.resume = resume
    cfg.train_cfg.update(max_epochs=2, val_interval=1)
    cfg.train_dataloader.batch_sampler.batch_sizes.toy_image = 5
    cfg.val_dataloader.update(num_workers=0, persistent_workers=False)
    cfg.param_scheduler = []
    runner = Runner.from_cfg(cfg)
    for hook in hooks:
        runner.register_hook(hook)
    runner.train()
    return runner


class Signaller(Hook):
    """Signals this process and the workers of its loader in a step or, without, a validation."""

    def __init__(self, number=None, step=None):
        self.number = number
        self.step = step
        self.steps = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        """In a step."""
        self.steps.append(runner.iter)
        if self.number and runner.iter == self.step:
            self.send()

    def before_val_iter(self, runner, batch_idx, data_batch=None):
        """In a validation."""
        if self.number and self.step is None:
            self.send()

    def send(self):
        """Workers first, as a launcher that signals the whole process group."""
        workers = multiprocessing.active_children()
        assert workers
        for worker in workers:
            os.kill(worker.pid, self.number)
            worker.join(timeout=0.3)
            assert worker.is_alive()
        os.kill(os.getpid(), self.number)


@pytest.fixture
def handlers():
    """Of this process, which tests leave as they were."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield before
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.slow
def test_a_signal_saves_and_exits_and_the_run_goes_on(toy_root, tmp_path, monkeypatch, handlers):
    """Bit-equal to the uninterrupted run; one story, because a Runner is slow to build."""
    straight = train(toy_root, tmp_path / 'straight', monkeypatch).model.state_dict()
    assert {number: signal.getsignal(number) for number in SIGNALS} == handlers
    for name, number, step, done in (
            ('in a step', signal.SIGUSR1, 1, 2),
            ('in the last step of an epoch', signal.SIGTERM, STEPS - 1, STEPS),
            ('in a validation', signal.SIGTERM, None, STEPS + 1)):
        work = tmp_path / name
        with pytest.raises(SystemExit) as stop:
            train(toy_root, work, monkeypatch, Signaller(number, step))
        assert stop.value.code == 85
        path = Path((work / 'last_checkpoint').read_text())
        assert path == work / 'preempted.pth'
        assert torch.load(path, weights_only=True)['meta']['iter'] == done, name
        watch = Signaller()
        resumed = train(toy_root, work, monkeypatch, watch, resume=True)
        assert watch.steps == list(range(done, 2 * STEPS)), name
        for key, value in resumed.model.state_dict().items():
            assert torch.equal(value, straight[key]), (name, key)


class Failure(Hook):
    """A process pool is used in the first validation, and an error ends the run there."""

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        """While PreemptionHook listens."""
        assert signal.getsignal(signal.SIGTERM).__self__.received is None
        with multiprocessing.get_context('fork').Pool(2) as pool:
            assert pool.map(abs, [-1, 2]) == [1, 2]
        raise ArithmeticError('as in a metric')


def test_after_an_error_the_signals_are_as_before(toy_root, tmp_path, monkeypatch, handlers):
    """And the processes of a pool, which inherit the handlers, end when they are told to."""
    with pytest.raises(ArithmeticError, match='as in a metric'):
        train(toy_root, tmp_path, monkeypatch, Failure())
    assert {number: signal.getsignal(number) for number in SIGNALS} == handlers
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, []) & set(SIGNALS)


WORKER = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (time.sleep(1), sys.exit(85)))
print('listening', flush=True)
time.sleep(60)
"""


def test_one_signal_that_reaches_the_launcher_twice_is_one(tmp_path):
    """As when a process group is signalled and a parent hands its copy on."""
    script = tmp_path / 'worker.py'
    script.write_text(WORKER)
    command = [sys.executable, str(ROOT / 'tools' / 'launch.py'), '--standalone',
               '--nproc_per_node', '1', str(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as job:
        assert job.stdout.readline() == 'listening\n'
        job.terminate()
        time.sleep(0.3)
        job.terminate()
        assert job.wait(timeout=30) == 85


@pytest.mark.slow
@pytest.mark.parametrize('number', SIGNALS)
def test_the_launcher_hands_the_signal_to_two_ranks(number, toy_root, tmp_path):
    """dist_train.sh on two CPU ranks, each with a loader process; the launcher is signalled."""
    command = ['bash', 'tools/dist_train.sh', 'configs/unilearn_toy_image_only.py', '2',
               '--work-dir', str(tmp_path), '--cfg-options', 'train_cfg.max_epochs=1000',
               'train_dataloader.batch_sampler.batch_sizes.toy_image=3',
               'default_hooks.checkpoint.interval=1000', 'train_cfg.val_interval=1000',
               'default_hooks.logger.interval=1']
    env = {**os.environ, 'TOY_DATA': str(toy_root), 'PYTHON': sys.executable,
           'OMP_NUM_THREADS': '1'}
    log = tmp_path / 'log.txt'
    with log.open('w') as output:
        job = subprocess.Popen(command, cwd=ROOT, env=env, stdout=output,
                               stderr=subprocess.STDOUT)
        try:
            end = time.monotonic() + 200
            while not re.search(r'Epoch\(train\) +\[3\]', log.read_text()):
                assert job.poll() is None and time.monotonic() < end, log.read_text()[-3000:]
                time.sleep(0.3)
            job.send_signal(number)
            code = job.wait(timeout=60)
        finally:
            job.terminate()
            job.wait()
    text = log.read_text()
    assert code == 85, text[-3000:]
    assert 'launch.py: the run was preempted and is saved' in text
    assert 'Traceback' not in text
    assert torch.load(tmp_path / 'preempted.pth', weights_only=True)['meta']['iter'] > 2 * 6
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'preempted.pth')
