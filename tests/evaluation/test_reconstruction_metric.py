"""The mean held-out loss of each source."""

import pytest
import torch

from unilearn_mm.evaluation.reconstruction_metric import ReconstructionMetric


def test_mean_of_each_source_with_repeats_counted_once():
    metric = ReconstructionMetric()
    samples = [dict(source='vox', sample_id=str(index), rec_loss=torch.tensor(float(index)))
               for index in range(4)]
    images = [dict(source='affectnet7', sample_id='0', rec_loss=torch.tensor(0.25))]
    metric.process(None, samples)
    metric.process(None, images + samples[3:])  # as a distributed sampler repeats the last
    scores = metric.evaluate(size=6)
    assert scores == {'vox/rec_loss': pytest.approx(1.5), 'affectnet7/rec_loss': 0.25}
