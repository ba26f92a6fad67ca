"""Data sets, samplers and transforms."""

from . import transforms
from .expression import ExpressionImageDataset, ExpressionVideoDataset
from .mixed_media import MixedMediaDataset
from .samplers import MixedMediaBatchSampler

__all__ = [
    'ExpressionImageDataset', 'ExpressionVideoDataset', 'MixedMediaBatchSampler',
    'MixedMediaDataset', 'transforms'
]
