"""Cut the faces out of raw videos: clips that data sets of this package read.

    python tools/data/extract_faces.py --media my_videos --out data/faces
    python tools/data/extract_faces.py --media data/MAFW/raw --out data/MAFW/faces \\
        --lists data/MAFW/train.csv data/MAFW/test.csv --workers 8

Every video below MEDIA, or every one of the annotation lists, becomes one clip: the face that is
largest over the whole video, followed through it and cut out upright. With ``--faces all`` every
face becomes one (of unlabelled videos: a label belongs to one face). Written below OUT:

    clips/NAME/000000.jpg ...      the crops, or clips/NAME.npy with --format npy
    LIST.csv                       the annotation lists in our format, labels kept; without
                                   --lists one list, videos.csv. What has no face is left out
    LIST.manifest.json             detector, weights, settings; frames with and without a face;
                                   why what was left out. Data sets hand 'face_crops' on to the
                                   checkpoint, so that a prediction cuts out faces in the same way
    reports/NAME.json              the same for each video, with its tracks
    overlay/NAME.mp4, sheets/NAME.png    for the eye, with --overlay and --sheets

In the config set ``ann_file='OUT/LIST.csv'`` and ``data_prefix=dict(media='OUT/clips')``.

Each video is worked on in a process that is ended when it takes too long. A run that was
interrupted goes on where it stopped, and tries again what failed. The exit code is 1 if a video has
no clip (each is named with the reason), 2 if an error stopped the run.
"""
from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

from preparation.clips import find_clips
from preparation.face_extraction import (
    ALL,
    CLIP,
    FAILED,
    LARGEST,
    OK,
    OVERLAY,
    SHEET,
    Extraction,
    extract,
    failed,
)
from preparation.face_lists import RawList, read_lists, unlabelled_list, write_list
from preparation.face_places import (
    CLIPS,
    OVERLAYS,
    REPORTS,
    SETTINGS,
    SHEETS,
    UNFINISHED,
    check_names,
    check_places,
)
from preparation.reasons import MISSING, NEITHER, reproducible
from preparation.samples import PrepareError
from tqdm import tqdm

from unilearn_mm.datasets.locations import locate_clip
from unilearn_mm.faces.alignment import PRESETS
from unilearn_mm.faces.clip_files import FORMATS
from unilearn_mm.faces.search import SearchSettings
from unilearn_mm.faces.tracking import TrackingSettings
from unilearn_mm.files import interrupted_writes, write_atomically
from unilearn_mm.media import VIDEO_SUFFIXES
from unilearn_mm.processes import Stopped, run_bounded

EXTRAS = {OVERLAY: (OVERLAYS, '.mp4'), SHEET: (SHEETS, '.png')}  # folder and suffix in OUT
NAMES_SHOWN = 5  # how many videos without a clip are named at the end; the manifests have them all


class Video(NamedTuple):
    """A raw video: its name below MEDIA and where it is (None if it is nowhere)."""

    name: str
    source: Path | None
    problem: str = ''


class Workshop:
    """What stands in OUT: clips and reports of the videos that are done, and how they are made.

    Args:
        out (Path): The folder.
        task (Extraction): What is done with every video.

    Raises:
        PrepareError: If the detector cannot be opened.
    """

    def __init__(self, out: Path, task: Extraction) -> None:
        self.out = out
        self.task = task
        try:
            self.made = dict(face_crops=task.face_crops(), faces=task.faces,
                             format=task.file_format)
        except (ImportError, ValueError, OSError) as error:
            raise PrepareError(f'the face detector cannot be opened: {error}') from error
        self.extras = [extra for extra, wanted in ((OVERLAY, task.overlay), (SHEET, task.sheets))
                       if wanted]

    def claim(self, overwrite: bool) -> None:
        """Make sure that everything in OUT was or will be made in one way.

        Raises:
            PrepareError: If there are clips that were made in another way.
        """
        shutil.rmtree(self.out / UNFINISHED, ignore_errors=True)
        if overwrite:
            shutil.rmtree(self.out / REPORTS, ignore_errors=True)
        path = self.out / SETTINGS
        if path.exists() and not overwrite:
            try:
                found = json.loads(path.read_text(encoding='utf-8'))
            except ValueError as error:
                raise PrepareError(f'{path} is damaged ({error}): delete it with {self.out}, or '
                                   'make everything anew with --overwrite.') from error
            differing = _differences(found, json.loads(json.dumps(self.made)))
            if differing:
                raise PrepareError(f'{self.out} holds clips that were made in another way: '
                                   f'{"; ".join(differing)}. Choose another --out, or make all of '
                                   'them anew with --overwrite.')
        self.out.mkdir(parents=True, exist_ok=True)
        for folder in (self.out, *(place for place in (self.out / REPORTS).rglob('*')
                                   if place.is_dir()), self.out / REPORTS):
            for left in interrupted_writes(folder):  # by a run that was killed
                left.unlink()
        write_atomically(path, _as_bytes(self.made))

    def report(self, name: str) -> dict | None:
        """The report of a video; None if it is to be worked on."""
        try:
            report = json.loads(self._report_path(name).read_text(encoding='utf-8'))
        except (OSError, ValueError):
            return None
        expected = [extra for extra in self.extras if extra != SHEET or report['clips']]
        if report['status'] == FAILED or not all(self._extra_path(extra, name).exists()
                                                 for extra in expected):
            return None
        return report if all(_is_whole(self._clip_path(name, clip), clip)
                             for clip in report['clips']) else None

    def unfinished(self, place: int) -> Path:
        """Where the process that works on a video puts what becomes of it."""
        return self.out / UNFINISHED / f'{os.getpid()}-{place}'

    def keep(self, video: Video, report: dict, folder: Path) -> dict:
        """Put what became of a video in its place; the report comes last and vouches for it."""
        report = dict(video=video.name, **report)
        clip = self.out / CLIPS / video.name
        for old in (clip, clip.with_name(f'{clip.name}.npy')):
            shutil.rmtree(old) if old.is_dir() else old.unlink(missing_ok=True)
        clip.parent.mkdir(parents=True, exist_ok=True)
        for new, place in ((folder / CLIP, clip),
                           (folder / f'{CLIP}.npy', clip.with_name(f'{clip.name}.npy')),
                           *((folder / extra, self._extra_path(extra, video.name))
                             for extra in self.extras)):
            if new.exists():
                place.parent.mkdir(parents=True, exist_ok=True)
                os.replace(new, place)
        path = self._report_path(video.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, _as_bytes(report))
        shutil.rmtree(folder, ignore_errors=True)
        return report

    def _report_path(self, name: str) -> Path:
        return self.out / REPORTS / f'{name}.json'

    def _extra_path(self, extra: str, name: str) -> Path:
        folder, suffix = EXTRAS[extra]
        return self.out / folder / f'{name}{suffix}'

    def _clip_path(self, name: str, clip: dict) -> Path:
        path = self.out / CLIPS / name
        path = path / f'face{clip["track"]}' if self.task.faces == ALL else path
        return path.with_name(f'{path.name}.npy') if self.task.file_format == 'npy' else path


def _is_whole(path: Path, clip: dict) -> bool:
    """Whether a clip has the size that its report says."""
    try:
        if path.is_dir():
            sizes = [entry.stat().st_size for entry in os.scandir(path)]
            return len(sizes) == clip['frames'] and sum(sizes) == clip['bytes']
        return path.stat().st_size == clip['bytes']
    except OSError:
        return False


def _differences(found: object, wanted: object, name: str = '') -> list[str]:
    if isinstance(found, dict) and isinstance(wanted, dict):
        return [line for key in sorted({*found, *wanted})
                for line in _differences(found.get(key), wanted.get(key), f'{name}.{key}')]
    return [] if found == wanted else [f'{name.lstrip(".")} was {found!r}, now {wanted!r}']


def _as_bytes(value: dict) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + '\n').encode()


def find_videos(media: Path, lists: list[RawList]) -> list[Video]:
    """The videos of the lists, each once.

    Raises:
        PrepareError: If none of them is there, or one of them cannot have files of its own.
    """
    videos = []
    for name in dict.fromkeys(row.path for part in lists for row in part.rows):
        location = locate_clip(str(media / name))
        there = any(os.path.lexists(f'{media / name}{suffix}') for suffix in ('', *VIDEO_SUFFIXES))
        videos.append(Video(name, Path(location['path'])) if location else
                      Video(name, None, NEITHER if there else MISSING))
    if not any(video.source for video in videos):
        raise PrepareError(f'none of the {len(videos)} videos is in {media}, e.g. '
                           f'{videos[0].name}; check --media.')
    check_names([video.name for video in videos])
    return videos


def extract_all(videos: list[Video], media: Path, workshop: Workshop, workers: int,
                time_limit: float) -> dict[str, dict]:
    """Work on all videos that are not done; returns the reports of all, by name."""
    reports, todo = {}, []
    for video in tqdm(videos, desc='looking for what is done', unit='video', leave=False):
        report = workshop.report(video.name)
        if report:
            reports[video.name] = report
        elif video.source is None:
            reports[video.name] = workshop.keep(video, failed(video.problem),
                                                workshop.unfinished(0))
        else:
            todo.append(video)
    print(f'{len(videos)} videos: {len(videos) - len(todo)} done or missing, {len(todo)} to do')
    jobs = ((video.source, workshop.unfinished(place), workshop.task)
            for place, video in enumerate(todo))
    without = sum(report['status'] != OK for report in reports.values())
    with tqdm(total=len(todo), desc='cutting out faces', unit='video') as bar:
        for place, report in run_bounded(extract, jobs, workers, time_limit):
            if isinstance(report, Stopped):
                report = failed(f'{report}; raise --time-limit if the video is long')
            report['reason'] = reproducible(report['reason'], media)
            report['problems'] = [reproducible(text, media) for text in report['problems']]
            video = todo[place]
            reports[video.name] = workshop.keep(video, report, workshop.unfinished(place))
            without += report['status'] != OK
            bar.set_postfix(without_clip=without, refresh=False)
            bar.update()
    shutil.rmtree(workshop.out / UNFINISHED, ignore_errors=True)
    return reports


def build_task(arguments: argparse.Namespace) -> Extraction:
    """What the arguments ask for.

    Raises:
        PrepareError: If a value makes no sense.
    """
    record = PRESETS[arguments.preset]
    changes = {key: getattr(arguments, key) for key in ('size', 'margin')
               if getattr(arguments, key) is not None}
    try:
        return Extraction(
            arguments.detector, arguments.weights, record.replace(**changes) if changes else record,
            SearchSettings(threshold=arguments.det_thr, smallest_face=arguments.smallest_face,
                           interval=arguments.search_every),
            TrackingSettings(max_gap=arguments.max_gap, min_length=arguments.min_track),
            arguments.rate, arguments.faces, arguments.format, arguments.overlay,
            arguments.sheets)
    except ValueError as error:
        raise PrepareError(str(error)) from error


def build_parser() -> argparse.ArgumentParser:
    """The arguments."""
    search, tracking = SearchSettings(), TrackingSettings()
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('--media', type=Path, required=True, help='folder that holds the raw videos')
    add('--out', type=Path, required=True, help='folder to write')
    add('--lists', type=Path, nargs='+', default=[], help='annotation lists of the videos')
    add('--faces', choices=[LARGEST, ALL], default=LARGEST, help='which to keep (%(default)s)')
    add('--format', choices=FORMATS, default='jpg',
        help='of the clips: folders of JPEG (quality 95) or PNG, or packed without loss '
             '(%(default)s)')
    add('--rate', type=float, metavar='FPS',
        help='frames per second to take, by their times (every frame)')
    add('--preset', choices=list(PRESETS), default='upright', help='of the crops (%(default)s)')
    add('--size', type=int, metavar='PX', help='sides of the crops (that of the preset)')
    add('--margin', type=float, metavar='SHARE', help='around the face (that of the preset)')
    add('--detector', choices=['centerface', 'yunet'], default='centerface',
        help='(%(default)s)')
    add('--weights', help='file of the detector (CenterFace has one)')
    add('--det-thr', type=float, default=search.threshold, metavar='SCORE',
        help='score that makes a face (%(default)s)')
    add('--smallest-face', type=float, default=search.smallest_face, metavar='SIZE',
        help='height of the smallest face: below 1 a share of the long side, else pixels '
             '(%(default)s)')
    add('--search-every', type=float, default=search.interval, metavar='SECONDS',
        help='for new faces; 0: in every frame (%(default)s)')
    add('--max-gap', type=float, default=tracking.max_gap, metavar='SECONDS',
        help='without a detection that are bridged (%(default)s)')
    add('--min-track', type=float, default=tracking.min_length, metavar='SECONDS',
        help='that a face must be seen (%(default)s)')
    add('--workers', type=int, default=2, help='processes (%(default)s)')
    add('--time-limit', type=float, default=600, metavar='SECONDS',
        help='for one video, then it has failed (%(default)s)')
    add('--overwrite', action='store_true', help='make everything anew')
    add('--overlay', action='store_true', help='write videos that show what was found')
    add('--sheets', action='store_true', help='draw a contact sheet for each video')
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command line; see the top of this file for the exit codes."""
    arguments = build_parser().parse_args(argv)
    media, out = arguments.media.resolve(), arguments.out.resolve()
    try:
        if arguments.workers < 1 or arguments.time_limit <= 0:
            raise PrepareError('--workers and --time-limit must be positive.')
        if arguments.rate is not None and not 0 < arguments.rate < float('inf'):
            raise PrepareError(f'--rate is {arguments.rate}: expected frames per second.')
        if not media.is_dir():
            raise PrepareError(f'--media {media} is not a folder.')
        if out.exists() and not out.is_dir():
            raise PrepareError(f'--out {out} is not a folder.')
        lists = (read_lists(arguments.lists) if arguments.lists else
                 [unlabelled_list(list(find_clips(media, out)), out / UNFINISHED / 'names.csv')])
        if arguments.faces == ALL and any(row.label for part in lists for row in part.rows):
            raise PrepareError('the lists have labels, and a label belongs to one face: use '
                               '--faces largest, or lists without labels.')
        check_places(media, out, arguments.lists, [part.name for part in lists])
        videos = find_videos(media, lists)
        workshop = Workshop(out, build_task(arguments))
        workshop.claim(arguments.overwrite)
        reports = extract_all(videos, media, workshop, arguments.workers, arguments.time_limit)
        manifests = [write_list(part, reports, workshop.made, out) for part in lists]
    except PrepareError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    except OSError as error:
        print(f'error: {error}. The clips that are done in {out} are kept: start again when this '
              'is put right.', file=sys.stderr)
        return 2
    return _tell(reports, manifests, out)


def _tell(reports: dict[str, dict], manifests: list[dict], out: Path) -> int:
    """Print what came out; returns the exit code."""
    without = [report for report in reports.values() if report['status'] != OK]
    for report in without[:NAMES_SHOWN]:
        print(f'{report["status"]}: {report["video"]}: {report["reason"]}', file=sys.stderr)
    if len(without) > NAMES_SHOWN:
        print(f'and {len(without) - NAMES_SHOWN} more, see the manifests', file=sys.stderr)
    for manifest in manifests:
        counts = ', '.join(f'{count} {status}' for status, count in manifest['videos'].items())
        print(f'{manifest["list"]}: {counts}; {manifest["clips"]} clips; a face in '
              f'{manifest["frames_with_face"]:,} of {manifest["frames"]:,} frames')
    print(f'{len(reports) - len(without)} of {len(reports)} videos have a clip in {out / CLIPS}')
    return int(bool(without))


if __name__ == '__main__':
    sys.exit(main())
