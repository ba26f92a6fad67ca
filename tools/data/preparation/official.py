"""Reading the files that data sets publish."""
from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pandas as pd

from unilearn_mm.datasets.annotations import AnnotationError, read_annotations
from unilearn_mm.datasets.label_spaces import class_names

from .samples import IMAGE, OfficialList, PrepareError, Sample

# the words of the data sets' own lists and folders, in lower case
WORDS = dict(happy='happiness', sad='sadness', angry='anger', fearful='fear', disgusted='disgust',
             surprised='surprise')

MMA_ROW = re.compile(r'(?:.*/)?(?P<name>[^/]+) [0-9]+ (?P<id>[0-9]{1,2})')


def first_that_exists(root: Path, *candidates: str) -> Path:
    """The first of the candidates, relative to the root, that exists.

    Raises:
        PrepareError: If none does.
    """
    for candidate in candidates:
        if (root / candidate).exists():
            return root / candidate
    raise PrepareError(f'{root}: expected {" or ".join(candidates)} there; check --root.')


def official_list(path: Path, root: Path) -> OfficialList:
    """Path and SHA-256 of a published file."""
    return OfficialList(path.relative_to(root).as_posix(),
                        hashlib.sha256(path.read_bytes()).hexdigest())


def read_rows(path: Path, media: str) -> list[Sample]:
    """Rows of a list in one of the formats that the data sets of the package read.

    Raises:
        PrepareError: If the list cannot be parsed.
    """
    try:
        rows = read_annotations(str(path), media)
    except AnnotationError as error:
        raise PrepareError(str(error)) from error
    return [Sample(row.sample_id, row.path, row.label) for row in rows]


def read_word_rows(path: Path, task: str) -> list[Sample]:
    """Rows ``name Word`` without a header, the emotion as a word.

    Raises:
        PrepareError: If the list cannot be parsed or a word is no class of the task.
    """
    return [row._replace(label=class_of_word(row.label, task, f'{path}: {row.sample_id}'))
            for row in read_rows(path, IMAGE)]


def read_mma_rows(path: Path, classes: tuple[str, ...]) -> list[Sample]:
    """Rows ``FRAME_FOLDER NUM_FRAMES ID`` without a header, as MMA-DFER has them.

    Args:
        path (Path): The list.
        classes (tuple[str, ...]): Class names in the order of its ids, from 0.

    Returns:
        list[Sample]: Named after the last folder of their paths, which are those of another
        machine. The numbers of frames are left out: the clips are counted themselves.

    Raises:
        PrepareError: If a row is none.
    """
    samples = []
    for number, line in enumerate(path.read_text(encoding='utf-8').splitlines(), start=1):
        found = MMA_ROW.fullmatch(line.rstrip())
        if not found or int(found['id']) >= len(classes):
            raise PrepareError(f'{path}, line {number}: {line[:80]!r} is no row FRAME_FOLDER '
                               f'NUM_FRAMES ID with an id of 0..{len(classes) - 1}.')
        samples.append(Sample(found['name'], found['name'], classes[int(found['id'])]))
    return samples


def class_of_word(word: str, task: str, where: str) -> str:
    """Class name of the task for a word such as 'Happy'.

    Raises:
        PrepareError: If it is none.
    """
    name = WORDS.get(word.lower(), word.lower())
    if name not in class_names(task):
        raise PrepareError(f'{where}: {word!r} is no class of {task!r}; expected one of '
                           f'{", ".join(class_names(task))}.')
    return name


def read_table(path: Path, columns: list[str], header: bool) -> pd.DataFrame:
    """Text columns of a CSV.

    Args:
        path (Path): The file.
        columns (list[str]): Expected names of all columns, in order.
        header (bool): Whether the names stand in the first row.

    Raises:
        PrepareError: If the file is malformed or has other columns.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, header=0 if header else None)
    except (OSError, ValueError) as error:
        raise PrepareError(f'{path}: cannot be read as a CSV: {error}') from error
    if table.isna().any(axis=None) or not isinstance(table.index, pd.RangeIndex):
        raise PrepareError(f'{path}: rows of fewer or more columns than {",".join(columns)}.')
    found = [name.strip() for name in table.columns] if header else columns
    if len(table.columns) != len(columns) or found != columns:
        raise PrepareError(f'{path}: found the columns {list(table.columns)}, expected {columns}.')
    table.columns = columns
    return table
