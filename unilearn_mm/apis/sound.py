"""Sound in a prediction: where a source has it, and what of it belongs to a window."""

from itertools import pairwise
from pathlib import Path
from typing import Any, List, NamedTuple, Optional, Tuple, Union

import numpy as np
from mmengine.dataset import Compose

from ..datasets.locations import locate_audio
from ..datasets.sound_reader import SoundReadError, has_sound
from ..datasets.transforms.sound import NO_SOUND, DecodeSound

DAMAGED = 'damaged'  # what the sound of a row can be besides the statuses of SoundFbank
SOUND_TRANSFORMS = ('DecodeSound', 'SoundFbank')


class SoundSource(NamedTuple):
    """Where the sound of a source is.

    Attributes:
        path (str, optional): A file; None if the source has none.
        alone (bool): Whether stretches without a face are scored by their sound.
    """
    path: Optional[str]
    alone: bool


def uses_sound(pipeline: List[dict]) -> bool:
    """Whether a pipeline decodes sound."""
    return any(transform['type'] == DecodeSound.__name__ for transform in pipeline)


def without_demands(pipeline: List[dict]) -> List[dict]:
    """A pipeline that goes on where there is no sound, and packs what became of it."""
    found = []
    for transform in pipeline:
        if transform['type'] == DecodeSound.__name__:
            transform = dict(transform, on_missing='allow')
        elif transform['type'] == 'PackActionInputs':
            transform = dict(transform, meta_keys=(*transform.get('meta_keys', ()), 'sound'))
        found.append(transform)
    return found


def find_sound(source: Union[str, Path, int]) -> Optional[str]:
    """The file with the sound of a source: itself, if it has a sound track, or the sound file of
    its name beside it. Streams and cameras have none that could be read."""
    if isinstance(source, int) or '://' in str(source):
        return None
    path = Path(source)
    if path.is_file() and has_sound(str(path)):
        return str(path)
    beside = locate_audio(str(path.parent), path.name)
    return beside if beside is not None and Path(beside) != path else None


def pack_with_sound(pipeline: Compose, sample: dict, path: Optional[str],
                    span: Tuple[float, float]) -> dict:
    """A packed clip with the sound of a stretch of a file.

    Args:
        pipeline (Compose): Of a recipe.
        sample (dict): What it needs, but the sound.
        path (str, optional): File with the sound.
        span (tuple[float, float]): Start and end of the clip in this file, in seconds.

    Returns:
        dict: ``inputs`` and ``data_samples``, whose ``sound`` is the status. Sound that cannot be
        decoded is left out.
    """
    if path is None:
        return pipeline(sample)
    try:
        return pipeline(dict(sample, audio_path=path, clip_span=span))
    except SoundReadError:
        packed = pipeline(sample)
        packed['data_samples'].set_metainfo(dict(sound=DAMAGED))
        return packed


def pack_sound_alone(pipeline: Compose, sample: dict, path: str,
                     span: Tuple[float, float]) -> Optional[dict]:
    """The sound of a stretch without a face, packed; None if it cannot be heard.

    Args:
        pipeline (Compose): Of a recipe; its transforms of frames are left out.
        sample (dict): What :func:`pack_with_sound` takes, but the frames.
        path (str): File with the sound.
        span (tuple[float, float]): Start and end of the stretch in this file, in seconds.
    """
    chosen = [transform for transform in pipeline.transforms
              if type(transform).__name__ in SOUND_TRANSFORMS]
    results: Any = dict(sample, audio_path=path, clip_span=span, num_clips=1)
    try:
        for transform in chosen:
            results = transform(results)
    except SoundReadError:
        return None
    if results['sound'] == NO_SOUND:
        return None
    no_frames = np.zeros((1, 3, 0, 1, 1), np.uint8)
    return pipeline.transforms[-1](dict(results, imgs=no_frames))


def parts(start: float, end: float, seconds: float) -> List[Tuple[float, float]]:
    """A stretch in equal parts of about so many seconds."""
    count = max(1, round((end - start) / seconds))
    borders = np.linspace(start, end, count + 1).tolist()
    return list(pairwise(borders))
