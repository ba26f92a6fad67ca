"""Who is shown: proportions, colours, hair and glasses of one person."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Colour = tuple[float, float, float]

# Colours are blue, green, red in 0-255, picked by eye.
SKIN_TONES: tuple[Colour, ...] = (
    (190, 212, 245), (170, 198, 238), (150, 182, 228), (128, 165, 214),
    (105, 142, 194), (85, 118, 168), (66, 94, 140), (52, 74, 112),
)
HAIR_COLOURS: tuple[Colour, ...] = (
    (28, 26, 30), (36, 42, 62), (40, 62, 98), (70, 118, 168),
    (120, 175, 215), (40, 70, 150), (150, 152, 155), (60, 50, 50),
)
IRIS_COLOURS: tuple[Colour, ...] = (
    (35, 50, 80), (25, 32, 50), (150, 110, 70), (90, 120, 80), (120, 105, 90),
)
HAIR_STYLES = ('bald', 'short', 'fringe', 'side', 'long', 'curly', 'bun')
HUE_JITTER = 0.03
GLASSES_SHARE = 0.22
STUBBLE_SHARE = 0.2


@dataclass(frozen=True)
class Identity:
    """One person. Lengths are in face units: half the width of an average face is 1."""

    face_width: float = 1.0
    chin: float = 1.3
    jaw_taper: float = 0.25
    eye_x: float = 0.43
    eye_y: float = -0.1
    eye_size: float = 1.0
    eye_slant: float = 0.0
    brow_height: float = 0.3
    brow_thickness: float = 0.075
    brow_slant: float = 0.0
    nose_length: float = 0.42
    nose_width: float = 0.19
    mouth_y: float = 0.8
    mouth_width: float = 0.4
    lip_fullness: float = 1.0
    mouth_rest: float = 0.0
    hairline: float = -0.86
    skin: Colour = SKIN_TONES[2]
    hair: Colour = HAIR_COLOURS[1]
    iris: Colour = IRIS_COLOURS[0]
    clothes: Colour = (110.0, 90.0, 80.0)
    hair_style: str = 'short'
    glasses: str = 'none'
    stubble: float = 0.0
    crease: float = 0.8  # depth of wrinkles: about 0.3 in smooth skin, 1 in lined skin


def _jittered(colour: Colour, rng: np.random.Generator, amount: float) -> Colour:
    factor = (1 + rng.uniform(-amount, amount)) * (1 + rng.uniform(-HUE_JITTER, HUE_JITTER, 3))
    values = np.clip(np.asarray(colour) * factor, 0, 255)
    return tuple(float(value) for value in values)


def _pick(options: tuple, rng: np.random.Generator):
    return options[int(rng.integers(len(options)))]


def draw_identity(rng: np.random.Generator) -> Identity:
    """A random person; ranges of the proportions were chosen by eye to stay face-like."""
    def around(middle: float, spread: float) -> float:
        return float(middle + rng.uniform(-spread, spread))

    hair_style = _pick(HAIR_STYLES, rng)
    has_glasses = rng.random() < GLASSES_SHARE
    has_stubble = rng.random() < STUBBLE_SHARE and hair_style not in ('long', 'bun')
    return Identity(
        face_width=around(1.0, 0.08), chin=around(1.3, 0.08), jaw_taper=around(0.24, 0.12),
        eye_x=around(0.43, 0.03), eye_y=around(-0.1, 0.04), eye_size=around(1.0, 0.12),
        eye_slant=around(0.0, 0.03), brow_height=around(0.3, 0.025),
        brow_thickness=around(0.075, 0.025), brow_slant=around(0.0, 0.025),
        nose_length=around(0.42, 0.04), nose_width=around(0.19, 0.035),
        mouth_y=around(0.8, 0.04), mouth_width=around(0.4, 0.04),
        lip_fullness=around(1.0, 0.3), mouth_rest=around(0.0, 0.025),
        hairline=around(-0.86, 0.05),
        skin=_jittered(_pick(SKIN_TONES, rng), rng, 0.08),
        hair=_jittered(_pick(HAIR_COLOURS, rng), rng, 0.15),
        iris=_jittered(_pick(IRIS_COLOURS, rng), rng, 0.1),
        clothes=tuple(float(value) for value in rng.uniform(50, 190, 3)),
        hair_style=hair_style,
        glasses=_pick(('round', 'square'), rng) if has_glasses else 'none',
        stubble=float(rng.uniform(0.1, 0.22)) if has_stubble else 0.0,
        crease=float(rng.uniform(0.3, 1.0)),
    )
