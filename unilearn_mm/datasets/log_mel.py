"""Log-mel features of sound as MMA-DFER takes them, and files that keep them.

Kaldi's filter banks (arXiv 2404.09010; its front end is that of AudioMAE, arXiv 2207.06405): 128
mel bins from 20 Hz to half the sampling rate, frames of 25 ms every 10 ms that lie wholly inside
the sound, natural logarithm. A constant offset of the sound makes no difference: the mean of each
frame is taken off.
"""

from pathlib import Path
from typing import NamedTuple, Optional

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ..files import replacing
from ..media import MediaReadError, first_line

NUM_BINS = 128
FRAME_MS, SHIFT_MS = 25., 10.
FEATURES = 'log_mel'  # name of the tensor in a file of features
CACHE_SUFFIX = '.safetensors'
CACHE_VERSION = '1'  # raise it whenever the same sound gives other features


class LogMel(NamedTuple):
    """Features of a stretch of sound.

    Attributes:
        frames (np.ndarray): (F, 128) float32, log energies; F = 0 for less than 25 ms of sound.
        rate (int): Sampling rate of the sound in Hz, which says what the bins mean.
    """
    frames: np.ndarray
    rate: int


def log_mel(samples: np.ndarray, rate: int) -> LogMel:
    """Features of sound.

    Args:
        samples (np.ndarray): (n,) float32 from -1 to 1.
        rate (int): Samples per second.

    Raises:
        ImportError: If torchaudio is missing.
    """
    import torch
    if num_frames_within(len(samples) / rate, rate) == 0:  # torchaudio raises
        return LogMel(np.empty((0, NUM_BINS), np.float32), rate)
    frames = _torchaudio().compliance.kaldi.fbank(
        torch.from_numpy(samples)[None], htk_compat=True, sample_frequency=rate,
        window_type='hanning', num_mel_bins=NUM_BINS, dither=0., frame_length=FRAME_MS,
        frame_shift=SHIFT_MS)
    return LogMel(frames.numpy(), rate)


def resample(samples: np.ndarray, rate: int, new_rate: int) -> np.ndarray:
    """Sound at another sampling rate (windowed sinc, torchaudio), (n,) float32."""
    import torch
    if rate == new_rate or not len(samples):  # torchaudio takes no empty sound
        return samples
    return _torchaudio().functional.resample(torch.from_numpy(samples), rate, new_rate).numpy()


def shift_seconds(rate: int) -> float:
    """Seconds from one frame to the next: 10 ms in whole samples."""
    return int(rate * SHIFT_MS / 1000) / rate


def num_frames_within(seconds: float, rate: int) -> int:
    """Frames that lie inside a stretch of sound."""
    shift, window = int(rate * SHIFT_MS / 1000), int(rate * FRAME_MS / 1000)
    return max(0, 1 + (round(seconds * rate) - window) // shift)


def write_log_mel(path: Path, features: LogMel, sample_rate: Optional[int]) -> None:
    """Keep the features of a whole clip.

    Args:
        path (Path): File with ``CACHE_SUFFIX``.
        features (LogMel): From the begin of the clip.
        sample_rate (int, optional): To which its sound was resampled; None: it was not.
    """
    about = dict(version=CACHE_VERSION, rate=str(features.rate), sample_rate=str(sample_rate))
    with replacing(path) as aside:
        Path(aside).write_bytes(save({FEATURES: features.frames}, about))


def read_log_mel(path: str, start: float, seconds: float, sample_rate: Optional[int]) -> LogMel:
    """A stretch of the features that :func:`write_log_mel` kept.

    Args:
        path (str): The file.
        start (float): Seconds from the begin of the clip; the nearest frame is the first.
        seconds (float): Length.
        sample_rate (int, optional): To which the sound must have been resampled.

    Raises:
        MediaReadError: If it is no such file.
        ValueError: If it was made otherwise than asked for.
    """
    try:
        with safe_open(path, 'np') as file:
            about, part = file.metadata() or {}, file.get_slice(FEATURES)
            shape, kind = part.get_shape(), part.get_dtype()
            if len(shape) != 2 or shape[1] != NUM_BINS or kind != 'F32':
                raise ValueError(f'features of shape {shape} {kind}, expected (F, {NUM_BINS}) F32')
            rate = int(about['rate'])
            first = round(start / shift_seconds(rate))
            end = min(first + num_frames_within(seconds, rate), shape[0])
            # safetensors has no empty slices
            frames = part[first:end] if first < end else np.empty((0, NUM_BINS), np.float32)
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise MediaReadError(f'{path}: cannot be read as features of sound, which '
                             f'tools/data/cache_sound.py writes: {first_line(error)}') from error
    found = about.get('version'), about.get('sample_rate')
    if found != (CACHE_VERSION, str(sample_rate)):
        raise ValueError(f'{path}: features of version and sample_rate {found}, the recipe wants '
                         f'{(CACHE_VERSION, str(sample_rate))}: run tools/data/cache_sound.py '
                         'again, or change sample_rate of DecodeSound')
    return LogMel(frames, rate)


def _torchaudio():
    try:
        import torchaudio.compliance.kaldi
        import torchaudio.functional
    except ImportError as error:
        raise ImportError("sound needs torchaudio, of the version of torch: pip install "
                          "'unilearn_mm[audio]'") from error
    return torchaudio
