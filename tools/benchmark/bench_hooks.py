"""What the hooks of a recipe cost, as a share of a training step.

    python tools/benchmark/bench_hooks.py --config configs/unilearn_toy.py --steps 200

Every hook method that runs in a step is timed inside a real training; the table gives the median
of its time and of the whole step (data loading included), and their ratio.
"""

import argparse
import functools
import statistics
import tempfile
import time
from collections import defaultdict
from typing import Dict, List

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

import unilearn_mm  # noqa: F401

STEP_METHODS = ('before_train_iter', 'after_train_iter')


class StopAfter(Hook):
    """Notes the time of each step and ends the training after some.

    Args:
        steps (int): Steps to run.
    """

    priority = 'LOWEST'

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.ends: List[float] = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        """One more step."""
        self.ends.append(time.perf_counter())
        if len(self.ends) == self.steps:
            raise StopIteration


def timed(method, spent: List[float]):
    """The method, adding the seconds of each call to ``spent``."""

    @functools.wraps(method)
    def run(*args, **kwargs):
        start = time.perf_counter()
        result = method(*args, **kwargs)
        spent.append(time.perf_counter() - start)
        return result

    return run


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--config', default='configs/unilearn_toy.py')
    parser.add_argument('--steps', type=int, default=200)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as work_dir:
        cfg = Config.fromfile(args.config)
        cfg.work_dir = work_dir
        cfg.train_cfg.val_interval = cfg.train_cfg.max_epochs
        runner = Runner.from_cfg(cfg)
        spent: Dict[str, Dict[str, List[float]]] = defaultdict(dict)
        for hook in runner.hooks:
            for name in STEP_METHODS:
                if getattr(type(hook), name) is not getattr(Hook, name):
                    seconds = spent[type(hook).__name__][name] = []
                    setattr(hook, name, timed(getattr(hook, name), seconds))
        clock = StopAfter(args.steps)
        runner.register_hook(clock, priority='LOWEST')
        try:
            runner.train()
        except StopIteration:
            pass
    steps = [end - start for start, end in zip(clock.ends, clock.ends[1:])]
    step = statistics.median(steps)
    print(f'\n{args.config}: median step {step * 1e3:.1f} ms, {len(steps)} steps')
    print('| hook | median (us) | mean (us) | mean, of the mean step |\n|---|---|---|---|')
    for hook, methods in spent.items():
        calls = [sum(pair) for pair in zip(*methods.values())]
        print(f'| {hook} | {statistics.median(calls) * 1e6:.0f} | '
              f'{statistics.mean(calls) * 1e6:.0f} | '
              f'{statistics.mean(calls) / statistics.mean(steps):.2%} |')


if __name__ == '__main__':
    main()
