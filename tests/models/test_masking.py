"""Masks are a partition with exact counts, and a uniform choice."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unilearn_mm.models.layers.masking import random_masks, tube_masks


def partitions(keep, masked, num_tokens):
    """Together all tokens, each once, both parts ascending."""
    together = torch.cat([keep, masked], 1).sort(1).values
    return (together == torch.arange(num_tokens)).all() and all(
        (part.diff(dim=1) > 0).all() for part in (keep, masked))


@given(st.integers(1, 4), st.integers(2, 60), st.floats(0.01, 0.99))
def test_partition_with_exact_counts(num, num_tokens, ratio):
    expected = int(ratio * num_tokens)
    if not expected:
        with pytest.raises(ValueError, match=f'masks 0 of {num_tokens} tokens'):
            random_masks(torch.rand(num, num_tokens), ratio)
        return
    keep, masked = random_masks(torch.rand(num, num_tokens), ratio)
    assert masked.shape == (num, expected)
    assert partitions(keep, masked, num_tokens)


@given(st.integers(1, 5), st.integers(2, 20), st.floats(0.1, 0.9))
def test_tubes_are_the_same_in_every_slot(slots, places, ratio):
    if not int(ratio * places):
        return
    keep, masked = tube_masks(torch.rand(3, places), slots, ratio)
    assert partitions(keep, masked, slots * places)
    assert masked.shape == (3, slots * int(ratio * places))
    per_slot = (masked % places).view(3, slots, -1)
    assert (per_slot == per_slot[:, :1]).all()


def test_counts_of_the_paper():
    assert random_masks(torch.rand(2, 800), 0.95)[0].shape == (2, 40)
    assert random_masks(torch.rand(2, 100), 0.90)[0].shape == (2, 10)


@pytest.mark.parametrize('ratio', [0., 1., 0.999999])
def test_extreme_ratios(ratio):
    if ratio == 0.999999:
        assert random_masks(torch.rand(1, 8), ratio)[0].shape == (1, 1)
        return
    with pytest.raises(ValueError, match='at least one must be masked and one visible'):
        random_masks(torch.rand(1, 8), ratio)


def test_every_token_is_masked_equally_often():
    torch.manual_seed(0)
    _, masked = random_masks(torch.rand(4000, 10), 0.7)
    counts = np.bincount(masked.flatten(), minlength=10)
    assert (abs(counts - 2800) < 5 * np.sqrt(4000 * 0.7 * 0.3)).all()
