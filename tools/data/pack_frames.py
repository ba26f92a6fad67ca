"""Pack clips into arrays of small frames, an optional cache that makes reading them cheap.

    python tools/data/pack_frames.py --media data/DFEW/clip_jpg_256 --out data/DFEW/packed_160
    python tools/data/pack_frames.py --media data/DFEW/clip_jpg_256 --out data/DFEW/packed_160 \\
        --lists data/DFEW/EmoLabel_DataSplit/*/*_set_1.csv --workers 8

Every clip below MEDIA, a folder of frames or a video file, becomes ``OUT/<clip>.npy`` with the
same folders above it: all its frames in order, resized once to SIZE x SIZE as the recipe does
first, (L, SIZE, SIZE, 3) uint8 RGB. With ``--lists`` only the clips of these annotation lists are
packed, under the names that the lists use (needed where these end in ``.mp4`` or the like). To
train on the cache, set ``data_prefix=dict(media=OUT)`` in the config.

A run that was interrupted goes on where it stopped. The exit code is 1 if a clip cannot be read
(all of them are named at the end), 2 if an error stopped the run.
"""
from __future__ import annotations

import argparse
import shutil
import sys
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from preparation.clips import find_clips
from preparation.samples import PrepareError
from tqdm import tqdm

from unilearn_mm.datasets.annotations import AnnotationError, read_annotations
from unilearn_mm.datasets.locations import locate_clip
from unilearn_mm.datasets.readers import PACKED_SUFFIX, PackedReader
from unilearn_mm.datasets.transforms.loading import DecodeClip, OpenClip
from unilearn_mm.datasets.transforms.resize import AntialiasResize
from unilearn_mm.files import replacing
from unilearn_mm.media import MediaReadError

FRAMES_AT_ONCE = 64  # full-size frames of a clip that are held in memory
HEADER_BYTES = 128  # of a .npy file of such an array
NAMES_SHOWN = 5  # how many clips an error lists


class Clip(NamedTuple):
    """A folder of frames or a video file, and the packed file it becomes."""

    source: Path
    target: Path

    def open(self) -> dict:
        """Sample dict with an open reader.

        Raises:
            MediaReadError: If the source cannot be read.
        """
        location = locate_clip(str(self.source))
        if location is None:
            raise MediaReadError(f'{self.source}: does not exist any more')
        return OpenClip().transform(dict(media='video', **location))


def listed_clips(media: Path, out: Path, lists: list[Path]) -> list[Clip]:
    """The clips of annotation lists.

    Raises:
        PrepareError: If a list cannot be read or a clip is missing.
    """
    try:
        listed = {row.path: path for path in lists
                  for row in read_annotations(str(path), 'video')}
    except AnnotationError as error:
        raise PrepareError(str(error)) from error
    clips, missing = [], []
    for name, path in listed.items():
        location = locate_clip(str(media / name))
        if location is None:
            missing.append(f'{name} of {path}')
        else:
            clips.append(Clip(Path(location['path']), out / f'{name}{PACKED_SUFFIX}'))
    if missing:
        raise PrepareError(f'{len(missing)} of {len(listed)} listed clips are missing in {media}, '
                        f'e.g. {"; ".join(missing[:NAMES_SHOWN])}. Check --media.')
    return clips


def one_thread() -> None:
    """Keep this process to one thread: the processes are the parallelism."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def count_frames(clip: Clip) -> int | str:
    """Number of frames of a clip, or why it cannot be read."""
    try:
        return clip.open()['total_frames']
    except MediaReadError as error:
        return str(error)


def packed_shape(path: Path) -> tuple | None:
    """Shape of the packed clip in a file; None if the file is no whole packed clip."""
    try:
        return PackedReader(str(path)).frames.shape
    except MediaReadError:
        return None


def pack_clip(clip: Clip, size: int) -> str | None:
    """Write one packed clip; the file appears only once it is whole.

    Args:
        clip (Clip): What to read and to write.
        size (int): Side of the packed frames, px.

    Returns:
        str, optional: Why the clip cannot be read; None if it was written.
    """
    resize = AntialiasResize(scale=(size, size))
    try:
        opened = clip.open()
        frames = np.empty((opened['total_frames'], size, size, 3), np.uint8)
        full_sizes = set()
        for start in range(0, len(frames), FRAMES_AT_ONCE):
            chunk = range(start, min(start + FRAMES_AT_ONCE, len(frames)))
            results = DecodeClip().transform(dict(opened, frame_inds=np.array(chunk)))
            full_sizes.add(results['original_shape'])
            frames[chunk.start:chunk.stop] = resize.transform(results)['imgs']
        if len(full_sizes) > 1:
            return f'{clip.source}: frames of different sizes {sorted(full_sizes)}'
    except MediaReadError as error:
        return str(error)
    clip.target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(clip.target) as aside, open(aside, 'wb') as file:
        np.save(file, frames)
    return None


def refuse_misfits(misfits: list[str]) -> None:
    """Raise ``PrepareError`` if files that are no whole packed clip stand where one belongs."""
    if misfits:
        raise PrepareError(
            f'{len(misfits)} files already there do not fit, e.g. '
            f'{"; ".join(misfits[:NAMES_SHOWN])}. They were made with another --size, the clips '
            'have changed, or a disk failed: choose another --out, delete them, or pack '
            'everything anew with --overwrite.')


def refuse_full_disk(out: Path, needed: int) -> None:
    """Raise ``PrepareError`` if the disk of ``out`` has less than ``needed`` bytes free."""
    there = next(folder for folder in (out, *out.parents) if folder.exists())
    free = shutil.disk_usage(there).free
    print(f'{needed / 1e9:.2f} GB to write, {free / 1e9:.2f} GB free in {there}')
    if needed > free:
        raise PrepareError(f'the packed clips need {needed} bytes and {there} has {free} free: '
                        'choose a smaller --size or an --out on another disk, or pack only some '
                        'clips with --lists.')


def pack(clips: list[Clip], size: int, workers: int, overwrite: bool) -> list[str]:
    """Pack clips that are not packed yet.

    Args:
        clips (list[Clip]): What to read and to write.
        size (int): Side of the packed frames, px.
        workers (int): Processes.
        overwrite (bool): Whether to pack everything anew.

    Returns:
        list[str]: One message per clip that cannot be read.

    Raises:
        PrepareError: If a file that is already there does not fit, or the disk is too small.
    """
    failures, misfits, todo, needed = [], [], [], 0
    with ProcessPoolExecutor(workers, initializer=one_thread) as pool:
        counts = pool.map(count_frames, clips, chunksize=8)
        for clip, count in zip(clips, tqdm(counts, 'counting frames', len(clips), unit='clip')):
            if isinstance(count, str):
                failures.append(count)
                continue
            expected = (count, size, size, 3)
            if clip.target.exists() and not overwrite:
                found = packed_shape(clip.target)
                if found != expected:
                    misfits.append(f'{clip.target} (found {found or "no whole packed clip"}, '
                                   f'expected {expected})')
                continue
            todo.append(clip)
            needed += HEADER_BYTES + int(np.prod(expected, dtype=np.int64))
            if clip.target.exists():
                needed -= clip.target.stat().st_size
        refuse_misfits(misfits)
        print(f'{len(clips)} clips: {len(clips) - len(todo) - len(failures)} packed already, '
              f'{len(todo)} to pack, {len(failures)} unreadable')
        if todo:
            refuse_full_disk(todo[0].target.parent, needed)
            problems = pool.map(partial(pack_clip, size=size), todo)
            failures += [problem for problem in tqdm(problems, 'packing', len(todo), unit='clip')
                         if problem]
    return failures


def main(argv: list[str] | None = None) -> int:
    """Run the command line; see the top of this file for the exit codes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('--media', type=Path, required=True, help='folder that holds the clips')
    add('--out', type=Path, required=True, help='folder of the cache')
    add('--size', type=int, default=160, help='side of the packed frames, px (%(default)s)')
    add('--lists', type=Path, nargs='+', help='pack only the clips of these annotation lists')
    add('--workers', type=int, default=2, help='processes (%(default)s)')
    add('--overwrite', action='store_true', help='pack clips anew that are packed already')
    arguments = parser.parse_args(argv)
    try:
        for name in ('size', 'workers'):
            if getattr(arguments, name) < 1:
                raise PrepareError(f'--{name} is {getattr(arguments, name)}: expected 1 or more.')
        if not arguments.media.is_dir():
            raise PrepareError(f'--media {arguments.media} is not a folder.')
        media, out = arguments.media.resolve(), arguments.out.resolve()
        clips = (listed_clips(media, out, arguments.lists) if arguments.lists else
                 [Clip(source, out / f'{name}{PACKED_SUFFIX}')
                  for name, source in find_clips(media, out).items()])
        failures = pack(clips, arguments.size, arguments.workers, arguments.overwrite)
    except (PrepareError, OSError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    except BrokenProcessPool:
        print('error: a process died: too little memory for --workers, or a decoder crashed. What '
              'is packed stays; run again with fewer --workers.', file=sys.stderr)
        return 2
    for failure in failures:
        print(f'not packed: {failure}', file=sys.stderr)
    print(f'{len(clips) - len(failures)} of {len(clips)} clips are packed in {out}')
    return 1 if failures else 0


if __name__ == '__main__':
    sys.exit(main())
