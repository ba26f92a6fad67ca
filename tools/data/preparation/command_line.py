"""What all tools prepare_*.py do: arguments, counts, screening, files, a table at the end."""
from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Callable

from rich.console import Console
from rich.table import Table

from .manifest import write_list
from .published import differences
from .samples import PrepareError, SampleList
from .screening import screen
from .sound import find_sound

NAMES_SHOWN = 5  # bad and missing samples of a list that are shown; the manifest has them all


def build_parser(description: str, root: str | None, folds: tuple[int, ...] = (),
                 sound: bool = False) -> argparse.ArgumentParser:
    """The arguments that all tools share.

    Args:
        description (str): Docstring of the tool.
        root (str, optional): Default of ``--root``; without one it must be given.
        folds (tuple[int, ...]): Folds of the data set, if it has some.
        sound (bool): Whether the clips have sound.
    """
    parser = argparse.ArgumentParser(description=description,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('--root', type=Path, default=root, required=root is None,
        help='folder of the data set' + (' (%(default)s)' if root else ''))
    add('--out', type=Path, help='folder to write (ROOT/prepared)')
    add('--media', help='folder of the clips or images, relative to ROOT (see above)')
    if sound:
        add('--sound', help='folder of the sound, relative to ROOT: the lists get the files in it '
                            'that are named like the clips (see above)')
    if folds:
        add('--folds', type=int, nargs='+', choices=folds, default=folds, metavar='K',
            help=f'folds to prepare (all of {folds[0]}..{folds[-1]})')
    add('--workers', type=int, default=2, help='processes that decode (%(default)s)')
    add('--time-limit', type=float, default=10, metavar='SECONDS',
        help='for decoding one clip or image, then it is bad (%(default)s)')
    add('--accept-counts', action='store_true',
        help='go on although the lists have other sizes than published')
    add('--drop-bad', action='store_true',
        help='leave bad and missing samples out of the written lists')
    return parser


def run(arguments: argparse.Namespace,
        read_lists: Callable[[argparse.Namespace], list[SampleList]]) -> int:
    """Prepare a data set.

    Args:
        arguments (Namespace): Of :func:`build_parser`.
        read_lists (Callable): Reads the official lists.

    Returns:
        int: Exit code; 0 if all samples can be used, 1 if some cannot (everything is written), 2
        after an error that the user can solve (nothing is written).
    """
    try:
        if arguments.workers < 1 or arguments.time_limit <= 0:
            raise PrepareError('--workers and --time-limit must be positive.')
        if not arguments.root.is_dir():
            raise PrepareError(f'{arguments.root} does not exist; check --root.')
        manifests = prepare(read_lists(arguments), arguments)
    except PrepareError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    _show(manifests, arguments.out or arguments.root / 'prepared')
    return int(any(manifest['bad'] or manifest['missing'] for manifest in manifests))


def prepare(lists: list[SampleList], arguments: argparse.Namespace) -> list[dict]:
    """Check the counts, screen the media, write all files; returns the manifests.

    Raises:
        PrepareError: If counts are not as published and that is not accepted, the media folder is
            missing, or a list cannot be written.
    """
    unlike = differences(lists)
    told = [f'{name}: {reason}' for name, reasons in unlike.items() for reason in reasons]
    if told and not arguments.accept_counts:
        raise PrepareError('the lists are not as published:\n  ' + '\n  '.join(told) + '\nIf this '
                           'is what you want to use, pass --accept-counts.')
    for line in told:
        print(f'not as published, accepted: {line}', file=sys.stderr)

    measured: dict[tuple[str, str], dict] = {}
    for part in lists:
        if not (arguments.root / part.media_folder).is_dir():
            raise PrepareError(f'{arguments.root / part.media_folder}: the folder of the media '
                               'does not exist; check --root and --media.')
        measured.setdefault((part.media_folder, part.media), {})
    for folder, media in measured:
        paths = [sample.path for part in lists
                 if (part.media_folder, part.media) == (folder, media)
                 for sample in part.samples]
        measured[folder, media] = screen(arguments.root / folder, paths, media, arguments.workers,
                                         arguments.time_limit)
    out = arguments.out or arguments.root / 'prepared'
    folder = getattr(arguments, 'sound', None)
    return [write_list(part, measured[part.media_folder, part.media], unlike[part.name], out,
                       arguments.drop_bad,
                       folder and find_sound(part, arguments.root, folder)) for part in lists]


def _show(manifests: list[dict], out: Path) -> None:
    console = Console()
    for manifest in manifests:
        unusable = manifest['bad'] + manifest['missing']
        for sample in unusable[:NAMES_SHOWN]:
            console.print(f'{manifest["list"]}: {sample["sample_id"]}: {sample["reason"]}',
                          markup=False, highlight=False)
        sound = manifest['sound']
        if sound and sound['without']:
            console.print(f'{manifest["list"]}: {len(sound["without"])} samples have no sound in '
                          f'{sound["folder"]}, e.g. {", ".join(sound["without"][:NAMES_SHOWN])}; '
                          'recipes need on_missing_sound=\'allow\' for them', markup=False,
                          highlight=False)
        if len(unusable) > NAMES_SHOWN:
            console.print(f'{manifest["list"]}: and {len(unusable) - NAMES_SHOWN} more, see '
                          f'{manifest["list"]}.manifest.json', markup=False, highlight=False)
    table = Table('list', 'rows', 'left out', 'bad', 'missing', 'written', 'frames', 'counts')
    for column in table.columns:
        column.no_wrap = True
    for manifest in manifests:
        frames = manifest['num_frames']
        agreement = 'unpublished' if manifest['published'] is None else 'as published'
        table.add_row(
            manifest['list'], f'{manifest["rows"]:,}', f'{sum(manifest["left_out"].values()):,}',
            f'{len(manifest["bad"]):,}', f'{len(manifest["missing"]):,}',
            f'{manifest["written_list"]["rows"]:,}',
            f'{frames["min"]}/{frames["median"]:g}/{frames["max"]}' if frames else '-',
            'differ' if manifest['differences'] else agreement)
    console.print(table)
    console.print(f'frames: minimum/median/maximum of the good samples; written to {out}',
                  markup=False, highlight=False)
