"""Temperature scaling: one number per task that makes confidences honest.

Guo et al., "On Calibration of Modern Neural Networks" (ICML 2017), section 4.2: probabilities
become softmax(logits / T), with the T > 0 that minimises the negative log likelihood of validation
data. The predicted class of a view stays what it is.

A file of predictions holds probabilities. softmax(log(p) / T) equals softmax(logits / T) when p is
the softmax of one view, so T is to be fitted on predictions of one view per sample. In a test
with several views each view's logits are divided by T before its softmax, and the mean of the
views is taken as before; as a mean of probabilities is less confident than its parts, such a test
can come out less confident than it is right.
"""
import json
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Dict, Union

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from ..files import sha256_of, write_atomically

BOUNDS = (0.05, 20.)
LEAST_PROBABILITY = float(np.finfo(np.float32).tiny)  # of a softmax in single precision


class TemperatureFileError(ValueError):
    """A file of temperatures is damaged, or belongs to another checkpoint."""


@dataclass(frozen=True)
class TemperatureFit:
    """The temperature of one task.

    Attributes:
        temperature (float): T.
        nll_before (float): mean negative log likelihood with T = 1, in nats.
        nll_after (float): that with T.
        num_samples (int): samples on which T was fitted.
    """
    temperature: float
    nll_before: float
    nll_after: float
    num_samples: int


def fit_temperature(probabilities: np.ndarray, labels: np.ndarray) -> TemperatureFit:
    """Find the temperature that minimises the negative log likelihood.

    The loss is convex in 1 / T, so its minimum over log T, which is searched, is the only one.

    Args:
        probabilities (np.ndarray): (N, K) of one view per sample, made with T = 1; those below
            1.2e-38 count as that.
        labels (np.ndarray): (N,) class ids.

    Raises:
        ValueError: the loss has no minimum between T = 0.05 and 20.
    """
    logits = np.log(np.maximum(probabilities, LEAST_PROBABILITY))
    labels = np.asarray(labels)[:, None]

    def loss(log_temperature: float) -> float:
        scaled = log_softmax(logits / np.exp(log_temperature), axis=1)
        return float(-np.take_along_axis(scaled, labels, axis=1).mean())

    found = minimize_scalar(loss, bounds=np.log(BOUNDS), method='bounded',
                            options=dict(xatol=1e-7))
    temperature = float(np.exp(found.x))
    if not BOUNDS[0] * 1.001 < temperature < BOUNDS[1] / 1.001:
        raise ValueError(
            f'the likelihood of {len(labels)} samples still rises at T = {temperature:.4g}; a '
            f'temperature between {BOUNDS[0]} and {BOUNDS[1]} needs validation data with right '
            'and wrong predictions, and a model that is better than chance on them')
    return TemperatureFit(temperature, loss(0.), loss(found.x), len(labels))


def temperature_file(checkpoint: Union[str, PathLike]) -> Path:
    """Where the temperatures of a checkpoint are: ``<checkpoint stem>.temperature.json``."""
    return Path(checkpoint).with_suffix('.temperature.json')


def write_temperatures(fits: Dict[str, TemperatureFit], checkpoint: Union[str, PathLike],
                       predictions: Union[str, PathLike]) -> Path:
    """Write fitted temperatures beside their checkpoint.

    The file names the predictions and the checkpoint with their SHA-256.

    Args:
        fits (dict[str, TemperatureFit]): task -> fit.
        checkpoint (str | PathLike): the checkpoint that made the predictions.
        predictions (str | PathLike): the file on which the temperatures were fitted.

    Returns:
        Path: the file.
    """
    path = temperature_file(checkpoint)
    content = dict(
        tasks={task: asdict(fit) for task, fit in fits.items()},
        predictions=str(predictions),
        predictions_sha256=sha256_of(Path(predictions)),
        checkpoint=Path(checkpoint).name,
        checkpoint_sha256=sha256_of(Path(checkpoint)))
    write_atomically(path, f'{json.dumps(content, indent=2)}\n'.encode())
    return path


def read_temperatures(checkpoint: Union[str, PathLike]) -> Dict[str, float]:
    """Temperatures of a checkpoint.

    Args:
        checkpoint (str | PathLike): the checkpoint, beside which the file lies.

    Returns:
        dict[str, float]: task -> T.

    Raises:
        FileNotFoundError: there is no such file.
        TemperatureFileError: it is damaged, or was fitted for another content of the checkpoint.
    """
    path = temperature_file(checkpoint)
    if not path.is_file():
        raise FileNotFoundError(f'{path} does not exist; fit it on validation predictions: '
                                f'python tools/analysis/fit_temperature.py PREDICTIONS '
                                f'{checkpoint}')
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
        fitted_for = content['checkpoint_sha256']
        found = {task: float(fit['temperature']) for task, fit in content['tasks'].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TemperatureFileError(f'{path} is no file of temperatures ({type(error).__name__}: '
                                   f'{error}); fit it anew') from error
    for task, temperature in found.items():
        if not 0 < temperature < np.inf:
            raise TemperatureFileError(f'{path}: the temperature of {task!r} is {temperature}, '
                                       'expected a positive number; fit it anew')
    if fitted_for != sha256_of(Path(checkpoint)):
        raise TemperatureFileError(
            f'{path} was fitted for another content of {checkpoint}, which has been written since '
            '(its SHA-256 differs); fit it anew')
    return found
