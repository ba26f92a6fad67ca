"""How sure scores are: 95 % intervals from one confusion matrix.

The bootstrap is stratified by label: a resample keeps the number of samples of each class and
draws that many of them with replacement, so UAR is always a mean over the same classes. All
scores here depend on the confusion matrix only, and drawing samples of a class with replacement
is drawing its row of the matrix from a multinomial distribution: exactly the same, without
touching samples.

The intervals speak of drawing other samples of the same kind, not of training again. They are too
narrow where a class has but a few samples (one sample drawn again and again is always the same),
and where many clips show one subject, because they take samples as independent.
"""
from typing import Callable, Dict, NamedTuple

import numpy as np
from scipy.stats import binomtest

from .expression_scores import macro_f1, uar, war, weighted_f1

LEVEL = 0.95
RESAMPLES = 2000
SEED = 0

BOOTSTRAPPED: Dict[str, Callable[[np.ndarray], np.ndarray]] = dict(
    WAR=war, UAR=uar, macro_F1=macro_f1, weighted_F1=weighted_f1)


class Interval(NamedTuple):
    """Bounds of a 95 % interval."""
    low: float
    high: float


def resampled_confusions(counts: np.ndarray, resamples: int, seed: int = SEED) -> np.ndarray:
    """Confusion matrices of bootstrap resamples, stratified by label.

    Args:
        counts (np.ndarray): (K, K) confusion matrix, row = label.
        resamples (int): R.
        seed (int): the same seed gives the same resamples.

    Returns:
        np.ndarray: (R, K, K) int64; the rows sum to those of ``counts``.

    Raises:
        ValueError: ``resamples`` is below one.
    """
    if resamples < 1:
        raise ValueError(f'the bootstrap needs at least 1 resample, found {resamples}')
    totals = counts.sum(axis=1)
    shares = counts / np.maximum(totals, 1)[:, None]
    return np.random.default_rng(seed).multinomial(totals, shares, size=(resamples, len(counts)))


def bootstrap_intervals(counts: np.ndarray, resamples: int = RESAMPLES,
                        seed: int = SEED) -> Dict[str, Interval]:
    """95 % percentile intervals of WAR, UAR, macro and weighted F1.

    Args:
        counts (np.ndarray): (K, K) confusion matrix, row = label.
        resamples (int): number of resamples.
        seed (int): of the resamples.

    Returns:
        dict[str, Interval]: ``WAR``, ``UAR``, ``macro_F1`` and ``weighted_F1``.

    Raises:
        ValueError: ``resamples`` is below one.
    """
    drawn = resampled_confusions(counts, resamples, seed)
    tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    return {name: Interval(*map(float, np.quantile(score(drawn), tails)))
            for name, score in BOOTSTRAPPED.items()}


def proportion_interval(successes: int, trials: int) -> Interval:
    """95 % Wilson interval of a proportion, such as a recall or the WAR of a group.

    For proportions it serves better than the bootstrap, which would call a class with 0 of 5
    correct certainly hopeless: all of its resamples are 0 of 5 too.

    Args:
        successes (int): k.
        trials (int): n; with 0 both bounds are NaN.
    """
    if trials == 0:
        return Interval(np.nan, np.nan)
    bounds = binomtest(int(successes), int(trials)).proportion_ci(LEVEL, method='wilson')
    return Interval(float(bounds.low), float(bounds.high))
