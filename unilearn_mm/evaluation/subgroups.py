"""Scores of the groups of a test set: by subject, gender, age, ..."""
from dataclasses import dataclass
from typing import Dict

import numpy as np
import pandas as pd

from .bootstrap import Interval, proportion_interval
from .expression_scores import confusion, uar, war
from .prediction_table import GROUP_PREFIX, group_names


@dataclass(frozen=True)
class GroupScores:
    """Scores of one group.

    Attributes:
        num_samples (int): samples of the group.
        num_classes (int): classes that occur among its labels; UAR is the mean over them.
        war (float): overall accuracy.
        war_interval (Interval): its 95 % Wilson interval.
        uar (float): mean recall over the classes that occur.
    """
    num_samples: int
    num_classes: int
    war: float
    war_interval: Interval
    uar: float


@dataclass(frozen=True)
class SubgroupScores:
    """Scores of one task by the values of one group column.

    Attributes:
        name (str): the group column.
        groups (dict[str, GroupScores]): value -> scores, values in alphabetical order; empty if
            no sample has a value.
        num_without (int): samples without a value; they are in no group.
    """
    name: str
    groups: Dict[str, GroupScores]
    num_without: int

    @property
    def war_gap(self) -> float:
        """Greatest minus least WAR of the groups; NaN without groups."""
        return _gap([group.war for group in self.groups.values()])

    @property
    def uar_gap(self) -> float:
        """Greatest minus least UAR of the groups; NaN without groups."""
        return _gap([group.uar for group in self.groups.values()])


def subgroup_scores(rows: pd.DataFrame, name: str, num_classes: int) -> SubgroupScores:
    """Score the rows of one task separately for each value of a group column.

    Args:
        rows (pd.DataFrame): rows of a table of predictions, all with the same task.
        name (str): a group column, without its prefix.
        num_classes (int): K.

    Raises:
        ValueError: the table has no such group column.
    """
    column = f'{GROUP_PREFIX}{name}'
    if column not in rows:
        raise ValueError(f'the predictions have no group {name!r}, found {group_names(rows)}; '
                         "groups are further columns of an annotation list, and 'groups' must be "
                         'in meta_keys of PackActionInputs')
    groups = {}
    for value, members in rows[rows[column] != ''].groupby(column, sort=True):
        counts = confusion(members['label'].to_numpy(), members['prediction'].to_numpy(),
                           num_classes)
        groups[value] = GroupScores(
            num_samples=len(members),
            num_classes=int((counts.sum(axis=1) > 0).sum()),
            war=float(war(counts)),
            war_interval=proportion_interval(np.trace(counts), len(members)),
            uar=float(uar(counts)))
    return SubgroupScores(name, groups, int((rows[column] == '').sum()))


def _gap(values: list) -> float:
    return max(values) - min(values) if values else float('nan')
