"""Which random numbers a sample sees: a function of (seed, epoch, sample, view) alone.

The sampler names a draw, the data set seeds the global generators with it while the pipeline of
that sample runs. So every stock transform becomes reproducible, whatever worker runs it and
whatever ran there before, and a run that resumes in mid-epoch continues exactly.
"""

import hashlib
import random
from contextlib import contextmanager
from typing import Iterator, NamedTuple

import numpy as np
import torch


class Draw(NamedTuple):
    """One visit of a sample.

    Attributes:
        index (int): Index in the data set.
        seed (int): Seed of the run.
        epoch (int): Epoch, from 0.
        view (int): How often the epoch visited the sample before.
    """
    index: int  # type: ignore[assignment]  # hides tuple.index
    seed: int
    epoch: int
    view: int


def draw_seed(draw: Draw, source: str, sample_id: str) -> int:
    """Seed of a visit, in [0, 2**63).

    Args:
        draw (Draw): The visit. Its index has no influence: data sets may be arranged anew.
        source (str): Name of the data set part.
        sample_id (str): Name of the sample, unique within its source.
    """
    text = '\0'.join([str(draw.seed), str(draw.epoch), str(draw.view), source, sample_id])
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, 'little') >> 1


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed ``random``, NumPy and torch (CPU) within the block; their states return afterwards.

    Args:
        seed (int): In [0, 2**63).
    """
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(seed)
    # a third word: with two, NumPy's numbers would be those of ``random``
    np.random.seed([seed & 0xffffffff, seed >> 32, 1])
    torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed CUDA too
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
