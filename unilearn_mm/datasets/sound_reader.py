"""The sound of a clip: the track of a video file, or a sound file, through PyAV (FFmpeg)."""

from fractions import Fraction
from typing import Iterator, List, NamedTuple, Optional, Tuple

import av
import numpy as np

from ..media import MediaReadError, first_line
from .video_reader import FORMATS, TIMED, VIDEO_ERRORS

SOUND_FORMATS = f'{FORMATS},wav,w64,mp3,flac,aac'  # no playlists, see FORMATS
SEEKABLE = (*TIMED, 'wav')  # the others are decoded from their begin: their indices are guesses
PREROLL = 1.  # s that are decoded before what is wanted: MP3 and AAC build on what came before
JITTER = 0.02  # s by which times of packets are off where nothing is missing: WebM rounds to 1 ms
RATES = (1000, 768000)  # Hz; more or less is a damaged header
MANY_PLANES = 8  # from so many on PyAV 18.1 reads behind the list of planes, and crashes
ZEROS = dict(u1=128)  # what stands for 0 in a sample format, where it is not 0


class SoundReadError(MediaReadError):
    """The sound of a file cannot be decoded; the message names it."""


class Sound(NamedTuple):
    """A stretch of sound.

    Attributes:
        samples (np.ndarray): (n,) float32 from -1 to 1, of the first channel. Fewer than were
            asked for where the sound ends.
        rate (int): Samples per second.
    """
    samples: np.ndarray
    rate: int


def read_sound(path: str, start: float, seconds: float) -> Optional[Sound]:
    """Decode a stretch of sound.

    What the encoder put before the first sample (AAC, MP3 and Opus do) is left out, so that the
    sound lies as players play it. Where a track has a gap, or starts later than the video, there
    are zeros.

    Args:
        path (str): Video or sound file.
        start (float): Seconds from the first frame of the video, or from the begin of a file
            without video; not negative. It is rounded to hundredths (whole numbers of
            ``int(rate / 100)`` samples): then the features of a stretch are among those of the
            whole.
        seconds (float): Length, finite.

    Returns:
        Sound, optional: None if there is no sound track.

    Raises:
        SoundReadError: If the file cannot be opened or the sound cannot be decoded.
    """
    try:
        with _open(path) as container:
            stream = container.streams.best('audio')
            return None if stream is None else _decode(container, stream, start, seconds)
    except VIDEO_ERRORS as error:
        raise SoundReadError(f'{path}: the sound cannot be decoded (truncated, or neither a video '
                             f'nor a sound file?): {first_line(error)}') from error


def has_sound(path: str) -> bool:
    """Whether a file can be opened and has a sound track."""
    try:
        with _open(path) as container:
            return bool(container.streams.audio)
    except VIDEO_ERRORS:
        return False


def _open(path: str) -> av.container.InputContainer:
    return av.open(path, options=dict(format_whitelist=SOUND_FORMATS), metadata_errors='replace')


def _decode(container, stream, start: float, seconds: float) -> Sound:
    if stream.codec_context is None:
        raise ValueError('no decoder for it')
    stream.codec_context.thread_count = 1  # the data loader's workers are the parallelism
    origin = _origin(container, stream)
    seekable = not set(SEEKABLE).isdisjoint(container.format.name.split(','))
    if seekable and start > 2 * PREROLL:
        origin = origin or Fraction(0)
        container.seek(int((Fraction(start - PREROLL) + origin) / stream.time_base),
                       stream=stream)
    pieces: List[Tuple[int, np.ndarray]] = []
    rate = place = first = last = 0
    begun = False
    for frame in _with_few_planes(container.decode(stream)):
        if not rate:
            rate = _checked_rate(frame.sample_rate)
            step = rate // 100
            first = round(start * rate / step) * step
            last = first + round(seconds * rate)
        elif frame.sample_rate != rate:
            raise ValueError(f'the sampling rate changes from {rate} to {frame.sample_rate} Hz')
        if frame.pts is not None:
            time = frame.pts * frame.time_base
            origin = time if origin is None else origin
            told = round((time - origin) * rate)
            place = told if not begun or abs(told - place) > JITTER * rate else place
        if place >= last:
            break
        if place + frame.samples > first:
            pieces.append((place, _first_channel(frame)))
        place += frame.samples
        begun = True
    rate = rate or _checked_rate(stream.codec_context.sample_rate)  # a track without a packet
    return Sound(_laid(pieces, first, last), rate)


def _origin(container, stream) -> Optional[Fraction]:
    """Time of the first frame of the video; of a file without one, None: of its first sample."""
    for video in container.streams.video:
        if not video.disposition & av.stream.Disposition.attached_pic:
            return (video.start_time or 0) * video.time_base
    return None if stream.start_time is None else stream.start_time * stream.time_base


def _checked_rate(rate: int) -> int:
    if not RATES[0] <= rate <= RATES[1]:
        raise ValueError(f'a sampling rate of {rate} Hz, expected {RATES[0]} to {RATES[1]}')
    return rate


def _with_few_planes(frames: Iterator[av.AudioFrame]) -> Iterator[av.AudioFrame]:
    """The same sound, but channels that have planes of their own in one plane if they are many."""
    packer = None
    for frame in frames:
        if frame.format.is_planar and frame.layout.nb_channels >= MANY_PLANES:
            packer = packer or av.AudioResampler(frame.format.packed, frame.layout)
            yield from packer.resample(frame)
        else:
            yield frame
    if packer is not None:
        yield from packer.resample(None)


def _first_channel(frame: av.AudioFrame) -> np.ndarray:
    """Samples (n,) float32, from -1 to 1."""
    values = frame.to_ndarray()[0]
    if not frame.format.is_planar:
        values = values[::frame.layout.nb_channels]
    kind = values.dtype
    if kind.kind in 'iu':
        return ((values - np.float64(ZEROS.get(kind.str[1:], 0)))
                / 2. ** (8 * kind.itemsize - 1)).astype(np.float32)
    if not np.isfinite(values).all():
        raise ValueError('samples that are infinite or no numbers')
    return values.astype(np.float32)


def _laid(pieces: List[Tuple[int, np.ndarray]], first: int, last: int) -> np.ndarray:
    """The samples from ``first`` to ``last``, as far as there are some."""
    ends = [place + len(piece) for place, piece in pieces]
    sound = np.zeros(max(0, min(last, max(ends, default=0)) - first), np.float32)
    for place, piece in pieces:
        begin, end = max(place, first), min(place + len(piece), first + len(sound))
        if begin < end:
            sound[begin - first:end - first] = piece[begin - place:end - place]
    return sound
