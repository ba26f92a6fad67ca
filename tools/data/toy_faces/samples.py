"""Which samples a toy set has: class, split, identity and file name of each, and random streams."""
from __future__ import annotations

import zlib
from dataclasses import asdict, dataclass

import numpy as np

from .expressions import VIDEO_ORDER
from .identity import Identity, draw_identity

VIDEO, IMAGE = 'toy_video', 'toy_image'
SPLITS = ('train', 'test')

# Relative class sizes of the video training set at imbalance 1 (mean 1): disgust and fear are
# rarer as in DFEW, but far less so, because a toy set is too small for DFEW's proportions.
TRAIN_SHARES = {'happy': 1.2, 'sad': 1.1, 'neutral': 1.2, 'angry': 1.1, 'surprise': 1.0,
                'disgust': 0.6, 'fear': 0.8}


class ToySetError(Exception):
    """A problem that the caller can solve; the message says how."""


@dataclass(frozen=True)
class Settings:
    """Everything that decides the bytes of a toy set."""

    size: int = 96
    seed: int = 0
    nuisance: float = 0.4  # after 40 s a tiny ViT has 0.70 of the images at 0, 0.35 at 1
    video_train: int = 280
    video_test: int = 210
    image_train: int = 5000
    image_test: int = 350
    video_train_identities: int = 40
    video_test_identities: int = 30
    image_train_identities: int = 1000
    image_test_identities: int = 40
    frame_folder_share: float = 0.25
    class_imbalance: float = 1.0
    voice: bool = False

    def arguments(self) -> dict:
        """What a manifest says; sets without voices are those that were made before there were."""
        found = asdict(self)
        if not self.voice:
            del found['voice']
        return found

    def count(self, source: str, split: str) -> int:
        """Number of samples of a source and split."""
        return getattr(self, f'{source.removeprefix("toy_")}_{split}')

    def identities(self, source: str, split: str) -> int:
        """Number of identities of a source and split."""
        return getattr(self, f'{source.removeprefix("toy_")}_{split}_identities')


@dataclass(frozen=True)
class Sample:
    """One sample still to be drawn; ``stored_as`` is 'mp4', 'frames' or 'image'."""

    sample_id: str
    source: str
    split: str
    expression: str
    identity: str
    stored_as: str


def stream(seed: int, *parts: str) -> np.random.Generator:
    """A random generator of its own for every seed and tuple of names."""
    numbers = [zlib.crc32(part.encode()) for part in parts]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *numbers])))


def make_identity(name: str, settings: Settings) -> Identity:
    """The person with this name under these settings."""
    return draw_identity(stream(settings.seed, 'identity', name))


def class_counts(total: int, shares: dict[str, float]) -> dict[str, int]:
    """Whole numbers that sum to ``total``, in proportion to ``shares`` (largest remainder)."""
    exact = {name: total * share / sum(shares.values()) for name, share in shares.items()}
    counts = {name: int(value) for name, value in exact.items()}
    by_remainder = sorted(exact, key=lambda name: counts[name] - exact[name])
    for name in by_remainder[:total - sum(counts.values())]:
        counts[name] += 1
    return counts


def plan(settings: Settings) -> list[Sample]:
    """All samples of a set, clips first, numbered across the splits from 1 on."""
    return _plan_source(VIDEO, settings) + _plan_source(IMAGE, settings)


def _plan_source(source: str, settings: Settings) -> list[Sample]:
    drafts = [draft for split in SPLITS for draft in _plan_split(source, split, settings)]
    order = stream(settings.seed, 'order', source).permutation(len(drafts))
    samples = []
    for number, place in enumerate(order, start=1):
        split, expression, identity = drafts[place]
        samples.append(Sample(f'{number:05d}', source, split, expression, identity,
                              _storage(source, number, settings.frame_folder_share)))
    return samples


def _storage(source: str, number: int, folder_share: float) -> str:
    if source == IMAGE:
        return 'image'
    in_folder = int(number * folder_share) > int((number - 1) * folder_share)
    return 'frames' if in_folder else 'mp4'


def _plan_split(source: str, split: str, settings: Settings) -> list[tuple[str, str, str]]:
    imbalance = settings.class_imbalance if (source, split) == (VIDEO, 'train') else 0.0
    shares = {name: 1 + imbalance * (TRAIN_SHARES[name] - 1) for name in VIDEO_ORDER}
    drafts = []
    people = settings.identities(source, split)
    for expression, count in class_counts(settings.count(source, split), shares).items():
        order = stream(settings.seed, 'people', source, split, expression).permutation(people)
        drafts += [(split, expression, f'{source}-{split}-{order[i % people]:03d}')
                   for i in range(count)]
    return drafts
