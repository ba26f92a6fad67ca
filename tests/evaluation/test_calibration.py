import numpy as np
import pytest
from sklearn.metrics import log_loss

from unilearn_mm.evaluation.calibration import (
    expected_calibration_error,
    negative_log_likelihood,
    reliability_bins,
    risk_coverage,
    sums_off_one,
)


def rows(confidences, correct, num_classes=3):
    """Probabilities of class 0 with the rest shared, and labels that make them right or wrong."""
    confidences = np.array(confidences, float)
    rest = (1 - confidences)[:, None].repeat(num_classes - 1, 1) / (num_classes - 1)
    return np.column_stack([confidences, rest]), np.where(correct, 0, 1)


def test_ece_of_a_case_by_hand():
    # bins of a fifteenth: (.6, .667] holds .62 and .64 (one right), (.933, 1] holds 1 and .94
    probabilities, labels = rows([.62, .64, 1, .94], [True, False, True, True])
    bins = reliability_bins(probabilities, labels)
    assert bins.counts.tolist() == [0] * 9 + [2] + [0] * 4 + [2]
    assert bins.accuracy[[9, 14]].tolist() == [.5, 1]
    assert bins.confidence[[9, 14]] == pytest.approx([.63, .97])
    assert np.isnan(bins.accuracy[0])
    assert expected_calibration_error(bins) == pytest.approx(.5 * .13 + .5 * .03)


def test_a_confidence_on_an_edge_belongs_to_the_bin_below():
    probabilities, labels = rows([.5, 1], [True, True], num_classes=4)
    assert reliability_bins(probabilities, labels, bins=4).counts.tolist() == [0, 1, 0, 1]


def test_extremes_of_ece():
    always, never = np.ones(50, bool), np.zeros(50, bool)
    for confidence, correct, expected in ((1, always, 0), (1, never, 1), (.9, always, .1)):
        bins = reliability_bins(*rows([confidence] * 50, correct))
        assert expected_calibration_error(bins) == pytest.approx(expected, abs=1e-12)


def test_ece_of_honest_probabilities_falls_with_their_number():
    rng = np.random.default_rng(0)
    found = []
    for num in (200, 20000):
        probabilities = rng.dirichlet([1, 1, 1], num)
        labels = (rng.random((num, 1)) > probabilities.cumsum(1)).sum(1)
        found.append(expected_calibration_error(reliability_bins(probabilities, labels)))
    assert found[1] < .015 < found[0]


def test_likelihood_in_closed_form():
    for num_classes in (2, 7):
        uniform = np.full((5, num_classes), 1 / num_classes)
        assert negative_log_likelihood(uniform, np.arange(5) % 2) == pytest.approx(
            np.log(num_classes))
    assert negative_log_likelihood(np.array([[1., 0.]]), np.array([0])) == 0
    rng = np.random.default_rng(0)
    probabilities, labels = rng.dirichlet([.1] * 5, 400), rng.integers(0, 4, 400)
    assert negative_log_likelihood(probabilities, labels) == pytest.approx(
        log_loss(labels, probabilities, labels=range(5)))
    # single precision rounds to zero: the mean stays finite
    assert negative_log_likelihood(np.array([[1., 0.]]), np.array([1])) == pytest.approx(
        52 * np.log(2))


def test_what_is_a_probability():
    scores = np.array([[.5, .5], [.5, .5009], [.5, .502], [1.1, -.1], [1, 0], [0, 0], [3, -2]])
    assert sums_off_one(scores).tolist() == [False, False, True, True, False, True, True]


def test_risk_coverage_by_hand():
    probabilities, labels = rows([.9, .8, .8, .6, .5], [True, False, True, True, False])
    curve = risk_coverage(probabilities, labels)
    assert curve.threshold.tolist() == [.9, .8, .6, .5]
    assert curve.coverage == pytest.approx([.2, .6, .8, 1])
    assert curve.risk == pytest.approx([0, 1 / 3, 1 / 4, 2 / 5])
    assert curve.area == pytest.approx((0 + 2 / 3 + 1 / 4 + 2 / 5) / 5)


def test_risk_coverage_against_every_threshold_in_turn():
    rng = np.random.default_rng(1)
    probabilities = rng.integers(1, 6, (60, 4)).astype(float)
    probabilities /= probabilities.sum(1, keepdims=True)
    labels = rng.integers(0, 4, 60)
    order = rng.permutation(60)
    curve = risk_coverage(probabilities, labels)
    for shuffled, plain in zip(risk_coverage(probabilities[order], labels[order]), curve):
        np.testing.assert_array_equal(shuffled, plain)
    area = 0
    for confidence in probabilities.max(1):
        accepted = probabilities.max(1) >= confidence
        risk = np.mean(probabilities.argmax(1)[accepted] != labels[accepted])
        place = curve.threshold.tolist().index(confidence)
        found = curve.coverage[place], curve.risk[place]
        assert found == pytest.approx((accepted.mean(), risk))
        area += risk / 60
    assert curve.area == pytest.approx(area)
    assert curve.risk[-1] == pytest.approx(np.mean(probabilities.argmax(1) != labels))
