"""Check FERV39k and write its annotation lists: one split, 7 classes, 38,935 clips, 22 scenes.

    python tools/data/prepare_ferv39k.py --root data/FERV39K [--media 2_ClipsforFaceCrop]

Read below ROOT:

    4_setups/All_scenes/{train,test}_All.csv            the data set's own, `path Word`, or
    Annotation/{train,test}.csv                         those of S4D, `path,id` with a header
    2_ClipsforFaceCrop/<Scene>/<Emotion>/<clip>/*.jpg   --media

A path names its emotion; a row whose label says something else is an error. Written: {train,test}
.csv with the group column scene, .manifest.json and .samples.csv. (Format of the data set's own
lists: MAE-DFER, preprocess/ferv39k.py; not checked on the files themselves.)
"""
from __future__ import annotations

import sys

from preparation.command_line import build_parser, run
from preparation.official import (
    class_of_word,
    first_that_exists,
    official_list,
    read_rows,
    read_word_rows,
)
from preparation.samples import VIDEO, PrepareError, SampleList, as_class_names

from unilearn_mm.datasets.label_spaces import class_names

TASK = 'ferv39k'


def read_lists(arguments) -> list[SampleList]:
    """Train and test list.

    Raises:
        PrepareError: If a list is missing or malformed, or a label contradicts its path.
    """
    lists = []
    for split in ('train', 'test'):
        path = first_that_exists(arguments.root, f'Annotation/{split}.csv',
                                 f'4_setups/All_scenes/{split}_All.csv')
        if path.parent.name == 'Annotation':
            rows = as_class_names(read_rows(path, VIDEO), class_names(TASK), 0, path)
        else:
            rows = read_word_rows(path, TASK)
        samples = []
        for row in rows:
            parts = row.path.split('/')
            where = f'{path}: {row.path}'
            if len(parts) != 3 or class_of_word(parts[1], TASK, where) != row.label:
                raise PrepareError(f'{path}: {row.path!r} has the label {row.label!r}; expected '
                                   'Scene/Emotion/clip and the label of its emotion.')
            samples.append(row._replace(groups=(parts[0],)))
        lists.append(SampleList(
            split, TASK, split, VIDEO, arguments.media or '2_ClipsforFaceCrop', samples,
            official_list(path, arguments.root), group_columns=('scene',)))
    return lists


def main(argv: list[str] | None = None) -> int:
    """Run the command line; see ``command_line.run`` for the exit code."""
    return run(build_parser(__doc__, 'data/FERV39K').parse_args(argv), read_lists)


if __name__ == '__main__':
    sys.exit(main())
