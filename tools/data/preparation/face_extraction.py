"""Cut the faces out of one video."""
from __future__ import annotations

import functools
import hashlib
import os
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np

from unilearn_mm.faces.alignment import CropRecord
from unilearn_mm.faces.clip_files import open_clip_writer
from unilearn_mm.faces.clips import FaceStream
from unilearn_mm.faces.detector import FaceDetector, open_detector
from unilearn_mm.faces.frames import FrameStream, open_frames
from unilearn_mm.faces.overlay import OverlayWriter
from unilearn_mm.faces.search import SearchSettings
from unilearn_mm.faces.tracking import TrackingSettings, TrackSummary, largest_track
from unilearn_mm.media import MediaReadError, list_frames, read_image
from unilearn_mm.visualization.contact_sheet import SheetRow, contact_sheet

CLIP, OVERLAY, SHEET = 'clip', 'overlay.mp4', 'sheet.png'  # what a video becomes, in its folder
LARGEST, ALL = 'largest', 'all'
OK, NO_FACE, FAILED = 'ok', 'no face', 'failed'
SHEET_CROPS, SHEET_ROWS = 8, 12  # crops of a track and tracks on a contact sheet
SHEET_DPI = 110
DECIMALS = 4  # of times and scores in a report


class Extraction(NamedTuple):
    """What is done with every video.

    Attributes:
        detector (str): Name of the detector.
        weights (str, optional): Its file, if it is not the one that comes with its package.
        record (CropRecord): How the crops are cut out.
        search (SearchSettings): Where and how often faces are looked for.
        tracking (TrackingSettings): How detections become tracks.
        rate (float, optional): Frames per second that are taken; all by default.
        faces (str): 'largest' or 'all': which tracks are kept.
        file_format (str): One of ``clip_files.FORMATS``.
        overlay (bool): Whether to write a video of what was found.
        sheets (bool): Whether to draw a contact sheet.
    """

    detector: str
    weights: str | None
    record: CropRecord
    search: SearchSettings
    tracking: TrackingSettings
    rate: float | None
    faces: str
    file_format: str
    overlay: bool
    sheets: bool

    def face_crops(self) -> dict:
        """What a manifest, and so a checkpoint, says of how faces were cut out.

        Raises:
            ImportError | ValueError | OSError: If the detector cannot be opened.
        """
        detector = open_detector(self.detector, weights=self.weights)
        return dict(record=self.record.to_dict(),
                    detector=dict(name=detector.name, sha256=detector.sha256),
                    search=self.search.to_dict(), tracking=self.tracking.to_dict(), rate=self.rate)


@functools.lru_cache(maxsize=1)
def _detector_of_process(name: str, weights: str | None) -> FaceDetector:
    """Opened once in each process, and never before it is forked."""
    return open_detector(name, weights=weights, threads=1)


def extract(source: Path, folder: Path, task: Extraction) -> dict:
    """Write the clips of a video into a new folder.

    Args:
        source (Path): Video file or folder of frames.
        folder (Path): Made; holds ``clip`` or ``clip.npy``, for all faces a folder ``clip`` of
            ``face0``, ``face1`` ..., and what else is asked for.
        task (Extraction): What to do.

    Returns:
        dict: The report: ``status``, ``reason``, numbers of frames, tracks and clips. The same
        video gives the same report and the same files.

    Raises:
        OSError: If the folder cannot be written.
    """
    folder.mkdir(parents=True)
    report = failed('')
    try:
        report['source'] = _fingerprint(source)
        with open_frames(source, task.rate) as frames:
            try:
                _cut_out(frames, folder, task, report)
            finally:
                report.update(decoded=frames.num_decoded, problems=frames.problems)
    except MediaReadError as error:
        report['reason'] = str(error)
    except OSError:
        raise  # the disk, not the video
    except Exception as error:  # noqa: BLE001 (whatever is wrong with one video, the others go on)
        report['reason'] = f'{type(error).__name__}: {error}'
    return report


def failed(reason: str) -> dict:
    """The report of a video of which nothing became."""
    return dict(status=FAILED, reason=reason, source=None, decoded=0, problems=[], frames=0,
                frames_with_face=0, cuts=[], tracks=[], clips=[])


def _cut_out(frames: FrameStream, folder: Path, task: Extraction, report: dict) -> None:
    stream = FaceStream(frames, _detector_of_process(task.detector, task.weights),
                        record=task.record, tracking=task.tracking,
                        search=task.search)
    tracks = folder / 'tracks'
    tracks.mkdir()
    writers, times = {}, {}
    with ExitStack() as at_end:
        if task.overlay:
            overlay = OverlayWriter(folder / OVERLAY)
            at_end.callback(overlay.close)
        here: set[int] = set()
        for step in stream:
            if task.overlay:
                overlay.add(step)
            before, here = here, {face.track for face in step.faces}
            for track in before - here:  # has ended: no track comes back
                writers[track].close()
            for face in step.faces:
                if face.track not in writers:
                    writers[face.track] = open_clip_writer(tracks / f'face{face.track}',
                                                           task.file_format)
                    at_end.callback(writers[face.track].close)
                    times[face.track] = []
                writers[face.track].add(face.crop)
                times[face.track].append(step.frame.time)
    summary = stream.summary
    kept = [track for track in summary.tracks if not track.dropped]
    if kept and task.faces == LARGEST:
        kept = [largest_track(kept)]
    report.update(
        frames=summary.frames, frames_with_face=summary.frames_with_face,
        cuts=[round(cut, DECIMALS) for cut in summary.cuts],
        tracks=[_as_json(track) for track in summary.tracks],
        clips=[dict(track=track.track, frames=writers[track.track].num_frames,
                    bytes=writers[track.track].num_bytes) for track in kept])
    if not kept:
        report.update(status=NO_FACE, reason=no_face_reason(summary, task.tracking))
    else:
        report.update(status=OK)
        _keep(tracks, folder / CLIP, kept, task)
    if task.sheets:
        _draw_sheet(folder, Path(frames.name).name, kept, times, task, report)
    shutil.rmtree(tracks, ignore_errors=True)


def no_face_reason(summary, tracking: TrackingSettings) -> str:
    """Why a video has no clip, and what to try."""
    if not summary.tracks:
        return f'no face in 0 of {summary.frames} frames; lower --det-thr or look at --overlay'
    longest = max(track.end - track.start for track in summary.tracks)
    return (f'no face for {tracking.min_length:g} s: the longest of {len(summary.tracks)} tracks '
            f'in {summary.frames} frames lasts {longest:.2f} s; lower --min-track or --det-thr, or '
            'look at --overlay')


def _keep(tracks: Path, clip: Path, kept: list[TrackSummary], task: Extraction) -> None:
    """Move the kept tracks to where the clip of the video is."""
    suffix = '.npy' if task.file_format == 'npy' else ''
    if task.faces == ALL:
        clip.mkdir()
        for track in kept:
            os.rename(tracks / f'face{track.track}{suffix}', clip / f'face{track.track}{suffix}')
    else:
        os.rename(tracks / f'face{kept[0].track}{suffix}', f'{clip}{suffix}')


def _draw_sheet(folder: Path, name: str, kept: list[TrackSummary], times: dict[int, list[float]],
                task: Extraction, report: dict) -> None:
    rows = []
    for track in kept[:SHEET_ROWS]:
        path = folder / CLIP / f'face{track.track}' if task.faces == ALL else folder / CLIP
        crops = _crops_of(path)
        chosen = np.linspace(0, len(crops) - 1, SHEET_CROPS).round().astype(int).tolist()
        rows.append(SheetRow(
            np.stack([crops[place] for place in chosen]),
            f'face {track.track}: {track.start:.2f} to {track.end:.2f} s\n{track.frames} frames, '
            f'{track.detected} detected\nmean score {track.mean_score:.2f}',
            [f'{times[track.track][place]:.2f} s' for place in chosen]))
    title = (f'{name}: a face in {report["frames_with_face"]} of {report["frames"]} frames, '
             f'{len(kept)} of {len(report["tracks"])} tracks kept')
    if rows:
        contact_sheet(rows, title).savefig(folder / SHEET, dpi=SHEET_DPI)


class _ImageCrops:
    def __init__(self, folder: Path) -> None:
        self.paths = list_frames(str(folder))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, place: int) -> np.ndarray:
        return read_image(self.paths[place])


def _crops_of(path: Path):
    packed = path.with_name(f'{path.name}.npy')
    return np.load(packed, mmap_mode='r') if packed.exists() else _ImageCrops(path)


def _as_json(track: TrackSummary) -> dict:
    return {name: round(value, DECIMALS) if isinstance(value, float) else value
            for name, value in track._asdict().items()}


def _fingerprint(source: Path) -> dict:
    """Size and SHA-256 of a file, or of all names and contents of a folder of frames."""
    digest, size = hashlib.sha256(), 0
    folder = source.is_dir()
    try:
        for path in map(Path, list_frames(str(source)) if folder else [source]):
            if folder:
                digest.update(f'{path.name}\n'.encode())
            with path.open('rb') as file:
                while block := file.read(1 << 20):
                    digest.update(block)
                    size += len(block)
    except OSError as error:
        raise MediaReadError(f'{error.filename}: {error.strerror}') from error
    return dict(bytes=size, sha256=digest.hexdigest())
