"""The timeline of a table as stretches of one label each: subtitles, and tiers for ELAN."""

import mimetypes
from pathlib import Path
from typing import List, NamedTuple, Optional

import pandas as pd

from ..files import replacing
from .tables import OK

SUBTITLE_SUFFIXES = ('.srt', '.vtt')
ELAN_SUFFIX = '.eaf'


class Segment(NamedTuple):
    """A stretch of one face with one label.

    Attributes:
        face (int): Number of the face.
        start (float): In seconds.
        end (float): In seconds.
        label (str): Class name.
        confidence (float): Mean over the windows of the stretch.
    """
    face: int
    start: float
    end: float
    label: str
    confidence: float


def segments(table: pd.DataFrame) -> List[Segment]:
    """Stretches of one label each, which do not overlap within a face.

    Windows overlap. Between the middles of two neighbours of one face, the half that is nearer to
    a window is its own; neighbours that neither touch nor overlap keep their ends. Adjacent
    stretches of one label become one.

    Args:
        table (pd.DataFrame): See :mod:`unilearn_mm.apis.tables`; rows without a label are gaps.

    Returns:
        list[Segment]: By face, then by time.
    """
    found: List[Segment] = []
    for face, rows in table[table['face'] >= 0].groupby('face', sort=True):
        rows = rows.sort_values('start_s')
        windows = list(rows[['start_s', 'end_s', 'label', 'confidence', 'status']]
                       .itertuples(index=False))
        own = []
        for place, row in enumerate(windows):
            before = windows[place - 1] if place else None
            after = windows[place + 1] if place + 1 < len(windows) else None
            start = _border(before, row) if before and before.end_s >= row.start_s else row.start_s
            end = _border(row, after) if after and row.end_s >= after.start_s else row.end_s
            if row.status == OK and end > start:
                own.append((start, end, row.label, row.confidence))
        group: List[tuple] = []
        for part in own + [None]:
            if group and (part is None or part[2] != group[-1][2] or part[0] > group[-1][1]):
                found.append(Segment(int(face), group[0][0], group[-1][1], group[0][2],
                                     sum(item[3] for item in group) / len(group)))
                group = []
            if part is not None:
                group.append(part)
    return found


def write_subtitles(table: pd.DataFrame, path: Path) -> None:
    """Write the segments as subtitles.

    Args:
        table (pd.DataFrame): See :mod:`unilearn_mm.apis.tables`.
        path (Path): '.srt' or '.vtt'.
    """
    import pysubs2
    several = table.loc[table['face'] >= 0, 'face'].nunique() > 1
    subtitles = pysubs2.SSAFile()
    for part in sorted(segments(table), key=lambda part: (part.start, part.face)):
        text = f'{part.label} {part.confidence:.0%}'
        subtitles.append(pysubs2.SSAEvent(
            start=round(1000 * part.start), end=round(1000 * part.end),
            text=f'face {part.face}: {text}' if several else text))
    with replacing(path) as aside:
        subtitles.save(str(aside), format_=path.suffix[1:])


def write_elan(table: pd.DataFrame, path: Path, media: Optional[Path] = None) -> None:
    """Write the segments as an annotation document of ELAN, a tier for each face.

    Args:
        table (pd.DataFrame): See :mod:`unilearn_mm.apis.tables`.
        path (Path): '.eaf'.
        media (Path, optional): The video, which ELAN opens with it.
    """
    from pympi import Eaf
    document = Eaf(author='unilearn_mm')
    document.remove_tier('default')
    if media is not None:
        document.add_linked_file(media.resolve().as_uri(), f'./{media.name}',
                                 mimetypes.guess_type(media.name)[0] or 'unknown')
    for part in segments(table):
        tier = f'face {part.face}'
        if tier not in document.get_tier_names():
            document.add_tier(tier)
        document.add_annotation(tier, round(1000 * part.start), round(1000 * part.end),
                                f'{part.label} {part.confidence:.2f}')
    with replacing(path) as aside:
        document.to_file(str(aside))


def _border(left, right) -> float:
    """Where the nearer window changes: between the middles of two neighbours."""
    return (left.start_s + left.end_s + right.start_s + right.end_s) / 4
