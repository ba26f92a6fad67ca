"""Random numbers of a sample depend on (seed, epoch, sample, view), and on nothing else."""

import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unilearn_mm.datasets.draws import Draw, draw_seed, seeded

names = st.text(max_size=8)
numbers = st.integers(0, 2**32 - 1)


def three_numbers():
    return random.random(), np.random.rand(), torch.rand(1).item()


@given(numbers, numbers, numbers, names, names)
@settings(deadline=None)
def test_each_part_of_a_draw_matters_but_its_index(seed, epoch, view, source, sample_id):
    first = draw_seed(Draw(3, seed, epoch, view), source, sample_id)
    assert 0 <= first < 2**63
    assert first == draw_seed(Draw(4, seed, epoch, view), source, sample_id)
    others = [draw_seed(Draw(3, seed + 1, epoch, view), source, sample_id),
              draw_seed(Draw(3, seed, epoch + 1, view), source, sample_id),
              draw_seed(Draw(3, seed, epoch, view + 1), source, sample_id),
              draw_seed(Draw(3, seed, epoch, view), source + 'x', sample_id),
              draw_seed(Draw(3, seed, epoch, view), source, 'x' + sample_id)]
    assert len({first, *others}) == 6


@pytest.mark.parametrize('seed', [0, 1, 2**32, 2**63 - 1])
def test_seeded_reproduces_and_leaves_no_trace(seed):
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    with seeded(seed):
        first = three_numbers()
    with pytest.raises(KeyError), seeded(seed):
        assert three_numbers() == first
        raise KeyError
    assert random.getstate() == states[0]
    assert all(np.array_equal(a, b) for a, b in zip(np.random.get_state(), states[1]))
    assert torch.equal(torch.get_rng_state(), states[2])
    with seeded(seed ^ 1):
        assert all(a != b for a, b in zip(three_numbers(), first))
    with seeded(seed ^ 2**40):  # the generator of torch knows the lower 32 bits only
        assert all(a != b for a, b in zip(three_numbers()[:2], first))


def test_numbers_of_different_samples_are_uniform_together():
    values = []
    for index in range(2000):
        with seeded(draw_seed(Draw(index, 0, 0, 0), 'dfew', f'{index:05d}')):
            values.append(three_numbers())
    histogram = np.stack([np.histogram(column, 10, (0, 1))[0] for column in np.transpose(values)])
    assert (abs(histogram - 200) < 5 * np.sqrt(200)).all()
    assert abs(np.corrcoef(np.transpose(values)) - np.eye(3)).max() < 5 / np.sqrt(2000)
