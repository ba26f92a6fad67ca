"""Which file holds the sound of a sample."""
from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from unilearn_mm.datasets.locations import locate_audio

from .samples import PrepareError, SampleList


class SoundFiles(NamedTuple):
    """Sound of the samples of a list.

    ``folder`` is relative to the root; ``files`` maps paths of samples to files in the folder, for
    those that have one.
    """

    folder: str
    files: dict[str, str]


def find_sound(part: SampleList, root: Path, folder: str) -> SoundFiles:
    """Look up the sound of all samples, by their names.

    Raises:
        PrepareError: If the folder is missing, or holds the sound of none.
    """
    where = root / folder
    if not where.is_dir():
        raise PrepareError(f'{where}: the folder of the sound does not exist; check --sound.')
    found = {sample.path: locate_audio(str(where), sample.path) for sample in part.samples}
    files = {path: os.path.relpath(file, where) for path, file in found.items() if file}
    if not files:
        raise PrepareError(f'{where}: none of the {len(found)} samples of {part.name} has sound '
                           f'there, e.g. {next(iter(found))}; check --sound.')
    return SoundFiles(folder, files)
