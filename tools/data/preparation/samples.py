"""The samples of one official list, as the tools hand them on."""
from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

VIDEO, IMAGE = 'video', 'image'
UNLABELLED = 'unlabelled'


class PrepareError(Exception):
    """The data cannot be prepared as they are; the message says why and what to do."""


class Sample(NamedTuple):
    """One row: ``path`` is relative to the media folder, ``label`` a class name ('' if none)."""

    sample_id: str
    path: str
    label: str
    groups: tuple[str, ...] = ()


class OfficialList(NamedTuple):
    """What the data set publishes: a path relative to the root and the SHA-256 of the content."""

    path: str
    sha256: str


@dataclass
class SampleList:
    """One list to write.

    ``name`` is that of the written CSV without suffix, ``task`` the label space, ``media`` 'video'
    or 'image', ``media_folder`` relative to the root, ``left_out`` how many official rows are no
    samples and why, ``notes`` what was done to the official rows. Lists that are used together
    (train and test of one fold) have the same ``fold``.
    """

    name: str
    task: str
    split: str
    media: str
    media_folder: str
    samples: list[Sample]
    official: OfficialList | None = None
    fold: int | None = None
    group_columns: tuple[str, ...] = ()
    left_out: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def as_class_names(samples: list[Sample], classes: tuple[str, ...], offset: int,
                   where: Path) -> list[Sample]:
    """The samples with the label ids ``offset``, ``offset + 1``, ... replaced by class names.

    Raises:
        PrepareError: If a label is no such id.
    """
    names = {str(number): name for number, name in enumerate(classes, start=offset)}
    wrong = [sample for sample in samples if sample.label not in names]
    if wrong:
        raise PrepareError(
            f'{where}: label {wrong[0].label!r} of {wrong[0].sample_id!r} (and of '
            f'{len(wrong) - 1} more) is unknown; expected {offset}..{offset + len(classes) - 1}: '
            f'{", ".join(classes)}.')
    return [sample._replace(label=names[sample.label]) for sample in samples]
