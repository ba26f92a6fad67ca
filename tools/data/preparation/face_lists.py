"""Annotation lists of raw videos, and the lists of the clips that were cut out of them."""
from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from unilearn_mm.datasets.annotations import AnnotationError, AnnotationRow, read_annotations
from unilearn_mm.datasets.manifests import FACE_CROPS, manifest_path
from unilearn_mm.datasets.splits import write_annotations
from unilearn_mm.files import sha256_of, write_atomically

from .face_extraction import ALL, FAILED, NO_FACE, OK
from .samples import PrepareError

VIDEO_COLUMN = 'video'  # which faces come from one video, so that no split tears them apart


class RawList(NamedTuple):
    """A list of raw videos.

    Attributes:
        name (str): Of the list to write, without suffix.
        rows (list[AnnotationRow]): Its videos.
        source (dict, optional): Name and SHA-256 of the list that was read, if there was one.
    """

    name: str
    rows: list[AnnotationRow]
    source: dict | None


def read_lists(paths: list[Path]) -> list[RawList]:
    """The lists of raw videos.

    Raises:
        PrepareError: If one cannot be read, or two have the same name.
    """
    found: dict[str, RawList] = {}
    for path in paths:
        if path.stem in found:
            raise PrepareError(f'{path}: another list has the name {path.stem} already; rename '
                               'one of them, or use one --out for each.')
        try:
            rows = read_annotations(str(path), 'video')
        except AnnotationError as error:
            raise PrepareError(str(error)) from error
        found[path.stem] = RawList(path.stem, rows, dict(
            path=path.name, sha256=hashlib.sha256(path.read_bytes()).hexdigest()))
    return list(found.values())


def unlabelled_list(names: list[str], trial: Path) -> RawList:
    """A list of videos without labels.

    Args:
        names (list[str]): Of the videos.
        trial (Path): A file to write, to see that the names can be read back.

    Raises:
        PrepareError: If they cannot.
    """
    rows = [AnnotationRow(line, name, name, '', None, {})
            for line, name in enumerate(names, start=2)]
    trial.parent.mkdir(parents=True, exist_ok=True)
    try:
        write_annotations(trial, rows)
        if read_annotations(str(trial), 'video') != rows:
            raise AnnotationError('a name is not read back as it is')
    except (AnnotationError, UnicodeEncodeError) as error:
        raise PrepareError(f'the names of the videos cannot stand in an annotation list: {error}. '
                           'Rename the file.') from error
    finally:
        trial.unlink(missing_ok=True)
    return RawList('videos', rows, None)


def write_list(part: RawList, reports: dict[str, dict], made: dict, out: Path) -> dict:
    """Write ``NAME.csv`` and ``NAME.manifest.json``; without any clip there is no list.

    Args:
        part (RawList): The list of raw videos.
        reports (dict[str, dict]): What became of the videos, by name.
        made (dict): How: ``face_crops``, ``faces`` and ``format``.
        out (Path): Existing folder.

    Returns:
        dict: The manifest.
    """
    kept = [_row_of_clip(row, clip, made['faces']) for row in part.rows
            for clip in reports[row.path]['clips']]
    path = out / f'{part.name}.csv'
    if kept:
        write_annotations(path, kept)
    else:
        path.unlink(missing_ok=True)
    videos = [reports[name] for name in dict.fromkeys(row.path for row in part.rows)]
    status = Counter(report['status'] for report in videos)
    manifest = {
        'list': part.name,
        'media': 'video',
        'media_folder': 'clips',
        'source_list': part.source,
        'written_list': (dict(path=path.name, sha256=sha256_of(path), rows=len(kept))
                         if kept else None),
        FACE_CROPS: made[FACE_CROPS],
        'faces': made['faces'],
        'format': made['format'],
        'videos': {word: status[word] for word in (OK, NO_FACE, FAILED)},
        'frames': sum(report['frames'] for report in videos),
        'frames_with_face': sum(report['frames_with_face'] for report in videos),
        'tracks': sum(len(report['tracks']) for report in videos),
        'clips': len(kept),
        'left_out': [dict(sample_id=row.sample_id, path=row.path, status=report['status'],
                          reason=report['reason']) for row in part.rows
                     for report in [reports[row.path]] if report['status'] != OK],
        'problems': {report['video']: report['problems'] for report in videos
                     if report['problems'] and report['status'] != FAILED}}
    write_atomically(manifest_path(str(path)),
                     (json.dumps(manifest, indent=2, ensure_ascii=False) + '\n').encode())
    return manifest


def _row_of_clip(row: AnnotationRow, clip: dict, faces: str) -> AnnotationRow:
    if faces != ALL:
        return row
    face = f'face{clip["track"]}'
    return row._replace(sample_id=f'{row.sample_id}/{face}', path=f'{row.path}/{face}',
                        groups={**row.groups, VIDEO_COLUMN: row.sample_id})
