"""The table of a prediction: one row for each window of each face, and for each stretch without.

Version 1 of its columns, in this order:

=================== ======= ======================================================================
``input``           str     the file, stream or camera as it was named
``face``            int     number of the face, by first appearance; -1 in rows without a face
``start_s, end_s``  float   what the row is about, in seconds of the input
``frames``          int     frames that were scored; 0 where nothing was
``task``            str     the label space, e.g. dfew
``label``           str     the class of the highest probability, '' if the status is not 'ok'
``confidence``      float   its probability (calibrated, if the checkpoint has a temperature)
``p_<class>``       float   probability of each class of the task
``x1, y1, x2, y2``  float   box of the face in pixels of the input, median over the row's frames
``detector_score``  float   mean of the detector over the frames in which it found the face
``sound``           str     only of models that hear: 'ok', 'silent', 'partly' (a tenth or more of
                            the row has none), 'none' (no track, or it ended before) or 'damaged'
``status``          str     'ok', 'not confident' (it abstains: probabilities, but no label),
                            'small' or 'few frames' (too little of a face to be scored), 'no
                            face', 'sound alone' (no face: the label is of the sound, if that
                            was asked for), 'failed' (the input cannot be read; the reason stands
                            in the log, or in the file beside the table)
=================== ======= ======================================================================

Numbers that a row has not are missing: empty in CSV, null in Parquet and JSON lines.
"""

from pathlib import Path
from typing import Any, Dict, List, Sequence

import pandas as pd

from ..files import replacing

SCHEMA_VERSION = 1
OK, NOT_CONFIDENT, SMALL, FEW_FRAMES = 'ok', 'not confident', 'small', 'few frames'
NO_FACE, SOUND_ALONE, FAILED = 'no face', 'sound alone', 'failed'
SOUND = 'sound'
PROBABILITY_PREFIX = 'p_'
SUFFIXES = ('.csv', '.parquet', '.jsonl')
_TYPES_BEFORE = dict(input='str', face='int64', start_s='float64', end_s='float64',
                     frames='int64', task='str', label='str', confidence='float64')
_TYPES_AFTER = dict(x1='float64', y1='float64', x2='float64', y2='float64',
                    detector_score='float64', status='str')


def prediction_table(rows: Sequence[Dict[str, Any]], classes: Sequence[str],
                     with_sound: bool = False) -> pd.DataFrame:
    """Rows as a table.

    Args:
        rows (Sequence[dict]): Values by column; numbers may be left out.
        classes (Sequence[str]): Class names of the task, in the order of its ids.
        with_sound (bool): Whether there is a column ``sound``.

    Returns:
        pd.DataFrame: With the columns and types of the module, sorted by start and face.

    Raises:
        KeyError: If a row has another column.
    """
    types = _types([f'{PROBABILITY_PREFIX}{name}' for name in classes], with_sound)
    strange = {name for row in rows for name in row} - set(types)
    if strange:
        raise KeyError(f'a row of predictions has no columns {sorted(strange)}; it has '
                       f'{list(types)}')
    rows = [{SOUND: '', **row} for row in rows] if with_sound else list(rows)
    table = pd.DataFrame(rows, columns=list(types)).astype(types)
    return table.sort_values(['start_s', 'face'], kind='stable', ignore_index=True)


def table_suffix(path: str) -> str:
    """The suffix of a table, which selects its format.

    Raises:
        ValueError: If it is none of '.csv', '.parquet' and '.jsonl'.
    """
    suffix = Path(path).suffix
    if suffix not in SUFFIXES:
        raise ValueError(f'{path}: a table of predictions ends with {suffix!r}, expected one of '
                         f'{", ".join(SUFFIXES)}')
    return suffix


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table; whoever reads it finds the old one or the new one, whole.

    Args:
        table (pd.DataFrame): See :func:`prediction_table`.
        path (Path): Its suffix selects the format.

    Raises:
        ValueError: If the suffix is unknown.
        OSError: If it cannot be written.
    """
    suffix = table_suffix(str(path))
    with replacing(path) as aside:
        if suffix == '.csv':
            table.to_csv(aside, index=False)
        elif suffix == '.parquet':
            table.to_parquet(aside, index=False)
        else:
            table.to_json(aside, orient='records', lines=True, double_precision=15,
                          force_ascii=False)


def read_table(path: Path) -> pd.DataFrame:
    """Read what :func:`write_table` wrote (JSON lines: to 15 digits; the others: every bit).

    Raises:
        ValueError: If the suffix is unknown.
    """
    suffix = table_suffix(str(path))
    if suffix == '.parquet':
        return pd.read_parquet(path)
    if suffix == '.csv':
        names = pd.read_csv(path, nrows=0).columns
        types = _types([name for name in names if name.startswith(PROBABILITY_PREFIX)],
                       SOUND in names)
        text = [name for name, kind in types.items() if kind == 'str']
        return pd.read_csv(
            path, dtype=types, keep_default_na=False, float_precision='round_trip',
            na_values={name: [''] for name in types if name not in text})
    table = pd.read_json(path, orient='records', lines=True, dtype=False, convert_dates=False)
    return table.astype(_types([name for name in table if name.startswith(PROBABILITY_PREFIX)],
                               SOUND in table))


def classes_of(table: pd.DataFrame) -> List[str]:
    """Class names of a table, in the order of their ids."""
    return [name[len(PROBABILITY_PREFIX):] for name in table
            if name.startswith(PROBABILITY_PREFIX)]


def _types(probabilities: Sequence[str], with_sound: bool) -> Dict[str, str]:
    after = dict(_TYPES_AFTER)
    if with_sound:
        after = {**{name: after.pop(name) for name in list(after)[:-1]}, SOUND: 'str', **after}
    return {**_TYPES_BEFORE, **dict.fromkeys(probabilities, 'float64'), **after}
