"""A course over time, smoothed."""

import numpy as np

WINDOW = 3.0  # standard deviations of the Gaussian on each side


def smooth_at(times: np.ndarray, values: np.ndarray, moment: float, deviation: float) -> np.ndarray:
    """What a course was at a moment, if it was a parabola around it.

    Local regression (Cleveland and Devlin, JASA 1988) of degree 2 with Gaussian weights, which for
    regular times is the filter of Savitzky and Golay: what moves steadily or with steady
    acceleration is not delayed, and neither uneven times nor the ends of the course pull it aside.

    Args:
        times (np.ndarray): (n,) seconds, rising; those further away than :data:`WINDOW` standard
            deviations have no weight.
        values (np.ndarray): (n, C) the course at these times.
        moment (float): One of the times.
        deviation (float): Standard deviation of the weights in seconds; 0 smooths nothing.

    Returns:
        np.ndarray: (C,) float64.

    Raises:
        ValueError: If the course does not have the moment.
    """
    if moment not in times:
        raise ValueError(f'the course has no value for {moment} s')
    if deviation <= 0:
        return values[np.argmax(times == moment)].astype(float)
    near = np.abs(times - moment) <= WINDOW * deviation
    away = (times[near] - moment) / deviation
    roots = np.exp(-away ** 2 / 4)[:, None]  # of the weights
    powers = np.vander(away, min(3, len(away)), increasing=True)
    return np.linalg.lstsq(powers * roots, values[near] * roots, rcond=None)[0][0]
