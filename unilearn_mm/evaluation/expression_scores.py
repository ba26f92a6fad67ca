"""The numbers of expression recognition, as plain functions on arrays and tables.

Notation: N samples, K classes with ids 0 .. K-1. ``counts`` is always a (K, K) confusion matrix,
row = label, column = prediction, or a stack (..., K, K) of them. All scores but the negative log
likelihood lie in [0, 1].

* WAR (weighted average recall) is the share of all samples that are classified correctly.
* UAR (unweighted average recall) is the mean recall over the classes that occur as a label.
* F1 of a class is 2 * correct / (labels + predictions of the class); macro F1 is its mean over the
  classes that occur as a label or a prediction, weighted F1 its mean over all labels.
* ECE and negative log likelihood: see ``calibration``; they need scores that are probabilities.
"""
from dataclasses import dataclass
from os import PathLike
from typing import Any, Dict, Mapping, Optional, Sequence, Tuple, Union

import numpy as np
import pandas as pd
import sklearn.metrics

from .calibration import (
    expected_calibration_error,
    negative_log_likelihood,
    reliability_bins,
    sums_off_one,
)
from .prediction_table import check_predictions, names_in_table, read_predictions, task_score_array


@dataclass(frozen=True)
class TaskScores:
    """Scores of one task.

    Attributes:
        war (float): overall accuracy.
        uar (float): mean recall over the classes that occur as a label.
        macro_f1 (float): mean F1 over the classes that occur as a label or a prediction.
        weighted_f1 (float): mean F1, each class weighted by its number of labels.
        recall (np.ndarray): (K,) float64 recall of each class, NaN where it does not occur.
        confusion (np.ndarray): (K, K) int64, row = label, column = prediction.
        class_names (tuple[str, ...]): K names in id order.
        num_samples (int): N.
        ece (float, optional): expected calibration error, 15 bins of equal width; None if the
            scores are no probabilities.
        nll (float, optional): mean negative log likelihood in nats; None likewise.
    """
    war: float
    uar: float
    macro_f1: float
    weighted_f1: float
    recall: np.ndarray
    confusion: np.ndarray
    class_names: Tuple[str, ...]
    num_samples: int
    ece: Optional[float] = None
    nll: Optional[float] = None

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


def war(counts: np.ndarray) -> np.ndarray:
    """Weighted average recall: trace(counts) / sum(counts).

    Args:
        counts (np.ndarray): (..., K, K) confusion matrices.

    Returns:
        np.ndarray: (...) float64 in [0, 1].

    Raises:
        ValueError: ``counts`` is not square or holds no sample.
    """
    counts = _confusion_matrix(counts)
    return np.trace(counts, axis1=-2, axis2=-1) / counts.sum(axis=(-2, -1))


def uar(counts: np.ndarray) -> np.ndarray:
    """Unweighted average recall: mean of the recalls of the classes that occur as a label.

    The same number as scikit-learn's ``balanced_accuracy_score``.

    Args:
        counts (np.ndarray): (..., K, K) confusion matrices.

    Returns:
        np.ndarray: (...) float64 in [0, 1].

    Raises:
        ValueError: ``counts`` is not square or holds no sample.
    """
    return np.nanmean(per_class_recall(counts), axis=-1)


def macro_f1(counts: np.ndarray) -> np.ndarray:
    """Mean F1 over the classes that occur as a label or a prediction.

    The same number as scikit-learn's ``f1_score(average='macro')``.

    Args:
        counts (np.ndarray): (..., K, K) confusion matrices.

    Returns:
        np.ndarray: (...) float64 in [0, 1].

    Raises:
        ValueError: ``counts`` is not square or holds no sample.
    """
    return np.nanmean(per_class_f1(counts), axis=-1)


def weighted_f1(counts: np.ndarray) -> np.ndarray:
    """Mean F1, each class weighted by its number of labels.

    The same number as scikit-learn's ``f1_score(average='weighted')``.

    Args:
        counts (np.ndarray): (..., K, K) confusion matrices.

    Returns:
        np.ndarray: (...) float64 in [0, 1].

    Raises:
        ValueError: ``counts`` is not square or holds no sample.
    """
    occurrences = np.asarray(counts).sum(axis=-1)
    return np.nansum(per_class_f1(counts) * occurrences, axis=-1) / occurrences.sum(axis=-1)


def per_class_recall(counts: np.ndarray) -> np.ndarray:
    """Recall of each class: counts[k, k] / sum_j counts[k, j].

    Args:
        counts (np.ndarray): (..., K, K) confusion matrices.

    Returns:
        np.ndarray: (..., K) float64 in [0, 1], NaN for a class that does not occur as a label.

    Raises:
        ValueError: ``counts`` is not square or holds no sample.
    """
    counts = _confusion_matrix(counts)
    return _share(_correct(counts), counts.sum(axis=-1))


def per_class_f1(counts: np.ndarray) -> np.ndarray:
    """F1 of each class: 2 counts[k, k] / (sum_j counts[k, j] + sum_j counts[j, k]).

    Args:
        counts (np.ndarray): (..., K, K) confusion matrices.

    Returns:
        np.ndarray: (..., K) float64 in [0, 1], NaN for a class that occurs neither as a label nor
        as a prediction.

    Raises:
        ValueError: ``counts`` is not square or holds no sample.
    """
    counts = _confusion_matrix(counts)
    return _share(2 * _correct(counts), counts.sum(axis=-1) + counts.sum(axis=-2))


def task_scores(labels: np.ndarray,
                predictions: np.ndarray,
                class_names: Sequence[str],
                scores: Optional[np.ndarray] = None) -> TaskScores:
    """Score the predictions of one task.

    Args:
        labels (np.ndarray): (N,) integer class ids.
        predictions (np.ndarray): (N,) integer class ids.
        class_names (Sequence[str]): K names in id order.
        scores (np.ndarray, optional): (N, K) scores of the classes. If all rows are
            probabilities, ECE and negative log likelihood are computed from them.

    Returns:
        TaskScores: the scores.

    Raises:
        TypeError: ids that are not integers.
        ValueError: no sample, unequal lengths, or an id outside [0, K).
    """
    counts = confusion(labels, predictions, len(class_names))
    ece = nll = None
    if scores is not None and not sums_off_one(scores).any():
        ece = expected_calibration_error(reliability_bins(scores, labels))
        nll = negative_log_likelihood(scores, labels)
    return TaskScores(
        war=float(war(counts)),
        uar=float(uar(counts)),
        macro_f1=float(macro_f1(counts)),
        weighted_f1=float(weighted_f1(counts)),
        recall=per_class_recall(counts),
        confusion=counts,
        class_names=tuple(class_names),
        num_samples=int(counts.sum()),
        ece=ece,
        nll=nll)


def scores_from_predictions(
        predictions: Union[str, PathLike, pd.DataFrame],
        label_spaces: Optional[Mapping[str, Sequence[str]]] = None) -> Dict[str, TaskScores]:
    """Score every task of a table of predictions, over all its sources together.

    Args:
        predictions (str | PathLike | pd.DataFrame): a file that ``WARUARMetric`` wrote, or the
            same table in memory; see ``prediction_table``.
        label_spaces (Mapping[str, Sequence[str]], optional): task -> K class names in id order.
            Without it K is the number of scores of the task and the names are those found in
            the table; a class that is neither label nor prediction of any row is called
            ``class_<id>``.

    Returns:
        dict[str, TaskScores]: task -> scores, tasks in alphabetical order.

    Raises:
        TypeError: ids that are not integers.
        ValueError: a missing column, no row, a sample that occurs twice, a missing score, a
            prediction that does not have the highest score, an id outside [0, K), or a task that
            ``label_spaces`` lacks.
    """
    if isinstance(predictions, pd.DataFrame):
        table, origin = predictions, 'the table of predictions'
    else:
        table, origin = read_predictions(predictions), str(predictions)
    check_predictions(table, origin)
    found = {}
    for task, rows in table.groupby('task', sort=True):
        if label_spaces is None:
            names = names_in_table(rows)
        elif task in label_spaces:
            names = label_spaces[task]
        else:
            raise ValueError(f'{origin} holds task {task!r}, label_spaces names only '
                             f'{sorted(label_spaces)}; add its class names there')
        found[task] = task_scores(rows['label'].to_numpy(), rows['prediction'].to_numpy(), names,
                                  task_score_array(rows, len(names), origin))
    return found


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
    if counts.ndim < 2 or counts.shape[-2] != counts.shape[-1]:
        raise ValueError(f'a confusion matrix has shape (K, K), found {counts.shape}')
    if not counts.any(axis=(-2, -1)).all():
        raise ValueError('the confusion matrix holds no sample: there is nothing to score')
    return counts


def _correct(counts: np.ndarray) -> np.ndarray:
    return np.diagonal(counts, axis1=-2, axis2=-1)


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
