"""Check AffectNet with 8 classes in its published layouts, and write its annotation lists.

    python tools/data/prepare_affectnet8.py --root data/AffectNet

Read below ROOT, whichever is there:

    training.csv, validation.csv       subDirectory_filePath,face_x,...,expression,valence,arousal
    Manually_Annotated_Images/         their images; --media
or
    {train,val}_set/annotations/<id>_exp.npy     the smaller release; the arrays of valence,
    {train,val}_set/images/<id>.jpg              arousal and landmarks are not read

Expression ids are 0..10; rows of 8 none, 9 uncertain and 10 no face are left out and counted.
Written: {train,val}.csv, .manifest.json and .samples.csv. Releases
differ in size; --accept-counts takes one that is not 287,651 + 4,000 images. (Neither layout was
checked on the files themselves; the header row of validation.csv may be missing.)
"""
from __future__ import annotations

import hashlib
import sys
from collections import Counter
from pathlib import Path

import numpy as np
from preparation.command_line import build_parser, run
from preparation.official import first_that_exists, official_list, read_table
from preparation.samples import (
    IMAGE,
    OfficialList,
    PrepareError,
    Sample,
    SampleList,
    as_class_names,
)
from tqdm import tqdm

from unilearn_mm.datasets.label_spaces import class_names

TASK = 'affectnet8'
COLUMNS = ['subDirectory_filePath', 'face_x', 'face_y', 'face_width', 'face_height',
           'facial_landmarks', 'expression', 'valence', 'arousal']
NO_CLASS = {'8': 'none', '9': 'uncertain', '10': 'no face'}
SUFFIX = '_exp.npy'


def read_lists(arguments) -> list[SampleList]:
    """Train and validation list.

    Raises:
        PrepareError: If lists are missing or malformed.
    """
    root = arguments.root
    found = first_that_exists(root, 'training.csv', 'train_set/annotations')
    if found.name == 'training.csv':
        parts = [('train', found), ('val', first_that_exists(root, 'validation.csv'))]
        return [_as_list(split, _read_csv(path), arguments.media or 'Manually_Annotated_Images',
                         official_list(path, root), path) for split, path in parts]
    lists = []
    for split in ('train', 'val'):
        folder = first_that_exists(root, f'{split}_set/annotations')
        rows, digest = _read_arrays(folder, f'{split}_set/images')
        official = OfficialList(f'{folder.relative_to(root).as_posix()}/*{SUFFIX}', digest)
        lists.append(_as_list(split, rows, arguments.media or '.', official, folder))
    return lists


def _as_list(split: str, rows: list[Sample], media: str, official: OfficialList,
             where: Path) -> SampleList:
    left_out = Counter(NO_CLASS[row.label] for row in rows if row.label in NO_CLASS)
    rows = [row for row in rows if row.label not in NO_CLASS]
    return SampleList(split, TASK, split, IMAGE, media,
                      as_class_names(rows, class_names(TASK), 0, where), official,
                      left_out=dict(sorted(left_out.items())))


def _read_csv(path: Path) -> list[Sample]:
    with open(path, encoding='utf-8', errors='replace') as file:
        header = file.readline().startswith(COLUMNS[0])  # validation.csv may lack it
    table = read_table(path, COLUMNS, header)
    return [Sample(name, name, label)
            for name, label in zip(table[COLUMNS[0]], table['expression'])]


def _read_arrays(folder: Path, images: str) -> tuple[list[Sample], str]:
    """Rows in the order of the ids, and the SHA-256 of all names and contents."""
    digest = hashlib.sha256()
    rows = []
    paths = sorted(folder.glob(f'*{SUFFIX}'), key=lambda path: (len(path.name), path.name))
    for path in tqdm(paths, desc=f'{images.split("/")[0]} annotations', unit='file'):
        content = path.read_bytes()
        digest.update(f'{path.name}\n'.encode() + content)
        try:
            label = str(int(np.load(path, allow_pickle=False).item()))
        except (ValueError, EOFError, OSError) as error:
            raise PrepareError(f'{path}: expected a NumPy file of one class id: '
                               f'{error}') from error
        name = f'{images}/{path.name[:-len(SUFFIX)]}'
        rows.append(Sample(name, f'{name}.jpg', label))
    if not rows:
        raise PrepareError(f'{folder}: no file *{SUFFIX} there.')
    return rows, digest.hexdigest()


def main(argv: list[str] | None = None) -> int:
    """Run the command line; see ``command_line.run`` for the exit code."""
    return run(build_parser(__doc__, 'data/AffectNet').parse_args(argv), read_lists)


if __name__ == '__main__':
    sys.exit(main())
