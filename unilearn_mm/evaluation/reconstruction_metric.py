"""Reconstruction error on held-out data."""

from typing import Any, Dict, List, Sequence, Tuple

import numpy as np
from mmaction.registry import METRICS
from mmengine.evaluator import BaseMetric


@METRICS.register_module()
class ReconstructionMetric(BaseMetric):
    """Mean ``rec_loss`` of each source, as ``<source>/rec_loss``.

    ``DualModalMAE`` writes ``rec_loss`` in evaluation: the squared error of normalised patches.
    Predicting zero costs about 1. A sample counts once however often a sampler repeated it.
    """

    default_prefix = ''  # None would log a warning: the keys start with the source

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep the losses of a batch.

        Args:
            data_batch (Any): Not used.
            data_samples (Sequence[dict]): With ``source``, ``sample_id`` and ``rec_loss``.
        """
        self.results.extend((sample['source'], sample['sample_id'], float(sample['rec_loss']))
                            for sample in data_samples)

    def compute_metrics(self, results: List[Tuple[str, str, float]]) -> Dict[str, float]:
        """Average over the samples of each source."""
        losses: Dict[str, Dict[str, float]] = {}
        for source, sample_id, loss in results:
            losses.setdefault(source, {})[sample_id] = loss
        return {f'{source}/rec_loss': float(np.mean(list(found.values())))
                for source, found in losses.items()}
