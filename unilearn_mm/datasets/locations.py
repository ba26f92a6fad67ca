"""Which files a row of an annotation list means: the clip, and its sound."""

import os.path as osp
from typing import Optional

from ..media import VIDEO_SUFFIXES
from .log_mel import CACHE_SUFFIX
from .readers import PACKED_SUFFIX

# what is cheapest to read comes first; a video file may hold the sound itself
SOUND_SUFFIXES = (CACHE_SUFFIX, '.wav', '.flac', '.mp3', '.m4a', '.aac', '.ogg', '.opus',
                  *VIDEO_SUFFIXES)


def locate_clip(path: str) -> Optional[dict]:
    """Where a clip lies: the folder of frames ``path``, or the file ``path``, or that name plus a
    video suffix or ``.npy`` (a packed clip), in this order.

    Returns:
        dict, optional: ``path`` and ``frame_dir`` (a folder) or ``filename``; None if none of
        them exists.
    """
    if osp.isdir(path):
        return dict(path=path, frame_dir=path)
    for suffix in ('', *VIDEO_SUFFIXES, PACKED_SUFFIX):
        if osp.isfile(path + suffix):
            return dict(path=path + suffix, filename=path + suffix)
    return None


def locate_audio(folder: str, clip: str) -> Optional[str]:
    """The file in a sound folder that is named like a clip, but for its suffix.

    The number of a clip may have lost its zeros: DFEW's ``00012`` has the sound ``12.wav``.

    Args:
        folder (str): Sound folder.
        clip (str): Path of the clip in the annotation list.

    Returns:
        str, optional: Path of the file; None if there is none.
    """
    stem, suffix = osp.splitext(clip)
    clip = stem if suffix.lower() in (*VIDEO_SUFFIXES, PACKED_SUFFIX) else clip
    above, name = osp.split(clip)
    names = [name]
    if name.isdecimal() and name.startswith('0'):
        names.append(name.lstrip('0') or '0')
    for name in names:
        for suffix in SOUND_SUFFIXES:
            path = osp.join(folder, above, name + suffix)
            if osp.isfile(path):
                return path
    return None
