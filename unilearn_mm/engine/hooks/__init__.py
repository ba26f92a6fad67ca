"""Hooks."""

from .anchor_update import AnchorUpdateHook
from .atomic_checkpoint import AtomicCheckpointHook
from .checkpoint_check import CheckpointCheckHook
from .exact_resume import ExactResumeHook
from .figures import FigureHook
from .finite_guard import FiniteGuardHook
from .prediction_file import PredictionFileHook
from .preemption import PreemptionHook
from .read_failures import ReadFailureHook
from .reconstruction import ReconstructionHook
from .routing import RoutingHook
from .run_record import RunRecordHook
from .temperature import TemperatureHook
from .trained_only import TrainedOnlyHook

__all__ = [
    'AnchorUpdateHook', 'AtomicCheckpointHook', 'CheckpointCheckHook', 'ExactResumeHook',
    'FigureHook', 'FiniteGuardHook', 'PredictionFileHook', 'PreemptionHook', 'ReadFailureHook',
    'ReconstructionHook', 'RoutingHook', 'RunRecordHook', 'TemperatureHook',
    'TrainedOnlyHook'
]
