"""Mixup (arXiv 1710.09412) and CutMix (arXiv 1905.04899) of a batch with its reverse."""

import math
from typing import Sequence, Tuple

import numpy as np
import torch
import torch.nn.functional as F
from mmaction.utils import SampleList
from torch import Tensor

from .draws import rng_of
from .erasing import Box


class MixupCutmix:
    """Mix every sample i of a batch with sample N - 1 - i, by mixup or by CutMix.

    One lambda, and for CutMix one box, serves the whole batch and all frames (S4D,
    utils/mixup.py, mode 'batch'). All draws are a function of the seeds of the batch, in their
    order. Labels become soft: ``lambda * onehot(y_i) + (1 - lambda) * onehot(y_{N-1-i})``; the
    head smooths them. The middle sample of an odd batch stays what it is.

    Args:
        mixup_alpha (float): Mixup draws lambda from Beta(alpha, alpha).
        cutmix_alpha (float): The same for CutMix.
        prob (float): Probability that a batch is mixed.
        switch_prob (float): Probability that a mixed batch gets CutMix instead of mixup.

    Raises:
        ValueError: If an alpha is not positive or a probability is not in [0, 1].
    """

    def __init__(self,
                 mixup_alpha: float = 0.8,
                 cutmix_alpha: float = 1.0,
                 prob: float = 1.0,
                 switch_prob: float = 0.5) -> None:
        for name, value in dict(mixup_alpha=mixup_alpha, cutmix_alpha=cutmix_alpha).items():
            if value <= 0:
                raise ValueError(f'{name} must be positive, found {value}; set switch_prob to 1 '
                                 'for CutMix only, to 0 for mixup only')
        for name, value in dict(prob=prob, switch_prob=switch_prob).items():
            if not 0 <= value <= 1:
                raise ValueError(f'{name} of mixing must be in [0, 1], found {value}')
        self.mixup_alpha = mixup_alpha
        self.cutmix_alpha = cutmix_alpha
        self.prob = prob
        self.switch_prob = switch_prob

    def __call__(self, inputs: Tensor, data_samples: SampleList, seeds: Sequence[int]) -> Tensor:
        """Mix inputs and labels.

        Args:
            inputs (Tensor): (N, views, 3, T, H, W) floating point; CutMix writes to it.
            data_samples (list[ActionDataSample]): N samples of one task, with ``gt_label`` (1,)
                int64 and ``num_classes`` K in the metainfo. ``gt_label`` of a mixed batch becomes
                (K,) float32.
            seeds (Sequence[int]): N draw seeds.

        Returns:
            Tensor: (N, views, 3, T, H, W); ``inputs`` itself unless it is mixup.

        Raises:
            KeyError: If a sample has no ``num_classes``.
            ValueError: If a sample has no class id, or the numbers of classes differ.
        """
        num_classes = _num_classes_of(data_samples)
        labels = class_ids_of(data_samples)
        rng = rng_of(seeds, 'mixing')
        if rng.random() >= self.prob:
            return inputs
        if rng.random() < self.switch_prob:
            box = draw_cutmix_box(rng.beta(self.cutmix_alpha, self.cutmix_alpha),
                                  inputs.shape[-2:], rng)
            lam = cutmix(inputs, box)
        else:
            lam = rng.beta(self.mixup_alpha, self.mixup_alpha)
            inputs = mixup(inputs, lam)
        for sample, label in zip(data_samples, mixup(F.one_hot(labels, num_classes).float(), lam)):
            sample.set_gt_label(label)
        return inputs


def mixup(batch: Tensor, lam: float) -> Tensor:
    """``lam * batch + (1 - lam) * batch.flip(0)`` as a new tensor (N, ...)."""
    return batch.flip(0).lerp_(batch, lam)


def cutmix(batch: Tensor, box: Box) -> float:
    """Replace a box of a batch (N, ..., H, W) by that of the reversed batch, in place.

    Returns:
        float: Lambda, the share of the frame outside of the box.
    """
    region = batch[box.region]
    region.copy_(region.flip(0))  # flip copies, so that no partner is read after it was written
    height, width = batch.shape[-2:]
    return 1 - (box.bottom - box.top) * (box.right - box.left) / (height * width)


def draw_cutmix_box(lam: float, size: Tuple[int, int], rng: np.random.Generator) -> Box:
    """Box around a uniformly drawn pixel, clipped at the borders of the frame.

    Args:
        lam (float): Share of the frame that is not cut, before rounding and clipping.
        size (tuple[int, int]): Height and width of the frame in pixels.
        rng (np.random.Generator): Where the draws come from.

    Returns:
        Box: Half the height and width, in whole pixels, on both sides of the pixel.
    """
    height, width = size
    half_height = int(height * math.sqrt(1 - lam)) // 2
    half_width = int(width * math.sqrt(1 - lam)) // 2
    row, column = int(rng.integers(height)), int(rng.integers(width))
    return Box(
        max(row - half_height, 0), min(row + half_height, height),
        max(column - half_width, 0), min(column + half_width, width))


def _num_classes_of(data_samples: SampleList) -> int:
    for sample in data_samples:
        if 'num_classes' not in sample:
            raise KeyError(f'{sample.get("path")}: the sample has no num_classes, which mixing '
                           "needs; add 'num_classes' to meta_keys of PackActionInputs")
    found = {sample.num_classes for sample in data_samples}
    if len(found) > 1:
        raise ValueError(f'a batch to be mixed must have one number of classes, found '
                         f'{sorted(found)}; use MixedMediaBatchSampler as batch_sampler')
    return found.pop()


def class_ids_of(data_samples: SampleList) -> Tensor:
    """Class ids (N,) int64 of samples that were not mixed.

    Raises:
        ValueError: If a sample has none.
    """
    for sample in data_samples:
        label = sample.get('gt_label')
        if label is None or label.is_floating_point() or label.shape != (1, ):
            raise ValueError(f'{sample.get("path")}: gt_label is {label}, but one class id (1,) is '
                             'needed; leave mixing out for unlabelled samples')
    return torch.cat([sample.gt_label for sample in data_samples])
