"""Whether probabilities mean what they say, as plain functions on arrays.

Notation: N samples, K classes; ``probabilities`` is (N, K) float64. The confidence of a
prediction is the highest of its K probabilities.
"""
from typing import NamedTuple

import numpy as np

NUM_BINS = 15
SUM_TOLERANCE = 1e-3  # half precision rounds this much away
LEAST_PROBABILITY = float(np.finfo(np.float64).eps)


class ReliabilityBins(NamedTuple):
    """Predictions in bins of equal width by their confidence.

    Attributes:
        edges (np.ndarray): (bins + 1,) from 0 to 1; bin b is (edges[b], edges[b + 1]].
        counts (np.ndarray): (bins,) int64 number of predictions.
        accuracy (np.ndarray): (bins,) share of them that is correct, NaN in an empty bin.
        confidence (np.ndarray): (bins,) mean confidence of them, NaN in an empty bin.
    """
    edges: np.ndarray
    counts: np.ndarray
    accuracy: np.ndarray
    confidence: np.ndarray


class RiskCoverage(NamedTuple):
    """What remains wrong when predictions of low confidence are withheld.

    Attributes:
        threshold (np.ndarray): (M,) the different confidences, falling.
        coverage (np.ndarray): (M,) share of the samples with at least that confidence.
        risk (np.ndarray): (M,) share of errors among them.
        area (float): mean of the risk over the coverages of all samples (AURC).
    """
    threshold: np.ndarray
    coverage: np.ndarray
    risk: np.ndarray
    area: float


def sums_off_one(scores: np.ndarray) -> np.ndarray:
    """Which rows are no probabilities.

    Args:
        scores (np.ndarray): (N, K).

    Returns:
        np.ndarray: (N,) bool; True where a score lies outside [0, 1] or the sum is further than
        1e-3 from one.
    """
    outside = ((scores < 0) | (scores > 1 + SUM_TOLERANCE)).any(axis=1)
    return outside | ~(np.abs(scores.sum(axis=1) - 1) <= SUM_TOLERANCE)


def negative_log_likelihood(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean of -log(probability of the label), in nats.

    A probability below 2.2e-16 counts as that, as in scikit-learn's ``log_loss``: single
    precision rounds the smallest ones to zero, and one such sample would make the mean infinite.

    Args:
        probabilities (np.ndarray): (N, K).
        labels (np.ndarray): (N,) class ids.
    """
    given = np.take_along_axis(probabilities, np.asarray(labels)[:, None], axis=1)
    return float(-np.log(np.clip(given, LEAST_PROBABILITY, 1)).mean())


def reliability_bins(probabilities: np.ndarray, labels: np.ndarray,
                     bins: int = NUM_BINS) -> ReliabilityBins:
    """Sort predictions into bins of equal width by their confidence.

    Args:
        probabilities (np.ndarray): (N, K).
        labels (np.ndarray): (N,) class ids.
        bins (int): number of bins.
    """
    edges = np.linspace(0, 1, bins + 1)
    confidence = probabilities.max(axis=1)
    place = np.digitize(confidence, edges[1:-1], right=True)
    counts = np.bincount(place, minlength=bins)

    def mean(values: np.ndarray) -> np.ndarray:
        sums = np.bincount(place, weights=values, minlength=bins)
        return np.divide(sums, counts, out=np.full(bins, np.nan), where=counts > 0)

    correct = probabilities.argmax(axis=1) == labels
    return ReliabilityBins(edges, counts, mean(correct), mean(confidence))


def expected_calibration_error(bins: ReliabilityBins) -> float:
    """Mean of |accuracy - confidence| of the bins, weighted by their counts.

    Guo et al., "On Calibration of Modern Neural Networks" (ICML 2017), equation 3.
    """
    gaps = np.abs(bins.accuracy - bins.confidence)
    return float(np.nansum(gaps * bins.counts) / bins.counts.sum())


def risk_coverage(probabilities: np.ndarray, labels: np.ndarray) -> RiskCoverage:
    """Error rate of the most confident predictions, for every share of them.

    Equal confidences are accepted or withheld together, so the order of samples has no influence.
    Geifman and El-Yaniv, "Selective Classification for Deep Neural Networks" (NeurIPS 2017).

    Args:
        probabilities (np.ndarray): (N, K).
        labels (np.ndarray): (N,) class ids.
    """
    threshold, place, counts = np.unique(
        -probabilities.max(axis=1), return_inverse=True, return_counts=True)
    wrong = probabilities.argmax(axis=1) != labels
    accepted = counts.cumsum()
    risk = np.bincount(place, weights=wrong).cumsum() / accepted
    return RiskCoverage(-threshold, accepted / len(wrong), risk,
                        float((risk * counts).sum() / len(wrong)))
