"""Which samples make the next batch."""

from typing import Dict, Iterator, List, Optional

import numpy as np
from mmaction.registry import DATA_SAMPLERS
from torch.utils.data import Sampler


@DATA_SAMPLERS.register_module()
class MixedMediaBatchSampler(Sampler):
    """Batches of one source each, the same source on every rank at the same step.

    Training: source ``s`` with ``n`` samples, batch size ``b`` and rate ``r`` gives
    ``int(r * (n // (b * world_size)))`` steps an epoch, as the loader mixing of the reference
    (S4D, ConcatDataset of loaders: ``len_i = int(batches_i * rate_i)``); the steps of all
    sources are shuffled together. A source is drawn without replacement until it is used up, then
    drawn anew (rate > 1). A global batch of ``b * world_size`` samples is dealt out to the ranks
    in turn, so that the samples of a step do not depend on the number of ranks, as long as
    ``b * world_size`` stays the same. Everything is a pure function of (seed, epoch, lengths,
    rates, batch sizes, world size).

    Evaluation (``test_mode=True``): the order of ``sampler`` is kept, every sample that it gives
    is visited exactly once, and a new batch starts where the source changes.

    Args:
        sampler: MMEngine's ``DefaultSampler`` over a ``MixedMediaDataset`` (built by the runner);
            it brings data set, seed, epoch, rank and world size. In evaluation it should be
            ``DefaultSampler(shuffle=False)``.
        batch_size (int): Batch size on each rank of sources not named in ``batch_sizes``.
        batch_sizes (dict[str, int], optional): Batch size on each rank, by source name.
        rates (dict[str, float], optional): Share of its batches that a source contributes to an
            epoch; 1 where not named.
        test_mode (bool): Evaluation mode.

    Raises:
        ValueError: If a name is not a source of the data set, a size or rate is not positive, or
            a source is too small for a single batch.
    """

    def __init__(self,
                 sampler: Sampler,
                 batch_size: int,
                 batch_sizes: Optional[Dict[str, int]] = None,
                 rates: Optional[Dict[str, float]] = None,
                 test_mode: bool = False) -> None:
        self.sampler = sampler
        self.test_mode = test_mode
        self.ranges = sampler.dataset.source_ranges
        self.batch_sizes = {name: batch_size for name in self.ranges}
        self.rates = {name: 1.0 for name in self.ranges}
        for what, given, values in (('batch_sizes', batch_sizes, self.batch_sizes),
                                    ('rates', rates, self.rates)):
            unknown = set(given or {}) - set(self.ranges)
            if unknown:
                raise ValueError(f'{what} names {sorted(unknown)}, but the sources are '
                                 f'{list(self.ranges)}')
            values.update(given or {})
            wrong = {name: value for name, value in values.items() if value <= 0}
            if wrong:
                raise ValueError(f'{what} must be positive, found {wrong}')
        if not test_mode:
            self.steps = {name: self._steps_of(name) for name in self.ranges}

    def _steps_of(self, source: str) -> int:
        start, end = self.ranges[source]
        global_batch = self.batch_sizes[source] * self.sampler.world_size
        steps = int(self.rates[source] * ((end - start) // global_batch))
        if steps == 0:
            raise ValueError(
                f'source {source!r} has {end - start} samples: not one batch of '
                f'{self.batch_sizes[source]} on {self.sampler.world_size} rank(s) at rate '
                f'{self.rates[source]}; lower its batch size or raise its rate')
        return steps

    def __iter__(self) -> Iterator[List[int]]:
        """Yield the index lists of this rank's batches."""
        return self._evaluation_batches() if self.test_mode else self._training_batches()

    def __len__(self) -> int:
        """Batches of this rank in one epoch."""
        if self.test_mode:
            return sum(1 for _ in self._evaluation_batches())
        return sum(self.steps.values())

    def _training_batches(self) -> Iterator[List[int]]:
        rank, world_size = self.sampler.rank, self.sampler.world_size
        rng = np.random.default_rng([self.sampler.seed, self.sampler.epoch])
        streams = {}
        for source, (start, end) in self.ranges.items():
            global_batch = self.batch_sizes[source] * world_size
            per_pass = (end - start) // global_batch
            passes = -(-self.steps[source] // per_pass)
            streams[source] = iter([
                start + order[step * global_batch:(step + 1) * global_batch]
                for order in (rng.permutation(end - start) for _ in range(passes))
                for step in range(per_pass)
            ])
        turns = [source for source in self.ranges for _ in range(self.steps[source])]
        for turn in rng.permutation(len(turns)):
            yield next(streams[turns[turn]])[rank::world_size].tolist()

    def _evaluation_batches(self) -> Iterator[List[int]]:
        names = list(self.ranges)
        ends = [end for _, end in self.ranges.values()]
        batch, batch_source = [], None
        for index in self.sampler:
            source = names[int(np.searchsorted(ends, index, side='right'))]
            if batch and (source != batch_source or len(batch) == self.batch_sizes[source]):
                yield batch
                batch = []
            batch_source = source
            batch.append(index)
        if batch:
            yield batch
