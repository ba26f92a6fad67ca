"""Hooks."""

from .checkpoint_check import CheckpointCheckHook
from .prediction_file import PredictionFileHook
from .routing import RoutingHook

__all__ = ['CheckpointCheckHook', 'PredictionFileHook', 'RoutingHook']
