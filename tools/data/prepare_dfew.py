"""Check DFEW and write its annotation lists: 5 folds, 7 classes, 11,697 clips.

    python tools/data/prepare_dfew.py --root data/DFEW [--folds 1 2] [--media clip_jpg_256]

Read below ROOT:

    EmoLabel_DataSplit/{train,test}(single-labeled)/set_K.csv               the data set's own, or
    EmoLabel_DataSplit/{train,test}(single-labeled)/{train,test}_set_K.csv  those of S4D, or
    annotation/DFEW_set_K_{train,test}.txt                                  those of MMA-DFER
    clip_jpg_256/00001/*.jpg (or 00001.mp4, ...)                            --media
    raw_wav/1.wav                                                           --sound raw_wav

The first two have a header row and the columns video_name,label; the data set numbers the classes
from 1 (MAE-DFER, preprocess/dfew.py), S4D and MMA-DFER from 0. Which it is, is told by the ids
that occur. Written: {train,test}_set_K.csv, .manifest.json and .samples.csv.
"""
from __future__ import annotations

import sys
from pathlib import Path

from preparation.command_line import build_parser, run
from preparation.official import first_that_exists, official_list, read_mma_rows, read_rows
from preparation.samples import VIDEO, PrepareError, Sample, SampleList, as_class_names

from unilearn_mm.datasets.label_spaces import class_names

TASK = 'dfew'
ID_DIGITS = 5  # of a clip's folder name


def read_lists(arguments) -> list[SampleList]:
    """Train and test list of each fold.

    Raises:
        PrepareError: If a list is missing, malformed, or has ids that are not those of one scheme.
    """
    classes = class_names(TASK)
    lists = []
    for fold in arguments.folds:
        for split in ('train', 'test'):
            folder = f'EmoLabel_DataSplit/{split}(single-labeled)'
            path = first_that_exists(arguments.root, f'{folder}/{split}_set_{fold}.csv',
                                     f'{folder}/set_{fold}.csv',
                                     f'annotation/DFEW_set_{fold}_{split}.txt')
            if path.suffix == '.txt':
                rows, first = read_mma_rows(path, classes), 0
            else:
                rows = read_rows(path, VIDEO)
                first = _first_id({row.label for row in rows}, len(classes), path)
                rows = as_class_names(rows, classes, first, path)
            samples = [Sample(name, name, row.label) for row in rows
                       for name in [row.sample_id.zfill(ID_DIGITS)]]
            lists.append(SampleList(
                f'{split}_set_{fold}', TASK, split, VIDEO, arguments.media or 'clip_jpg_256',
                samples, official_list(path, arguments.root), fold,
                notes=[f'class ids of the official list are '
                       f'{first}..{first + len(classes) - 1}']))
    return lists


def _first_id(labels: set[str], num_classes: int, path: Path) -> int:
    lowest, highest = '0', str(num_classes)
    if (lowest in labels) == (highest in labels):
        raise PrepareError(f'{path}: class ids {sorted(labels)} are neither 0..{num_classes - 1} '
                           f'(S4D) nor 1..{num_classes} (DFEW).')
    return 0 if lowest in labels else 1


def main(argv: list[str] | None = None) -> int:
    """Run the command line; see ``command_line.run`` for the exit code."""
    parser = build_parser(__doc__, 'data/DFEW', folds=(1, 2, 3, 4, 5), sound=True)
    return run(parser.parse_args(argv), read_lists)


if __name__ == '__main__':
    sys.exit(main())
