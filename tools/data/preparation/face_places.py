"""What extract_faces.py writes where, and that it harms nothing that was there before."""
from __future__ import annotations

from pathlib import Path

from .samples import PrepareError

CLIPS, REPORTS, OVERLAYS, SHEETS = 'clips', 'reports', 'overlay', 'sheets'
UNFINISHED = '.unfinished'
SETTINGS = 'settings.json'
FOLDERS = (CLIPS, REPORTS, OVERLAYS, SHEETS, UNFINISHED)
SUFFIXES = ('.npy', '.json', '.mp4', '.png')  # that the name of a video gets in these folders
# 255 bytes in most file systems, less what a report is called while it is written
LONGEST_NAME = 255 - len('..json.01234567.tmp')


def check_places(media: Path, out: Path, lists: list[Path], written: list[str]) -> None:
    """Refuse to write over what a user has: raw videos, annotation lists, folders.

    Args:
        media (Path): Folder of the raw videos, resolved.
        out (Path): Folder to write, resolved.
        lists (list[Path]): Annotation lists that are read.
        written (list[str]): Names of the lists that will be written in ``out``.

    Raises:
        PrepareError: If something would be written over.
    """
    if media == out or any(folder in (media, *media.parents)
                           for folder in (out / name for name in FOLDERS)):
        raise PrepareError(f'--out {out} would be written over the raw videos in {media}: choose '
                           'another --out.')
    for path in lists:
        if path.resolve() == (out / f'{path.stem}.csv').resolve():
            raise PrepareError(f'{path} would be written over by the list of the clips: choose '
                               'another --out.')
    if not (out / SETTINGS).exists():
        foreign = [name for name in (CLIPS, REPORTS, OVERLAYS, SHEETS,
                                     *(f'{name}.csv' for name in written)) if (out / name).exists()]
        if foreign:
            raise PrepareError(f'{out} holds {", ".join(foreign)}, and no {SETTINGS} that says '
                               'how this command made them: choose another --out.')


def check_names(names: list[str]) -> None:
    """Refuse videos that cannot all have their own files.

    Args:
        names (list[str]): The videos, relative to the folder of raw videos.

    Raises:
        PrepareError: If a name is too long, or the clip of one video would lie inside or in the
            place of that of another.
    """
    places = {f'{name}{suffix}': name for suffix in ('', *SUFFIXES) for name in names}
    for name in names:
        around = [str(folder) for folder in Path(name).parents]
        other = next((places[place] for place in around if place in places), None)
        if other is None and name.endswith('.npy') and places.get(name[:-4]) == name[:-4]:
            other = name[:-4]
        if other is not None:
            raise PrepareError(f'the clip of {name} would lie inside that of {other}: rename or '
                               'leave out one of them.')
        longest = max((len(part.encode()) for part in Path(name).parts), default=0)
        if longest > LONGEST_NAME:
            raise PrepareError(f'the name {name} has {longest} bytes between two slashes, and what '
                               f'is made of it needs more: rename it ({LONGEST_NAME} at most) or '
                               'leave it out.')
