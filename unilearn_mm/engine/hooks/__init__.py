"""Hooks."""

from .checkpoint_check import CheckpointCheckHook
from .prediction_file import PredictionFileHook
from .read_failures import ReadFailureHook
from .reconstruction import ReconstructionHook
from .routing import RoutingHook
from .temperature import TemperatureHook

__all__ = [
    'CheckpointCheckHook', 'PredictionFileHook', 'ReadFailureHook', 'ReconstructionHook',
    'RoutingHook', 'TemperatureHook'
]
