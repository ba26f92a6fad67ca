"""Check AffectNet with 7 classes as S4D uses it, and write its annotation lists.

    python tools/data/prepare_affectnet7.py --root data/AffectNetdataset

Read below ROOT:

    {train,test}_affectnet7_2w.txt     `relative/path label`, 0-based, no header (S4D)
    Manually_Annotated_Images/         faces aligned by OpenFace; --media

The test list has 3,267 rows; the size of the train list is published nowhere that we know.
Written: {train,test}.csv, .manifest.json and .samples.csv.
"""
from __future__ import annotations

import sys

from preparation.command_line import build_parser, run
from preparation.official import first_that_exists, official_list, read_rows
from preparation.samples import IMAGE, SampleList, as_class_names

from unilearn_mm.datasets.label_spaces import class_names

TASK = 'affectnet7'


def read_lists(arguments) -> list[SampleList]:
    """Train and test list.

    Raises:
        PrepareError: If a list is missing or malformed.
    """
    lists = []
    for split in ('train', 'test'):
        path = first_that_exists(arguments.root, f'{split}_affectnet7_2w.txt')
        lists.append(SampleList(
            split, TASK, split, IMAGE, arguments.media or 'Manually_Annotated_Images',
            as_class_names(read_rows(path, IMAGE), class_names(TASK), 0, path),
            official_list(path, arguments.root)))
    return lists


def main(argv: list[str] | None = None) -> int:
    """Run the command line; see ``command_line.run`` for the exit code."""
    return run(build_parser(__doc__, 'data/AffectNetdataset').parse_args(argv), read_lists)


if __name__ == '__main__':
    sys.exit(main())
