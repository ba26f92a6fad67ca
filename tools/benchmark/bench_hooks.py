"""What our hooks cost: training steps of a recipe with and without them, and each one's share.

    python tools/benchmark/bench_hooks.py --config configs/unilearn_toy.py --steps 200

Two trainings from the same weights take turns, step by step, on the same batches: the recipe, and
the recipe with MMEngine's hooks only. Reading the data is not counted, nor are checkpoints, which
are written between epochs. The first table has the median times of their steps and the ratio; the
second the time within each hook method that runs in a step (not what FiniteGuardHook does in the
optimizer's step).
"""

import argparse
import functools
import statistics
import tempfile
import time
from collections import defaultdict
from itertools import chain, islice, repeat
from typing import Dict, List

from mmaction.registry import HOOKS
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from tqdm import tqdm

import unilearn_mm

STEP_METHODS = ('before_train_iter', 'after_train_iter')
WARM_UP = 10  # steps


def is_ours(hook: type) -> bool:
    """Whether a class belongs to this package."""
    return hook.__module__.startswith(unilearn_mm.__name__)


def ready_runner(config: str, work_dir: str, ours: bool) -> Runner:
    """A runner that stands before its first step.

    Args:
        config (str): Recipe.
        work_dir (str): Its work directory.
        ours (bool): Whether it keeps the hooks of this package.
    """
    cfg = Config.fromfile(config)
    cfg.work_dir = work_dir
    cfg.experiment_name = f'with_ours_{ours}'
    if not ours:
        cfg.custom_hooks = []
        cfg.default_hooks.checkpoint.type = 'CheckpointHook'
        cfg.default_hooks = {name: hook for name, hook in cfg.default_hooks.items()
                             if not is_ours(HOOKS.get(hook.type))}
    runner = Runner.from_cfg(cfg)

    def run_no_step() -> None:
        runner.call_hook('before_train')
        runner.call_hook('before_train_epoch')
        runner.model.train()

    runner._train_loop = runner.build_train_loop(runner._train_loop)
    runner.train_loop.run = run_no_step
    runner.train()
    return runner


def timed(method, spent: List[float]):
    """The method, adding the seconds of each call to ``spent``."""

    @functools.wraps(method)
    def run(*args, **kwargs):
        start = time.perf_counter()
        result = method(*args, **kwargs)
        spent.append(time.perf_counter() - start)
        return result

    return run


def time_methods(runner: Runner) -> Dict[str, List[List[float]]]:
    """Wrap the step methods of our hooks; hook -> seconds of the calls of each of its methods."""
    spent: Dict[str, List[List[float]]] = defaultdict(list)
    for hook in runner.hooks:
        for name in STEP_METHODS:
            if is_ours(type(hook)) and getattr(type(hook), name) is not getattr(Hook, name):
                spent[type(hook).__name__].append([])
                setattr(hook, name, timed(getattr(hook, name), spent[type(hook).__name__][-1]))
    return spent


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--config', default='configs/unilearn_toy.py')
    parser.add_argument('--steps', type=int, default=200)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as with_ours, tempfile.TemporaryDirectory() as without:
        runners = [ready_runner(args.config, with_ours, True),
                   ready_runner(args.config, without, False)]
        runners[1].model.load_state_dict(runners[0].model.state_dict())
        spent = time_methods(runners[0])
        steps: List[List[float]] = [[], []]
        batches = islice(chain.from_iterable(repeat(runners[0].train_dataloader)),
                         args.steps + WARM_UP)
        for index, batch in enumerate(tqdm(batches, total=args.steps + WARM_UP)):
            for which in (0, 1) if index % 2 else (1, 0):
                start = time.perf_counter()
                runners[which].train_loop.run_iter(index, batch)
                steps[which].append(time.perf_counter() - start)
        runners[0].call_hook('after_train')
    ours, stock = (statistics.median(seconds[WARM_UP:]) for seconds in steps)
    pairs = [one / two for one, two in zip(*(seconds[WARM_UP:] for seconds in steps))]
    print(f'\n{args.config}, {args.steps} steps\n\n'
          '| median step with our hooks | without | ratio | median ratio of a pair |\n'
          '|---|---|---|---|\n'
          f'| {ours * 1e3:.2f} ms | {stock * 1e3:.2f} ms | {ours / stock:.4f} | '
          f'{statistics.median(pairs):.4f} |\n')
    mean_step = statistics.mean(steps[0])
    print('| hook | median (us) | mean (us) | mean, of the mean step |\n|---|---|---|---|')
    for hook, methods in spent.items():
        calls = [sum(pair) for pair in zip(*methods)]
        print(f'| {hook} | {statistics.median(calls) * 1e6:.0f} | '
              f'{statistics.mean(calls) * 1e6:.0f} | {statistics.mean(calls) / mean_step:.2%} |')


if __name__ == '__main__':
    main()
