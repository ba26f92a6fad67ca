"""Kill a training at random points with SIGKILL, resume it, and compare with one left alone.

    python tools/benchmark/torture_resume.py [--kills 24] [--processes 1 2] [--out DIR]

A tiny model learns the toy faces on the CPU, with routing noise, dropout, stochastic depth, EMA,
a best checkpoint and, on one process, gradient accumulation. A trial is one such training that is
killed up to four times: in a step, between an epoch and the end of its validation, in the middle
of writing a checkpoint, or beside the rename of a file; with several processes, one of them is
killed. It is resumed by ``--resume`` until it ends. Weights, averaged weights, optimizer state,
losses, scores and the next random numbers of every rank must equal those of the uninterrupted
run, bit for bit; two of those are compared first.

OUT/results.json holds what is done; called again, the benchmark goes on from there (after a change
of the code, take another OUT).
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Iterator, List, Optional

import numpy as np
import torch
from mmaction.registry import HOOKS
from mmengine.config import Config
from mmengine.dist import get_rank
from mmengine.hooks import EMAHook, Hook
from mmengine.model import is_model_wrapper
from tqdm import tqdm

from unilearn_mm import files
from unilearn_mm.engine import checkpoint_files
from unilearn_mm.engine.hooks.atomic_checkpoint import AtomicCheckpointHook
from unilearn_mm.engine.hooks.exact_resume import ExactResumeHook
from unilearn_mm.engine.random_states import random_state

ROOT = Path(__file__).resolve().parents[2]
EPOCHS, STEPS = 3, 9  # STEPS of an epoch
SAVED_STEPS = 4  # interval of the checkpoints in mid-epoch
PLACES = ('step', 'epoch end', 'write', 'rename')
KILLS_OF_A_TRIAL = 4
VARIABLE = 'TORTURE_KILL'
CLOCKS = ('time', 'data_time', 'memory')


@HOOKS.register_module()
class TortureHook(Hook):
    """Kills its own process where the environment variable says, and reports what it computed.

    The variable holds a JSON list: place, after how many of them, rank, and a share in [0, 1)
    of the time that the place takes.
    """

    # before the hooks that write
    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        point = json.loads(os.environ.get(VARIABLE, '[null, 0, 0, 0]'))
        self.place, self.countdown, self.rank, self.share = point
        self.begin, self.last = 0., dict(step=0.05, write=0.02)
        if self.rank != get_rank():
            self.place = None
        if self.place == 'write':
            checkpoint_files.write_checkpoint = self.watched(checkpoint_files.write_checkpoint)
        if self.place == 'rename':
            for name in ('replace', 'fsync'):
                setattr(os, name, self.counted(getattr(os, name)))

    def reached(self, place: str) -> bool:
        """Count a place down; whether this is the one to die at."""
        if place == self.place:
            self.countdown -= 1
        return place == self.place and self.countdown < 0

    def die_in(self, seconds: float) -> None:
        """SIGKILL from another thread, wherever this one is then."""
        threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL)).start()

    def watched(self, write):
        """The function, and the death within."""

        def run(*args) -> None:
            if self.reached('write'):
                self.die_in(self.share * self.last['write'])
            begin = time.perf_counter()
            write(*args)
            self.last['write'] = time.perf_counter() - begin

        return run

    def counted(self, function):
        """The function, and the death before or after it."""

        def run(*args) -> None:
            if self.reached('rename'):
                if self.share < 0.5:
                    function(*args)
                os.kill(os.getpid(), signal.SIGKILL)
            function(*args)

        return run

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        """A step begins."""
        if self.reached('step'):
            self.die_in(self.share * self.last['step'])
        self.begin = time.perf_counter()

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        """A step ends."""
        self.last['step'] = time.perf_counter() - self.begin

    def after_train_epoch(self, runner) -> None:
        """Checkpoint and validation follow, in about a second."""
        if self.reached('epoch end'):
            self.die_in(self.share)

    def after_train(self, runner) -> None:
        """Everything that must be equal."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        ema = next(hook for hook in runner.hooks if isinstance(hook, EMAHook)).ema_model
        final = dict(model=model.state_dict(), ema=ema.state_dict(), random=random_state(),
                     optimizer=runner.optim_wrapper.state_dict(),
                     schedulers=[scheduler.state_dict() for scheduler in runner.param_schedulers])
        if get_rank() == 0:
            final['best_score'] = runner.message_hub.get_info('best_score')
            final['scalars'] = {
                name: buffer.data for name, buffer in runner.message_hub.log_scalars.items()
                if name.split('/')[-1] not in CLOCKS}
        torch.save(final, Path(runner.work_dir, f'final_{get_rank()}.pth'))


def main() -> int:
    """Command line; 0 if every trial was equal."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, default=Path('work_dirs/torture_resume'))
    parser.add_argument('--kills', type=int, default=24, help='for each number of processes')
    parser.add_argument('--processes', type=int, nargs='+', default=[1, 2])
    parser.add_argument('--seed', type=int, default=0, help='of the points where it is killed')
    args = parser.parse_args()
    args.out = args.out.resolve()
    args.out.mkdir(parents=True, exist_ok=True)
    results = args.out / 'results.json'
    trials = json.loads(results.read_text()) if results.is_file() else []
    make_data(args.out / 'data')
    for processes in args.processes:
        config = write_config(args.out, processes)
        whole = [reference(config, args.out / f'{processes}_whole_{name}', processes)
                 for name in 'ab']
        unequal = list(differences(final(whole[0], processes), final(whole[1], processes)))
        if unequal:
            print(f'two uninterrupted runs on {processes} processes differ in '
                  f'{len(unequal)} places, first {unequal[0]}: no comparison is possible')
            return 1
        with tqdm(total=args.kills, desc=f'kills, {processes} process(es)') as bar:
            while True:
                own = [trial for trial in trials if trial['processes'] == processes]
                bar.update(sum(len(trial['kills']) for trial in own) - bar.n)
                if bar.n >= args.kills:
                    break
                work_dir = args.out / f'{processes}_trial_{len(own)}'
                kills = run_trial(config, work_dir, processes,
                                  random.Random(f'{args.seed} {processes} {len(own)}'), bar)
                trials.append(dict(
                    processes=processes, folder=work_dir.name, kills=kills, differences=list(
                        differences(final(whole[0], processes), final(work_dir, processes)))))
                files.write_atomically(
                    results, json.dumps(trials, indent=1).encode())
    return summary(trials)


def summary(trials: List[dict]) -> int:
    """Print the counts; 0 if every trial was equal."""
    failed = [trial for trial in trials if trial['differences']]
    for processes in sorted({trial['processes'] for trial in trials}):
        own = [trial for trial in trials if trial['processes'] == processes]
        kills = [kill[0] for trial in own for kill in trial['kills']]
        places = ', '.join(f'{kills.count(place)} {place}' for place in PLACES)
        equal = sum(not trial['differences'] for trial in own)
        print(f'{processes} process(es): {len(kills)} kills ({places}) in {len(own)} trials, '
              f'{equal} of them equal bit for bit')
    for trial in failed:
        print(f'NOT EQUAL: {trial["folder"]}, kills {trial["kills"]}: {trial["differences"][:5]}')
    return 1 if failed or not trials else 0


def make_data(folder: Path) -> None:
    """A toy set of 14 clips and 21 images, and as many to test."""
    if (folder / 'manifest.json').is_file():
        return
    counts = [f'--{source}-{split}={number}' for source, number in (('video', 14), ('image', 21))
              for split in ('train', 'test')]
    subprocess.run([sys.executable, str(ROOT / 'tools/data/make_toy_faces.py'), '--out',
                    str(folder), '--size', '64', *counts], check=True)


def write_config(folder: Path, processes: int) -> Path:
    """The toy recipe, smaller, with everything that must survive."""
    os.environ['TOY_DATA'] = str(folder / 'data')
    cfg = Config.fromfile(ROOT / 'configs/unilearn_toy.py')
    cfg.model.backbone.update(embed_dims=32, depth=2, num_heads=2, drop_path_rate=0.2)
    cfg.model.cls_head.update(in_channels=32, dropout_ratio=0.2)
    cfg.train_cfg = dict(type='ResumableTrainLoop', max_epochs=EPOCHS, val_interval=1)
    # 2 * (14 // 4) + 21 // 7 steps; the images of a step cannot be dealt out to two ranks evenly
    cfg.train_dataloader.update(batch_size=4 // processes)
    cfg.train_dataloader.batch_sampler.update(
        batch_sizes=dict(toy_image=7 // processes), rates=dict(toy_video=2.))
    cfg.optim_wrapper.accumulative_counts = 2 if processes == 1 else 1
    cfg.param_scheduler = [
        dict(type='LinearLR', start_factor=0.1, end=1, convert_to_iter_based=True),
        dict(type='StepLR', step_size=1, gamma=0.7)]
    saves = dict(type=AtomicCheckpointHook.__name__, interval=1, max_keep_ckpts=2)
    cfg.default_hooks.checkpoint = dict(**saves, save_best='toy_image/UAR', rule='greater')
    # more than once an epoch, and not when a checkpoint is written
    cfg.default_hooks.routing.interval = 3
    cfg.custom_hooks = [
        *[hook for hook in cfg.custom_hooks if hook.type != ExactResumeHook.__name__],
        dict(type=ExactResumeHook.__name__), dict(type='EMAHook', momentum=0.1),
        dict(saves, by_epoch=False, interval=SAVED_STEPS), dict(type='TortureHook')]
    cfg.custom_imports.imports += ['torture_resume']
    path = folder / f'{processes}_config.py'
    cfg.dump(path)
    return path


def reference(config: Path, work_dir: Path, processes: int) -> Path:
    """The work directory of an uninterrupted run."""
    if not (work_dir / 'final_0.pth').is_file():
        shutil.rmtree(work_dir, ignore_errors=True)
        code = start(config, work_dir, processes, None)
        if code:
            raise RuntimeError(f'the uninterrupted run failed with code {code}; see '
                               f'{work_dir / "output.txt"}')
    return work_dir


def run_trial(config: Path, work_dir: Path, processes: int, rng: random.Random,
              bar: tqdm) -> List[list]:
    """One training that is killed and resumed until it ends; where it was killed."""
    shutil.rmtree(work_dir, ignore_errors=True)
    kills = []
    while True:
        point = draw_point(rng, processes) if len(kills) < KILLS_OF_A_TRIAL else None
        code = start(config, work_dir, processes, point)
        if code == 0:
            break
        output = (work_dir / 'output.txt').read_text(errors='replace')
        if point is None or (code != -signal.SIGKILL and '(SIGKILL)' not in output):
            raise RuntimeError(f'a run failed by itself with code {code}, after the kills '
                               f'{kills}, told to die at {point}; see {work_dir}/output.txt')
        kills.append(point)
        bar.update()
    return kills


def draw_point(rng: random.Random, processes: int) -> list:
    """Where to die next; at most a little more than an epoch of steps away."""
    place = rng.choice(PLACES)
    count = rng.randrange({'step': STEPS + 3, 'epoch end': 2, 'write': 4, 'rename': 16}[place])
    rank = rng.randrange(processes) if place in ('step', 'epoch end') else 0
    return [place, count, rank, round(rng.random(), 3)]


def start(config: Path, work_dir: Path, processes: int, point: Optional[list]) -> int:
    """One process or one torchrun, to its end; its exit code."""
    work_dir.mkdir(parents=True, exist_ok=True)
    env = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHON': sys.executable,
           'CUDA_VISIBLE_DEVICES': '',
           'PYTHONPATH': f'{Path(__file__).resolve().parent}:{os.environ.get("PYTHONPATH", "")}'}
    if point is not None:
        env[VARIABLE] = json.dumps(point)
    command = ([sys.executable, str(ROOT / 'tools/train.py'), str(config)] if processes == 1 else
               ['bash', str(ROOT / 'tools/dist_train.sh'), str(config), str(processes)])
    with open(work_dir / 'output.txt', 'w') as output:
        return subprocess.run([*command, '--work-dir', str(work_dir), '--resume'], env=env,
                              cwd=ROOT, stdout=output, stderr=subprocess.STDOUT).returncode


def final(work_dir: Path, processes: int) -> List[dict]:
    """What each rank reported."""
    return [torch.load(work_dir / f'final_{rank}.pth', weights_only=True)
            for rank in range(processes)]


def differences(one: Any, two: Any, path: str = '') -> Iterator[str]:
    """Where two nested states differ."""
    if type(one) is not type(two):
        yield f'{path}: {type(one).__name__} and {type(two).__name__}'
    elif isinstance(one, dict):
        for key in {**one, **two}:
            if key in one and key in two:
                yield from differences(one[key], two[key], f'{path}/{key}')
            else:
                yield f'{path}/{key}: in one only'
    elif isinstance(one, (list, tuple)) and len(one) == len(two):
        for index, pair in enumerate(zip(one, two)):
            yield from differences(*pair, f'{path}/{index}')
    elif not (torch.equal if isinstance(one, torch.Tensor) else np.array_equal)(one, two):
        yield path


if __name__ == '__main__':
    sys.exit(main())
