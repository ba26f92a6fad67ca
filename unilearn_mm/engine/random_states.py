"""The random numbers of a process: Python's, NumPy's, torch's, and those of its GPU."""

import random
from typing import Any

import numpy as np
import torch
from mmengine.device import is_cuda_available


def random_state() -> dict:
    """State of all global generators of this process, as tensors and plain data.

    Of several GPUs only the current one counts: a process has one.
    """
    state: Any = np.random.get_state()
    name, words, *rest = state
    return dict(
        python=random.getstate(),
        numpy=(name, words.tolist(), *rest),
        torch=torch.get_rng_state(),
        cuda=torch.cuda.get_rng_state() if is_cuda_available() else None)


def set_random_state(state: dict) -> None:
    """Set all global generators of this process.

    Args:
        state (dict): What ``random_state`` returned; its tensors may be on any device.
    """
    version, words, gauss = state['python']
    random.setstate((version, tuple(words), gauss))
    name, words, *rest = state['numpy']
    np.random.set_state((name, np.array(words, dtype=np.uint32), *rest))
    torch.set_rng_state(state['torch'].cpu())
    if is_cuda_available() and state['cuda'] is not None:
        torch.cuda.set_rng_state(state['cuda'].cpu())


def fresh_seed(seed: int, step: int, rank: int) -> int:
    """Seed of a rank for what follows, where no random state is saved, in [0, 2**32).

    Args:
        seed (int): Seed of the run.
        step (int): Step or epoch that it begins.
        rank (int): The rank.
    """
    return int(np.random.SeedSequence([seed, step, rank]).generate_state(1)[0])
