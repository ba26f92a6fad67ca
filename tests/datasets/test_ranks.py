"""The sampler in two real processes over gloo."""

import pytest
import torch.multiprocessing as mp
from mmengine.dataset.sampler import DefaultSampler
from mmengine.dist import all_gather_object
from ranks import run_ranks

from unilearn_mm.datasets.samplers import MixedMediaBatchSampler


class Sources:
    """60 clips and 90 images, without pixels."""

    source_ranges = dict(clips=(0, 60), images=(60, 150))

    def __len__(self):
        return 150


def two_epochs(rank, report):
    """What one rank draws in two epochs; the seed is the one the ranks agree on."""
    sampler = DefaultSampler(Sources())  # without a seed: mmengine shares rank 0's
    batches = MixedMediaBatchSampler(sampler, 4, batch_sizes=dict(images=6))
    drawn = []
    for epoch in range(2):
        sampler.set_epoch(epoch)
        drawn.append([[draw.index for draw in batch] for batch in batches])
    test = MixedMediaBatchSampler(
        DefaultSampler(Sources(), shuffle=False, round_up=False), 7, test_mode=True)
    test_drawn = [draw.index for batch in test for draw in batch]
    together = all_gather_object((drawn, test_drawn))
    if rank == 0:
        report.put(together)


@pytest.mark.slow
def test_two_processes_agree_on_the_sources_and_share_no_sample():
    context = mp.get_context('spawn')
    report = context.SimpleQueue()
    run_ranks(two_epochs, report)
    (one, one_test), (two, two_test) = report.get()
    assert sorted(one_test + two_test) == list(range(150)), 'each once, uneven ends included'
    for first, second in zip(one, two):
        assert [batch[0] < 60 for batch in first] == [batch[0] < 60 for batch in second]
        assert not set(sum(first, [])) & set(sum(second, []))
        assert len(first) == len(second) == 60 // 8 + 90 // 12
    assert one[0] != one[1]
