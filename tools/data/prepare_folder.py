"""Check the videos and images of any folder and write lists of them.

    python tools/data/prepare_folder.py --root my_data                           # no labels
    python tools/data/prepare_folder.py --root my_data --label-from-folder dfew
    python tools/data/prepare_folder.py --root my_data --label-from-folder my_data/classes.txt

All video files (mp4, avi, mov, mkv, webm) below ROOT/MEDIA go to videos.csv, all image files
(jpg, jpeg, png, bmp) to images.csv; MEDIA is ROOT itself unless given. With --label-from-folder
the folder in which a file lies names its class: a class of that task, or a word such as Happy; or
one of the class names in a file of your own, which has one in each line. Files of other types are
left out and counted. A folder of frames is not one clip here: the images in it are images. Written:
videos.csv, images.csv, .manifest.json and .samples.csv.
"""
from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path
from typing import Callable

from preparation.command_line import build_parser, run
from preparation.official import class_of_word
from preparation.samples import IMAGE, UNLABELLED, VIDEO, PrepareError, Sample, SampleList
from tqdm import tqdm

from unilearn_mm.datasets.label_spaces import LABEL_SPACES, own_classes, read_classes
from unilearn_mm.media import IMAGE_SUFFIXES, VIDEO_SUFFIXES

MEDIA = {**dict.fromkeys(VIDEO_SUFFIXES, VIDEO), **dict.fromkeys(IMAGE_SUFFIXES, IMAGE)}


def read_lists(arguments) -> list[SampleList]:
    """One list of videos and one of images, as far as there are some.

    Raises:
        PrepareError: If there is neither, or a folder names no class.
    """
    folder = arguments.root / (arguments.media or '.')
    out = (arguments.out or arguments.root / 'prepared').resolve()
    label_of = labelling(arguments.label_from_folder)
    parts: dict[str, list[Sample]] = {VIDEO: [], IMAGE: []}
    left_out: Counter = Counter()
    for above, folders, files in tqdm(os.walk(folder), desc='listing', unit='folder'):
        folders[:] = sorted(name for name in folders if Path(above, name).resolve() != out)
        for name in sorted(files):
            path = Path(above, name).relative_to(folder)
            media = MEDIA.get(path.suffix.lower())
            if media is None:
                left_out[path.suffix.lower() or 'no suffix'] += 1
                continue
            parts[media].append(Sample(path.as_posix(), path.as_posix(),
                                       label_of(Path(above).name, str(path))))
    if not any(parts.values()):
        raise PrepareError(f'{folder}: no file with a suffix of {", ".join(MEDIA)} there.')
    task = arguments.label_from_folder or UNLABELLED
    return [SampleList(f'{media}s', task, 'all', media, arguments.media or '.', samples,
                       left_out=dict(sorted(left_out.items())))
            for media, samples in parts.items() if samples]


def labelling(target: str | None) -> Callable[[str, str], str]:
    """What gives the label for the name of a folder and the path of a file in it.

    Args:
        target (str, optional): Task, or file of class names; without one there are no labels.

    Raises:
        PrepareError: If it is neither, or, when called, if a folder names no class.
    """
    if target is None:
        return lambda folder, path: ''
    known = [task for task, space in LABEL_SPACES.items() if space.classes]
    if target in known:
        return lambda folder, path: class_of_word(folder, target, path)
    try:
        classes = own_classes(target, read_classes(target))
    except ValueError as error:
        raise PrepareError(f'{error}. --label-from-folder takes a file of class names or one of '
                           f'{", ".join(known)}.') from error

    def own_label(folder: str, path: str) -> str:
        if folder not in classes:
            raise PrepareError(f'{path}: {folder!r} is no class of {target}; expected one of '
                               f'{", ".join(classes)}.')
        return folder
    return own_label


def main(argv: list[str] | None = None) -> int:
    """Run the command line; see ``command_line.run`` for the exit code."""
    parser = build_parser(__doc__, root=None)
    parser.add_argument('--label-from-folder', metavar='TASK|FILE',
                        help='task, or file of class names, that the names of the folders are of')
    return run(parser.parse_args(argv), read_lists)


if __name__ == '__main__':
    sys.exit(main())
