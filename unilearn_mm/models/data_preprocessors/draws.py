"""Random draws that are functions of the samples, not of a global generator.

A sample brings its ``draw_seed``; what is drawn from it is named by a stream, so that two draws
for one sample are independent and adding one does not change the others.
"""

from typing import List, Sequence

import numpy as np
import torch
from mmaction.utils import SampleList


def draw_seeds_of(data_samples: SampleList) -> List[int]:
    """The ``draw_seed`` of every sample; one from torch's global generator where it has none.

    Args:
        data_samples (list[ActionDataSample]): N samples.

    Returns:
        list[int]: N seeds in [0, 2 ** 63).

    Raises:
        ValueError: If a ``draw_seed`` is not an int in [0, 2 ** 63).
    """
    seeds = []
    for sample in data_samples:
        seed = sample.get('draw_seed')
        if seed is None:  # stock data sets
            seed = torch.randint(2**63 - 1, ()).item()
        elif not isinstance(seed, int) or not 0 <= seed < 2**63:
            raise ValueError(f'{sample.get("path")}: draw_seed is {seed!r}, expected an int in '
                             '[0, 2 ** 63)')
        seeds.append(seed)
    return seeds


def rng_of(seeds: Sequence[int], stream: str) -> np.random.Generator:
    """NumPy generator of one stream of one or several samples.

    Args:
        seeds (Sequence[int]): Draw seeds; their order matters.
        stream (str): Name of what is drawn.

    Returns:
        np.random.Generator: Independent of the generators of other seeds and streams.
    """
    return np.random.default_rng(_seed_sequence(seeds, stream))


def generator_of(seed: int, stream: str, device: torch.device) -> torch.Generator:
    """Torch generator of one stream of one sample.

    Args:
        seed (int): Draw seed.
        stream (str): Name of what is drawn.
        device (torch.device): Where it draws; devices draw different numbers.

    Returns:
        torch.Generator: Independent of the generators of other seeds and streams.
    """
    # hashed, because torch's generator of the CPU looks only at the lower 32 bits of its seed
    state = _seed_sequence([seed], stream).generate_state(1, np.uint64)
    return torch.Generator(device).manual_seed(int(state[0]))


def _seed_sequence(seeds: Sequence[int], stream: str) -> np.random.SeedSequence:
    return np.random.SeedSequence(list(seeds), spawn_key=tuple(stream.encode()))
