"""What is heard in a clip: syllables whose pitch, loudness and rhythm depend on the expression.

Eye and ear each confuse what the other tells apart: fear and surprise wear each other's face, and
neither sad and neutral nor angry and disgusted voices differ.
"""
from __future__ import annotations

import wave
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

RATE = 16000  # Hz, mono, 16 bit
ALIKE_BY_EYE = ('surprise', 'fear')
NUM_HARMONICS = 24
SPEAKER_PITCH = (95.0, 240.0)     # Hz, of a calm voice
TRACT_LENGTH = (0.85, 1.2)        # factor on the resonances: men to children
VOWELS = ((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480))  # Hz
RESONANCE_WIDTH = 130.0           # Hz
SPREAD = 0.12                     # by which the manner of a clip differs from its class
GAIN_DECIBEL = 5.0                # largest change by the distance to the microphone
NOISE = (0.002, 0.03)             # of the room at --nuisance 1, share of full scale
WEAKEST = 0.5                     # share of its manner that the faintest expression has


@dataclass(frozen=True)
class Manner:
    """How something is said, against a calm voice.

    ``pitch`` is a factor, ``glide`` the octaves by which the pitch rises over each syllable,
    ``loudness`` in decibel, ``syllables`` a second, ``tremor`` the depth of a tremble of 8 Hz
    (share of the pitch), ``brightness`` the decibel that an octave falls less, ``breath`` noise as
    a share of the voice.
    """

    pitch: float = 1.0
    glide: float = -0.1
    loudness: float = -6.0
    syllables: float = 2.5
    tremor: float = 0.0
    brightness: float = 0.0
    breath: float = 0.05


CALM = Manner()
HARSH = Manner(pitch=1.15, glide=-0.5, loudness=6.0, syllables=4.5, brightness=5.0, breath=0.15)
MANNERS = {
    'neutral': CALM,
    'sad': CALM,
    'angry': HARSH,
    'disgust': HARSH,
    'happy': Manner(pitch=1.4, glide=0.2, loudness=3.0, syllables=5.5, brightness=2.0),
    'surprise': Manner(pitch=1.3, glide=1.0, loudness=3.0, syllables=1.5, brightness=1.0),
    'fear': Manner(pitch=1.7, glide=0.0, loudness=-3.0, syllables=7.0, tremor=0.08, breath=0.5),
}


@dataclass(frozen=True)
class Speaker:
    """The voice of a person: pitch in Hz, factor on the resonances."""

    pitch: float
    tract: float


def draw_speaker(rng: np.random.Generator) -> Speaker:
    """A random voice."""
    return Speaker(float(np.exp(rng.uniform(*np.log(SPEAKER_PITCH)))),
                   float(rng.uniform(*TRACT_LENGTH)))


def draw_manner(expression: str, peak: float, rng: np.random.Generator) -> Manner:
    """How a clip is spoken whose face reaches the intensity ``peak`` (0 in neutral ones)."""
    share = WEAKEST + (1 - WEAKEST) * peak
    values = {}
    for part in fields(Manner):
        calm, full = (getattr(manner, part.name) for manner in (CALM, MANNERS[expression]))
        values[part.name] = calm + share * (full - calm)
    values['pitch'] *= np.exp(rng.normal(0, SPREAD))
    values['syllables'] *= np.exp(rng.normal(0, SPREAD))
    values['loudness'] += rng.uniform(-GAIN_DECIBEL, GAIN_DECIBEL)
    return Manner(**values)


def speak(manner: Manner, speaker: Speaker, seconds: float, nuisance: float,
          rng: np.random.Generator) -> np.ndarray:
    """A voice of harmonics and breath through the resonances of changing vowels.

    Args:
        manner (Manner): How.
        speaker (Speaker): Who.
        seconds (float): How long.
        nuisance (float): Factor on the noise of the room.
        rng (Generator): Of the vowels, the breath and the room.

    Returns:
        np.ndarray: (n,) float, from -1 to 1, at ``RATE``.
    """
    time = np.arange(round(seconds * RATE)) / RATE
    beat = manner.syllables * time + rng.uniform()
    syllable, place = np.divmod(beat, 1.0)
    pitch = (speaker.pitch * manner.pitch * 2 ** (manner.glide * (place - 0.5))
             * (1 + manner.tremor * np.sin(2 * np.pi * 8 * time)))
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    vowels = rng.integers(len(VOWELS), size=int(syllable[-1]) + 1)
    resonances = np.array(VOWELS, float)[vowels[syllable.astype(int)]].T / speaker.tract
    voice = np.zeros(len(time))
    for number in range(1, NUM_HARMONICS + 1):
        frequency = number * pitch
        gain = sum(1 / (1 + ((frequency - one) / RESONANCE_WIDTH) ** 2) for one in resonances)
        tilt = 10 ** ((manner.brightness - 6) * np.log2(number) / 20)
        voice += np.where(frequency < RATE / 2, (0.1 + gain) * tilt * np.sin(number * phase), 0)
    voice += manner.breath * rng.normal(0, 1, len(time))
    envelope = np.sin(np.pi * np.clip(place / 0.8, 0, 1)) ** 0.7  # a pause after each syllable
    voice *= envelope * 0.06 * 10 ** (manner.loudness / 20)
    room = rng.normal(0, nuisance * rng.uniform(*NOISE), len(time))
    return np.clip(voice + room, -1, 1)


def write_wav(path: Path, samples: np.ndarray) -> None:
    """A WAV file of 16 bits."""
    with wave.open(str(path), 'wb') as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(np.round(samples * 32767).astype('<i2').tobytes())
