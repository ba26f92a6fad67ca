"""Write the prepared list, the measures of its samples and the manifest."""
from __future__ import annotations

import csv
import hashlib
import io
import json
import statistics
from pathlib import Path

from unilearn_mm.datasets.annotations import (
    AUDIO,
    HEADER,
    AnnotationError,
    AnnotationRow,
    parse_annotations,
)

from .published import PUBLISHED, SOURCES, class_counts
from .reasons import MISSING
from .samples import PrepareError, Sample, SampleList
from .screening import Measured
from .sound import SoundFiles


def write_list(part: SampleList, measured: dict[str, Measured], differences: list[str], out: Path,
               drop_bad: bool, sound: SoundFiles | None = None) -> dict:
    """Write ``NAME.csv``, ``NAME.samples.csv`` and ``NAME.manifest.json`` into a folder.

    The same data give the same bytes.

    Args:
        part (SampleList): The list.
        measured (dict[str, Measured]): By the samples' paths.
        differences (list[str]): What is not as published.
        out (Path): Folder, made if it does not exist.
        drop_bad (bool): Leave bad and missing samples out of the written list.
        sound (SoundFiles, optional): Sound of the samples, for a column of the list.

    Returns:
        dict: The manifest.

    Raises:
        PrepareError: If a name cannot stand in an annotation list.
    """
    unusable = [sample for sample in part.samples if measured[sample.path].problem]
    kept = ([sample for sample in part.samples if not measured[sample.path].problem]
            if drop_bad else part.samples)
    if not kept:
        raise PrepareError(f'{part.name}: none of its {len(part.samples)} samples can be used.')
    out.mkdir(parents=True, exist_ok=True)
    written = _annotation_csv(part, kept, sound)
    (out / f'{part.name}.csv').write_bytes(written)
    (out / f'{part.name}.samples.csv').write_bytes(_samples_csv(part, measured))
    published = PUBLISHED.get((part.task, part.name))
    good = [measured[sample.path] for sample in part.samples
            if not measured[sample.path].problem]
    manifest = dict(
        task=part.task,
        list=part.name,
        split=part.split,
        fold=part.fold,
        media=part.media,
        media_folder=part.media_folder,
        official_list=part.official and part.official._asdict(),
        notes=part.notes,
        left_out=part.left_out,
        published=published and dict(published._asdict(), source=SOURCES[part.task]),
        differences=differences,
        written_list=dict(path=f'{part.name}.csv', sha256=hashlib.sha256(written).hexdigest(),
                          rows=len(kept), class_counts=class_counts(kept)),
        rows=len(part.samples),
        class_counts=class_counts(part.samples),
        num_frames=_spread([one.num_frames for one in good]),
        width=_spread([one.width for one in good]),
        height=_spread([one.height for one in good]),
        bad=[_named(sample, measured) for sample in unusable
             if measured[sample.path].problem != MISSING],
        missing=[_named(sample, measured) for sample in unusable
                 if measured[sample.path].problem == MISSING],
        bad_and_missing_dropped=drop_bad,
        sound=sound and dict(folder=sound.folder, without=[
            sample.sample_id for sample in part.samples if sample.path not in sound.files]))
    (out / f'{part.name}.manifest.json').write_text(
        json.dumps(manifest, indent=2, ensure_ascii=False) + '\n', encoding='utf-8')
    return manifest


def _annotation_csv(part: SampleList, samples: list[Sample], sound: SoundFiles | None) -> bytes:
    columns = [*HEADER, *([AUDIO] if sound else []), *part.group_columns]
    rows = [[sample.sample_id, sample.path, sample.label,
             *([sound.files.get(sample.path, '')] if sound else []), *sample.groups]
            for sample in samples]
    try:
        data = _csv(columns, rows)
        # what cannot be read back must not be written: line breaks, non-UTF-8 names, doublets
        found = parse_annotations(data, f'{part.name}.csv', part.media)
    except (AnnotationError, UnicodeEncodeError) as error:
        raise PrepareError(f'the samples cannot be written as a list: {error}. Rename the file '
                           'or correct the official list.') from error
    groups = len(columns) - len(part.group_columns)
    expected = [AnnotationRow(line, *row[:3], (row[3] or None) if sound else None,
                              dict(zip(part.group_columns, row[groups:])))
                for line, row in enumerate(rows, start=2)]
    if found != expected:
        row = next(new for new, old in zip(expected, found) if new != old)
        raise PrepareError(f'{row.sample_id!r} or another value of its row cannot stand in an '
                           'annotation list; rename it.')
    return data


def _samples_csv(part: SampleList, measured: dict[str, Measured]) -> bytes:
    return _csv(['sample_id', 'path', *Measured._fields],
                [[sample.sample_id, sample.path, *measured[sample.path]]
                 for sample in part.samples])


def _csv(header: list[str], rows: list[list]) -> bytes:
    text = io.StringIO(newline='')
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode('utf-8')


def _named(sample: Sample, measured: dict[str, Measured]) -> dict:
    return dict(sample_id=sample.sample_id, path=sample.path,
                reason=measured[sample.path].problem)


def _spread(values: list[int]) -> dict | None:
    if not values:
        return None
    return dict(min=min(values), median=statistics.median(values), max=max(values))
