"""Check RAF-DB (basic emotions) and write its annotation lists: 7 classes, 12,271 / 3,068 images.

    python tools/data/prepare_rafdb.py --root data/RAF-DB/basic [--media Image/aligned]

Read below ROOT:

    EmoLabel/list_patition_label.txt      `train_00001.jpg 5`, classes 1..7
    Image/aligned/train_00001_aligned.jpg --media

Written: {train,test}.csv, .manifest.json and .samples.csv. (Layout: MAE-SFER and POSTER; not
checked on the files themselves.)
"""
from __future__ import annotations

import sys
from pathlib import PurePosixPath

from preparation.command_line import build_parser, run
from preparation.official import first_that_exists, official_list, read_rows
from preparation.samples import IMAGE, PrepareError, Sample, SampleList, as_class_names

from unilearn_mm.datasets.label_spaces import class_names

TASK = 'rafdb'
SPLITS = ('train', 'test')


def read_lists(arguments) -> list[SampleList]:
    """Train and test list.

    Raises:
        PrepareError: If the list is missing or malformed, or a name tells no split.
    """
    path = first_that_exists(arguments.root, 'EmoLabel/list_patition_label.txt')
    rows = as_class_names(read_rows(path, IMAGE), class_names(TASK), 1, path)
    parts: dict[str, list[Sample]] = {split: [] for split in SPLITS}
    for row in rows:
        split = row.path.split('_')[0]
        if split not in parts:
            raise PrepareError(f'{path}: {row.path!r} begins neither with train_ nor test_.')
        stem = PurePosixPath(row.path).stem
        parts[split].append(Sample(stem, f'{stem}_aligned.jpg', row.label))
    return [SampleList(split, TASK, split, IMAGE, arguments.media or 'Image/aligned', samples,
                       official_list(path, arguments.root),
                       notes=['class ids of the official list are 1..7'])
            for split, samples in parts.items()]


def main(argv: list[str] | None = None) -> int:
    """Run the command line; see ``command_line.run`` for the exit code."""
    return run(build_parser(__doc__, 'data/RAF-DB/basic').parse_args(argv), read_lists)


if __name__ == '__main__':
    sys.exit(main())
