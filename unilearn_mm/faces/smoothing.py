"""A course over time, smoothed."""

import numpy as np

WINDOW = 3.0  # standard deviations of the Gaussian on each side


def smooth_at(times: np.ndarray, values: np.ndarray, moment: float, deviation: float) -> np.ndarray:
    """What a course was at a moment, if it was a straight line around it (local linear regression
    with Gaussian weights; Fan, JASA 1992): steady motion is not delayed, and neither uneven times
    nor the ends of the course pull it aside.

    Args:
        times (np.ndarray): (n,) seconds, rising.
        values (np.ndarray): (n, ...) the course at these times.
        moment (float): Within or near the times.
        deviation (float): Standard deviation of the weights in seconds, at least 0; with 0 the
            value of the nearest time.

    Returns:
        np.ndarray: (...) float64.
    """
    away = times - moment
    nearest = np.abs(away).min()
    if deviation <= 0:
        return values[np.argmin(np.abs(away))].astype(float)
    # relative to the nearest one, so that the weights do not vanish far from all times
    weights = np.exp((nearest ** 2 - away ** 2) / (2 * deviation ** 2))
    total, mean = weights.sum(), weights @ away / weights.sum()
    spread = weights @ (away - mean) ** 2 / total
    if spread <= 1e-12:
        return np.tensordot(weights, values, 1) / total
    weights = weights * (1 - (away - mean) * mean / spread)
    return np.tensordot(weights, values, 1) / total
