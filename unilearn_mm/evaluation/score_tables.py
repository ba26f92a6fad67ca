"""Scores as text: for the log, and as Markdown tables for reports."""
from typing import Dict, List

import numpy as np

from .bootstrap import RESAMPLES, Interval, bootstrap_intervals, proportion_interval
from .expression_scores import TaskScores, confusion_table
from .subgroups import SubgroupScores


def score_text(scores: TaskScores, resamples: int = RESAMPLES) -> str:
    """Scores and confusion matrix of one task, for the log.

    Args:
        scores (TaskScores): the scores.
        resamples (int): of the bootstrap behind the intervals.
    """
    found = bootstrap_intervals(scores.confusion, resamples)
    text = (f'{scores.num_samples} samples, WAR {scores.war:.2%} ({_range(found["WAR"])}), '
            f'UAR {scores.uar:.2%} ({_range(found["UAR"])}), macro F1 {scores.macro_f1:.2%}, '
            f'weighted F1 {scores.weighted_f1:.2%}')
    if scores.ece is not None:
        text += f', ECE {scores.ece:.2%}, NLL {scores.nll:.4f}'
    return (f'{text} (in brackets: 95% interval of {resamples} resamples; rows: label, columns: '
            f'prediction, recall in %)\n{confusion_table(scores)}')


def score_table(scores: Dict[str, TaskScores], resamples: int = RESAMPLES) -> List[str]:
    """Markdown rows: the scores of each task, in percent but for the likelihood.

    Args:
        scores (dict[str, TaskScores]): task -> scores.
        resamples (int): of the bootstrap behind the intervals.
    """
    rows = ['| task | samples | WAR | UAR | macro F1 | weighted F1 | ECE | NLL |',
            '|---|---:|---:|---:|---:|---:|---:|---:|']
    for task, item in scores.items():
        found = bootstrap_intervals(item.confusion, resamples)
        values = dict(WAR=item.war, UAR=item.uar, macro_F1=item.macro_f1,
                      weighted_F1=item.weighted_f1)
        cells = [f'{value:.2%} ({_range(found[name])})' for name, value in values.items()]
        cells += ['-', '-'] if item.ece is None else [f'{item.ece:.2%}', f'{item.nll:.4f}']
        rows.append(f'| {task} | {item.num_samples} | {" | ".join(cells)} |')
    return rows


def recall_table(scores: TaskScores) -> List[str]:
    """Markdown rows: samples and recall of each class with its 95 % Wilson interval."""
    rows = ['| class | samples | recall | 95 % interval |', '|---|---:|---:|---:|']
    for index, (name, recall) in enumerate(zip(scores.class_names, scores.recall)):
        counts = scores.confusion[index]
        found = proportion_interval(counts[index], counts.sum())
        cells = '- | -' if np.isnan(recall) else f'{recall:.1%} | {_range(found, 1)}'
        rows.append(f'| {name} | {counts.sum()} | {cells} |')
    return rows


def subgroup_table(found: SubgroupScores) -> List[str]:
    """Markdown rows: scores of each group, and a line with the gaps."""
    if not found.groups:
        return [f'none of the {found.num_without} samples has a value of {found.name}']
    rows = [f'| {found.name} | samples | classes | WAR | 95 % interval | UAR |',
            '|---|---:|---:|---:|---:|---:|']
    rows += [f'| {value} | {group.num_samples} | {group.num_classes} | {group.war:.2%} | '
             f'{_range(group.war_interval)} | {group.uar:.2%} |'
             for value, group in found.groups.items()]
    gaps = (f'gap between the best and the worst of {len(found.groups)} groups: WAR '
            f'{found.war_gap:.2%}, UAR {found.uar_gap:.2%}')
    if found.num_without:
        gaps += f'; {found.num_without} samples without a value are in no group'
    return [*rows, '', gaps]


def _range(interval: Interval, digits: int = 2) -> str:
    return f'{interval.low * 100:.{digits}f} to {interval.high * 100:.{digits}f}'
