"""Records, similarity transforms and crops, against closed forms."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unilearn_mm.faces.alignment import (
    PRESETS,
    CropRecord,
    crop_transform,
    cut_out,
    similarity_transform,
    transform_points,
    transform_scale,
)

FACE = np.array([[40.0, 50], [70, 48], [56, 66], [43, 82], [69, 81]])
BOX = np.array([28.0, 20, 84, 100])


def turned(points, degrees, scale=1.0, shift=(0, 0)):
    angle = np.deg2rad(degrees)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return points @ turn.T + shift


@given(st.floats(-180, 180), st.floats(0.05, 20), st.floats(-500, 500))
def test_similarity_is_recovered(degrees, scale, shift):
    target = turned(FACE, degrees, scale, (shift, -shift / 2))
    matrix = similarity_transform(FACE, target)
    np.testing.assert_allclose(transform_points(matrix, FACE), target, atol=1e-6 * (1 + scale))
    assert transform_scale(matrix) == pytest.approx(scale)


@given(st.integers(0, 10_000))
def test_similarity_is_the_least_squares_one(seed):
    """The four unknowns from the normal equations, by another solver."""
    source, target = np.random.default_rng(seed).normal(size=(2, 5, 2)) * 10
    x, y = source.T
    one, zero = np.ones(5), np.zeros(5)
    system = np.vstack([np.column_stack([x, -y, one, zero]), np.column_stack([y, x, zero, one])])
    a, b, right, down = np.linalg.lstsq(system, np.concatenate(target.T), rcond=None)[0]
    np.testing.assert_allclose(similarity_transform(source, target),
                               [[a, -b, right], [b, a, down]], atol=1e-8)


@pytest.mark.parametrize('degrees', [0, 35, -120])
@pytest.mark.parametrize('margin', [0.0, 0.25])
def test_presets(degrees, margin):
    """'similarity' puts the points on the template, 'upright' the box into the square; both turn
    the face upright."""
    similarity = PRESETS['similarity'].replace(margin=margin, size=100)
    side = 100 / (1 + 2 * margin)
    template = np.array(similarity.template) * side + (100 - side) / 2 - 0.5
    points = turned(template, degrees, 0.7, (30, 20))
    centre, half = turned(np.array([[60.0, 55]]), degrees)[0], np.array([20, 25])
    box = np.concatenate([centre - half, centre + half])
    np.testing.assert_allclose(
        transform_points(crop_transform(similarity, box, points), points), template, atol=1e-6)
    matrix = crop_transform(PRESETS['upright'].replace(margin=margin, size=100), box, points)
    np.testing.assert_allclose(transform_points(matrix, centre), [49.5, 49.5])
    assert transform_scale(matrix) == pytest.approx(side / 50)
    eyes = np.subtract(*transform_points(matrix, points)[1::-1])
    expected = np.subtract(*template[1::-1])
    assert np.arctan2(*eyes) == pytest.approx(np.arctan2(*expected))


@pytest.mark.parametrize('scale', [0.11, 0.5, 0.93, 1.0, 2.7])
@pytest.mark.parametrize('degrees', [0, 30, -100])
def test_cut_out_of_a_plane(scale, degrees):
    """Values that rise steadily tell where each pixel of a crop comes from."""
    y, x = np.mgrid[:400, :500]
    image = np.stack([x, y, x + y], 2).astype(np.float32)  # not uint8, whose rounding hides a lot
    size = 24
    source = turned(np.array([[0.0, 0], [1, 0], [0, 1]]), -degrees, 1 / scale)
    source += [260, 210] - source.mean(0) * 8
    matrix = similarity_transform(source, np.array([[0.0, 0], [1, 0], [0, 1]]) + size / 3)
    crop = cut_out(image, matrix, size)
    places = np.stack(np.meshgrid(np.arange(size), np.arange(size)), -1).reshape(-1, 2)
    back = transform_points(np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[:2], places)
    inside = ((back > 2) & (back < [497, 397])).all(1)
    assert inside.mean() > 0.9 or scale < 0.2
    error = crop.reshape(-1, 3) - np.column_stack([back, back.sum(1)])
    assert np.abs(error[inside]).max() < 0.35  # px, between the centres of areas
    assert np.abs(error[inside].mean(0)).max() < 0.02


def test_cut_out_has_no_aliasing():
    """Single white columns, shrunk to an eighth, are an even grey and no stripes."""
    image = np.zeros((400, 400, 3), np.uint8)
    image[:, ::3] = 240
    crop = cut_out(image, np.array([[0.125, 0, -0.4375], [0, 0.125, -0.4375]]), 48)
    assert np.abs(crop.astype(int) - 80).max() < 25


def test_cut_out_is_black_outside():
    image = np.full((20, 30, 3), 200, np.uint8)
    crop = cut_out(image, np.array([[1.0, 0, 15], [0, 1, 10]]), 60)
    assert (crop[10:30, 15:45] == 200).all()
    crop[10:30, 15:45] = 0
    assert not crop.any()
    assert not cut_out(image, np.array([[0.3, 0, 500], [0, 0.3, 500]]), 16).any()


def test_record_survives_json():
    for record in PRESETS.values():
        assert CropRecord.from_dict(json.loads(json.dumps(record.to_dict()))) == record


def test_a_changed_record_has_another_name():
    record = PRESETS['upright'].replace(size=160, margin=0.2)
    assert record.name == 'upright, size=160, margin=0.2' and record.size == 160
    assert PRESETS['upright'].replace(size=224).name == 'upright'
    assert PRESETS['upright'].replace(size=160, name='mine').name == 'mine'


@pytest.mark.parametrize('changes, words', [
    (dict(version=2), 'version is 2, expected 1'), (dict(size=4), 'size is 4, expected a whole'),
    (dict(preset='tight'), "preset is 'tight', expected 'upright' or"),
    (dict(margin=-0.5), 'margin is -0.5'), (dict(template=((0, 0),) * 5), 'five different points'),
    (dict(smoothing=-1), 'smoothing is -1, expected seconds'),
])
def test_nonsense_is_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        CropRecord.from_dict({**PRESETS['upright'].to_dict(), **changes})


def test_unknown_keys_are_refused():
    with pytest.raises(ValueError, match=r"unknown keys \['scale'\], missing keys \['margin'\]"):
        values = PRESETS['upright'].to_dict()
        values['scale'] = values.pop('margin')
        CropRecord.from_dict(values)
