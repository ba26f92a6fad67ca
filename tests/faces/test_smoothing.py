"""Smoothing of a course over time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unilearn_mm.faces.smoothing import WINDOW, smooth_at

steps = st.lists(st.floats(0.01, 0.2), min_size=2, max_size=30)


@given(steps, st.integers(0, 29), st.floats(0.01, 0.5))
def test_a_parabola_stays(gaps, place, deviation):
    """Uneven times, the ends of the course: neither delays nor bends what moves steadily."""
    times = np.cumsum(gaps)
    values = np.stack([3 * times - 1, 2 - times + 4 * times ** 2], 1)
    moment = times[place % len(times)]
    np.testing.assert_allclose(smooth_at(times, values, moment, deviation),
                               [3 * moment - 1, 2 - moment + 4 * moment ** 2], atol=1e-6)


@given(st.integers(0, 1000))
def test_as_numpy_fits(seed):
    """Weighted polynomial regression by numpy.polyfit."""
    rng = np.random.default_rng(seed)
    times, values = np.sort(rng.uniform(0, 1, 20)), rng.normal(size=(20, 1))
    moment = times[11]
    near = np.abs(times - moment) <= WINDOW * 0.2
    weights = np.exp(-(times[near] - moment) ** 2 / (2 * 0.2 ** 2))
    fit = np.polyfit(times[near] - moment, values[near, 0], 2, w=np.sqrt(weights))
    assert smooth_at(times, values, moment, 0.2)[0] == pytest.approx(fit[2], abs=1e-8)


def test_noise_shrinks():
    rng = np.random.default_rng(0)
    times = np.arange(300) / 30
    noise = rng.normal(size=(300, 1))
    smooth = np.array([smooth_at(times, noise, moment, 0.1) for moment in times])
    assert smooth.std() < 0.6 * noise.std()
    assert np.diff(smooth, axis=0).std() < 0.2 * np.diff(noise, axis=0).std()


def test_none():
    times, values = np.array([0.0, 1, 2]), np.array([[1.0], [5], [2]])
    assert smooth_at(times, values, 1.0, 0.0) == [5]
    assert smooth_at(times[:1], values[:1], 0.0, 0.1) == [1]
    with pytest.raises(ValueError, match='no value for 0.5 s'):
        smooth_at(times, values, 0.5, 0.1)
