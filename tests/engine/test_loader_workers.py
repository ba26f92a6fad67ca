"""A process ends after its run, whatever ran in it, and with it the workers of its loaders."""

import contextlib
import multiprocessing
import os
import signal
import sys
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

ROOT = Path(__file__).parents[2]
LIMIT = 60  # seconds; a process that ends needs 3


class Failure(Hook):
    """Raises in the first step of whatever runs."""

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        """The workers have started."""
        raise ArithmeticError('as in a step')

    before_val_iter = before_test_iter = before_train_iter


def run(what, fails, toy_root, work_dir, report, **loader_options):
    """The body of a process: train, validate or test on images."""
    os.environ['TOY_DATA'] = str(toy_root)
    sys.argv = ['test']
    sys.stderr = open(os.devnull, 'w')  # noqa: SIM115 (of the traceback, till the end)
    cfg = Config.fromfile(ROOT / 'configs/unilearn_toy_image_only.py')
    cfg.work_dir = str(work_dir)
    cfg.train_cfg.update(max_epochs=1, val_interval=1)
    cfg.train_dataloader.batch_sampler.batch_sizes.toy_image = 5
    cfg.param_scheduler = []
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.update(persistent_workers=True, **loader_options)
    runner = Runner.from_cfg(cfg)
    if fails:
        runner.register_hook(Failure())
    try:
        getattr(runner, what)()
    finally:
        report.send([worker.pid for worker in multiprocessing.active_children()])


def run_in_a_process(*args, **options):
    """Exit code, number of workers at the end of the run, and of those that outlive the process."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context('fork').Process(target=run, args=(*args, sender),
                                                          kwargs=options)
    process.start()
    sender.close()
    workers = receiver.recv() if receiver.poll(LIMIT) else []
    process.join(LIMIT)
    code, alive = process.exitcode, 0
    process.kill()
    process.join()
    for pid in workers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            alive += 1
    return code, len(workers), alive


@pytest.mark.parametrize('fails', [False, True])
@pytest.mark.parametrize('what', ['train', 'val', 'test'])
def test_the_process_ends_and_its_workers_too(what, fails, toy_root, tmp_path):
    code, workers, alive = run_in_a_process(what, fails, toy_root, tmp_path, num_workers=2)
    assert (code, alive) == (int(fails), 0)
    assert workers == (0 if what == 'train' else 2), 'ended with a training, else at exit'


def test_a_worker_that_hangs_ends_with_the_process(toy_root, tmp_path):
    images = toy_root / 'toy_image' / 'images'
    originals = images.resolve()
    images.unlink()
    images.mkdir()
    for folder in originals.iterdir():
        (images / folder.name).mkdir()
        for file in folder.iterdir():
            os.mkfifo(images / folder.name / file.name)  # nobody writes: reading waits for ever
    assert run_in_a_process('train', False, toy_root, tmp_path / 'run', num_workers=1,
                            timeout=1) == (1, 1, 0)
