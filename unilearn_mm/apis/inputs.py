"""What a user names as inputs: files, folders, globs, lists, streams and cameras."""

import csv
import glob
import os
from itertools import chain, count
from pathlib import Path
from typing import Dict, List, NamedTuple, Sequence

from ..media import IMAGE_SUFFIXES, VIDEO_SUFFIXES

LIST_SUFFIXES = ('.txt', '.csv')
PACKED_SUFFIX = '.npy'
# what a folder is searched for; a single file may have any name
MEDIA_SUFFIXES = (*VIDEO_SUFFIXES, '.m4v', '.mpg', '.mpeg', '.wmv', '.flv', '.ts', '.gif', '.3gp',
                  *IMAGE_SUFFIXES, PACKED_SUFFIX)


class Input(NamedTuple):
    """One source and the name of its outputs.

    Attributes:
        source (str | int): A path, a URL with ``://``, or the index of a camera.
        stem (str): Path of its outputs below the output folder, without suffix.
    """
    source: object
    stem: str


class InputError(ValueError):
    """An input names nothing; the message says what was looked for."""


def expand_inputs(words: Sequence[str], frames_are_clips: bool = False) -> List[Input]:
    """Inputs of a command line, each source once, in order.

    Args:
        words (Sequence[str]): A file; a folder, of which all media files below are taken, or
            which is one clip if it holds only images and ``frames_are_clips``; a glob pattern; a
            list (.txt or .csv: one path in the first column of each row, a header
            ``path`` or ``sample_id,path,...`` as in our lists; relative to the list); a URL; the
            number of a camera.
        frames_are_clips (bool): Take a folder of images as the frames of one clip.

    Returns:
        list[Input]: Two sources of one name get stems that differ.

    Raises:
        InputError: If a word names nothing.
    """
    found: Dict[object, str] = {}
    for word in words:
        for source, stem in _expand(word, frames_are_clips):
            found.setdefault(source, stem)
    inputs: Dict[str, Input] = {}
    for source, stem in found.items():
        # a.mp4 and a.mov, or a.mp4 of two folders
        numbered = (f'{stem}~{number}' for number in count(2))
        free = next(name for name in chain([stem], numbered) if name not in inputs)
        inputs[free] = Input(source, free)
    return list(inputs.values())


def _expand(word: str, frames_are_clips: bool) -> List[Input]:
    if word.isdecimal():
        return [Input(int(word), f'camera_{word}')]
    if '://' in word:
        name = word.split('://', 1)[1].split('?')[0].strip('/')
        return [Input(word, _plain(name))]
    path = Path(word)
    if path.is_dir():
        return _folder(path, frames_are_clips)
    if path.suffix.lower() in LIST_SUFFIXES and path.is_file():
        return _list(path, frames_are_clips)
    if path.is_file():
        return [Input(word, _plain(path.stem))]
    matches = sorted(glob.glob(word, recursive=True))
    if not matches:
        raise InputError(f'{word}: no such file, folder, list, URL with ://, camera number or '
                         'pattern that matches anything')
    return [item for match in matches for item in _expand(match, frames_are_clips)]


def _folder(folder: Path, frames_are_clips: bool) -> List[Input]:
    files = [Path(where, name) for where, _, names in os.walk(folder) for name in names
             if name.lower().endswith(MEDIA_SUFFIXES) and not name.startswith('.')]
    if not files:
        raise InputError(f'{folder}: no video, image or packed clip in this folder '
                         f'({", ".join(MEDIA_SUFFIXES)})')
    clips = sorted({file.parent for file in files if file.suffix.lower() in IMAGE_SUFFIXES}
                   if frames_are_clips else ())
    files = sorted(file for file in files if file.parent not in clips)
    inputs = [Input(str(file), str(file.relative_to(folder).with_suffix(''))) for file in files]
    return inputs + [
        Input(str(clip), str(clip.relative_to(folder)) if clip != folder else clip.resolve().name)
        for clip in clips]


def _list(path: Path, frames_are_clips: bool) -> List[Input]:
    with path.open(encoding='utf-8-sig', newline='') as file:
        rows = [row for row in csv.reader(file) if row and row[0].strip()]
    column = 0
    if rows and 'path' in [name.strip() for name in rows[0]]:
        column = [name.strip() for name in rows[0]].index('path')
        rows = rows[1:]
    if not rows:
        raise InputError(f'{path}: the list holds no path')
    inputs = []
    for number, row in enumerate(rows, start=1):
        if len(row) <= column:
            raise InputError(f'{path}, row {number}: {len(row)} columns, the path stands in column '
                             f'{column + 1}')
        name = row[column].strip()
        source = name if '://' in name else str(path.parent / name)
        # a file that is missing is a failed input of the job, not the end of it
        inputs += ([Input(source, _plain(Path(name).with_suffix('').as_posix()))]
                   if not Path(source).is_dir() or not frames_are_clips else
                   [Input(source, _plain(name))])
    return inputs


def _plain(name: str) -> str:
    """A relative path that stays below the output folder."""
    parts = [part.replace(':', '_') for part in Path(name).parts if part not in ('..', '.', '/')]
    return os.path.join(*parts) if parts else 'input'
