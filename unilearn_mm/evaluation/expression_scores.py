"""The numbers of expression recognition, as plain functions on arrays and tables.

Notation: N samples, K classes with ids 0 .. K-1. ``counts`` is always the (K, K) confusion
matrix, row = label, column = prediction. All scores lie in [0, 1].

* WAR (weighted average recall) is the share of all samples that are classified correctly.
* UAR (unweighted average recall) is the mean recall over the classes that occur as a label.
"""
from dataclasses import dataclass
from os import PathLike
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

import numpy as np
import pandas as pd
import sklearn.metrics

TEXT_COLUMNS = ('source', 'task', 'media', 'sample_id', 'label_name', 'prediction_name')
PREDICTION_COLUMNS = ('source', 'task', 'media', 'sample_id', 'label', 'prediction', 'label_name',
                      'prediction_name')


@dataclass(frozen=True)
class TaskScores:
    """Scores of one task.

    Attributes:
        war (float): overall accuracy.
        uar (float): mean recall over the classes that occur as a label.
        recall (np.ndarray): (K,) float64 recall of each class, NaN where it does not occur.
        confusion (np.ndarray): (K, K) int64, row = label, column = prediction.
        class_names (tuple[str, ...]): K names in id order.
        num_samples (int): N.
    """
    war: float
    uar: float
    recall: np.ndarray
    confusion: np.ndarray
    class_names: Tuple[str, ...]
    num_samples: int

    @property
    def absent_classes(self) -> Tuple[str, ...]:
        """Names of the classes that do not occur as a label, in id order."""
        return tuple(name for name, recall in zip(self.class_names, self.recall)
                     if np.isnan(recall))


def confusion(labels: np.ndarray, predictions: np.ndarray, num_classes: int) -> np.ndarray:
    """Count how often each label was given each prediction.

    Args:
        labels (np.ndarray): (N,) integer class ids.
        predictions (np.ndarray): (N,) integer class ids.
        num_classes (int): K.

    Returns:
        np.ndarray: (K, K) int64, row = label, column = prediction.

    Raises:
        TypeError: ids that are not integers.
        ValueError: no sample, unequal lengths, or an id outside [0, K).
    """
    labels = _class_ids('labels', labels, num_classes)
    predictions = _class_ids('predictions', predictions, num_classes)
    if len(labels) != len(predictions):
        raise ValueError(f'labels and predictions differ in length: {len(labels)} labels, '
                         f'{len(predictions)} predictions; each sample needs one of both')
    return sklearn.metrics.confusion_matrix(labels, predictions, labels=range(num_classes))


def war(counts: np.ndarray) -> float:
    """Weighted average recall: trace(counts) / sum(counts).

    Args:
        counts (np.ndarray): (K, K) confusion matrix.

    Returns:
        float: in [0, 1].

    Raises:
        ValueError: ``counts`` is not square or holds no sample.
    """
    counts = _confusion_matrix(counts)
    return float(np.trace(counts) / counts.sum())


def uar(counts: np.ndarray) -> float:
    """Unweighted average recall: mean of the recalls of the classes that occur as a label.

    The same number as scikit-learn's ``balanced_accuracy_score``.

    Args:
        counts (np.ndarray): (K, K) confusion matrix.

    Returns:
        float: in [0, 1].

    Raises:
        ValueError: ``counts`` is not square or holds no sample.
    """
    return float(np.nanmean(per_class_recall(counts)))


def per_class_recall(counts: np.ndarray) -> np.ndarray:
    """Recall of each class: counts[k, k] / sum_j counts[k, j].

    Args:
        counts (np.ndarray): (K, K) confusion matrix.

    Returns:
        np.ndarray: (K,) float64 in [0, 1], NaN for a class that does not occur as a label.

    Raises:
        ValueError: ``counts`` is not square or holds no sample.
    """
    counts = _confusion_matrix(counts)
    occurrences = counts.sum(axis=1)
    return np.divide(np.diag(counts), occurrences, out=np.full(len(counts), np.nan),
                     where=occurrences > 0)


def task_scores(labels: np.ndarray, predictions: np.ndarray,
                class_names: Sequence[str]) -> TaskScores:
    """Score the predictions of one task.

    Args:
        labels (np.ndarray): (N,) integer class ids.
        predictions (np.ndarray): (N,) integer class ids.
        class_names (Sequence[str]): K names in id order.

    Returns:
        TaskScores: the scores.

    Raises:
        TypeError: ids that are not integers.
        ValueError: no sample, unequal lengths, or an id outside [0, K).
    """
    counts = confusion(labels, predictions, len(class_names))
    return TaskScores(
        war=war(counts),
        uar=uar(counts),
        recall=per_class_recall(counts),
        confusion=counts,
        class_names=tuple(class_names),
        num_samples=int(counts.sum()))


def scores_from_predictions(
        predictions: Union[str, PathLike, pd.DataFrame],
        label_spaces: Optional[Mapping[str, Sequence[str]]] = None) -> Dict[str, TaskScores]:
    """Score every task of a table of predictions, over all its sources together.

    Args:
        predictions (str | PathLike | pd.DataFrame): a file that ``WARUARMetric`` wrote, or the
            same table in memory: one row per sample with ``PREDICTION_COLUMNS`` and
            ``score_0`` .. ``score_{Kmax-1}``, missing beyond the K classes of the row's task.
        label_spaces (Mapping[str, Sequence[str]], optional): task -> K class names in id order.
            Without it K is the number of scores of the task and the names are those found in
            the table; a class that is neither label nor prediction of any row is called
            ``class_<id>``.

    Returns:
        dict[str, TaskScores]: task -> scores, tasks in alphabetical order.

    Raises:
        TypeError: ids that are not integers.
        ValueError: a missing column, no row, a sample that occurs twice, a missing score, an id
            outside [0, K), or a task that ``label_spaces`` lacks.
    """
    if isinstance(predictions, pd.DataFrame):
        table, origin = predictions, 'the table of predictions'
    else:
        table, origin = read_predictions(predictions), str(predictions)
    _check_table(table, origin)
    scores = {}
    for task, rows in table.groupby('task', sort=True):
        if label_spaces is None:
            names = _names_in_table(rows, origin)
        elif task in label_spaces:
            names = label_spaces[task]
        else:
            raise ValueError(f'{origin} holds task {task!r}, label_spaces names only '
                             f'{sorted(label_spaces)}; add its class names there')
        scores[task] = task_scores(rows['label'].to_numpy(), rows['prediction'].to_numpy(), names)
    return scores


def confusion_table(scores: TaskScores) -> str:
    """Format a confusion matrix as text, row = label, column = prediction.

    Columns are headed by the id and the first letters of the class name, so that eleven classes
    stay below 120 characters a line. Each row ends with the number of samples of its class and
    its recall in percent ('-' for a class that does not occur).

    Args:
        scores (TaskScores): the scores of one task.

    Returns:
        str: K + 1 lines.
    """
    headings = [f'{index} {name}' for index, name in enumerate(scores.class_names)]
    table = pd.DataFrame(scores.confusion, index=headings,
                         columns=[heading[:6] for heading in headings])
    table['total'] = scores.confusion.sum(axis=1)
    table['recall'] = scores.recall * 100
    return table.to_string(float_format='%.2f', na_rep='-', line_width=None)


def _class_ids(what: str, ids: Any, num_classes: int) -> np.ndarray:
    ids = np.asarray(ids)
    if ids.ndim != 1 or len(ids) == 0:
        raise ValueError(f'{what} has shape {ids.shape}, expected (N,) with at least one sample')
    if ids.dtype.kind not in 'iu':
        raise TypeError(f'{what} must be integer class ids, found {ids.dtype}: position 0 is '
                        f'{ids[0]!r}')
    outside = np.flatnonzero((ids < 0) | (ids >= num_classes))
    if len(outside):
        raise ValueError(f'{what}[{outside[0]}] is {ids[outside[0]]}, expected a class id in '
                         f'[0, {num_classes})')
    return ids


def _confusion_matrix(counts: Any) -> np.ndarray:
    counts = np.asarray(counts)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
        raise ValueError(f'a confusion matrix has shape (K, K), found {counts.shape}')
    if counts.sum() == 0:
        raise ValueError('the confusion matrix holds no sample: there is nothing to score')
    return counts


def read_predictions(path: Union[str, PathLike]) -> pd.DataFrame:
    header = pd.read_csv(path, nrows=0).columns
    return pd.read_csv(
        path,
        dtype={name: str for name in TEXT_COLUMNS},
        keep_default_na=False,
        na_values={name: [''] for name in _score_columns(header)},
        float_precision='round_trip')


def _score_columns(columns: Sequence[str]) -> List[str]:
    return [name for name in columns if name.startswith('score_')]


def _check_table(table: pd.DataFrame, origin: str) -> None:
    missing = [name for name in PREDICTION_COLUMNS if name not in table]
    if missing:
        raise ValueError(f'{origin} lacks the columns {missing}, found {list(table.columns)}; '
                         'use a file that WARUARMetric(prediction_file=...) wrote')
    if table.empty:
        raise ValueError(f'{origin} holds no prediction')
    repeated = table.duplicated(['source', 'sample_id'])
    if repeated.any():
        first = table[repeated].iloc[0]
        raise ValueError(f'{origin}: sample {first.sample_id!r} of source {first.source!r} occurs '
                         f'more than once ({repeated.sum()} such rows); expected one row per '
                         'sample: remove the repeats or score the test again')


def _names_in_table(rows: pd.DataFrame, origin: str) -> List[str]:
    columns = _score_columns(rows.columns)
    num_classes = int(rows[columns].notna().any().sum())
    incomplete = rows[columns[:num_classes]].isna().any(axis=1)
    if incomplete.any():
        first = rows[incomplete].iloc[0]
        raise ValueError(f'{origin}: sample {first.sample_id!r} of source {first.source!r} lacks '
                         f'scores, expected all {num_classes} of task {first.task!r}')
    found = {**dict(zip(rows['prediction'], rows['prediction_name'])),
             **dict(zip(rows['label'], rows['label_name']))}
    return [found.get(index, f'class_{index}') for index in range(num_classes)]
