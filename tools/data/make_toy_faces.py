"""Make a toy data set of cartoon faces: clips in DFEW's layout, images in AffectNet's.

The real data sets need signed agreements; this set stands in for them in tests, examples and the
quickstart. Faces differ in identity, hair, glasses, pose, light, occlusion, background and noise;
the seven expressions are combinations of facial action units. Clips rise from near neutral to an
apex and fall back; identities are disjoint between splits and between clips and images. The same
arguments give the same bytes, for any number of workers.

    python tools/data/make_toy_faces.py                       # writes data/toy
    python tools/data/make_toy_faces.py --out /tmp/toy --seed 1 --nuisance 0.5
    python tools/data/make_toy_faces.py --out data/toy_voice --voice
    python tools/data/make_toy_faces.py --preview sheet.png   # only a contact sheet

Written under OUT:

    toy_video/clips/00001.mp4, or toy_video/clips/00001/00001.jpg, 00002.jpg, ...
    toy_video/train.csv, test.csv    video_name,label        (0-based, DFEW's order)
    toy_video/train_noisy.csv        train.csv with three in ten labels wrong
    toy_video/sound/00001.wav        with --voice
    toy_image/images/00001.jpg
    toy_image/train.txt, test.txt    relative/path label     (0-based, AffectNet's order)
    samples.csv                      one row per sample: class, identity, apex frame (counted
                                     from 0; -1 in neutral clips), peak intensity, nuisance
    manifest.json                    arguments, counts, SHA-256 of the annotation files
"""
from __future__ import annotations

import argparse
import sys
import time
from dataclasses import fields
from pathlib import Path

from toy_faces.dataset import make_toy_set
from toy_faces.preview import write_preview
from toy_faces.samples import Settings, ToySetError

SMALLEST_SIZE = 32  # pixels; below it eyes and lips are no longer drawn apart
# Of all even widths from 32 to 258 px, decord 0.6.0 returns these with four channels, not three.
MISREAD_SIZES = (48, 72)


def build_parser() -> argparse.ArgumentParser:
    """The command line; every field of ``Settings`` is a flag of the same name."""
    default = Settings()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('--out', type=Path, default=Path('data/toy'), help='folder to write (%(default)s)')
    add('--preview', type=Path, metavar='FILE.png',
        help='write only a contact sheet to this file, and no data')
    add('--overwrite', action='store_true',
        help='delete what is in OUT even if it is no toy set')
    add('--workers', type=int, default=2,
        help='processes; they do not change the result (%(default)s)')
    add('--size', type=int, default=default.size, help='side of the pictures, px (%(default)s)')
    add('--seed', type=int, default=default.seed, help='random seed, 0 or more (%(default)s)')
    add('--nuisance', type=float, default=default.nuisance,
        help='factor on all ranges of pose, light, occlusion, background, noise and JPEG '
             'quality; 0 means none (%(default)s)')
    for source, noun in (('video', 'clips'), ('image', 'images')):
        for split in ('train', 'test'):
            name = f'{source}_{split}'
            add(f'--{source}-{split}', type=int, default=getattr(default, name),
                help=f'number of {split} {noun} (%(default)s)')
            add(f'--{source}-{split}-identities', type=int,
                default=getattr(default, f'{name}_identities'),
                help=f'people in the {split} {noun} (%(default)s)')
    add('--frame-folder-share', type=float, default=default.frame_folder_share,
        help='share of the clips stored as folders of JPEG frames (%(default)s)')
    add('--class-imbalance', type=float, default=default.class_imbalance,
        help='how uneven the classes of the train clips are: 0 balanced, 1 disgust at 0.6 and '
             'fear at 0.8 of the mean (%(default)s)')
    add('--voice', action='store_true',
        help='the clips have sound, a voice in the manner of the expression; fear and surprise are '
             'told apart only by ear, sad and neutral or angry and disgust only by eye')
    return parser


def check(arguments: argparse.Namespace) -> None:
    """Raise ``ToySetError`` for the first argument that is out of its range."""
    limits = {'size': (SMALLEST_SIZE, 1024), 'seed': (0, 2**63 - 1), 'nuisance': (0, 5),
              'workers': (1, 256), 'frame_folder_share': (0, 1), 'class_imbalance': (0, 1)}
    for part in ('video_train', 'video_test', 'image_train', 'image_test'):
        limits[part] = (1, 99999)
        limits[f'{part}_identities'] = (1, 9999)
    for name, (low, high) in limits.items():
        value = getattr(arguments, name)
        if not low <= value <= high:
            raise ToySetError(f'--{name.replace("_", "-")} is {value}: expected {low} to {high}.')
    if arguments.size % 2:
        raise ToySetError(f'--size is {arguments.size}: expected an even number, because mp4 '
                          f'video needs one. Use {arguments.size + 1}.')
    if arguments.size in MISREAD_SIZES:
        raise ToySetError(f'--size is {arguments.size}: decord 0.6 misreads mp4 video of this '
                          f'width (four channels). Use {arguments.size - 8} or '
                          f'{arguments.size + 8}.')


def main(argv: list[str] | None = None) -> int:
    """Run the command line; 0 on success, 2 after an error that the user can solve."""
    arguments = build_parser().parse_args(argv)
    settings = Settings(**{part.name: getattr(arguments, part.name) for part in fields(Settings)})
    try:
        check(arguments)
        if arguments.preview is not None:
            write_preview(arguments.preview, settings)
            print(f'wrote the contact sheet {arguments.preview}')
            return 0
        started = time.perf_counter()
        made = make_toy_set(arguments.out, settings, arguments.workers, arguments.overwrite)
    except ToySetError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    if made:
        print(f'wrote {arguments.out} in {time.perf_counter() - started:.0f} s')
    else:
        print(f'{arguments.out} already holds this toy set: nothing to do')
    return 0


if __name__ == '__main__':
    sys.exit(main())
