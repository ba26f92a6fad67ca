"""Check MAFW and write its annotation lists: 5 folds, 11 single classes, 9,172 clips.

    python tools/data/prepare_mafw.py --root data/MAFW [--folds 1 2] [--media FOLDER]

Read below ROOT:

    Train & Test Set/single/no_caption/set_K/{train,test}.txt   the data set's own, no header:
                                                                `02820.mp4 anger`, or
    anno/single/no_caption/set_K/{train,test}.csv               those of S4D: `video_name,labels`,
                                                                or
    annotation/MAFW_set_K_{train,test}_faces.txt                those of MMA-DFER
    frames_crop_align_224/02820/*.png (or 02820.mp4, ...)       --media
    clips/02820.mp4 (or clips_wav/02820.wav, ...)               --sound clips; some have no sound

Written: {train,test}_set_K.csv, .manifest.json and .samples.csv. (Format of the data set's own
lists: MAE-DFER, preprocess/mafw.py; not checked on the files themselves.)
"""
from __future__ import annotations

import sys
from pathlib import PurePosixPath

from preparation.command_line import build_parser, run
from preparation.official import (
    first_that_exists,
    official_list,
    read_mma_rows,
    read_rows,
    read_word_rows,
)
from preparation.samples import VIDEO, Sample, SampleList, as_class_names

from unilearn_mm.datasets.label_spaces import class_names

TASK = 'mafw'
# the order of MMA-DFER's ids; that of S4D and S2D is alphabetical
MMA_ORDER = ('happiness', 'sadness', 'neutral', 'anger', 'surprise', 'disgust', 'fear', 'contempt',
             'anxiety', 'helplessness', 'disappointment')


def read_lists(arguments) -> list[SampleList]:
    """Train and test list of each fold.

    Raises:
        PrepareError: If a list is missing or malformed.
    """
    lists = []
    for fold in arguments.folds:
        for split in ('train', 'test'):
            path = first_that_exists(
                arguments.root, f'anno/single/no_caption/set_{fold}/{split}.csv',
                f'Train & Test Set/single/no_caption/set_{fold}/{split}.txt',
                f'annotation/MAFW_set_{fold}_{split}_faces.txt')
            if path.name.endswith('_faces.txt'):
                rows = read_mma_rows(path, MMA_ORDER)
            elif path.suffix == '.csv':
                rows = as_class_names(read_rows(path, VIDEO), class_names(TASK), 0, path)
            else:
                rows = read_word_rows(path, TASK)
            samples = [Sample(name, name, row.label) for row in rows
                       for name in [str(PurePosixPath(row.path).with_suffix(''))]]
            lists.append(SampleList(
                f'{split}_set_{fold}', TASK, split, VIDEO,
                arguments.media or 'frames_crop_align_224', samples,
                official_list(path, arguments.root), fold))
    return lists


def main(argv: list[str] | None = None) -> int:
    """Run the command line; see ``command_line.run`` for the exit code."""
    parser = build_parser(__doc__, 'data/MAFW', folds=(1, 2, 3, 4, 5), sound=True)
    return run(parser.parse_args(argv), read_lists)


if __name__ == '__main__':
    sys.exit(main())
