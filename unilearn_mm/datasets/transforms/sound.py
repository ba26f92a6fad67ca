"""The sound of a clip: decoded, and as log-mel features beside the frames.

``OpenClip -> sampling -> DecodeSound -> SoundFbank -> DecodeClip -> ... -> PackActionInputs(
collect_keys=('imgs', 'audios'))``.
"""

from typing import List, Optional, Tuple

import numpy as np
from mmaction.registry import TRANSFORMS
from mmcv.transforms import BaseTransform

from ...media import MediaReadError
from ..log_mel import (
    CACHE_SUFFIX,
    FRAME_MS,
    NUM_BINS,
    SHIFT_MS,
    LogMel,
    log_mel,
    read_log_mel,
    resample,
    shift_seconds,
)
from ..sound_reader import Sound, read_sound
from .loading import name_of

OK, SILENT, PARTLY, NO_SOUND = 'ok', 'silent', 'partly', 'none'  # statuses of sound
SILENCE = -9.  # nats; a sine of -80 dB of full scale has about so much in its loudest bin
WHOLE = 0.9  # share of what is shown that has sound; less is told
LONGEST = 512  # frames of features that the recipes of the paper take, 5.135 s


@TRANSFORMS.register_module()
class DecodeSound(BaseTransform):
    """Decode the sound that belongs to a clip: its first channel.

    Required keys: none. ``audio_path`` names the file, a video or sound file or one of
    ``tools/data/cache_sound.py``; a sample without it has no sound. ``clip_span`` (start, end) in
    seconds tells where in this file the clip is, if it is not all of it.
    Added keys: ``sounds`` (for each view a ``Sound``, a ``LogMel`` or None), ``sound_spans`` (for
    each view the seconds that it shows) and ``sound_limit`` (seconds that were decoded at most).

    Args:
        of (str): What is decoded. 'clip': the clip from its begin, once for all views (MMA-DFER on
            the clips of DFEW and MAFW). 'views': for each view what its frames show, from the
            first to the last; stands between sampling and ``DecodeClip`` then. 'file': the begin
            of the file, wherever in it the clip is (what MMA-DFER would do with a long video).
        seconds (float): At most so much of it; what the features of ``SoundFbank`` need.
        sample_rate (int, optional): Resample to so many Hz. The mel bins reach up to half the
            sampling rate, so that the same sound has other features at another rate; by default
            it is that of each file (MMA-DFER).
        fps (float): Frames per second of clips that have no times: folders of frames, packed
            clips.
        on_missing (str): What happens to a sample without sound: 'raise', or 'allow': it goes on
            without, and its status says so.

    Raises:
        ValueError: If ``of`` or ``on_missing`` is unknown.
        MediaReadError: If the file cannot be decoded, or there is no sound and that is not
            allowed.
    """

    def __init__(self,
                 of: str = 'clip',
                 seconds: float = 5.2,
                 sample_rate: Optional[int] = None,
                 fps: float = 25.,
                 on_missing: str = 'raise') -> None:
        for name, value, known in (('of', of, ('clip', 'views', 'file')),
                                   ('on_missing', on_missing, ('raise', 'allow'))):
            if value not in known:
                raise ValueError(f'DecodeSound: {name} must be one of {known}, found {value!r}')
        self.of = of
        self.seconds = seconds
        self.sample_rate = sample_rate
        self.fps = fps
        self.on_missing = on_missing

    def transform(self, results: dict) -> dict:
        """Add the sound to the sample dict."""
        spans = self._spans(results)
        results['sound_spans'] = [end - start for start, end in spans]
        results['sound_limit'] = self.seconds
        path = results.get('audio_path')
        results['sounds'] = [None if path is None else self._read(path, *span) for span in spans]
        if None in results['sounds'] and self.on_missing == 'raise':
            why = 'it has no sound file' if path is None else f'{path} has no sound track'
            raise MediaReadError(f"{name_of(results)}: {why}; DecodeSound(on_missing='allow') goes "
                                 'on without')
        return results

    def _spans(self, results: dict) -> List[Tuple[float, float]]:
        start, end = results.get('clip_span', (0., np.inf))
        if self.of == 'file':
            return [(0., np.inf)]
        if self.of == 'clip':
            return [(start, end)]
        times = self._times(results)
        views = np.reshape(results['frame_inds'], (results['num_clips'], -1))
        places = views - results['start_index']
        return [(start + times(view[0]), start + times(view[-1] + 1)) for view in places.tolist()]

    def _times(self, results: dict):
        if 'clip_reader' not in results:
            raise KeyError("DecodeSound(of='views') stands before DecodeClip: it needs the times "
                           'of the frames')
        own = getattr(results['clip_reader'], 'time_of', None)
        return own or (lambda frame: frame / self.fps)

    def _read(self, path: str, start: float, end: float):
        seconds = min(end - start, self.seconds)
        if path.endswith(CACHE_SUFFIX):
            return read_log_mel(path, start, seconds, self.sample_rate)
        sound = read_sound(path, start, seconds)
        if sound is None:
            return None
        if self.sample_rate is not None:
            sound = Sound(resample(sound.samples, sound.rate, self.sample_rate), self.sample_rate)
        return sound


@TRANSFORMS.register_module()
class SoundFbank(BaseTransform):
    """Log-mel features of sound; see :mod:`unilearn_mm.datasets.log_mel`.

    Required keys: ``sounds``, ``sound_spans``, ``sound_limit`` (of :class:`DecodeSound`).
    Added keys: ``audios`` (views or 1, 1, num_frames, 128) float32, not normalised; ``sound``, the
    status: 'ok', 'silent' (nothing louder than about -80 dB), 'partly' (a tenth or more of what is
    shown has none), or 'none'. Of several views it is the first that is not 'ok'.

    Args:
        num_frames (int): Frames of the result. Later ones are cut off; missing ones are zeros
            before the normalisation, as in the official code.
        missing (str): What a sample without any sound gets: 'zeros' like MAFW's in the official
            code, or 'empty': no frames at all, so that the model leaves the modality out.

    Raises:
        ValueError: If ``missing`` is unknown, or ``DecodeSound`` decodes less than is needed.
    """

    def __init__(self, num_frames: int = LONGEST, missing: str = 'zeros') -> None:
        if missing not in ('zeros', 'empty'):
            raise ValueError("SoundFbank: missing must be 'zeros' or 'empty', found "
                             f'{missing!r}')
        self.num_frames = num_frames
        self.missing = missing

    def transform(self, results: dict) -> dict:
        """Replace the sound by its features."""
        sounds, limit = results.pop('sounds'), results.pop('sound_limit')
        if limit < (self.num_frames * SHIFT_MS + FRAME_MS) / 1000:
            raise ValueError(f'SoundFbank(num_frames={self.num_frames}) needs more sound than '
                             f'DecodeSound(seconds={limit}) decodes')
        audios = np.zeros((len(sounds), 1, self.num_frames, NUM_BINS), np.float32)
        states = []
        for view, sound, shown in zip(audios[:, 0], sounds, results.pop('sound_spans')):
            features = log_mel(*sound) if isinstance(sound, Sound) else sound
            if features is None or len(features.frames) == 0:
                states.append(NO_SOUND)
                continue
            frames = features.frames[:self.num_frames]
            view[:len(frames)] = frames
            states.append(self._state(features, shown))
        if self.missing == 'empty' and set(states) == {NO_SOUND}:
            audios = audios[:1, :, :0]
        results['audios'] = audios
        results['sound'] = next((state for state in states if state != OK), OK)
        return results

    def _state(self, features: LogMel, shown: float) -> str:
        if features.frames.max() < SILENCE:
            return SILENT
        if not np.isfinite(shown):
            return OK
        step = shift_seconds(features.rate)
        lasts = (len(features.frames) - 1) * step + FRAME_MS / 1000
        return OK if lasts >= WHOLE * min(shown, self.num_frames * step) else PARTLY
