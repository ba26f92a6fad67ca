"""Sound for tests: speech, and files of it in all kinds."""

import shutil
import subprocess
from pathlib import Path
from typing import Optional

import av
import numpy as np
import torch
import torchaudio.functional
from scipy.io import wavfile

TEXT = 'Who would have thought that it would rain today? I certainly did not, and neither did you.'


def speech(rate: int, folder: Path) -> np.ndarray:
    """Samples (n,) float32 of a spoken sentence, by espeak-ng where it is installed, else of a
    voice-like sound; 16-bit steps."""
    if shutil.which('espeak-ng'):
        subprocess.run(['espeak-ng', '-w', str(folder / 'speech.wav'), TEXT], check=True)
        own_rate, samples = wavfile.read(folder / 'speech.wav')
        samples = samples / 32768
    else:
        own_rate, samples = 22050, voice_like(22050, 5.5)
    samples = torchaudio.functional.resample(
        torch.tensor(samples, dtype=torch.float64), own_rate, rate).numpy()
    return (np.round(samples * 0.9 * 32768).clip(-32768, 32767) / 32768).astype(np.float32)


def voice_like(rate: int, seconds: float) -> np.ndarray:
    """Harmonics of a gliding pitch through resonances, in syllables, over faint noise."""
    time = np.arange(round(rate * seconds)) / rate
    pitch = 130 + 40 * np.sin(2 * np.pi * 0.7 * time) + 10 * np.sin(2 * np.pi * 5 * time)
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    sound = np.zeros(len(time))
    for number in range(1, 60):
        frequency = number * pitch
        gain = sum(level / (1 + ((frequency - centre) / width) ** 2) for level, centre, width in (
            (1., 500 + 200 * np.sin(2 * np.pi * 1.1 * time), 120), (0.5, 1500, 200),
            (0.2, 2700, 300)))
        sound += np.where(frequency < 0.45 * rate, gain * np.sin(number * phase), 0) / number
    syllables = np.clip(np.sin(2 * np.pi * 2 * time), 0, 1) ** 0.5
    noise = np.random.default_rng(0).normal(0, 1e-3, len(time))
    return 0.25 * sound * syllables / np.abs(sound).max() * 2 + noise


def write_sound(path: Path, samples: np.ndarray, rate: int, encoder: str = 'pcm_s16le',
                frames: Optional[np.ndarray] = None, layout: str = '', bit_rate: int = 0,
                delay: float = 0.) -> None:
    """A sound file, or a video of the frames (L, H, W, 3) uint8, 25 a second, with a sound track.

    Args:
        path (Path): File; its suffix chooses the container.
        samples (np.ndarray): (n,) or (channels, n) float32.
        rate (int): Hz.
        encoder (str): Name of an FFmpeg encoder.
        frames (np.ndarray, optional): Of the video.
        layout (str): Of the channels; by default mono, stereo or 7.1.
        bit_rate (int): Of the encoder, 0 for its default.
        delay (float): Seconds by which the sound starts later than the video.
    """
    samples = np.atleast_2d(samples)
    layout = layout or {1: 'mono', 2: 'stereo', 8: '7.1'}[len(samples)]
    with av.open(str(path), 'w') as container:
        sound = container.add_stream(encoder, rate=rate, layout=layout)
        if bit_rate:
            sound.bit_rate = bit_rate
        if frames is not None:
            video = container.add_stream('mpeg4', 25)
            video.height, video.width = frames.shape[1:3]
            video.pix_fmt = 'yuv420p'
            for picture in frames:
                container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format='rgb24')))
            container.mux(video.encode())
        resampler = av.AudioResampler(format=sound.format, layout=layout, rate=rate,
                                      frame_size=sound.frame_size or 1024)
        whole = av.AudioFrame.from_ndarray(samples.T.reshape(1, -1).astype(np.float32),
                                           format='flt', layout=layout)
        whole.sample_rate, whole.pts = rate, round(delay * rate)
        for part in [*resampler.resample(whole), *resampler.resample(None)]:
            container.mux(sound.encode(part))
        container.mux(sound.encode())
