"""Properties of the mixed batch sampler over arbitrary sources, rates and world sizes."""

from collections import Counter
from types import SimpleNamespace

import pytest
from hypothesis import given, settings, strategies as st

from unilearn_mm.datasets.samplers import MixedMediaBatchSampler

source = st.tuples(st.integers(1, 90), st.integers(1, 6), st.sampled_from([0.5, 1, 1.5, 2.25]))
layouts = st.lists(source, min_size=1, max_size=4)
worlds = st.integers(1, 4)


def parent(lengths, rank=0, world_size=1, seed=0, epoch=0):
    """Stands in the place of DefaultSampler(shuffle=False) over a mixed data set."""
    ranges, start = {}, 0
    for index, length in enumerate(lengths):
        ranges[f's{index}'] = (start, start + length)
        start += length
    indices = range(start)[rank::world_size]
    sampler = SimpleNamespace(dataset=SimpleNamespace(source_ranges=ranges), seed=seed,
                              epoch=epoch, rank=rank, world_size=world_size, total=start)
    return type('Sampler', (SimpleNamespace, ), {'__iter__': lambda self: iter(indices)})(
        **vars(sampler))


def build(layout, **where):
    lengths, sizes, rates = zip(*layout)
    names = [f's{i}' for i in range(len(layout))]
    return MixedMediaBatchSampler(
        parent(lengths, **where), batch_size=99, batch_sizes=dict(zip(names, sizes)),
        rates=dict(zip(names, rates)))


def source_of(sampler, index):
    return next(name for name, (start, end) in sampler.ranges.items() if start <= index < end)


def steps(layout, world_size):
    return [int(rate * (length // (size * world_size))) for length, size, rate in layout]


@given(layouts, worlds, st.integers(0, 5), st.integers(0, 3))
@settings(deadline=None)
def test_training_steps(layout, world_size, seed, epoch):
    expected = steps(layout, world_size)
    if not all(expected):
        with pytest.raises(ValueError, match='not one batch'):
            build(layout, world_size=world_size)
        return
    ranks = [build(layout, rank=rank, world_size=world_size, seed=seed, epoch=epoch)
             for rank in range(world_size)]
    batches = [list(rank) for rank in ranks]
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
        most = -(-turns[name] // per_pass)
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
    batches = list(build([(64, 4, 1)]))
    assert sorted(sum(batches, [])) == list(range(64))
    assert sum(batches, []) != list(range(64))
    later = list(build([(64, 4, 1)], epoch=1))
    assert {tuple(sorted(b)) for b in batches} != {tuple(sorted(b)) for b in later}


@given(st.lists(st.integers(1, 30), min_size=1, max_size=4), st.integers(1, 7), worlds)
@settings(deadline=None)
def test_evaluation_visits_everything_once(lengths, batch_size, world_size):
    visited = []
    for rank in range(world_size):
        sampler = MixedMediaBatchSampler(parent(lengths, rank, world_size), batch_size,
                                         test_mode=True)
        batches = list(sampler)
        assert len(batches) == len(sampler)
        flat = sum(batches, [])
        assert flat == list(range(sum(lengths)))[rank::world_size], 'order is kept'
        for batch in batches:
            assert len({source_of(sampler, index) for index in batch}) == 1
            assert 1 <= len(batch) <= batch_size
        for one, two in zip(batches, batches[1:]):
            assert (len(one) == batch_size
                    or source_of(sampler, one[0]) != source_of(sampler, two[0]))
        visited += flat
    assert sorted(visited) == list(range(sum(lengths)))


@pytest.mark.parametrize('arguments, message', [
    (dict(batch_sizes=dict(typo=3)), r"batch_sizes names \['typo'\].*\['s0', 's1'\]"),
    (dict(rates=dict(s2=1)), r"rates names \['s2'\]"),
    (dict(batch_sizes=dict(s0=0)), 'batch_sizes must be positive'),
    (dict(rates=dict(s1=-1)), 'rates must be positive'),
    (dict(batch_sizes=dict(s0=11)), "source 's0' has 10 samples: not one batch of 11"),
    (dict(rates=dict(s0=0.1)), "source 's0'.*at rate 0.1"),
])
def test_wrong_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        MixedMediaBatchSampler(parent([10, 10]), batch_size=2, **arguments)
