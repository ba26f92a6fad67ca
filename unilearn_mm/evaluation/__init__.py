"""Metrics and the numbers behind them."""
from .reconstruction_metric import ReconstructionMetric
from .war_uar_metric import WARUARMetric

__all__ = ['ReconstructionMetric', 'WARUARMetric']
