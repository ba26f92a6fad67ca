"""Scores of a recipe over its folds: each fold, mean, standard deviation, interval, pooled.

    python tools/analysis/summarize_folds.py work_dirs/unilearn_dfew/fold_* [--out DIR]

Reads what tools/run_folds.py left in the work directories; writes summary.md and summary.json into
OUT (default: the folder in which they lie).
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

import numpy as np
import pandas as pd
from mmengine.config import Config
from scipy.stats import t as student_t

import unilearn_mm  # noqa: F401  (repairs the stack)
from unilearn_mm.evaluation.expression_scores import read_predictions, scores_from_predictions
from unilearn_mm.jobs import LAST_EPOCH, Job, JobError, validation_scores
from unilearn_mm.recipes import data_parts

CONFIDENCE = 0.95
TESTED, BEST = 'tested epoch', 'best epoch on the test fold'


def spread(values: Sequence[float]) -> Dict[str, Any]:
    """Mean, sample standard deviation and the t interval of the mean.

    Args:
        values (Sequence[float]): n scores, one for each fold.

    Returns:
        dict: ``n``, ``mean``, ``sd`` (n - 1 in the denominator) and ``interval`` [low, high];
        the latter two are None for n = 1.
    """
    n, mean = len(values), float(np.mean(values))
    if n == 1:
        return dict(n=1, mean=mean, sd=None, interval=None)
    sd = float(np.std(values, ddof=1))
    half = float(student_t.ppf((1 + CONFIDENCE) / 2, n - 1)) * sd / n**0.5
    return dict(n=n, mean=mean, sd=sd, interval=[mean - half, mean + half])


def best_epoch(scores: Dict[int, Dict[str, float]], task: str) -> Dict[str, Any]:
    """Epoch of the highest validation WAR, the first of equals, as the official code selects.

    Args:
        scores (dict[int, dict[str, float]]): epoch -> scores by name.
        task (str): Task.

    Returns:
        dict: ``epoch``, ``WAR``, ``UAR``.
    """
    epoch = max(scores, key=lambda number: (scores[number][f'{task}/WAR'], -number))
    return dict(epoch=epoch, **{name: scores[epoch][f'{task}/{name}'] for name in ('WAR', 'UAR')})


def validates_on_test(cfg: Config, task: str) -> bool:
    """Whether the validation of a task scores the samples of its test."""
    lists = [[(part.data_root, part.ann_file) for part in data_parts(loader)
              if part.task == task] for loader in (cfg.val_dataloader, cfg.test_dataloader)]
    return lists[0] == lists[1]


def read_fold(work_dir: Path) -> Dict[str, Any]:
    """Predictions and scores of one fold.

    Args:
        work_dir (Path): Work directory of tools/run_folds.py.

    Returns:
        dict: ``work_dir``, ``checkpoint``, ``selected_by``, ``predictions`` (a table) and
        ``tasks``: task -> {'tested epoch': {WAR, UAR, num_samples}, 'best epoch on the test fold':
        {epoch, WAR, UAR} or None if the validation scored other samples}.

    Raises:
        JobError: If the fold is not finished.
    """
    recipe = work_dir / 'job' / 'recipe.py'
    job = None
    if recipe.is_file():
        cfg = Config.fromfile(recipe)
        cfg.work_dir = str(work_dir)  # it may have been moved
        job = Job(cfg)
    if job is None or not job.is_done():
        raise JobError(f'{work_dir}: no predictions that belong to a finished training; run '
                       'tools/run_folds.py, which trains and tests only what is missing')
    note = json.loads(job.note.read_text(encoding='utf-8'))
    predictions = read_predictions(job.prediction_file)
    validations = validation_scores(work_dir)
    tasks = {}
    for task, scores in scores_from_predictions(predictions).items():
        comparable = (validates_on_test(job.cfg, task) and validations
                      and all(f'{task}/WAR' in found for found in validations.values()))
        tasks[task] = {
            TESTED: dict(WAR=scores.war, UAR=scores.uar, num_samples=scores.num_samples),
            BEST: best_epoch(validations, task) if comparable else None}
    return dict(work_dir=str(work_dir), checkpoint=note['checkpoint'],
                selected_by=note['selected_by'], predictions=predictions, tasks=tasks)


def pooled(tables: Sequence[pd.DataFrame], task: str) -> Optional[Dict[str, float]]:
    """Scores of all folds' predictions as one table.

    Returns:
        dict, optional: WAR, UAR and num_samples; None if folds share test samples.
    """
    table = pd.concat([table[table['task'] == task] for table in tables], ignore_index=True)
    if table.duplicated(['source', 'sample_id']).any():
        return None
    scores = scores_from_predictions(table)[task]
    return dict(WAR=scores.war, UAR=scores.uar, num_samples=scores.num_samples)


def summarize(folds: Sequence[Dict[str, Any]]) -> Dict[str, Any]:
    """All numbers of the summary.

    Args:
        folds (Sequence[dict]): What :func:`read_fold` returned.

    Returns:
        dict: ``folds``, ``confidence`` and ``tasks``: task -> ``pooled`` and, for each kind of
        epoch, {'WAR': spread, 'UAR': spread} or None.

    Raises:
        JobError: If the folds have other tasks or other ways to select an epoch.
    """
    for key, of in (('tasks', lambda fold: sorted(fold['tasks'])),
                    ('ways to select the epoch', lambda fold: fold['selected_by'])):
        found = {fold['work_dir']: of(fold) for fold in folds}
        if any(value != of(folds[0]) for value in found.values()):
            raise JobError(f'the folds have different {key}: {found}')
    tasks = {}
    for task in folds[0]['tasks']:
        tasks[task] = dict(pooled=pooled([fold['predictions'] for fold in folds], task))
        for kind in (TESTED, BEST):
            rows = [fold['tasks'][task][kind] for fold in folds]
            tasks[task][kind] = None if None in rows else {
                name: spread([row[name] for row in rows]) for name in ('WAR', 'UAR')}
    kept = [{key: value for key, value in fold.items() if key != 'predictions'} for fold in folds]
    return dict(confidence=CONFIDENCE, folds=kept, tasks=tasks)


def markdown(summary: Dict[str, Any]) -> List[str]:
    """Lines of summary.md; scores in percent."""
    folds, n = summary['folds'], len(summary['folds'])
    selected_by = folds[0]['selected_by']
    tested = (LAST_EPOCH if selected_by == LAST_EPOCH
              else f'epoch of the best {selected_by} in validation')
    lines = [
        f'# Summary of {n} fold(s)', '',
        f'- **{tested}**: scores of the test, in percent.',
        f'- **{BEST}**: selected by its WAR on the test data themselves, as is habit in the '
        'field, so too good; scores of the validation (its views may differ from the test\'s).',
        f'- interval: {CONFIDENCE:.0%}, t distribution over n = {n} folds. Folds share training '
        'data: it describes their spread and is no test between methods.',
        "- pooled: the predictions of all folds scored as one test."]
    for task, found in summary['tasks'].items():
        lines += ['', f'## {task}', '',
                  f'| fold | samples | {tested} | WAR | UAR | {BEST} | WAR | UAR |',
                  '|---|---:|---|---:|---:|---:|---:|---:|']
        for fold in folds:
            row, best = fold['tasks'][task][TESTED], fold['tasks'][task][BEST]
            cells = ([str(best['epoch']), _percent(best['WAR']), _percent(best['UAR'])]
                     if best else ['-'] * 3)
            lines.append(f'| {fold["work_dir"]} | {row["num_samples"]} | {fold["checkpoint"]} | '
                         f'{_percent(row["WAR"])} | {_percent(row["UAR"])} | '
                         f'{" | ".join(cells)} |')
        for name, of in (('mean', lambda s: _percent(s['mean'])),
                         ('sd', lambda s: _percent(s['sd'])),
                         (f'interval, n = {n}', lambda s: ' .. '.join(
                             map(_percent, s['interval'])) if s['interval'] else '-')):
            cells = [of(found[kind][score]) if found[kind] else '-'
                     for kind in (TESTED, BEST) for score in ('WAR', 'UAR')]
            lines.append(f'| {name} | | | {cells[0]} | {cells[1]} | | {cells[2]} | {cells[3]} |')
        one = found['pooled']
        lines.append(f'| pooled | {one["num_samples"]} | | {_percent(one["WAR"])} | '
                     f'{_percent(one["UAR"])} | | - | - |' if one else
                     '| pooled: folds share test samples | | | - | - | | - | - |')
    return lines


def _percent(value: Optional[float]) -> str:
    return '-' if value is None else f'{value * 100:.2f}'


def main() -> int:
    """Command line; the exit code is 1 if a fold is not finished."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('work_dirs', nargs='+', type=Path)
    parser.add_argument('--out', type=Path)
    args = parser.parse_args()
    try:
        summary = summarize([read_fold(work_dir) for work_dir in args.work_dirs])
    except JobError as error:
        print(error, file=sys.stderr)
        return 1
    out = args.out or args.work_dirs[0].parent
    out.mkdir(parents=True, exist_ok=True)
    lines = markdown(summary)
    (out / 'summary.md').write_text('\n'.join(lines) + '\n', encoding='utf-8')
    (out / 'summary.json').write_text(json.dumps(summary, indent=2) + '\n', encoding='utf-8')
    print('\n'.join(lines))
    print(f'\nsummary: {out / "summary.md"}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
