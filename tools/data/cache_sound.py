"""Keep the log-mel features of sound, so that a training decodes no sound.

    python tools/data/cache_sound.py --sound data/DFEW/raw_wav --out data/DFEW/log_mel
    python tools/data/cache_sound.py --sound data/MAFW/clips --out data/MAFW/log_mel --workers 8

Every sound or video file below SOUND becomes ``OUT/<name>.safetensors`` with the same folders above
it: the features of the whole file (F, 128) float32, 51 kB a second, and the sampling rate. To train
on them, set ``data_prefix=dict(media=..., audio=OUT)`` in the config; the features of any stretch
are those that decoding it would give. ``--sample-rate`` is for recipes whose ``DecodeSound`` has
one.

A run that was interrupted goes on where it stopped; files that are newer than their features are
done again. Videos without a sound track get no file and are counted. The exit code is 1 if a file
cannot be read (all of them are named at the end), 2 if an error stopped the run.
"""
from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path

import torch
from preparation.samples import PrepareError
from tqdm import tqdm

from unilearn_mm.datasets.locations import SOUND_SUFFIXES
from unilearn_mm.datasets.log_mel import (
    CACHE_SUFFIX,
    log_mel,
    read_log_mel,
    resample,
    write_log_mel,
)
from unilearn_mm.datasets.sound_reader import read_sound
from unilearn_mm.media import MediaReadError

LONGEST = 600.0  # s; more is no clip, and its features would fill the memory
CACHED, NO_TRACK = 'cached', 'no sound track'


def find_sounds(folder: Path, out: Path) -> dict[Path, Path]:
    """Sound and video files below a folder, and the files of their features.

    Raises:
        PrepareError: If there is none, or two would become the same.
    """
    found: dict[Path, Path] = {}
    for above, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if Path(above, name) != out)
        for name in sorted(files):
            source = Path(above, name)
            if source.suffix.lower() not in SOUND_SUFFIXES or source.suffix == CACHE_SUFFIX:
                continue
            target = out / source.relative_to(folder).with_suffix(CACHE_SUFFIX)
            if target in found:
                raise PrepareError(f'{found[target]} and {source} would both become {target}: '
                                   'move one of them elsewhere.')
            found[target] = source
    if not found:
        raise PrepareError(f'{folder}: no sound or video file there '
                           f'({", ".join(SOUND_SUFFIXES[1:])}).')
    return {source: target for target, source in found.items()}


def is_cached(source: Path, target: Path, sample_rate: int | None) -> bool:
    """Whether whole features of this file are there, not older than it.

    Raises:
        PrepareError: If they were made with another sampling rate.
    """
    if not target.is_file() or target.stat().st_mtime < source.stat().st_mtime:
        return False
    try:
        read_log_mel(str(target), 0., 1., sample_rate)
    except MediaReadError:
        return False
    except ValueError as error:
        raise PrepareError(f'{error}; or choose another --out, or --overwrite.') from error
    return True


def cache(job: tuple[Path, Path], sample_rate: int | None) -> str:
    """Write the features of one file; ``CACHED``, ``NO_TRACK`` or why it cannot be read."""
    source, target = job
    try:
        sound = read_sound(str(source), 0., LONGEST + 1)
    except MediaReadError as error:
        return str(error)
    if sound is None:
        return NO_TRACK
    if len(sound.samples) > LONGEST * sound.rate:
        return f'{source}: longer than {LONGEST:g} s: no clip'
    samples, rate = sound
    if sample_rate is not None:
        samples, rate = resample(samples, rate, sample_rate), sample_rate
    target.parent.mkdir(parents=True, exist_ok=True)
    write_log_mel(target, log_mel(samples, rate), sample_rate)
    return CACHED


def main(argv: list[str] | None = None) -> int:
    """Run the command line; see the top of this file for the exit codes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('--sound', type=Path, required=True, help='folder that holds the sound or video files')
    add('--out', type=Path, required=True, help='folder of the features')
    add('--sample-rate', type=int, metavar='HZ',
        help='resample the sound (default: the rate of each file, as in MMA-DFER)')
    add('--workers', type=int, default=2, help='processes (%(default)s)')
    add('--overwrite', action='store_true', help='do everything anew')
    arguments = parser.parse_args(argv)
    try:
        if arguments.workers < 1 or (arguments.sample_rate or 16000) < 1000:
            raise PrepareError('--workers must be positive and --sample-rate at least 1000.')
        if not arguments.sound.is_dir():
            raise PrepareError(f'--sound {arguments.sound} is not a folder.')
        sounds = find_sounds(arguments.sound.resolve(), arguments.out.resolve())
        todo = [job for job in sounds.items()
                if arguments.overwrite or not is_cached(*job, arguments.sample_rate)]
        print(f'{len(sounds)} files: {len(sounds) - len(todo)} cached already, {len(todo)} to do')
        with ProcessPoolExecutor(arguments.workers, initializer=torch.set_num_threads,
                                 initargs=(1, )) as pool:
            outcomes = list(tqdm(
                pool.map(partial(cache, sample_rate=arguments.sample_rate), todo, chunksize=4),
                'caching', len(todo), unit='file'))
    except (PrepareError, OSError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    except BrokenProcessPool:
        print('error: a process died: too little memory for --workers, or a decoder crashed. What '
              'is cached stays; run again with fewer --workers.', file=sys.stderr)
        return 2
    failures = [outcome for outcome in outcomes if outcome not in (CACHED, NO_TRACK)]
    for failure in failures:
        print(f'not cached: {failure}', file=sys.stderr)
    mute = [source.name for (source, _), outcome in zip(todo, outcomes) if outcome == NO_TRACK]
    if mute:
        print(f'{len(mute)} videos have no sound track, e.g. {", ".join(mute[:5])}')
    print(f'{len(sounds) - len(failures) - len(mute)} of {len(sounds)} files are cached in '
          f'{arguments.out}')
    return 1 if failures else 0


if __name__ == '__main__':
    sys.exit(main())
