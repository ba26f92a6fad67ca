"""Compute every number of a test from its prediction file; needs neither model nor GPU.

    python tools/analysis/eval_predictions.py predictions.csv [--bootstrap 2000]
        [--groups subject gender] [--out DIR]

Reads the CSV or Parquet file of ``WARUARMetric(prediction_file=...)`` and writes scores.md,
scores.json (all digits) and the figures of each task. The scores are exactly those that the
metric returned. Intervals are those of resampling the test set within its classes; they do not
speak of training again. A group's UAR is the mean over the classes that it holds, and the gap
between many small groups is large by chance alone.
"""

import argparse
import json
from pathlib import Path
from typing import Dict, List

import numpy as np
from tqdm import tqdm

from unilearn_mm.evaluation.bootstrap import (
    LEVEL,
    RESAMPLES,
    SEED,
    bootstrap_intervals,
    proportion_interval,
)
from unilearn_mm.evaluation.calibration import risk_coverage
from unilearn_mm.evaluation.expression_scores import TaskScores, scores_from_predictions
from unilearn_mm.evaluation.prediction_table import read_predictions, task_score_array
from unilearn_mm.evaluation.score_tables import recall_table, score_table, subgroup_table
from unilearn_mm.evaluation.subgroups import SubgroupScores, subgroup_scores
from unilearn_mm.files import sha256_of
from unilearn_mm.visualization.file_names import file_stem
from unilearn_mm.visualization.task_figures import task_figures

DOTS_PER_INCH = 110


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('predictions', type=Path)
    parser.add_argument('--bootstrap', type=int, default=RESAMPLES, help='resamples')
    parser.add_argument('--groups', nargs='+', default=[], metavar='NAME', help='group columns')
    parser.add_argument('--out', type=Path, help='default: evaluation/ beside the predictions')
    args = parser.parse_args()
    out = args.out or args.predictions.parent / 'evaluation'
    table = read_predictions(args.predictions)
    scores = scores_from_predictions(table)
    by_task = dict(iter(table.groupby('task', sort=True)))
    groups = {task: [subgroup_scores(rows, name, len(scores[task].class_names))
                     for name in args.groups] for task, rows in by_task.items()}

    out.mkdir(parents=True, exist_ok=True)
    summary = score_table(scores, args.bootstrap)
    lines = ['# Scores', '', f'Predictions: `{args.predictions}`. In brackets: 95 % intervals of '
             f'{args.bootstrap} bootstrap resamples, stratified by label.', '', *summary, '']
    numbers: Dict[str, dict] = {}
    for task, item in tqdm(scores.items(), 'tasks', leave=False):
        rows = by_task[task]
        labels = rows['label'].to_numpy()
        values = task_score_array(rows, len(item.class_names), str(args.predictions))
        numbers[task] = task_numbers(item, values, labels, groups[task], args.bootstrap)
        lines += task_lines(task, item, groups[task])
        for name, figure in task_figures(task, item, values, labels).items():
            picture = f'{file_stem(task)}_{name}.png'
            figure.savefig(out / picture, dpi=DOTS_PER_INCH)
            lines += [f'![{name} of {task}]({picture})', '']
    content = dict(
        predictions=str(args.predictions),
        predictions_sha256=sha256_of(args.predictions),
        bootstrap=dict(resamples=args.bootstrap, seed=SEED, level=LEVEL, stratified_by='label'),
        tasks=numbers)
    (out / 'scores.json').write_text(
        json.dumps(content, indent=2, allow_nan=False) + '\n', encoding='utf-8')
    (out / 'scores.md').write_text('\n'.join(lines), encoding='utf-8')
    print('\n'.join(summary))
    for task, found in groups.items():
        for group in found:
            print('\n'.join(['', f'{task} by {group.name}:', *subgroup_table(group)]))
    print(f'\ntables and figures: {out}')


def task_lines(task: str, scores: TaskScores, groups: List[SubgroupScores]) -> List[str]:
    """Markdown lines of one task, without its figures."""
    lines = [f'## {task}', '', *recall_table(scores), '']
    if scores.absent_classes:
        lines += [f'No sample has the label {", ".join(scores.absent_classes)}; UAR is the mean '
                  'over the other classes.', '']
    if scores.ece is None:
        lines += ['ECE and NLL are not computed: the scores are no probabilities (test with '
                  "average_clips='prob' of the head).", '']
    for group in groups:
        lines += [f'### {task} by {group.name}', '', *subgroup_table(group), '']
    return lines


def task_numbers(scores: TaskScores, values: np.ndarray, labels: np.ndarray,
                 groups: List[SubgroupScores], resamples: int) -> dict:
    """All numbers of one task, as plain values for JSON.

    Args:
        scores (TaskScores): the scores.
        values (np.ndarray): (N, K) scores of the samples.
        labels (np.ndarray): (N,) class ids.
        groups (list[SubgroupScores]): its groups.
        resamples (int): of the bootstrap.
    """
    curve = None if scores.ece is None else risk_coverage(values, labels)
    return dict(
        num_samples=scores.num_samples,
        WAR=scores.war,
        UAR=scores.uar,
        macro_F1=scores.macro_f1,
        weighted_F1=scores.weighted_f1,
        ECE=scores.ece,
        NLL=scores.nll,
        AURC=None if curve is None else curve.area,
        intervals=bootstrap_intervals(scores.confusion, resamples),
        recall=recall_numbers(scores),
        absent_classes=scores.absent_classes,
        class_names=scores.class_names,
        confusion=scores.confusion.tolist(),
        groups={group.name: group_numbers(group) for group in groups})


def recall_numbers(scores: TaskScores) -> Dict[str, dict]:
    """Samples, recall and its Wilson interval of each class that occurs."""
    totals = scores.confusion.sum(axis=1)
    return {
        name: dict(num_samples=int(total), recall=float(recall),
                   interval=proportion_interval(correct, total))
        for name, total, recall, correct in zip(scores.class_names, totals, scores.recall,
                                                np.diag(scores.confusion)) if total
    }


def group_numbers(found: SubgroupScores) -> dict:
    """Scores of each group, and the gaps (null without groups)."""
    gaps = dict(WAR_gap=found.war_gap, UAR_gap=found.uar_gap) if found.groups else dict(
        WAR_gap=None, UAR_gap=None)
    return dict(
        **gaps,
        num_without=found.num_without,
        groups={
            value: dict(num_samples=group.num_samples, num_classes=group.num_classes,
                        WAR=group.war, WAR_interval=group.war_interval, UAR=group.uar)
            for value, group in found.groups.items()
        })


if __name__ == '__main__':
    main()
