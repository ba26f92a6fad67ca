"""Which samples make the next batch."""

import itertools
import math
from typing import Dict, Iterator, List, Optional, Sequence, Tuple

import numpy as np
import pandas as pd
from mmaction.registry import DATA_SAMPLERS
from mmengine.dataset import InfiniteSampler
from torch.utils.data import Sampler

from .draws import Draw


@DATA_SAMPLERS.register_module()
class MixedMediaBatchSampler(Sampler):
    """Batches of one source each, the same source on every rank at the same step.

    Training: source ``s`` with ``n`` samples, batch size ``b`` and rate ``r`` gives
    ``int(r * (n // (b * world_size)))`` steps an epoch, as the loader mixing of the reference
    (S4D, ConcatDataset of loaders: ``len_i = int(batches_i * rate_i)``); the steps of all
    sources are shuffled together. A source is drawn without replacement until it is used up, then
    drawn anew (rate > 1); a rate below 1 takes a fresh random part each epoch, a rate of 0 leaves
    the source out. Balanced sources are drawn with replacement, each sample with a weight of one
    over the size of its class. A global batch of ``b * world_size`` samples is dealt out to the
    ranks in turn, so that the samples of a step do not depend on the number of ranks, as long as
    ``b * world_size`` stays the same. Everything is a pure function of (seed, epoch, lengths,
    rates, batch sizes, world size) and, if balanced, the labels.

    With ``InfiniteSampler``, for IterBasedTrainLoop, the epochs follow each other without an end.

    Evaluation (``test_mode=True``): the order of ``sampler`` is kept, every sample that it gives
    is visited exactly once, and a new batch starts where the source changes.

    A training run resumes in mid-epoch by ``state_dict`` / ``load_state_dict``. The position is
    the number of steps that were consumed, which only the training loop knows (the workers of
    a loader are ahead): it says so with ``mark_consumed``.

    Args:
        sampler: MMEngine's ``DefaultSampler`` over a ``MixedMediaDataset`` (built by the runner);
            it brings data set, seed, epoch, rank and world size. In evaluation it should be
            ``DefaultSampler(shuffle=False, round_up=False)``; its default ``round_up=True``
            repeats samples so that all ranks have equally many.
        batch_size (int): Batch size on each rank of sources not named in ``batch_sizes``.
        batch_sizes (dict[str, int], optional): Batch size on each rank, by source name.
        rates (dict[str, float], optional): Share of its batches that a source contributes to an
            epoch; 1 where not named.
        balanced (Sequence[str]): Sources whose classes are drawn equally often; AffectNet in the
            official recipe (S4D, s4d/data/sampler.py).
        test_mode (bool): Evaluation mode.

    Raises:
        TypeError: If the sampler is an ``InfiniteSampler`` in evaluation.
        ValueError: If a name is not a source of the data set, a batch size is not positive, a
            rate is negative or all are 0, or a source is too small for a single batch.
    """

    def __init__(self,
                 sampler: Sampler,
                 batch_size: int,
                 batch_sizes: Optional[Dict[str, int]] = None,
                 rates: Optional[Dict[str, float]] = None,
                 balanced: Sequence[str] = (),
                 test_mode: bool = False) -> None:
        self.endless = isinstance(sampler, InfiniteSampler)
        if self.endless and test_mode:
            raise TypeError('an evaluation with InfiniteSampler would not end; take '
                            'DefaultSampler(shuffle=False, round_up=False)')
        self.sampler = sampler
        self.test_mode = test_mode
        self.ranges = sampler.dataset.source_ranges
        self.batch_sizes = dict.fromkeys(self.ranges, batch_size)
        self.rates = dict.fromkeys(self.ranges, 1.0)
        for what, names in (('batch_sizes', batch_sizes or {}), ('rates', rates or {}),
                            ('balanced', balanced)):
            unknown = set(names) - set(self.ranges)
            if unknown:
                raise ValueError(f'{what} names {sorted(unknown)}, but the sources are '
                                 f'{list(self.ranges)}')
        self.batch_sizes.update(batch_sizes or {})
        self.rates.update(rates or {})
        if min(self.batch_sizes.values()) <= 0:
            raise ValueError(f'batch_sizes must be positive, found {self.batch_sizes}')
        if min(self.rates.values()) < 0 or max(self.rates.values()) == 0:
            raise ValueError(f'rates must not be negative, and not all 0, found {self.rates}')
        self.weights = {name: _class_weights(sampler.dataset.labels(name)) for name in balanced}
        self.consumed = 0
        if not test_mode:
            self.steps = {name: self._steps_of(name) for name in self.ranges}

    def _steps_of(self, source: str) -> int:
        start, end = self.ranges[source]
        length, world_size, rate = end - start, self.sampler.world_size, self.rates[source]
        batches = length // self._global_batch(source)
        if int(rate * batches) == 0 and rate > 0:
            if length < world_size:
                advice = f'use {length} rank(s) at most, or leave it out with a rate of 0'
            elif batches == 0:
                advice = f'its batch size can be {length // world_size} at most'
            else:
                advice = f'its rate must be {math.ceil(1000 / batches) / 1000} at least'
            raise ValueError(
                f'source {source!r} has {length} samples: not one batch of '
                f'{self.batch_sizes[source]} on {world_size} rank(s) at rate {rate}; {advice}')
        return int(rate * batches)

    def _global_batch(self, source: str) -> int:
        return self.batch_sizes[source] * self.sampler.world_size

    def __iter__(self) -> Iterator[List[Draw]]:
        """Yield this rank's batches, those of a resumed epoch from the first one not consumed.

        In evaluation the draws do not depend on the run: seed, epoch and view are 0.
        """
        if self.test_mode:
            yield from self._evaluation_batches()
        else:
            first, self.consumed = self.consumed, 0
            epochs = itertools.count() if self.endless else [self.sampler.epoch]
            for epoch in epochs:
                yield from self._training_batches(epoch, first)

    def __len__(self) -> int:
        """Batches of this rank in one (whole) epoch."""
        if self.test_mode:
            return sum(1 for _ in self._evaluation_batches())
        return sum(self.steps.values())

    def mark_consumed(self, steps: int) -> None:
        """Say how many steps of the running epoch are done.

        Args:
            steps (int): Counted from the begin of the epoch, also in a resumed one.

        Raises:
            TypeError: If the epoch would never end.
        """
        if self.endless:
            raise TypeError('an epoch with InfiniteSampler never ends: take DefaultSampler, or '
                            'IterBasedTrainLoop as train_cfg.type')
        self.consumed = steps % len(self)

    def state_dict(self) -> dict:
        """What makes the steps of this epoch, and how many of them are consumed.

        It holds for any number of ranks with the same global batch sizes.
        """
        return dict(
            seed=self.sampler.seed,
            epoch=self.sampler.epoch,
            consumed=self.consumed,
            lengths={name: end - start for name, (start, end) in self.ranges.items()},
            global_batch_sizes={name: self._global_batch(name) for name in self.ranges},
            rates=dict(self.rates),
            balanced=list(self.weights))

    def load_state_dict(self, state: dict) -> None:
        """Let the next epoch start behind the consumed steps; those after it are whole.

        Args:
            state (dict): What ``state_dict`` returned.

        Raises:
            ValueError: If this sampler would make other steps; the message names the difference.
        """
        here = self.state_dict()
        for key in ('seed', 'lengths', 'global_batch_sizes', 'rates', 'balanced'):
            if here[key] != state[key]:
                raise ValueError(
                    f'cannot resume in mid-epoch: {key} was {state[key]} and is {here[key]}; '
                    'restore it, or resume from the checkpoint of an epoch end')
        self.sampler.set_epoch(state['epoch'])
        self.consumed = state['consumed']

    def _training_batches(self, epoch: int, first: int) -> Iterator[List[Draw]]:
        sampler = self.sampler
        rank, world_size, seed = sampler.rank, sampler.world_size, sampler.seed
        rng = np.random.default_rng([seed, epoch])
        streams = {source: self._stream(source, rng) for source in self.ranges}
        turns = [source for source in self.ranges for _ in range(self.steps[source])]
        taken = dict.fromkeys(self.ranges, 0)
        for step, turn in enumerate(rng.permutation(len(turns))):
            source = turns[turn]
            begin = taken[source]
            taken[source] = end = begin + self._global_batch(source)
            if step >= first:
                indices, views = streams[source]
                yield [Draw(index, seed, epoch, view) for index, view in zip(
                    indices[begin + rank:end:world_size].tolist(),
                    views[begin + rank:end:world_size].tolist())]

    def _stream(self, source: str, rng: np.random.Generator) -> Tuple[np.ndarray, np.ndarray]:
        """Indices that an epoch draws from a source, in order, and how often before."""
        start, end = self.ranges[source]
        length, global_batch = end - start, self._global_batch(source)
        needed = self.steps[source] * global_batch
        if source in self.weights:
            drawn = rng.choice(length, needed, p=self.weights[source])
        else:
            per_pass = length // global_batch * global_batch
            passes = [rng.permutation(length)[:per_pass]
                      for _ in range(-(-needed // max(per_pass, 1)))]
            drawn = np.concatenate([np.empty(0, np.int64), *passes])[:needed]
        drawn = drawn.astype(np.int64)
        return start + drawn, pd.Series(drawn).groupby(drawn).cumcount().to_numpy()

    def _evaluation_batches(self) -> Iterator[List[Draw]]:
        names = list(self.ranges)
        ends = [end for _, end in self.ranges.values()]
        batch: List[Draw] = []
        batch_source = None
        for index in self.sampler:
            source = names[int(np.searchsorted(ends, index, side='right'))]
            if batch and (source != batch_source or len(batch) == self.batch_sizes[source]):
                yield batch
                batch = []
            batch_source = source
            batch.append(Draw(index, seed=0, epoch=0, view=0))
        if batch:
            yield batch


def _class_weights(labels: np.ndarray) -> np.ndarray:
    """Probability of each sample (N,): all classes that occur have the same sum."""
    weights = 1 / np.bincount(labels)[labels]
    return weights / weights.sum()
