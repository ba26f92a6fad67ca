"""Measure clips and images by decoding all of each: what cannot be used, and why."""
from __future__ import annotations

import os
from pathlib import Path
from typing import Iterable, NamedTuple

import cv2
from tqdm import tqdm

from unilearn_mm.datasets.locations import locate_clip
from unilearn_mm.datasets.transforms.loading import OpenClip
from unilearn_mm.datasets.video_reader import VideoReader, open_video
from unilearn_mm.media import MediaReadError, list_frames
from unilearn_mm.processes import Stopped, run_bounded

from .reasons import MISSING, NEITHER, reproducible
from .samples import VIDEO


class Measured(NamedTuple):
    """A clip or an image: its decodable frames, their size in pixels, and what is wrong ('')."""

    num_frames: int
    width: int
    height: int
    problem: str


class Damaged(Exception):
    """The file can be opened, but is not whole."""


def locate(folder: Path, path: str, media: str) -> dict | None:
    """Keys ``path`` and ``filename`` or ``frame_dir`` of a sample; None if it is missing."""
    full = str(folder / path)
    if media == VIDEO:
        return locate_clip(full)
    return dict(path=full, filename=full) if os.path.lexists(full) else None


def screen(folder: Path, paths: Iterable[str], media: str, workers: int,
           time_limit: float) -> dict[str, Measured]:
    """Measure every path once, whatever the number of lists it occurs in.

    Args:
        folder (Path): Media folder.
        paths (Iterable[str]): Paths relative to it.
        media (str): 'video' or 'image'.
        workers (int): Number of processes.
        time_limit (float): Seconds for one clip or image.

    Returns:
        dict[str, Measured]: By path.
    """
    measured, jobs = {}, {}
    for path in dict.fromkeys(paths):
        location = locate(folder, path, media)
        if location is None:
            there = os.path.lexists(folder / path)
            measured[path] = Measured(0, 0, 0, NEITHER if there else MISSING)
        else:
            jobs[path] = (location, media)
    results = run_bounded(measure, jobs.values(), workers, time_limit)
    order = list(jobs)
    for place, result in tqdm(results, desc='screening', total=len(jobs),
                              unit='clip' if media == VIDEO else 'image'):
        if isinstance(result, Stopped):
            result = Measured(0, 0, 0, str(result))
        measured[order[place]] = result._replace(problem=reproducible(result.problem, folder))
    return measured


def measure(location: dict, media: str) -> Measured:
    """Decode a clip or an image to its end.

    Args:
        location (dict): ``path`` and ``filename`` or ``frame_dir``.
        media (str): 'video' or 'image'.
    """
    sizes: dict[tuple[int, int], None] = {}
    num_frames, problem = 0, ''
    try:
        _check_files(location, media)
        reader = OpenClip().transform(dict(media=media, **location))['clip_reader']
        for index in range(len(reader)):
            sizes[reader.read([index])[0].shape[:2]] = None
            num_frames += 1
        if isinstance(reader, VideoReader):
            _check_declared(location['path'], num_frames)
        if len(sizes) > 1:
            shown = ', '.join(f'{width} x {height}' for height, width in sorted(sizes)[:4])
            raise Damaged(f'frames of different sizes: {shown}')
    except (Damaged, MediaReadError) as error:
        problem = str(error)
    except Exception as error:  # noqa: BLE001 (whatever a decoder raises, the file is bad)
        problem = f'{type(error).__name__}: {error}'
    height, width = next(iter(sizes), (0, 0))
    return Measured(num_frames, width, height, problem)


def _check_files(location: dict, media: str) -> None:
    folder = 'frame_dir' in location
    for path in list_frames(location['path']) if folder else [location['path']]:
        try:
            with open(path, 'rb') as file:
                start = file.read(1)
        except OSError as error:
            raise Damaged(f'{path}: {error.strerror}') from error
        if not start:
            raise Damaged(f'{path}: empty file (0 bytes)')
    if media == VIDEO and not folder and cv2.haveImageReader(location['path']):
        raise Damaged('the file is an image with the suffix of a video')


def _check_declared(path: str, num_frames: int) -> None:
    with open_video(path) as container:
        declared = container.streams.video[0].frames  # 0 where the container does not say
    if declared not in (0, num_frames):
        raise Damaged(f'the header declares {declared} frames, {num_frames} can be decoded')
