import hashlib
import json

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import log_loss

from unilearn_mm.evaluation.calibration import expected_calibration_error, reliability_bins
from unilearn_mm.evaluation.temperature import (
    TemperatureFileError,
    TemperatureFit,
    fit_temperature,
    read_temperatures,
    temperature_file,
    write_temperatures,
)


def drawn(true_temperature, num=20000, num_classes=7, seed=0):
    """Logits, and labels drawn from softmax(logits / true temperature)."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=3, size=(num, num_classes))
    honest = softmax(logits / true_temperature, axis=1)
    return logits, (rng.random((num, 1)) > honest.cumsum(1)).sum(1).clip(max=num_classes - 1)


@pytest.mark.parametrize('true_temperature', [.5, 1., 2.5])
def test_a_known_temperature_is_found(true_temperature):
    logits, labels = drawn(true_temperature)
    probabilities = softmax(logits, axis=1)
    fit = fit_temperature(probabilities, labels)
    assert fit.temperature == pytest.approx(true_temperature, rel=.03)
    assert fit.num_samples == 20000
    assert fit.nll_before == pytest.approx(log_loss(labels, probabilities))
    scaled = softmax(logits / fit.temperature, axis=1)
    assert fit.nll_after == pytest.approx(log_loss(labels, scaled))
    assert expected_calibration_error(reliability_bins(scaled, labels)) < .01


def test_no_temperature_is_better():
    logits, labels = drawn(1.7, num=300)
    fit = fit_temperature(softmax(logits, axis=1), labels)
    for factor in (.3, .9, .99, 1.01, 1.1, 4.):
        other = softmax(logits / (fit.temperature * factor), axis=1)
        assert log_loss(labels, other) > fit.nll_after
    again = fit_temperature(softmax(logits / fit.temperature, axis=1), labels)
    assert again.temperature == pytest.approx(1, abs=1e-4)


def test_probabilities_that_are_rounded_to_zero():
    logits, labels = drawn(2., num=3000)
    single = softmax(8 * logits.astype(np.float32), axis=1)
    assert (single == 0).any()
    assert fit_temperature(single.astype(np.float64), labels).temperature == pytest.approx(
        16, rel=.1)


@pytest.mark.parametrize('labels', [[0, 1], [1, 0]])
def test_all_right_or_all_wrong_have_no_temperature(labels):
    with pytest.raises(ValueError, match='likelihood of 2 samples still rises at T = '):
        fit_temperature(np.array([[.9, .1], [.2, .8]]), labels)


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / 'epoch_16.pth'
    path.write_bytes(b'weights')
    return path


@pytest.fixture
def predictions(tmp_path):
    path = tmp_path / 'val_predictions.csv'
    path.write_bytes(b'source,...')
    return path


FITS = dict(dfew=TemperatureFit(1.25, .9, .8, 30), affectnet7=TemperatureFit(.75, 1.2, 1.1, 40))


def test_the_file_names_what_it_was_fitted_on(checkpoint, predictions):
    path = write_temperatures(FITS, checkpoint, predictions)
    assert path == checkpoint.parent / 'epoch_16.temperature.json' == temperature_file(checkpoint)
    content = json.loads(path.read_text())
    assert content['tasks']['dfew'] == dict(temperature=1.25, nll_before=.9, nll_after=.8,
                                            num_samples=30)
    assert content['predictions_sha256'] == hashlib.sha256(b'source,...').hexdigest()
    assert content['checkpoint_sha256'] == hashlib.sha256(b'weights').hexdigest()
    assert read_temperatures(checkpoint) == dict(dfew=1.25, affectnet7=.75)


def test_a_checkpoint_that_was_written_since_is_refused(checkpoint, predictions):
    write_temperatures(FITS, checkpoint, predictions)
    checkpoint.write_bytes(b'other weights')
    with pytest.raises(TemperatureFileError, match='fitted for another content of .*epoch_16.pth'):
        read_temperatures(checkpoint)


def test_a_missing_file_says_how_to_make_it(checkpoint):
    with pytest.raises(FileNotFoundError, match='fit_temperature.py PREDICTIONS .*epoch_16.pth'):
        read_temperatures(checkpoint)


@pytest.mark.parametrize('change, message', [
    (lambda text: text[:-9], 'JSONDecodeError'),
    (lambda text: '[]', 'TypeError'),
    (lambda text: text.replace('"tasks"', '"task"'), 'KeyError'),
    (lambda text: text.replace('1.25', '"hot"'), 'could not convert'),
    (lambda text: text.replace('1.25', '-1'), "'dfew' is -1.0, expected a positive"),
    (lambda text: text.replace('1.25', 'NaN'), "'dfew' is nan, expected a positive"),
])
def test_damaged_files_are_named(checkpoint, predictions, change, message):
    path = write_temperatures(FITS, checkpoint, predictions)
    path.write_text(change(path.read_text()))
    with pytest.raises(TemperatureFileError, match=f'epoch_16.temperature.json.*{message}'):
        read_temperatures(checkpoint)
