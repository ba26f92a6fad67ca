"""ClipRandAugment against PIL, frame by frame, and its draws against their distributions."""

import cv2
import numpy as np
import pytest
from mmaction.registry import TRANSFORMS
from PIL import Image, ImageEnhance, ImageOps
from scipy import stats

from unilearn_mm.datasets.transforms.rand_augment import OPS, ClipRandAugment, Layer

GREY = (128, 128, 128)
FILTERS = dict(bilinear=Image.Resampling.BILINEAR, bicubic=Image.Resampling.BICUBIC)


def affine(image, matrix, interpolation):
    return image.transform(image.size, Image.Transform.AFFINE, matrix, FILTERS[interpolation],
                           fillcolor=GREY)


def added_below_128(image, amount):
    return image.point(3 * [min(v + amount, 255) if v < 128 else v for v in range(256)])


# the operations as the official code makes them of PIL; v is the magnitude over 10, s the sign
PIL_OPS = dict(
    AutoContrast=lambda image, v, s, _: ImageOps.autocontrast(image),
    Equalize=lambda image, v, s, _: ImageOps.equalize(image),
    Invert=lambda image, v, s, _: ImageOps.invert(image),
    Posterize=lambda image, v, s, _: ImageOps.posterize(image, 4 - int(4 * v)),
    Solarize=lambda image, v, s, _: ImageOps.solarize(image, 256 - int(256 * v)),
    SolarizeAdd=lambda image, v, s, _: added_below_128(image, int(110 * v)),
    Color=lambda image, v, s, _: ImageEnhance.Color(image).enhance(1 + s * 0.9 * v),
    Contrast=lambda image, v, s, _: ImageEnhance.Contrast(image).enhance(1 + s * 0.9 * v),
    Brightness=lambda image, v, s, _: ImageEnhance.Brightness(image).enhance(1 + s * 0.9 * v),
    Sharpness=lambda image, v, s, _: ImageEnhance.Sharpness(image).enhance(1 + s * 0.9 * v),
    Rotate=lambda image, v, s, f: image.rotate(30 * s * v, FILTERS[f], fillcolor=GREY),
    ShearX=lambda image, v, s, f: affine(image, (1, 0.3 * s * v, 0, 0, 1, 0), f),
    ShearY=lambda image, v, s, f: affine(image, (1, 0, 0, 0.3 * s * v, 1, 0), f),
    TranslateX=lambda image, v, s, f: affine(
        image, (1, 0, 0.45 * s * v * image.width, 0, 1, 0), f),
    TranslateY=lambda image, v, s, f: affine(
        image, (1, 0, 0, 0, 1, 0.45 * s * v * image.height), f),
)
TABLES = ('AutoContrast', 'Equalize', 'Invert', 'Posterize', 'Solarize', 'SolarizeAdd', 'Contrast',
          'Brightness')
BLENDS = ('Color', 'Sharpness')
SHIFTS = ('ShearX', 'ShearY', 'TranslateX', 'TranslateY')
MAGNITUDES = (0, 0.4, 3.3, 5.7, 7, 9.9)


def smooth_frames(height=96, width=112):
    """Frames of differing brightness and range."""
    rng = np.random.default_rng(0)
    frames = rng.uniform(0, 255, (3, height, width, 3))
    frames = np.stack([cv2.GaussianBlur(frame, (0, 0), 3) for frame in frames])
    frames = (frames - frames.min()) / (frames.max() - frames.min())
    ranges = [(0, 255), (20, 90), (140, 250)]
    return np.stack([low + (high - low) * frame
                     for frame, (low, high) in zip(frames, ranges)]).astype(np.uint8)


def noise_frames(height=57, width=91):
    return np.random.default_rng(1).integers(0, 256, (2, height, width, 3), dtype=np.uint8)


def difference_from_pil(op, clip, magnitude, interpolation='bicubic'):
    """|ours - PIL| for both signs, (2, *clip.shape)."""
    differences = []
    for sign in (-1, 1):
        result = OPS[op](clip, Layer(op, magnitude, sign, interpolation))
        assert result.shape == clip.shape and result.dtype == np.uint8
        images = [PIL_OPS[op](Image.fromarray(frame), magnitude / 10, sign, interpolation)
                  for frame in clip]
        differences.append(np.abs(result.astype(int) - np.stack([np.asarray(i) for i in images])))
    return np.stack(differences)


CLIPS = pytest.mark.parametrize('clip', [
    pytest.param(smooth_frames(), id='smooth'),
    pytest.param(noise_frames(), id='noise'),
    pytest.param(noise_frames(90, 8), id='narrow'),
    pytest.param(noise_frames(2, 3), id='tiny'),
    pytest.param(np.full((2, 20, 30, 3), 77, np.uint8), id='constant')])


def test_the_operations_are_the_official_15():
    assert sorted(OPS) == sorted(PIL_OPS) and len(OPS) == 15


@CLIPS
@pytest.mark.parametrize('magnitude', MAGNITUDES)
@pytest.mark.parametrize('op', TABLES)
def test_tables_are_exact(op, magnitude, clip):
    assert difference_from_pil(op, clip, magnitude).max() == 0


@CLIPS
@pytest.mark.parametrize('magnitude', MAGNITUDES)
@pytest.mark.parametrize('op', BLENDS)
def test_blends_differ_in_few_pixels_by_one_level(op, magnitude, clip):
    difference = difference_from_pil(op, clip, magnitude)
    assert difference.max() <= 1
    assert difference.mean() < 0.01


@CLIPS
@pytest.mark.parametrize('interpolation', FILTERS)
@pytest.mark.parametrize('magnitude', (0, 0.4, 3.37, 5.71, 7.13, 9.9))
@pytest.mark.parametrize('op', SHIFTS)
def test_shifts_differ_in_few_pixels_by_one_level(op, magnitude, interpolation, clip):
    difference = difference_from_pil(op, clip, magnitude, interpolation)
    assert difference.max() <= 1
    assert difference.mean() < 0.03


@CLIPS
@pytest.mark.parametrize('magnitude', MAGNITUDES)
def test_bilinear_rotation_differs_by_rounding(magnitude, clip):
    difference = difference_from_pil('Rotate', clip, magnitude, 'bilinear')
    assert difference.max() <= 1  # PIL truncates


@pytest.mark.parametrize('magnitude', MAGNITUDES)
def test_bicubic_rotation_differs_little_on_smooth_frames(magnitude):
    difference = difference_from_pil('Rotate', smooth_frames(), magnitude, 'bicubic')
    assert difference.max() <= 4
    assert difference.mean() < 0.6


@pytest.mark.parametrize('interpolation', FILTERS)
@pytest.mark.parametrize('op', ['Rotate', *SHIFTS])
def test_exactly_the_pixels_of_pil_are_filled(op, interpolation):
    black = np.zeros((1, 51, 80, 3), np.uint8)
    difference = difference_from_pil(op, black, 8.3, interpolation)
    assert difference.max() == 0
    filled = OPS[op](black, Layer(op, 8.3, -1, interpolation))
    assert set(np.unique(filled)) == {0, 128}


def test_magnitude_10_leaves_no_bit_to_posterize():
    """The official formula; PIL itself now refuses to keep 0 bits."""
    assert OPS['Posterize'](noise_frames(), Layer('Posterize', 10, 1, 'bicubic')).max() == 0


@pytest.mark.parametrize('op', ['Rotate', 'Color', 'Contrast', 'Brightness', 'Sharpness', *SHIFTS])
@pytest.mark.parametrize('interpolation', FILTERS)
def test_no_strength_is_no_change(op, interpolation):
    for sign in (-1, 1):
        clip = noise_frames()
        np.testing.assert_array_equal(OPS[op](clip, Layer(op, 0, sign, interpolation)), clip)


@pytest.mark.parametrize('interpolation', FILTERS)
@pytest.mark.parametrize('op', OPS)
def test_given_frames_are_not_written_into(op, interpolation):
    clip = smooth_frames()
    clip.setflags(write=False)  # a write would raise in NumPy, and show below in OpenCV
    result = OPS[op](clip, Layer(op, 7, 1, interpolation))
    np.testing.assert_array_equal(clip, smooth_frames())
    assert not np.shares_memory(result, clip)


def augment(imgs, seed, **kwargs):
    np.random.seed(seed)
    return ClipRandAugment(**kwargs).transform(dict(imgs=imgs))['imgs']


def test_equal_frames_stay_equal_and_a_seed_reproduces():
    frame = smooth_frames()[0]
    distinct = set()
    for seed in range(40):
        imgs = [frame.copy() for _ in range(4)]
        first, *others = augment(imgs, seed)
        assert first.shape == frame.shape and first.dtype == np.uint8
        assert len(others) == 3
        for other in others:
            np.testing.assert_array_equal(other, first)
        np.testing.assert_array_equal(augment(imgs, seed)[2], first)
        np.testing.assert_array_equal(imgs, 4 * [frame])
        distinct.add(first.tobytes())
    # (7 / 8 of the draws apply something, but two seeds may apply the same)
    assert len(distinct) > 25


def test_a_frame_does_not_depend_on_its_neighbours():
    """Statistics are of one frame, and no kernel reaches into the next one."""
    clip = smooth_frames()
    for seed in range(40):
        whole = augment(list(clip), seed, prob=1)
        for frame, expected in zip(clip, whole):
            np.testing.assert_array_equal(augment([frame], seed, prob=1)[0], expected)


def test_layers_are_applied_in_the_order_drawn():
    transform, clip = ClipRandAugment(prob=1), smooth_frames()
    for seed in range(10):
        np.random.seed(seed)
        expected = clip
        for layer in transform.draw():
            expected = OPS[layer.op](expected, layer)
        np.testing.assert_array_equal(augment(list(clip), seed, prob=1), expected)


def test_probability_0_changes_nothing():
    clip = noise_frames()
    for seed in range(10):
        np.testing.assert_array_equal(augment(list(clip), seed, prob=0), clip)


def draws(count, seed=0, **kwargs):
    np.random.seed(seed)
    transform = ClipRandAugment(**kwargs)
    return [transform.draw() for _ in range(count)]


def test_operations_are_drawn_uniformly_and_independently():
    layers = draws(6000, prob=1)
    assert {len(drawn) for drawn in layers} == {4}
    index = {op: i for i, op in enumerate(OPS)}
    ops = np.array([[index[layer.op] for layer in drawn] for drawn in layers])
    assert stats.chisquare(np.bincount(ops.ravel(), minlength=15)).pvalue > 0.01
    pairs = np.bincount(15 * ops[:, 0] + ops[:, 1], minlength=225)  # with replacement
    assert stats.chisquare(pairs).pvalue > 0.01


@pytest.mark.parametrize('prob', [0.5, 0.2])
def test_each_layer_is_applied_with_its_probability(prob):
    counts = np.bincount([len(drawn) for drawn in draws(4000, prob=prob)], minlength=5)
    expected = 4000 * stats.binom(4, prob).pmf(range(5))
    assert stats.chisquare(counts, expected).pvalue > 0.01


def test_magnitudes_are_normal_and_clipped():
    magnitudes = np.array([layer.magnitude for drawn in draws(2000, prob=1) for layer in drawn])
    assert stats.kstest(magnitudes, stats.norm(7, 0.5).cdf).pvalue > 0.01
    clipped = np.array([layer.magnitude for drawn in draws(2000, prob=1, magnitude=9.5)
                        for layer in drawn])
    assert clipped.max() == 10
    share = stats.binomtest(int((clipped == 10).sum()), clipped.size, stats.norm.sf(1))
    assert share.pvalue > 0.01
    constant = [layer.magnitude for drawn in draws(20, magnitude_std=0) for layer in drawn]
    assert set(constant) == {7.}
    low = [layer.magnitude for drawn in draws(500, prob=1, magnitude=0) for layer in drawn]
    assert min(low) == 0


def test_directions_and_interpolations_are_drawn_evenly():
    layers = [layer for drawn in draws(2000, prob=1, interpolation='random') for layer in drawn]
    table = [[sum(layer.sign == sign and layer.interpolation == interpolation
                  for layer in layers) for sign in (-1, 1)] for interpolation in FILTERS]
    assert stats.chisquare(np.ravel(table)).pvalue > 0.01
    for interpolation in FILTERS:
        fixed = {layer.interpolation for drawn in draws(50, interpolation=interpolation)
                 for layer in drawn}
        assert fixed == {interpolation}


def test_what_comes_after_does_not_depend_on_what_was_applied():
    following = []
    for prob in (0, 0.5, 1):
        draws(3, prob=prob)
        following.append(np.random.random())
    assert len(set(following)) == 1


@pytest.mark.parametrize('kwargs, message', [
    (dict(magnitude=11), r'magnitude must lie in \[0, 10\], got 11'),
    (dict(magnitude=-1), 'magnitude must lie'),
    (dict(num_layers=0), 'num_layers .* got 0'),
    (dict(num_layers=2.5), 'num_layers .* got 2.5'),
    (dict(magnitude_std=-0.5), 'magnitude_std .* got -0.5'),
    (dict(magnitude_std=float('nan')), 'magnitude_std .* got nan'),
    (dict(prob=1.5), r'prob must lie in \[0, 1\], got 1.5'),
    (dict(interpolation='nearest'), "bicubic.*bilinear.*random.* got 'nearest'")])
def test_wrong_arguments_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        ClipRandAugment(**kwargs)


@pytest.mark.parametrize('frame', [np.zeros((8, 8, 3), np.float32), np.zeros((8, 8), np.uint8),
                                   np.zeros((8, 8, 4), np.uint8)])
def test_frames_of_another_type_or_shape_are_refused(frame):
    with pytest.raises(ValueError, match=r'\(H, W, 3\) uint8 RGB frames, got'):
        ClipRandAugment().transform(dict(imgs=[frame]))


def test_it_stands_between_stock_transforms():
    results = dict(imgs=list(smooth_frames()), img_shape=(96, 112), modality='RGB', num_clips=1,
                   clip_len=3)
    for cfg in (dict(type='Flip', flip_ratio=1.), dict(type='ClipRandAugment', magnitude=9),
                dict(type='RandomResizedCrop'), dict(type='Flip', flip_ratio=1.),
                dict(type='FormatShape', input_format='NCTHW')):
        results = TRANSFORMS.build(cfg)(results)
    assert results['imgs'].shape[:3] == (1, 3, 3)
    assert results['imgs'].dtype == np.uint8
