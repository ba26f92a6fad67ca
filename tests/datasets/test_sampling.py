"""Frame indices equal the official formulas, for every clip length that occurs."""

import numpy as np
import pytest
from mmaction.datasets.transforms import SampleFrames

from unilearn_mm.datasets.transforms.sampling import (
    LinspaceFrames,
    WindowFrames,
    linspace_indices,
    window_indices,
)

LENGTHS = range(1, 201)
STRIDES = (1, 4)


def official_training(length, stride, end):
    """Plain restatement of S4D, datasets/kinetics.py:582-597, for 16 frames."""
    window = 16 * stride
    if length <= window:
        count = length // stride
        points = [length * i / (count - 1) if count > 1 else 0. for i in range(count)]
        points += [length] * (16 - count)
        return [int(min(max(point, 0), length - 1)) for point in points]
    start = end - window
    return [int(min(max(start + window * i / 15, start), end - 1)) for i in range(16)]


def official_test(length, stride, chunk):
    """Plain restatement of S4D, datasets/kinetics.py:453-464 and 565-580, two windows."""
    listed = list(range(0, length, stride))
    while len(listed) < 16:
        listed.append(listed[-1])
    start = int(chunk * max(len(listed) - 16, 0) / (2 - 1))
    return listed[start:start + 16]


@pytest.mark.parametrize('stride', STRIDES)
def test_training_indices_equal_the_official_ones(stride):
    for length in LENGTHS:
        for end in range(16 * stride, length) if length > 16 * stride else [length]:
            found = linspace_indices(length, 16, stride, end)
            assert found.tolist() == official_training(length, stride, end), (length, end)


@pytest.mark.parametrize('stride', STRIDES)
def test_test_windows_equal_the_official_ones(stride):
    for length in LENGTHS:
        found = window_indices(length, 16, stride, num_clips=2)
        assert found.tolist() == [official_test(length, stride, chunk) for chunk in (0, 1)]


def test_vectors_that_were_read_off_the_official_code():
    assert linspace_indices(20, 16, 4, 20).tolist() == [0, 5, 10, 15] + [19] * 12
    assert linspace_indices(3, 16, 4, 3).tolist() == [2] * 16
    assert linspace_indices(100, 16, 4, 70).tolist() == [
        6 + offset for offset in (0, 4, 8, 12, 17, 21, 25, 29, 34, 38, 42, 46, 51, 55, 59, 63)]
    assert linspace_indices(16, 16, 1, 16).tolist() == list(range(15)) + [15]


@pytest.mark.parametrize('stride', STRIDES)
def test_one_window_lies_in_the_middle(stride):
    for length in LENGTHS:
        indices = window_indices(length, 16, stride, num_clips=1)[0]
        assert 0 <= indices[0] and indices[-1] < length
        before, after = indices[0], (length - 1) // stride * stride - indices[-1]
        if length > 16 * stride:
            assert set(np.diff(indices)) == {stride}
            assert 0 <= after - before <= stride


def test_training_windows_cover_all_the_official_code_covers():
    """end is uniform over [W, L), so the starts are 0 .. L - W - 1 and L - 1 is never used."""
    np.random.seed(0)
    transform = LinspaceFrames(clip_len=4, frame_interval=2)
    starts = [transform.transform(dict(total_frames=12, start_index=0))['frame_inds'][0]
              for _ in range(400)]
    counts = np.bincount(starts)
    assert len(counts) == 12 - 8
    assert (abs(counts - 100) < 5 * np.sqrt(100)).all()


def test_stock_sampling_is_the_stride_rule_of_the_pre_training():
    """S4D, pretrain/omnivision/data/path_dataset.py: start in [0, n - 64] or 0; when the next
    index would reach n, the last one is repeated."""
    stock = SampleFrames(clip_len=16, frame_interval=4, out_of_bound_opt='repeat_last')
    for length in (1, 5, 20, 63, 64, 65, 90):
        starts = set()
        for _ in range(300):
            found = stock.transform(dict(total_frames=length, start_index=0))['frame_inds']
            expected = [found[0]]
            while len(expected) < 16:
                following = expected[-1] + 4
                expected.append(following if following < length else expected[-1])
            assert found.tolist() == expected
            starts.add(int(found[0]))
        assert starts == set(range(max(length - 64, 0) + 1))


def test_the_keys_that_later_transforms_read():
    results = WindowFrames(clip_len=4, frame_interval=2, num_clips=3).transform(
        dict(total_frames=40, start_index=1))
    assert results['frame_inds'].tolist() == [1, 3, 5, 7, 17, 19, 21, 23, 33, 35, 37, 39]
    assert (results['num_clips'], results['clip_len'], results['frame_interval']) == (3, 4, 2)
    results = LinspaceFrames(clip_len=4, frame_interval=1).transform(
        dict(total_frames=2, start_index=1))
    assert results['frame_inds'].tolist() == [1, 2, 2, 2]
    assert (results['num_clips'], results['clip_len']) == (1, 4)


@pytest.mark.parametrize('transform', [LinspaceFrames(16, 4), WindowFrames(16, 4, num_clips=2)])
def test_a_clip_without_frames_is_named(transform):
    with pytest.raises(ValueError, match=r'gone/7\.mp4: total_frames is 0'):
        transform.transform(dict(path='gone/7.mp4', total_frames=0, start_index=0))
