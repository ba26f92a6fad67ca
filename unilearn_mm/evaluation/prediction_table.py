"""The table of predictions: one row per sample, in memory or as a CSV or Parquet file.

Columns: ``PREDICTION_COLUMNS``, then ``group_<name>`` for each group column of the annotation
lists (subject, gender, ...; '' where a sample has no value), then ``score_0`` ..
``score_{Kmax-1}``, missing beyond the K classes of the row's task. Rows are sorted by source and
sample_id.
"""
from os import PathLike
from pathlib import Path
from typing import Iterable, List, Sequence, Union

import numpy as np
import pandas as pd

from ..files import replacing

TEXT_COLUMNS = ('source', 'task', 'media', 'sample_id', 'label_name', 'prediction_name')
PREDICTION_COLUMNS = ('source', 'task', 'media', 'sample_id', 'label', 'prediction', 'label_name',
                      'prediction_name')
GROUP_PREFIX, SCORE_PREFIX = 'group_', 'score_'
SUFFIXES = ('.csv', '.parquet')


def prediction_suffix(path: Union[str, PathLike]) -> str:
    """The suffix of a prediction file, which selects its format.

    Raises:
        ValueError: if it is neither '.csv' nor '.parquet'.
    """
    suffix = Path(path).suffix
    if suffix not in SUFFIXES:
        raise ValueError(f'prediction file {str(path)!r} ends with {suffix!r}, expected one of '
                         f'{", ".join(SUFFIXES)}')
    return suffix


def read_predictions(path: Union[str, PathLike]) -> pd.DataFrame:
    """Read a file that :func:`write_predictions` wrote; every score comes back bit for bit.

    Raises:
        ValueError: if its suffix is unknown.
    """
    if prediction_suffix(path) == '.parquet':
        return pd.read_parquet(path)
    header = pd.read_csv(path, nrows=0).columns
    groups = [name for name in header if name.startswith(GROUP_PREFIX)]
    return pd.read_csv(
        path,
        dtype=dict.fromkeys((*TEXT_COLUMNS, *groups), str),
        keep_default_na=False,
        na_values={name: [''] for name in score_columns(header)},
        float_precision='round_trip')


def write_predictions(table: pd.DataFrame, path: Union[str, PathLike]) -> None:
    """Write a table of predictions; an existing file is replaced when the new one is complete.

    Args:
        table (pd.DataFrame): see the module.
        path (str | PathLike): CSV or Parquet by its suffix; folders are made.

    Raises:
        ValueError: if the suffix is unknown.
    """
    path = Path(path)
    write = table.to_csv if prediction_suffix(path) == '.csv' else table.to_parquet
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as aside:
        write(aside, index=False)


def score_columns(columns: Iterable[str]) -> List[str]:
    """The columns among them that hold scores, in their order."""
    return [name for name in columns if name.startswith(SCORE_PREFIX)]


def group_names(columns: Iterable[str]) -> List[str]:
    """Names of the group columns among them, without their prefix."""
    return [name[len(GROUP_PREFIX):] for name in columns if name.startswith(GROUP_PREFIX)]


def check_predictions(table: pd.DataFrame, origin: str) -> None:
    """Check the columns of a table, and that no sample occurs twice.

    Args:
        table (pd.DataFrame): see the module.
        origin (str): what errors call it.

    Raises:
        ValueError: a missing column, no row, or a sample that occurs twice.
    """
    missing = [name for name in (*PREDICTION_COLUMNS, f'{SCORE_PREFIX}0') if name not in table]
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


def task_score_array(rows: pd.DataFrame, num_classes: int, origin: str) -> np.ndarray:
    """Scores of the rows of one task.

    Args:
        rows (pd.DataFrame): all with the same task.
        num_classes (int): K.
        origin (str): what errors call the table.

    Returns:
        np.ndarray: (N, K) float64.

    Raises:
        ValueError: a missing score, a score beyond the K classes, or a prediction that is not the
            first class of the highest score.
    """
    expected = [f'{SCORE_PREFIX}{index}' for index in range(num_classes)]
    beyond = [name for name in score_columns(rows.columns) if name not in expected]
    scores = rows.reindex(columns=expected).to_numpy(np.float64)
    wrong = np.isnan(scores).any(axis=1) | rows[beyond].notna().any(axis=1).to_numpy()
    if wrong.any():
        first = rows.iloc[int(np.argmax(wrong))]
        raise ValueError(f'{origin}: sample {first.sample_id!r} of source {first.source!r} lacks '
                         f'scores or has too many, expected the {num_classes} of task '
                         f'{first.task!r}: {expected[0]} .. {expected[-1]}')
    wrong = scores.argmax(axis=1) != rows['prediction'].to_numpy()
    if wrong.any():
        place = int(np.argmax(wrong))
        first = rows.iloc[place]
        raise ValueError(f'{origin}: the prediction of sample {first.sample_id!r} of source '
                         f'{first.source!r} is {first.prediction}, but the highest score is that '
                         f'of class {scores[place].argmax()}; was the file edited?')
    return scores


def names_in_table(rows: pd.DataFrame) -> Sequence[str]:
    """Class names of one task as far as the rows tell them, in id order.

    A class that is neither label nor prediction of any row is called ``class_<id>``.
    """
    num_classes = int(rows[score_columns(rows.columns)].notna().any().sum())
    found = {**dict(zip(rows['prediction'], rows['prediction_name'])),
             **dict(zip(rows['label'], rows['label_name']))}
    return [found.get(index, f'class_{index}') for index in range(num_classes)]
