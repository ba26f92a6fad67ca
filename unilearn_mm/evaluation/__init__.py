"""Scores of expression recognition: importing this package registers the metric."""
from .war_uar_metric import WARUARMetric

__all__ = ['WARUARMetric']
