"""Train and test a recipe on each fold, one after the other, and summarize them.

    python tools/run_folds.py configs/unilearn_dfew.py --folds 1-5 --launcher-gpus 2 -- --amp

The recipe must read the fold from the environment variable FOLD, as configs/unilearn_dfew.py does.
What stands behind -- goes to MMAction2's tools/train.py. The same command resumes an interrupted
fold and skips the folds whose predictions belong to the tested checkpoint. Each fold has its own
work directory, the summary goes to the folder above them (tools/analysis/summarize_folds.py).

The last epoch is tested. With --val-from-train 0.1 a tenth of the first training list (no subject
in both parts, where the list names subjects) is held out, validated after each epoch instead of
the test fold, and the epoch that is best there is tested.
"""

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import List, Optional

from mmengine.config import Config, DictAction
from tqdm import tqdm

import unilearn_mm  # noqa: F401  (repairs the stack)
from unilearn_mm.datasets.annotations import AnnotationError
from unilearn_mm.datasets.splits import write_hold_out
from unilearn_mm.engine.hooks.preemption import EXIT_CODE
from unilearn_mm.jobs import Job, JobError, JobPreempted
from unilearn_mm.recipes import data_parts, media_of

LAUNCH = Path(__file__).with_name('launch.py')
SUMMARIZE = Path(__file__).parent / 'analysis' / 'summarize_folds.py'


def parse_folds(text: str) -> List[int]:
    """Fold numbers of '1-5', '2' or '1,3-5'.

    Raises:
        argparse.ArgumentTypeError: If the text is none of these, or names a fold twice.
    """
    folds: List[int] = []
    for part in text.split(','):
        found = re.fullmatch(r'(\d+)(?:-(\d+))?', part)
        if found is None:
            raise argparse.ArgumentTypeError(f'found {text!r}, expected for instance 1-5 or 1,3')
        first, last = found.groups()
        folds += range(int(first), int(last or first) + 1)
    if not folds or len(set(folds)) != len(folds):
        raise argparse.ArgumentTypeError(f'{text!r} names no fold, or one of them twice')
    return folds


def fold_config(config: str, fold: int, work_dir: Optional[str], options: dict,
                share: Optional[float], seed: int, group: Optional[str]) -> Config:
    """The recipe of one fold.

    Args:
        config (str): Config file.
        fold (int): Number of the fold; it is put into the environment as FOLD.
        work_dir (str, optional): The fold's folder is made in it; else the recipe names it.
        options (dict): Overrides.
        share (float, optional): Share of the training list to validate on.
        seed (int): Of that choice.
        group (str, optional): Group column of identities.

    Raises:
        JobError: If the recipe does not have one list to hold out rows from.
        AnnotationError: If the list cannot be split.
    """
    os.environ['FOLD'] = str(fold)
    cfg = Config.fromfile(config)
    cfg.merge_from_dict(options)
    folder = Path(cfg.work_dir)
    if work_dir is not None:
        folder = Path(work_dir, f'fold_{fold}')
    elif share is not None:
        folder = folder.parent / 'val_from_train' / folder.name
    cfg.work_dir = str(folder)
    if share is not None:
        hold_out_validation(cfg, share, seed, group)
    return cfg


def hold_out_validation(cfg: Config, share: float, seed: int, group: Optional[str]) -> None:
    """Let a recipe validate on a part of its training list and keep the best epoch.

    Args:
        cfg (Config): Recipe whose first training data set is the only one of its medium and is
            validated too; changed in place.
        share (float): Share of the list.
        seed (int): Of the choice.
        group (str, optional): Group column.

    Raises:
        JobError: If it is not.
        AnnotationError: If the list cannot be split.
    """
    trained, validated = data_parts(cfg.train_dataloader), data_parts(cfg.val_dataloader)
    media = media_of(trained[0])
    trained, validated = ([part for part in parts if media_of(part) == media]
                          for parts in (trained, validated))
    where = ('task', 'ann_task', 'data_root', 'data_prefix')
    if len(trained) != 1 or len(validated) != 1 or any(
            trained[0].get(key) != validated[0].get(key) for key in where):
        raise JobError(
            f'--val-from-train needs one {media} list in train_dataloader and one in '
            f'val_dataloader, with the same {", ".join(where)}; found the tasks '
            f'{[part.get("task") for part in trained]} and '
            f'{[part.get("task") for part in validated]}')
    train, held_out = trained[0], validated[0]
    found = write_hold_out(os.path.join(train.data_root, train.ann_file), media, share, seed,
                           Path(cfg.work_dir, 'split').absolute(), group)
    print(f'{cfg.work_dir}: of {train.ann_file} {found.sizes[0]} samples train, {found.sizes[1]} '
          f'select the epoch; identities: {found.group or "the list has none"}'
          + (f'; without a held-out sample: {", ".join(found.absent_classes)}'
             if found.absent_classes else ''))
    train.ann_file, held_out.ann_file = str(found.train), str(found.validation)
    cfg.default_hooks.checkpoint.save_best = f'{train.task}/WAR'


def check_folds_differ(configs: List[Config]) -> None:
    """Folds have their own test lists and work directories.

    Raises:
        JobError: If two have the same.
    """
    for what, of in (('tests on the same data', lambda cfg: cfg.test_dataloader.to_dict()),
                     ('has the same work_dir', lambda cfg: cfg.work_dir)):
        values = [of(cfg) for cfg in configs]
        if any(value in values[:place] for place, value in enumerate(values)):
            raise JobError(f"{configs[0].filename} {what} in several folds; write "
                           "fold = '{{$FOLD:1}}' there and use it in the lists and in work_dir")


def main(argv: List[str]) -> int:
    """Command line; the exit code is 1 if a fold fails, 85 if it was told to end and is saved."""
    ours, train_args = ((argv[:argv.index('--')], argv[argv.index('--') + 1:])
                        if '--' in argv else (argv, []))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config')
    parser.add_argument('--folds', type=parse_folds, default='1-5')
    parser.add_argument('--work-dir', help='folds go to DIR/fold_N (default: as the config says)')
    parser.add_argument('--launcher-gpus', type=int, default=0, metavar='N',
                        help='processes on this machine (default: one without a launcher)')
    parser.add_argument('--val-from-train', type=float, metavar='SHARE')
    parser.add_argument('--split-seed', type=int, default=0)
    parser.add_argument('--group', help='group column of identities (default: subject, if there)')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={})
    args = parser.parse_args(ours)
    launcher = ([sys.executable, str(LAUNCH), '--standalone', '--nproc_per_node',
                 str(args.launcher_gpus)] if args.launcher_gpus else [])
    try:
        configs = [fold_config(args.config, fold, args.work_dir, args.cfg_options,
                               args.val_from_train, args.split_seed, args.group)
                   for fold in args.folds]
        check_folds_differ(configs)
        for fold, cfg in zip(tqdm(args.folds, desc='folds', unit='fold'), configs):
            os.environ['FOLD'] = str(fold)
            job = Job(cfg, launcher, train_args)
            done = job.is_done()
            tqdm.write(f'== fold {fold}: {"done, skipped" if done else "running"} '
                       f'({job.work_dir})')
            job.run()
    except (JobError, AnnotationError) as error:
        print(f'\n{error}', file=sys.stderr)
        return EXIT_CODE if isinstance(error, JobPreempted) else 1
    folders = [cfg.work_dir for cfg in configs]
    return subprocess.run([sys.executable, str(SUMMARIZE), *folders]).returncode


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
