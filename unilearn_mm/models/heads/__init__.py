"""Heads."""

from .multi_task_head import MultiTaskHead
from .pixel_reconstruction_head import PixelReconstructionHead

__all__ = ['MultiTaskHead', 'PixelReconstructionHead']
