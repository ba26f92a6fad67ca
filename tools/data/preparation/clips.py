"""Clips in any folder: video files and folders of frames."""
from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from unilearn_mm.media import IMAGE_SUFFIXES, VIDEO_SUFFIXES

from .samples import PrepareError


def find_clips(media: Path, out: Path) -> dict[str, Path]:
    """All clips below a folder; ``out`` is left out if it lies there too.

    How many files are no clips is printed, by suffix.

    Args:
        media (Path): Folder that holds the clips.
        out (Path): Folder of what is made of them.

    Returns:
        dict[str, Path]: By their names: paths relative to ``media``, without the suffix of a video.

    Raises:
        PrepareError: If two clips have the same name, or there is none.
    """
    clips: dict[str, Path] = {}
    others: Counter = Counter()
    for folder, folders, files in os.walk(media):
        folders[:] = sorted(name for name in folders if Path(folder, name) != out)
        found = [Path(folder, name) for name in sorted(files)
                 if name.lower().endswith(VIDEO_SUFFIXES)]
        if any(name.lower().endswith(IMAGE_SUFFIXES) for name in files):
            found.append(Path(folder))
        others.update(Path(name).suffix.lower() or 'no suffix' for name in files
                      if not name.lower().endswith((*VIDEO_SUFFIXES, *IMAGE_SUFFIXES)))
        for source in found:
            name = source.relative_to(media)
            name = name if source.is_dir() else name.with_suffix('')
            if name == Path():
                raise PrepareError(f'{media} holds frames itself: expected the folder above it, '
                                   'which holds a folder or a video file per clip.')
            if name.as_posix() in clips:
                raise PrepareError(f'{clips[name.as_posix()]} and {source} would both become '
                                   f'{out / name}: move one of them elsewhere.')
            clips[name.as_posix()] = source
    if not clips:
        raise PrepareError(f'{media}: no clip found; expected folders of frames '
                           f'({", ".join(IMAGE_SUFFIXES)}) or video files '
                           f'({", ".join(VIDEO_SUFFIXES)}).')
    if others:
        told = ', '.join(f'{count} x {suffix}' for suffix, count in sorted(others.items()))
        # a name need not be text
        print('no clips, left out: ' + told.encode(errors='backslashreplace').decode())
    return clips
