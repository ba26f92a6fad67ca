"""The claims of a paper: a table of recipes, each trained and tested with several seeds.

    python tools/analysis/run_claims.py [--claims tools/analysis/claims/unilearn_toy.yaml]
        [--seeds 0 1 2] [--rows 1 2 ...] [--smoke]

Trains and tests every row with every seed, one after the other, and writes results/NAME.md and
.json after each; rows and NAME stand in the file of claims. Takes hours on 2 CPU cores (told at
the start); the same command resumes what was interrupted and skips what is done. --smoke takes the
same path in a few steps, in its own work directory; its numbers mean nothing.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

import torch
import yaml
from mmengine.config import Config
from tqdm import tqdm

import unilearn_mm  # noqa: F401  (repairs the stack)
from unilearn_mm.engine.hooks.preemption import EXIT_CODE
from unilearn_mm.evaluation.expression_scores import read_predictions, scores_from_predictions
from unilearn_mm.jobs import Job, JobError, JobPreempted
from unilearn_mm.recipes import data_parts

CONFIGS = Path(__file__).parents[2] / 'configs'
CLAIMS = Path(__file__).with_name('claims') / 'unilearn_toy.yaml'
MEDIA = ('video', 'image')
SCORES = ('WAR', 'UAR')
Scores = Dict[str, Dict[str, float]]  # medium -> WAR, UAR, num_samples


class ClaimsError(ValueError):
    """A file of claims cannot be read; the message names the file and what is wrong."""


class Training(NamedTuple):
    """A recipe that is trained.

    Attributes:
        config (str): File in configs/.
        minutes (float): What a seed takes on two free cores, about, without what it starts from.
        name (str): What is trained, in a row of the table.
        start (str, optional): The one of ``Claims.starts`` with the same seed that it starts from.
    """
    config: str
    minutes: float
    name: str = ''
    start: Optional[str] = None


class Claims(NamedTuple):
    """A table of claims.

    Attributes:
        name (str): Of the files with the results.
        title (str): Heading.
        rows (tuple[Training, ...]): Rows of the table.
        notes (str): What is to be said below it, in Markdown.
        starts (dict[str, Training]): What rows start from, by the names that they give.
    """
    name: str
    title: str
    rows: Tuple[Training, ...]
    notes: str
    starts: Dict[str, Training] = {}  # noqa: RUF012 (read only)


def read_claims(path: Path) -> Claims:
    """Read a file of claims (YAML; its keys are the attributes above).

    Raises:
        ClaimsError: If it is no such file, or a recipe is missing.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding='utf-8'))
        content['rows'] = tuple(Training(**row) for row in content['rows'])
        content['starts'] = {name: Training(**start)
                             for name, start in (content.get('starts') or {}).items()}
        claims = Claims(**content)
    except (OSError, yaml.YAMLError, TypeError, KeyError) as error:
        raise ClaimsError(f'{path}: {error}; expected the keys of {CLAIMS}') from error
    trainings = [*claims.rows, *claims.starts.values()]
    missing = [one.config for one in trainings if not (CONFIGS / one.config).is_file()]
    if missing:
        raise ClaimsError(f'{path}: {CONFIGS} has no {", ".join(missing)}')
    unknown = {row.start for row in claims.rows} - {None, *claims.starts}
    if unknown:
        raise ClaimsError(f'{path}: rows start from {sorted(unknown)}; there are the starts '
                          f'{sorted(claims.starts)}')
    if len({row.name for row in claims.rows}) != len(claims.rows):
        raise ClaimsError(f'{path}: every row needs a name of its own, found '
                          f'{[row.name for row in claims.rows]}')
    return claims


def config_of(name: str, folder: Path, seed: int, smoke: bool) -> Config:
    """A recipe with its seed and work directory.

    Args:
        name (str): File in configs/.
        folder (Path): Work directory.
        seed (int): Seed of the run.
        smoke (bool): Cut to a few steps.
    """
    cfg = Config.fromfile(CONFIGS / name)
    cfg.work_dir = str(folder)
    cfg.randomness.seed = seed
    if smoke:
        cfg.train_cfg.update(max_epochs=1, val_interval=1)
        cfg.train_dataloader.batch_size = 7
        for source in cfg.train_dataloader.batch_sampler.get('batch_sizes', {}):
            cfg.train_dataloader.batch_sampler.batch_sizes[source] = 7
        for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
            loader.update(num_workers=0, persistent_workers=False)
            for part in data_parts(loader):
                part.indices = 14
    return cfg


def jobs_of(claims: Claims, row: Training, seed: int, work_dir: Path, smoke: bool) -> List[Job]:
    """What the row starts from, if anything, and its training with its test."""
    jobs = []
    # a row may be what others start from
    folder, = [name for name, start in claims.starts.items() if start.config == row.config] or [
        f'row_{1 + claims.rows.index(row)}']
    cfg = config_of(row.config, work_dir / folder / f'seed_{seed}', seed, smoke)
    if row.start is not None:
        start = config_of(claims.starts[row.start].config,
                          work_dir / row.start / f'seed_{seed}', seed, smoke)
        cfg.load_from = str(Path(start.work_dir, f'epoch_{start.train_cfg.max_epochs}.pth'))
        jobs.append(Job(start, quiet=True))
    return [*jobs, Job(cfg, quiet=True)]


def run(jobs: Sequence[Job]) -> None:
    """Run the jobs of a row; all but the last are what it starts from, and not tested.

    Raises:
        JobError: If one fails.
    """
    for job in jobs[:-1]:
        job.train()
    jobs[-1].run()


def scores_by_media(prediction_file: Path) -> Scores:
    """Scores of the clips and of the images of a test, whatever task names their classes.

    Args:
        prediction_file (Path): Predictions of one task for each medium.
    """
    table = read_predictions(prediction_file)
    found = {}
    for media, rows in table.groupby('media'):
        scores, = scores_from_predictions(rows).values()
        found[media] = dict(WAR=scores.war, UAR=scores.uar, num_samples=scores.num_samples)
    return found


def minutes_left(claims: Claims, rows: Sequence[Training], seeds: Sequence[int], work_dir: Path,
                 smoke: bool) -> float:
    """What the jobs that are not done would take on two free cores, about."""
    left: Dict[Path, float] = {}  # of a work directory; several rows start from the same
    for row in rows:
        for seed in seeds:
            *before, last = jobs_of(claims, row, seed, work_dir, smoke)
            left.update({job.work_dir: claims.starts[row.start].minutes for job in before
                         if job.checkpoint() is None})
            if not last.is_done():
                left[last.work_dir] = row.minutes
    return sum(left.values())


def report(found: Dict[Training, Dict[int, Scores]], seeds: Sequence[int]) -> Dict[str, Any]:
    """Numbers of the table.

    Args:
        found (dict): row -> seed -> scores, as far as they are there.
        seeds (Sequence[int]): Seeds asked for.

    Returns:
        dict: ``rows``: for each row ``name``, ``config``, ``start``, ``seeds`` (scores by
        seed), ``missing_seeds``, and for 'video' and 'image' the ``mean`` and ``sd`` of WAR and
        UAR (sd None for one seed), or None where the row is not tested on the medium.
    """
    rows = []
    for row, by_seed in found.items():
        entry: Dict[str, Any] = dict(
            name=row.name, config=row.config, start=row.start,
            seeds={str(seed): scores for seed, scores in by_seed.items()},
            missing_seeds=[seed for seed in seeds if seed not in by_seed])
        for media in MEDIA:
            tested = [scores[media] for scores in by_seed.values() if media in scores]
            entry[media] = {name: dict(
                mean=statistics.mean(one[name] for one in tested),
                sd=statistics.stdev(one[name] for one in tested) if len(tested) > 1 else None)
                for name in SCORES} if tested else None
        rows.append(entry)
    return dict(rows=rows, torch=torch.__version__, threads=torch.get_num_threads())


def markdown(claims: Claims, numbers: Dict[str, Any], command: str, smoke: bool) -> List[str]:
    """Lines of the results file; scores in percent."""
    lines = [f'# {claims.title}', '']
    if smoke:
        lines += ['**Smoke run of a few steps: the numbers mean nothing.**', '']
    lines += [f'`{command}`, torch {numbers["torch"]}, {numbers["threads"]} threads. Mean ± '
              'standard deviation over the seeds (each seed), in percent.', '',
              '| | row | clips: WAR | clips: UAR | images: WAR | images: UAR |',
              '|---:|---|---|---|---|---|']
    numbers_of = {row.name: 1 + place for place, row in enumerate(claims.rows)}
    for row in numbers['rows']:
        cells = [_cell(row, media, name) for media in MEDIA for name in SCORES]
        name = row['name'] + (f' (seeds {row["missing_seeds"]} are missing)'
                              if row['missing_seeds'] else '')
        lines.append(f'| {numbers_of[row["name"]]} | {name} | {" | ".join(cells)} |')
    return [*lines, '', claims.notes.rstrip()]


def _cell(row: Dict[str, Any], media: str, name: str) -> str:
    if row[media] is None:
        return '-'
    mean, sd = row[media][name]['mean'], row[media][name]['sd']
    each = ', '.join(f'{scores[media][name] * 100:.2f}' for scores in row['seeds'].values())
    return f'{mean * 100:.2f}' + ('' if sd is None else f' ± {sd * 100:.2f}') + f' ({each})'


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Command line; the exit code is 1 if a run fails, 85 if it was told to end and is saved."""
    argv = sys.argv[1:] if argv is None else list(argv)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--claims', type=Path, default=CLAIMS, help='file (%(default)s)')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--rows', type=int, nargs='+', help='their numbers (default: all)')
    parser.add_argument('--work-dir', type=Path, help='default: work_dirs/NAME[_smoke]')
    parser.add_argument('--out', type=Path, help='default: results, or the work dir of smoke')
    parser.add_argument('--smoke', action='store_true')
    args = parser.parse_args(argv)
    try:
        claims = read_claims(args.claims)
    except ClaimsError as error:
        parser.error(str(error))
    numbers = args.rows or range(1, 1 + len(claims.rows))
    if not set(numbers) <= set(range(1, 1 + len(claims.rows))):
        parser.error(f'--rows {args.rows}: {args.claims} has the rows ' + '; '.join(
            f'{i}: {row.name}' for i, row in enumerate(claims.rows, start=1)))
    work_dir = args.work_dir or Path('work_dirs', claims.name + ('_smoke' if args.smoke else ''))
    out = args.out or (work_dir if args.smoke else Path('results'))
    out.mkdir(parents=True, exist_ok=True)
    rows = [claims.rows[number - 1] for number in numbers]
    found: Dict[Training, Dict[int, Scores]] = {row: {} for row in rows}
    command = ' '.join(['python tools/analysis/run_claims.py', *argv])
    try:
        if not args.smoke:
            minutes = minutes_left(claims, rows, args.seeds, work_dir.absolute(), args.smoke)
            print(f'about {minutes / 60:.1f} hours on two free CPU cores', flush=True)
        todo = [(seed, row) for seed in args.seeds for row in rows]
        for seed, row in (bar := tqdm(todo, desc='claims', unit='run')):
            bar.set_postfix_str(f'{row.name}, seed {seed}')
            jobs = jobs_of(claims, row, seed, work_dir.absolute(), args.smoke)
            run(jobs)
            found[row][seed] = scores_by_media(jobs[-1].prediction_file)
            results = report(found, args.seeds)
            (out / f'{claims.name}.json').write_text(json.dumps(results, indent=2) + '\n',
                                                     encoding='utf-8')
            lines = markdown(claims, results, command, args.smoke)
            (out / f'{claims.name}.md').write_text('\n'.join(lines) + '\n', encoding='utf-8')
    except JobError as error:
        print(f'\n{error}', file=sys.stderr)
        return EXIT_CODE if isinstance(error, JobPreempted) else 1
    print('\n'.join(lines))
    print(f'\nresults: {out / claims.name}.md')
    return 0


if __name__ == '__main__':
    sys.exit(main())
