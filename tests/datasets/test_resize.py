"""AntialiasResize gives PIL's pixels, not those of a subsampling."""

import cv2
import numpy as np
import pytest
from mmaction.registry import TRANSFORMS
from PIL import Image

from unilearn_mm.datasets.transforms.resize import AntialiasResize


def noise(frames, height, width):
    rng = np.random.default_rng(height)
    return list(rng.integers(0, 256, (frames, height, width, 3), dtype=np.uint8))


def resize(imgs, scale, **results):
    return AntialiasResize(scale).transform(dict(imgs=imgs, **results))


@pytest.mark.parametrize('frames', [1, 3])
@pytest.mark.parametrize('size, scale', [((224, 224), (160, 160)), ((256, 256), (160, 160)),
                                         ((100, 60), (37, 81)), ((40, 30), (90, 70)),
                                         ((50, 200), (50, 20)), ((9, 7), (1, 1))])
def test_values_are_those_of_pil(frames, size, scale):
    imgs = noise(frames, *size)
    results = resize(imgs, scale)
    differences = []
    for frame, resized in zip(imgs, results['imgs']):
        expected = np.asarray(Image.fromarray(frame).resize(scale, Image.Resampling.BILINEAR))
        assert resized.dtype == np.uint8 and resized.shape == expected.shape
        differences.append(np.abs(resized.astype(int) - expected))
    assert len(results['imgs']) == frames
    assert np.max(differences) <= 2
    assert np.mean(np.asarray(differences) > 1) <= 1e-4
    assert np.mean(differences) < 0.1


def test_a_fine_pattern_becomes_grey_where_the_stock_resize_aliases():
    stripes = np.zeros((160, 160, 3), np.uint8)
    stripes[:, ::2] = 255
    antialiased = resize([stripes], (60, 60))['imgs'][0]
    stock = TRANSFORMS.build(dict(type='Resize', scale=(60, 60), keep_ratio=False))
    aliased = stock.transform(dict(imgs=[stripes], img_shape=(160, 160)))['imgs'][0]
    assert np.ptp(antialiased) < 40
    assert np.ptp(aliased) > 160


def test_the_right_size_is_left_alone():
    imgs = noise(2, 24, 36)
    results = resize(imgs, (36, 24))
    assert all(after is before for after, before in zip(results['imgs'], imgs))
    assert results['img_shape'] == (24, 36)


def test_keys_are_those_of_the_stock_resize():
    stock = TRANSFORMS.build(dict(type='Resize', scale=(20, 30), keep_ratio=False))
    expected = stock.transform(dict(imgs=noise(1, 60, 50), img_shape=(60, 50)))
    results = resize(noise(1, 60, 50), (20, 30))
    assert results['img_shape'] == expected['img_shape'] == (30, 20)
    np.testing.assert_array_equal(results['scale_factor'], expected['scale_factor'])
    again = resize(results['imgs'], (10, 10), scale_factor=results['scale_factor'])
    np.testing.assert_allclose(again['scale_factor'], [10 / 50, 10 / 60], rtol=1e-6)


def test_frames_are_read_only_to_it_and_the_result_is_writable():
    """Flipped frames are views with negative strides; later stock transforms write into frames."""
    imgs = [frame[:, ::-1] for frame in noise(2, 32, 32)]
    for frame in imgs:
        frame.setflags(write=False)
    results = resize(imgs, (16, 16))
    expected = resize([frame.copy() for frame in imgs], (16, 16))
    for frame, copied in zip(results['imgs'], expected['imgs']):
        np.testing.assert_array_equal(frame, copied)
        cv2.flip(frame, 1, dst=frame)
        np.testing.assert_array_equal(frame, copied[:, ::-1])


@pytest.mark.parametrize('scale', [160, (160, ), (160, 0), (160, -1), (160., 160.), '160',
                                   (1, 2, 3)])
def test_a_wrong_scale_is_refused(scale):
    with pytest.raises(ValueError, match='width, height'):
        AntialiasResize(scale)


def test_it_is_registered():
    transform = TRANSFORMS.build(dict(type='AntialiasResize', scale=[8, 4]))
    assert transform.transform(dict(imgs=noise(1, 9, 9)))['imgs'][0].shape == (4, 8, 3)
