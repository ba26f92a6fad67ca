import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import precision_recall_fscore_support

from unilearn_mm.evaluation.bootstrap import (
    bootstrap_intervals,
    proportion_interval,
    resampled_confusions,
)
from unilearn_mm.evaluation.expression_scores import confusion, uar, war

COUNTS = np.array([[40, 5, 5, 0], [10, 20, 0, 0], [3, 2, 4, 0], [0, 0, 0, 0]])


def samples_of(counts):
    """Labels and predictions that make the confusion matrix."""
    cells = np.argwhere(counts >= 0).repeat(counts.ravel(), axis=0)
    return cells[:, 0], cells[:, 1]


def test_resamples_keep_the_size_of_every_class():
    drawn = resampled_confusions(COUNTS, 50)
    assert drawn.shape == (50, 4, 4)
    assert (drawn.sum(2) == COUNTS.sum(1)).all()
    assert (drawn[:, COUNTS == 0] == 0).all()
    np.testing.assert_array_equal(drawn, resampled_confusions(COUNTS, 50))
    assert (drawn != resampled_confusions(COUNTS, 50, seed=1)).any()
    np.testing.assert_allclose(resampled_confusions(COUNTS, 4000).mean(0), COUNTS, atol=.2)


def test_same_distribution_as_a_loop_over_samples():
    labels, predictions = samples_of(COUNTS)
    assert (confusion(labels, predictions, 4) == COUNTS).all()
    by_class = [np.flatnonzero(labels == k) for k in range(3)]
    rng = np.random.default_rng(7)
    looped = dict(WAR=[], UAR=[], macro_F1=[], weighted_F1=[])
    for _ in range(800):
        chosen = np.concatenate([rng.choice(places, len(places)) for places in by_class])
        drawn = labels[chosen], predictions[chosen]
        _, recall, f1, support = precision_recall_fscore_support(
            *drawn, labels=range(3), zero_division=0)
        looped['WAR'].append(np.mean(drawn[0] == drawn[1]))
        looped['UAR'].append(recall.mean())
        looped['macro_F1'].append(f1.mean())
        looped['weighted_F1'].append(f1 @ support / support.sum())
    found = bootstrap_intervals(COUNTS, 4000)
    for name, values in looped.items():
        # four standard errors of a quantile of 800 draws
        error = 4 * np.sqrt(.025 * .975 / 800) / norm.pdf(norm.ppf(.025)) * np.std(values)
        assert found[name] == pytest.approx(np.quantile(values, [.025, .975]), abs=error)


def test_interval_of_war_is_that_of_a_binomial():
    counts = np.array([[300, 100], [0, 0]])
    low, high = bootstrap_intervals(counts, 20000)['WAR']
    error = np.sqrt(.75 * .25 / 400)
    assert (low, high) == pytest.approx((.75 - 1.96 * error, .75 + 1.96 * error), abs=.004)


def test_intervals_cover_the_truth():
    """Predictions drawn from known recalls: about 95 % of the intervals hold WAR and UAR."""
    rng = np.random.default_rng(3)
    recall = np.array([[.8, .1, .1], [.2, .7, .1], [.3, .3, .4]])
    sizes = np.array([120, 60, 40])
    truth = dict(WAR=(recall.diagonal() * sizes).sum() / sizes.sum(), UAR=recall.trace() / 3)
    held = dict(WAR=0, UAR=0)
    for trial in range(400):
        found = bootstrap_intervals(rng.multinomial(sizes, recall), 400, seed=trial)
        for name, value in truth.items():
            held[name] += found[name].low <= value <= found[name].high
    # 380 expected; four binomial standard deviations are 17
    assert all(355 <= number <= 397 for number in held.values()), held


def test_intervals_are_the_same_again_and_hold_their_score():
    found = bootstrap_intervals(COUNTS)
    assert found == bootstrap_intervals(COUNTS)
    assert found['WAR'].low < war(COUNTS) < found['WAR'].high
    assert found['UAR'].low < uar(COUNTS) < found['UAR'].high
    sure = bootstrap_intervals(np.diag([5, 3]))
    assert sure['UAR'] == sure['macro_F1'] == (1, 1)


def test_no_resamples():
    with pytest.raises(ValueError, match='at least 1 resample, found 0'):
        bootstrap_intervals(COUNTS, 0)


@pytest.mark.parametrize('correct, total', [(0, 5), (5, 5), (7, 30), (1, 1)])
def test_wilson_interval_solves_its_equation(correct, total):
    """Its bounds are the proportions p with |p - share| = z * sqrt(p (1 - p) / n)."""
    share, z = correct / total, norm.ppf(.975)
    low, high = proportion_interval(correct, total)
    assert 0 <= low <= share <= high <= 1 and low < high
    for bound in (low, high):
        assert abs(bound - share) == pytest.approx(z * np.sqrt(bound * (1 - bound) / total),
                                                   abs=1e-9)


def test_no_trials_have_no_interval():
    assert np.isnan(proportion_interval(0, 0)).all()
