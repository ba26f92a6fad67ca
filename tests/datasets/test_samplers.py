"""Properties of the mixed batch sampler over arbitrary sources, rates and world sizes."""

import itertools
import re
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.dataset import InfiniteSampler

from unilearn_mm.datasets.samplers import MixedMediaBatchSampler

source = st.tuples(st.integers(1, 90), st.integers(1, 6), st.sampled_from([0, 0.5, 1, 1.5, 2.25]))
layouts = st.lists(source, min_size=1, max_size=4)
worlds = st.integers(1, 8)


def labels_of(length):
    """Unbalanced: class k has about half as many samples as class k - 1."""
    return np.sort(np.log2(np.arange(length) + 1).astype(int).max(initial=0)
                   - np.log2(np.arange(length) + 1).astype(int))


def parent(lengths, rank=0, world_size=1, seed=0, epoch=0):
    """Stands in the place of DefaultSampler(shuffle=False) over a mixed data set."""
    ranges, start = {}, 0
    for index, length in enumerate(lengths):
        ranges[f's{index}'] = (start, start + length)
        start += length
    indices = range(start)[rank::world_size]
    dataset = SimpleNamespace(source_ranges=ranges,
                              labels=lambda name: labels_of(lengths[int(name[1:])]))

    class Sampler(SimpleNamespace):
        def __iter__(self):
            return iter(indices)

        def set_epoch(self, epoch):
            self.epoch = epoch

    return Sampler(dataset=dataset, seed=seed, epoch=epoch, rank=rank, world_size=world_size)


def build(layout, balanced=(), **where):
    lengths, sizes, rates = zip(*layout)
    names = [f's{i}' for i in range(len(layout))]
    return MixedMediaBatchSampler(
        parent(lengths, **where), batch_size=99, batch_sizes=dict(zip(names, sizes)),
        rates=dict(zip(names, rates)), balanced=balanced)


def indices(batches):
    return [[draw.index for draw in batch] for batch in batches]


def source_of(sampler, index):
    return next(name for name, (start, end) in sampler.ranges.items() if start <= index < end)


def steps(layout, world_size):
    return [int(rate * (length // (size * world_size))) for length, size, rate in layout]


@given(layouts, worlds, st.integers(0, 5), st.integers(0, 3))
@settings(deadline=None)
def test_training_steps(layout, world_size, seed, epoch):
    expected = steps(layout, world_size)
    if not any(expected) or any(rate and not count
                                for count, (_, _, rate) in zip(expected, layout)):
        with pytest.raises(ValueError, match='not one batch|not all 0'):
            build(layout, world_size=world_size)
        return
    ranks = [build(layout, rank=rank, world_size=world_size, seed=seed, epoch=epoch)
             for rank in range(world_size)]
    batches = [indices(rank) for rank in ranks]
    assert [len(rank) for rank in ranks] == [sum(expected)] * world_size
    assert [len(rank) for rank in batches] == [sum(expected)] * world_size
    drawn, turns = Counter(), Counter()
    for step in zip(*batches):
        names = {source_of(ranks[0], index) for batch in step for index in batch}
        assert len(names) == 1, 'one source, the same on every rank'
        name = names.pop()
        size = layout[int(name[1:])][1]
        assert all(len(batch) == size for batch in step)
        together = [index for batch in step for index in batch]
        assert len(set(together)) == len(together), 'no sample twice in a step'
        drawn.update(together)
        turns[name] += 1
    assert [turns[f's{i}'] for i in range(len(layout))] == expected
    for name, (start, end) in ranks[0].ranges.items():
        length, size, _ = layout[int(name[1:])]
        per_pass = length // (size * world_size)
        most = -(-turns[name] // max(per_pass, 1))
        counts = [drawn[index] for index in range(start, end)]
        assert max(counts) <= most, 'drawn again only after a whole pass'


@given(layouts.filter(lambda layout: all(steps([(n, 4 * b, r) for n, b, r in layout], 1))),
       st.integers(0, 5), st.integers(0, 3))
@settings(deadline=None)
def test_steps_do_not_depend_on_the_number_of_ranks(layout, seed, epoch):
    """The same global batch on 1, 2 and 4 ranks: the same samples in the same step."""
    found = []
    for world_size in (1, 2, 4):
        scaled = [(length, size * 4 // world_size, rate) for length, size, rate in layout]
        ranks = [build(scaled, rank=rank, world_size=world_size, seed=seed, epoch=epoch)
                 for rank in range(world_size)]
        found.append([sorted(sum(step, [])) for step in zip(*ranks)])
    assert found[0] == found[1] == found[2]


def test_an_epoch_is_a_function_of_seed_and_epoch():
    layout = [(40, 4, 1), (60, 5, 0.5)]
    first = list(build(layout, seed=3, epoch=2))
    assert first == list(build(layout, seed=3, epoch=2))
    assert first != list(build(layout, seed=3, epoch=3))
    assert first != list(build(layout, seed=4, epoch=2))
    sampler = build(layout, seed=3, epoch=0)
    sampler.sampler.epoch = 2  # what MMEngine's DistSamplerSeedHook does through `.sampler`
    assert list(sampler) == first


def test_one_rank_shuffles():
    """The official loader reads the list in order on one GPU (s4d/data/torch_dataset.py)."""
    batches = indices(build([(64, 4, 1)]))
    assert sorted(sum(batches, [])) == list(range(64))
    assert sum(batches, []) != list(range(64))
    later = indices(build([(64, 4, 1)], epoch=1))
    assert {tuple(sorted(b)) for b in batches} != {tuple(sorted(b)) for b in later}


@given(st.lists(st.integers(1, 30), min_size=1, max_size=4), st.integers(1, 7), worlds)
@settings(deadline=None)
def test_evaluation_visits_everything_once(lengths, batch_size, world_size):
    visited = []
    for rank in range(world_size):
        sampler = MixedMediaBatchSampler(parent(lengths, rank, world_size), batch_size,
                                         test_mode=True)
        batches = indices(sampler)
        assert len(batches) == len(sampler)
        flat = sum(batches, [])
        assert flat == list(range(sum(lengths)))[rank::world_size], 'order is kept'
        for batch in batches:
            assert len({source_of(sampler, index) for index in batch}) == 1
            assert 1 <= len(batch) <= batch_size
        for one, two in itertools.pairwise(batches):
            assert (len(one) == batch_size
                    or source_of(sampler, one[0]) != source_of(sampler, two[0]))
        visited += flat
    assert sorted(visited) == list(range(sum(lengths)))


@pytest.mark.parametrize('arguments, message', [
    (dict(batch_sizes=dict(typo=3)), r"batch_sizes names \['typo'\].*\['s0', 's1'\]"),
    (dict(rates=dict(s2=1)), r"rates names \['s2'\]"),
    (dict(batch_sizes=dict(s0=0)), 'batch_sizes must be positive'),
    (dict(rates=dict(s1=-1)), 'rates must not be negative'),
    (dict(rates=dict(s0=0, s1=0)), 'not all 0'),
    (dict(balanced=['s3']), r"balanced names \['s3'\]"),
    (dict(batch_sizes=dict(s0=11)), "source 's0' has 10 samples: not one batch of 11"),
    (dict(rates=dict(s0=0.1)), "source 's0'.*at rate 0.1"),
])
def test_wrong_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        MixedMediaBatchSampler(parent([10, 10]), batch_size=2, **arguments)


@given(layouts.filter(lambda layout: all(steps(layout, 2)) and any(r for *_, r in layout)),
       st.data())
@settings(deadline=None)
def test_a_resumed_epoch_has_the_same_remainder(layout, data):
    """Also on another number of ranks with the same global batches, and only that epoch."""
    one_rank = [(length, 2 * size, rate) for length, size, rate in layout]
    whole = list(build(one_rank, seed=5, epoch=3))
    consumed = data.draw(st.integers(0, len(whole) - 1))
    before = build(one_rank, seed=5, epoch=3)
    running = iter(before)
    for _ in range(data.draw(st.integers(consumed, len(whole)))):
        next(running, None)  # the workers of a loader are ahead of the training
    before.mark_consumed(consumed)
    resumed = build(one_rank, seed=5)
    resumed.load_state_dict(before.state_dict())
    assert list(resumed) == whole[consumed:]
    assert len(resumed) == len(whole)
    resumed.sampler.set_epoch(4)
    assert list(resumed) == list(build(one_rank, seed=5, epoch=4))
    ranks = [build(layout, seed=5, rank=rank, world_size=2) for rank in range(2)]
    for rank in ranks:
        rank.load_state_dict(before.state_dict())
    assert [sorted(a + b) for a, b in zip(*ranks)] == [sorted(b) for b in whole[consumed:]]


def test_the_end_of_an_epoch_is_not_in_its_middle():
    sampler = build([(8, 2, 1)])
    sampler.mark_consumed(len(sampler))
    assert sampler.state_dict()['consumed'] == 0


@pytest.mark.parametrize('change, key', [
    (dict(layout=[(30, 3, 1)]), 'lengths'), (dict(layout=[(40, 4, 1)]), 'global_batch_sizes'),
    (dict(layout=[(40, 2, 0.5)]), 'rates'), (dict(layout=[(40, 2, 1)], seed=1), 'seed'),
    (dict(layout=[(40, 2, 1)], balanced=['s0']), 'balanced')])
def test_another_sequence_cannot_be_resumed(change, key):
    state = build([(40, 2, 1)]).state_dict()
    with pytest.raises(ValueError, match=f'cannot resume in mid-epoch: {key} was .* and is'):
        build(**change).load_state_dict(state)


def test_balanced_drawing_is_uniform_over_classes_and_shared_by_the_ranks():
    length, size = 1023, 341
    layout, labels = [(length, size, 1)], labels_of(length)
    assert np.bincount(labels).max() > 100 * np.bincount(labels).min()
    drawn = np.concatenate([
        [draw.index for batch in build(layout, balanced=['s0'], epoch=epoch) for draw in batch]
        for epoch in range(40)])
    counts = np.bincount(labels[drawn])
    expected = len(drawn) / len(counts)
    assert (abs(counts - expected) < 5 * np.sqrt(expected)).all()
    # within a class all samples are alike
    largest = np.flatnonzero(labels == np.bincount(labels).argmax())
    per_sample = np.bincount(drawn, minlength=length)[largest]
    assert abs(per_sample.mean() - counts.max() / len(largest)) < 1
    assert per_sample.var() < 3 * per_sample.mean(), 'Poisson: variance equals mean'
    halves = [build([(length, size // 11, 1)], balanced=['s0'], rank=rank, world_size=2)
              for rank in range(2)]
    one = build([(length, size // 11 * 2, 1)], balanced=['s0'])
    assert [sorted(a + b) for a, b in zip(*halves)] == [sorted(batch) for batch in one]


@given(layouts.filter(lambda layout: all(steps(layout, 1))), st.booleans())
@settings(deadline=None)
def test_every_visit_in_an_epoch_is_another_view(layout, balance):
    sampler = build(layout, balanced=[f's{i}' for i in range(len(layout))] if balance else (),
                    seed=2, epoch=7)
    visits = [draw for batch in sampler for draw in batch]
    assert len({(draw.index, draw.view) for draw in visits}) == len(visits)
    times = Counter(draw.index for draw in visits)
    assert all(draw.view < times[draw.index] for draw in visits), 'counted from 0'
    assert {(draw.seed, draw.epoch) for draw in visits} == {(2, 7)}


def test_a_low_rate_takes_another_part_each_epoch():
    parts = [frozenset(sum(indices(build([(100, 5, 0.5)], epoch=epoch)), []))
             for epoch in range(4)]
    assert all(len(part) == 50 for part in parts) and len(set(parts)) == 4


def test_a_rate_of_zero_leaves_a_source_out():
    found = sum(indices(build([(20, 2, 0), (20, 2, 1)])), [])
    assert sorted(found) == list(range(20, 40))


@given(layouts, worlds)
@settings(deadline=None)
def test_the_advice_for_a_source_that_is_too_small_helps(layout, world_size):
    """Batch size, rate and ranks are changed as the message says, until it is content."""
    layout = [list(source) for source in layout]
    for _ in range(3 * len(layout)):
        try:
            build(layout, world_size=world_size)
            return
        except ValueError as error:
            message = str(error)
        if 'not all 0' in message:
            return
        source = layout[int(re.search(r"source 's(\d+)'", message)[1])]
        if found := re.search(r'batch size can be (\d+) at most', message):
            source[1] = int(found[1])
        elif found := re.search(r'rate must be ([\d.]+) at least', message):
            source[2] = float(found[1])
        else:
            assert 'batch size' not in message.partition(';')[2]
            world_size = int(re.search(r'use (\d+) rank', message)[1])
    raise AssertionError(f'still refused: {message}')


def test_more_ranks_than_samples():
    with pytest.raises(ValueError, match=r"source 's0' has 3 samples: not one batch of 1 on 4 "
                       r'rank\(s\) at rate 1; use 3 rank\(s\) at most, or leave it out with a '
                       'rate of 0$'):
        build([(3, 1, 1)], world_size=4)


class Mixed(list):
    """A data set of two sources."""

    source_ranges = dict(s0=(0, 10), s1=(10, 16))


def test_an_infinite_sampler_goes_from_epoch_to_epoch():
    for rank in range(2):
        where = dict(rank=rank, world_size=2)
        sampler = InfiniteSampler(Mixed(range(16)), seed=4)
        vars(sampler).update(where)
        endless = MixedMediaBatchSampler(sampler, batch_size=2, batch_sizes=dict(s1=3))
        epochs = [list(build([(10, 2, 1), (6, 3, 1)], seed=4, epoch=epoch, **where))
                  for epoch in range(3)]
        assert len(endless) == len(epochs[0]) == 3
        assert list(itertools.islice(endless, 9)) == sum(epochs, [])


def test_where_an_infinite_sampler_would_not_end():
    sampler = InfiniteSampler(Mixed(range(16)), seed=4)
    with pytest.raises(TypeError, match='evaluation with InfiniteSampler would not end; take'):
        MixedMediaBatchSampler(sampler, batch_size=2, test_mode=True)
    with pytest.raises(TypeError, match='epoch with InfiniteSampler never ends: take Default'):
        MixedMediaBatchSampler(sampler, batch_size=2).mark_consumed(1)
