"""The seven expressions as combinations of facial action units, and both label orders."""
from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

# Label orders: DFEW numbers its classes 1-7 in this order (0-based here); AffectNet's seven-class
# split numbers them 0-6 in the other one. Both use the names of VIDEO_ORDER here.
VIDEO_ORDER = ('happy', 'sad', 'neutral', 'angry', 'surprise', 'disgust', 'fear')
IMAGE_ORDER = ('neutral', 'happy', 'sad', 'surprise', 'fear', 'disgust', 'angry')

BLINK = 45  # FACS number of the blink

# The usual EMFACS prototypes, each with a few variants (action unit: weight at full intensity).
VARIANTS: dict[str, tuple[dict[int, float], ...]] = {
    'neutral': ({},),
    'happy': (
        {6: 0.9, 12: 1.0},
        {6: 1.0, 12: 1.0, 25: 0.8},
        {6: 1.0, 12: 1.0, 25: 1.0, 26: 0.4},
    ),
    'sad': (
        {1: 1.0, 4: 0.5, 15: 1.0},
        {1: 1.0, 4: 0.6, 15: 1.0, 17: 0.7},
    ),
    'surprise': (
        {1: 1.0, 2: 1.0, 5: 0.8, 25: 0.4, 26: 1.0},
        {1: 1.0, 2: 1.0, 5: 1.0, 25: 0.7, 27: 1.0},
    ),
    'fear': (
        {1: 1.0, 2: 0.5, 4: 0.6, 5: 1.0, 20: 1.0, 25: 1.0},
        {1: 1.0, 2: 0.6, 4: 0.7, 5: 1.0, 20: 1.0, 25: 1.0, 26: 0.35},
    ),
    'disgust': (
        {4: 0.4, 7: 0.5, 9: 1.0, 10: 1.0, 25: 0.6},
        {4: 0.4, 7: 0.6, 9: 1.0, 10: 1.0, 15: 0.5, 17: 0.6},
    ),
    'angry': (
        {4: 1.0, 5: 0.6, 7: 0.5, 23: 0.8, 24: 0.8},
        {4: 1.0, 7: 0.8, 17: 0.4, 23: 1.0, 24: 0.6},
    ),
}

# How far people differ from the prototype; chosen by eye so that every class stays recognisable.
WEIGHT_RANGE = (0.6, 1.1)
SKEW_RANGE = 0.15
STRAY_UNITS = (1, 2, 4, 7, 12, 15, 25)
STRAY_LIMIT = 0.15


@dataclass(frozen=True)
class Actions:
    """Strengths of action units, 0 (absent) to about 1 (full); missing units are 0.

    ``skew`` makes the right half of the picture stronger and the left half weaker by that share.
    """

    units: dict[int, float] = field(default_factory=dict)
    skew: float = 0.0

    def __call__(self, unit: int, side: int = 0) -> float:
        """Strength of one unit on one side (-1 left of the picture, 0 both, 1 right)."""
        return self.units.get(unit, 0.0) * (1.0 + side * self.skew)

    def plus(self, extra: dict[int, float]) -> Actions:
        """These actions with the strengths of ``extra`` added, cut to the range 0 to 1.2."""
        units = dict(self.units)
        for unit, strength in extra.items():
            units[unit] = min(1.2, max(0.0, units.get(unit, 0.0) + strength))
        return Actions(units, self.skew)

    def scaled(self, intensity: float) -> Actions:
        """These actions with every strength multiplied by ``intensity``."""
        return Actions({u: s * intensity for u, s in self.units.items()}, self.skew)


def prototype(expression: str, variant: int = 0) -> Actions:
    """Full-intensity actions of one named variant of an expression, without variation."""
    return Actions(dict(VARIANTS[expression][variant]))


def draw_actions(expression: str, rng: np.random.Generator) -> Actions:
    """Full-intensity actions of one performance: variant, weights and skew drawn from ``rng``."""
    variants = VARIANTS[expression]
    chosen = variants[int(rng.integers(len(variants)))]
    units = {unit: weight * float(rng.uniform(*WEIGHT_RANGE)) for unit, weight in chosen.items()}
    return Actions(units, float(rng.uniform(-SKEW_RANGE, SKEW_RANGE)))


def draw_stray(rng: np.random.Generator) -> dict[int, float]:
    """Small strengths (0 to 0.15) that are present in every class, also in neutral faces."""
    return {unit: float(rng.uniform(0.0, STRAY_LIMIT)) for unit in STRAY_UNITS}
