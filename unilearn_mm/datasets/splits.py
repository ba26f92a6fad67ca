"""Hold out a part of an annotation list, to select an epoch without looking at the test data."""

import csv
from pathlib import Path
from typing import List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from ..files import replacing
from .annotations import AUDIO, HEADER, AnnotationError, AnnotationRow, read_annotations
from .manifests import copy_face_crops

IDENTITY = 'subject'  # the group column that is taken where a list has it


class HeldOut(NamedTuple):
    """The two lists that :func:`write_hold_out` wrote.

    Attributes:
        train (Path): List of the rows to train on.
        validation (Path): List of the rows that are held out.
        group (str, optional): Group column of which no value is in both; None if the list has no
            identities.
        sizes (tuple[int, int]): Rows of both lists.
        absent_classes (tuple[str, ...]): Labels that do not occur among the held-out rows.
    """
    train: Path
    validation: Path
    group: Optional[str]
    sizes: Tuple[int, int]
    absent_classes: Tuple[str, ...]


def hold_out(rows: Sequence[AnnotationRow], share: float, seed: int,
             group: Optional[str]) -> Tuple[List[AnnotationRow], List[AnnotationRow]]:
    """Split rows into a training and a validation part, in the order of the list.

    One of the ``round(1 / share)`` folds of scikit-learn's ``StratifiedGroupKFold`` (without
    groups: ``StratifiedKFold``) is held out: the classes are as frequent as in the list, as far
    as the groups allow.

    Args:
        rows (Sequence[AnnotationRow]): Labelled rows.
        share (float): Share of the rows to hold out, in (0, 0.5]; 1 / share is rounded.
        seed (int): The same seed and rows give the same parts.
        group (str, optional): Group column of which no value may be in both parts.

    Returns:
        tuple: The rows to train on and the rows that are held out.

    Raises:
        ValueError: If the share is out of range, a row has no label or no value of the group
            column, there are too few groups or rows of each class, or a class would be left
            without a row to train on.
    """
    if not 0 < share <= 0.5:
        raise ValueError(f'the share to hold out must be in (0, 0.5], found {share}')
    folds = round(1 / share)
    labels = [row.label for row in rows]
    groups = None if group is None else [row.groups.get(group) for row in rows]
    for what, values in (('label', labels), (f'value of {group!r}', groups or labels)):
        if not all(values):
            row = next(row for row, value in zip(rows, values) if not value)
            raise ValueError(f'line {row.line}: no {what}, which every row must have to be split')
    if groups is not None and len(set(groups)) < folds:
        raise ValueError(f'{len(set(groups))} values of {group!r} cannot be split into {folds} '
                         f'parts (share {share}); raise the share')
    if groups is None and max(map(labels.count, set(labels))) < folds:
        raise ValueError(f'no class has the {folds} rows that a share of {share} needs; raise the '
                         'share')
    splitter = (StratifiedKFold if groups is None else StratifiedGroupKFold)(
        folds, shuffle=True, random_state=seed)
    # any of the folds: the first one with groups always has the most uneven group
    fold = int(np.random.default_rng(seed).integers(folds))
    train, held_out = list(splitter.split(labels, labels, groups))[fold]
    lost = set(labels) - {labels[index] for index in train}
    if lost:
        raise ValueError(f'no row of the classes {sorted(lost)} would be left to train on; try '
                         'another seed')
    return [rows[index] for index in train], [rows[index] for index in held_out]


def write_hold_out(ann_file: str, media: str, share: float, seed: int, folder: Path,
                   group: Optional[str] = None) -> HeldOut:
    """Split an annotation list into ``train.csv`` and ``validation.csv``, in our format.

    If the manifest of the list says how its faces were cut out, so do those of both parts.

    Args:
        ann_file (str): Annotation list.
        media (str): 'video' or 'image'.
        share (float): As in :func:`hold_out`.
        seed (int): As in :func:`hold_out`.
        folder (Path): Where the two lists go.
        group (str, optional): Group column; 'subject' by default, if the list has it.

    Raises:
        AnnotationError: If the list cannot be read or split as asked for.
    """
    rows = read_annotations(ann_file, media)
    columns = list(rows[0].groups)
    if group is None and IDENTITY in columns:
        group = IDENTITY
    if group is not None and group not in columns:
        raise AnnotationError(f'{ann_file}: no group column {group!r}; the list has '
                              f'{columns or "none"}')
    try:
        train, held_out = hold_out(rows, share, seed, group)
    except ValueError as error:
        raise AnnotationError(f'{ann_file}: {error}') from error
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / 'train.csv', folder / 'validation.csv'
    for path, part in zip(paths, (train, held_out)):
        write_annotations(path, part)
        copy_face_crops(ann_file, str(path))
    absent = {row.label for row in train} - {row.label for row in held_out}
    return HeldOut(*paths, group, (len(train), len(held_out)), tuple(sorted(absent)))


def write_annotations(path: Path, rows: Sequence[AnnotationRow]) -> None:
    """Write rows as a list in our format; it reads back as the same rows.

    Args:
        path (Path): The list; it appears complete or not at all.
        rows (Sequence[AnnotationRow]): At least one, all with the same group columns.
    """
    groups = list(rows[0].groups)
    audio = any(row.audio is not None for row in rows)
    with replacing(path) as aside, open(aside, 'w', newline='', encoding='utf-8') as file:
        # quotes around everything: blanks at the ends of a field are kept
        writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator='\n')
        writer.writerow([*HEADER, *([AUDIO] if audio else []), *groups])
        for row in rows:
            writer.writerow([row.sample_id, row.path, row.label,
                             *([row.audio or ''] if audio else []), *row.groups.values()])
