"""Check FERPlus and write its annotation lists: 8 classes, labels by majority vote.

    python tools/data/prepare_ferplus.py --root data/FERPlus [--media data]

Read below ROOT:

    fer2013new.csv                     Usage,Image name,neutral,...,contempt,unknown,NF: 10 votes
    data/FER2013Train/fer0000000.png   --media; FER2013Valid and FER2013Test likewise, as written
                                       by FERPlus, src/generate_training_data.py

The label is the majority as published (FERPlus, src/ferplus.py, mode majority): votes that stand
alone in their column are dropped, and the class with more than half of the remaining ones wins.
Images without such a majority, or where it is unknown or not a face, are left out and counted, and
so are rows without an image name. Usage Training, PublicTest and PrivateTest become train, val and
test: 28,709, 3,589 and 3,589 rows with those left out. Written: {train,val,test}.csv,
.manifest.json and .samples.csv.
"""
from __future__ import annotations

import sys
from collections import Counter

import numpy as np
from preparation.command_line import build_parser, run
from preparation.official import first_that_exists, official_list, read_table
from preparation.samples import IMAGE, PrepareError, Sample, SampleList

from unilearn_mm.datasets.label_spaces import class_names

TASK = 'ferplus'
NO_CLASS = ('unknown', 'NF')
NO_MAJORITY, NO_NAME = 'no majority', 'no image name'
SPLITS = dict(Training=('train', 'FER2013Train'), PublicTest=('val', 'FER2013Valid'),
              PrivateTest=('test', 'FER2013Test'))


def majority(votes: np.ndarray) -> np.ndarray:
    """Column that won each row, -1 where none did.

    Args:
        votes (ndarray): (N, 10) counts.

    Returns:
        ndarray: (N,) int64.
    """
    votes = np.where(votes > 1, votes, 0)
    winner = votes.argmax(axis=1)
    return np.where(votes.max(axis=1) > 0.5 * votes.sum(axis=1), winner, -1)


def read_lists(arguments) -> list[SampleList]:
    """Train, validation and test list.

    Raises:
        PrepareError: If the list is missing or malformed.
    """
    path = first_that_exists(arguments.root, 'fer2013new.csv')
    columns = [*class_names(TASK), *NO_CLASS]
    table = read_table(path, ['Usage', 'Image name', *columns], header=True)
    votes = table[columns]
    wrong = ~(votes.map(str.isdecimal).all(axis=1) & table['Usage'].isin(SPLITS))
    if wrong.any():
        row = wrong.idxmax()
        raise PrepareError(f'{path}, row {row + 1}: found {",".join(table.loc[row])!r}, expected '
                           f'one of {", ".join(SPLITS)}, an image name and 10 counts.')
    winners = majority(votes.to_numpy().astype(int))
    parts: dict[str, list[Sample]] = {usage: [] for usage in SPLITS}
    left_out: dict[str, Counter] = {usage: Counter() for usage in SPLITS}
    for usage, name, winner in zip(table['Usage'], table['Image name'].str.strip(), winners):
        label = columns[winner] if winner >= 0 else NO_MAJORITY
        if not name or label in (NO_MAJORITY, *NO_CLASS):
            left_out[usage][label if name else NO_NAME] += 1
            continue
        image = f'{SPLITS[usage][1]}/{name}'
        parts[usage].append(Sample(image, image, label))
    return [SampleList(split, TASK, split, IMAGE, arguments.media or 'data', parts[usage],
                       official_list(path, arguments.root),
                       left_out=dict(sorted(left_out[usage].items())),
                       notes=['labels by majority vote, single votes dropped'])
            for usage, (split, _) in SPLITS.items()]


def main(argv: list[str] | None = None) -> int:
    """Run the command line; see ``command_line.run`` for the exit code."""
    return run(build_parser(__doc__, 'data/FERPlus').parse_args(argv), read_lists)


if __name__ == '__main__':
    sys.exit(main())
