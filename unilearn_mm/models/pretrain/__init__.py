"""Pre-training algorithms."""

from .dual_modal_mae import DualModalMAE

__all__ = ['DualModalMAE']
