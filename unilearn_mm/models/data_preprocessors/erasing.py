"""Random erasing (arXiv 1708.04896) of one box per sample, the same box in all its frames."""

import math
from typing import NamedTuple, Optional, Sequence, Tuple

import numpy as np
import torch
from mmaction.utils import SampleList
from torch import Tensor

from .draws import generator_of, rng_of


class BoxRule(NamedTuple):
    """How a box is drawn.

    Attributes:
        area (tuple[float, float]): Least and greatest share of the frame, uniform.
        ratio (tuple[float, float]): Least and greatest height / width, log-uniform.
        tries (int): How often a box that is not lower and narrower than the frame is drawn anew
            before the sample is left as it is.
    """
    area: Tuple[float, float]
    ratio: Tuple[float, float]
    tries: int


RULES = dict(
    video=BoxRule((0.02, 1 / 3), (0.3, 1 / 0.3), 100),  # S4D, datasets/random_erasing.py, "cube"
    image=BoxRule((0.02, 0.33), (0.3, 3.3), 10))  # torchvision's defaults (S4D, sfer/__init__.py)


class Box(NamedTuple):
    """Rows ``top`` to ``bottom`` and columns ``left`` to ``right``, both without the last one."""
    top: int
    bottom: int
    left: int
    right: int

    @property
    def region(self) -> tuple:
        """Index of the box in a tensor (..., H, W)."""
        return ..., slice(self.top, self.bottom), slice(self.left, self.right)


class RandomErasing:
    """Fill a random box of some samples: noise in videos, black in images.

    Everything that is drawn for a sample depends on its own seed only. The media differ as in the
    official code: the box of a video is filled after normalisation with standard normal noise,
    drawn anew for every frame, pixel and channel; that of an image is black (0) before
    normalisation. Their boxes follow ``RULES``.

    Args:
        prob (float): Probability that a sample is erased; 0.25 in the official code.

    Raises:
        ValueError: If ``prob`` is not in [0, 1].
    """

    def __init__(self, prob: float = 0.25) -> None:
        if not 0 <= prob <= 1:
            raise ValueError(f'prob of random erasing must be in [0, 1], found {prob}')
        self.prob = prob

    def __call__(self, inputs: Tensor, data_samples: SampleList, seeds: Sequence[int],
                 black: Tensor) -> None:
        """Erase in place.

        Args:
            inputs (Tensor): (N, views, 3, T, H, W), normalised; written to.
            data_samples (list[ActionDataSample]): N samples. ``media`` ('video' or 'image')
                chooses rule and filling; without it, one frame is an image.
            seeds (Sequence[int]): N draw seeds.
            black (Tensor): (3, 1, 1, 1), the normalised value of a black pixel.

        Raises:
            ValueError: If ``media`` is neither 'video' nor 'image'.
        """
        for clip, sample, seed in zip(inputs, data_samples, seeds):
            media = sample.get('media', 'image' if clip.shape[-3] == 1 else 'video')
            if media not in RULES:
                raise ValueError(f'{sample.get("path")}: media is {media!r}, expected one of '
                                 f'{list(RULES)}')
            rng = rng_of([seed], 'erasing box')
            if rng.random() >= self.prob:
                continue
            box = draw_box(RULES[media], clip.shape[-2:], rng)
            if box is None:
                continue
            region = clip[box.region]
            if media == 'image':
                region.copy_(black.expand_as(region))
            else:
                generator = generator_of(seed, 'erasing noise', clip.device)
                region.copy_(torch.randn(region.shape, generator=generator, device=clip.device))


def draw_box(rule: BoxRule, size: Tuple[int, int], rng: np.random.Generator) -> Optional[Box]:
    """Draw a box inside of a frame.

    Args:
        rule (BoxRule): Area, ratio and number of tries.
        size (tuple[int, int]): Height and width of the frame in pixels.
        rng (np.random.Generator): Where the draws come from.

    Returns:
        Box, optional: None if no try gave a box that is lower and narrower than the frame.
    """
    height, width = size
    for _ in range(rule.tries):
        area = rng.uniform(*rule.area) * height * width
        ratio = math.exp(rng.uniform(*np.log(rule.ratio)))
        rows, columns = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if rows < height and columns < width:
            top = int(rng.integers(height - rows, endpoint=True))
            left = int(rng.integers(width - columns, endpoint=True))
            return Box(top, top + rows, left, left + columns)
    return None
