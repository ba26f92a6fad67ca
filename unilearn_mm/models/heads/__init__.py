"""Heads."""

from .emotion_anchor_head import EmotionAnchorHead
from .multi_task_head import MultiTaskHead
from .pixel_reconstruction_head import PixelReconstructionHead

__all__ = ['EmotionAnchorHead', 'MultiTaskHead', 'PixelReconstructionHead']
