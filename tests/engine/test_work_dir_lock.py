"""One training in a work directory; a killed one does not lock it."""

import contextlib
import errno
import json
import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from ranks import run_ranks

from unilearn_mm.engine import work_dir_lock
from unilearn_mm.engine.work_dir_lock import WorkDirInUseError, lock_work_dir

ROOT = Path(__file__).parents[2]
LIMIT = 60  # seconds


def in_a_process(function, *args):
    """Start ``function(*args, report)``; its first report, and the process."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context('fork').Process(target=function, args=(*args, sender))
    process.start()
    sender.close()
    assert receiver.poll(LIMIT)
    return receiver.recv(), process


def hold(folder, report):
    """Take the lock and sleep, beside a forked child that outlives this process."""
    lock = lock_work_dir(folder)
    child = os.fork()
    if child == 0:
        report.close()
        time.sleep(LIMIT)
        os._exit(0)
    report.send(child)
    time.sleep(LIMIT)
    del lock


def attempt(folder, report):
    """Report what comes of taking the lock."""
    try:
        lock_work_dir(folder)
    except WorkDirInUseError as error:
        report.send(str(error))
    report.send('taken')


@contextlib.contextmanager
def held(folder):
    """By another process; gives its id and, at the end, kills it."""
    child, process = in_a_process(hold, folder)
    try:
        yield process.pid
    finally:
        process.kill()
        process.join()
        try:
            lock_work_dir(folder)  # at once, while what it has forked is still there
        finally:
            os.kill(child, signal.SIGKILL)


def test_who_has_it_is_named_and_a_killed_process_has_it_no_more(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['tools/train.py', 'a.py'])
    with held(tmp_path / 'run') as pid:
        with pytest.raises(WorkDirInUseError) as error:
            lock_work_dir(tmp_path / 'run')
        for part in (str(tmp_path / 'run'), f'process {pid} on {os.uname().nodename}',
                     '(tools/train.py a.py)', '--work-dir', 'run.lock'):
            assert part in str(error.value)
    assert not list((tmp_path / 'run').iterdir()), 'nobody has it any more'


def test_a_process_shares_it_until_nothing_there_refers_to_it(tmp_path):
    os.symlink(tmp_path, tmp_path / 'alias')
    locks = [lock_work_dir(tmp_path), lock_work_dir(tmp_path / 'alias')]
    assert locks[0] is locks[1]
    for _ in range(2):
        found, process = in_a_process(attempt, tmp_path)
        process.join()
        assert f'process {os.getpid()} on' in found, 'not inherited by what is forked'
        locks.pop()
    found, process = in_a_process(attempt, tmp_path)
    process.join()
    assert found == 'taken'


def test_files_without_a_process_lock_nothing(tmp_path):
    path = tmp_path / 'run.lock'
    for content in (json.dumps(dict(pid=1, host='elsewhere', started='2024', command=['x'])),
                    'no JSON', '{}', ''):
        path.write_text(content)
        lock = lock_work_dir(tmp_path)
        assert json.loads(path.read_text())['pid'] == os.getpid()
        del lock
        assert not path.exists()


def test_what_replaced_the_file_is_not_removed(tmp_path):
    """As the message advises after the crash of another machine."""
    lock = lock_work_dir(tmp_path)
    (tmp_path / 'run.lock').unlink()
    (tmp_path / 'run.lock').write_text('of somebody else')
    del lock
    assert (tmp_path / 'run.lock').read_text() == 'of somebody else'


def test_a_file_system_without_locks_is_named(tmp_path, monkeypatch):

    def no_locks(*args):
        raise OSError(errno.ENOSYS, 'Function not implemented')

    said = []
    monkeypatch.setattr(work_dir_lock.fcntl, 'lockf', no_locks)
    monkeypatch.setattr(work_dir_lock, 'print_log', lambda text, *args: said.append(text))
    assert lock_work_dir(tmp_path) is not None
    text, = said
    assert str(tmp_path) in text and 'has no locks (Function not implemented)' in text


def ranks_share(rank, folder):
    """Only the main rank has it, and both hear that it is taken."""
    lock = lock_work_dir(folder)
    assert (lock is None) == (rank == 1)
    with pytest.raises(WorkDirInUseError, match='in use by process'):
        lock_work_dir(folder / 'taken')


@pytest.mark.slow
def test_ranks_share_it(tmp_path):
    with held(tmp_path / 'taken'):
        run_ranks(ranks_share, tmp_path)


class Report(Hook):
    """Reports after the checkpoint of the first epoch, and sleeps."""

    priority = 'LOWEST'

    def __init__(self, report):
        self.report = report

    def after_train_epoch(self, runner):
        """The checkpoint is written."""
        self.report.send('trains')
        time.sleep(LIMIT)


def train(toy_root, work_dir, report=None, resume=False):
    """Two epochs on images, in two steps each."""
    os.environ['TOY_DATA'] = str(toy_root)
    sys.argv = ['test']
    cfg = Config.fromfile(ROOT / 'configs/unilearn_toy_image_only.py')
    cfg.work_dir = str(work_dir)
    cfg.resume = resume
    cfg.experiment_name = f'{work_dir.name}_{resume}'
    cfg.train_cfg.update(max_epochs=2, val_interval=2)
    cfg.train_dataloader.batch_sampler.batch_sizes.toy_image = 10
    cfg.train_dataloader.update(num_workers=1, persistent_workers=True)
    cfg.val_dataloader.update(num_workers=0, persistent_workers=False)
    cfg.param_scheduler = []
    runner = Runner.from_cfg(cfg)
    if report:
        runner.register_hook(Report(report))
    runner.train()
    return runner


def test_a_second_training_is_refused_and_a_killed_one_resumed_at_once(toy_root, tmp_path,
                                                                       monkeypatch):
    monkeypatch.setenv('TOY_DATA', str(toy_root))  # restored after train sets it
    monkeypatch.setattr(sys, 'argv', sys.argv)
    work = tmp_path / 'work'
    _, process = in_a_process(train, toy_root, work)
    before = {path: path.read_bytes() for path in work.rglob('*') if path.suffix != '.log'
              and path.is_file()}
    with pytest.raises(WorkDirInUseError, match=f'in use by process {process.pid}'):
        train(toy_root, work)
    assert {path: path.read_bytes() for path in before} == before
    process.kill()
    process.join()
    runner = train(toy_root, work, resume=True)
    assert (runner.epoch, runner.iter) == (2, 8)
    assert not (work / 'run.lock').exists(), 'unlocked when the training ends'
