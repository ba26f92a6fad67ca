"""Frame indices equal the official formulas, for every clip length that occurs."""

from pathlib import Path

import numpy as np
import pytest
from mmaction.datasets.transforms import SampleFrames

from unilearn_mm.datasets.transforms import OpenClip
from unilearn_mm.datasets.transforms.sampling import (
    LinspaceFrames,
    SegmentFrames,
    WindowFrames,
    linspace_indices,
    segment_indices,
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


def test_one_frame_of_each_part_equals_the_official_formula():
    """MMA-DFER's 16 frames of a test clip: the middle of each sixteenth, rounded down."""
    for length in range(1, 401):
        if length > 16:
            expected = [int(length / 16 / 2 + length / 16 * i) for i in range(16)]
        else:
            expected = list(range(length)) + [length - 1] * (16 - length)
        assert segment_indices(length, 16).tolist() == expected, length
    assert segment_indices(40, 16).tolist() == [
        1, 3, 6, 8, 11, 13, 16, 18, 21, 23, 26, 28, 31, 33, 36, 38]
    assert segment_indices(17, 16).tolist() == [*range(8), *range(9, 17)]


def test_one_frame_of_each_part_in_training():
    """Any frame of each of 16 parts of n // 16 frames; what is left at the end is never seen."""
    np.random.seed(0)
    transform = SegmentFrames(clip_len=16)
    for length in (1, 5, 15, 16, 17, 31, 32, 50, 400):
        seen = np.array([transform.transform(dict(total_frames=length, start_index=0))['frame_inds']
                         for _ in range(300)])
        if length < 32:
            assert (seen == np.minimum(np.arange(16), length - 1)).all()
            continue
        step = length // 16
        for part, found in enumerate(seen.T):
            assert set(found) == set(range(part * step, (part + 1) * step)) or step > 20
            assert part * step <= found.min() and found.max() < (part + 1) * step


def test_frames_that_the_official_code_shuffles(tmp_path):
    """MMA-DFER sorts MAFW's unpadded file names as text; a switch of ``OpenClip`` does so too."""
    for number in range(40):
        (tmp_path / f'{number}.jpg').touch()
    official = sorted(f'{number}.jpg' for number in range(40))
    for order, names in (('natural', [f'{number}.jpg' for number in range(40)]),
                         ('lexicographic', official)):
        opened = OpenClip(frame_order=order).transform(dict(frame_dir=str(tmp_path)))
        places = SegmentFrames(16, test_mode=True).transform(opened)['frame_inds']
        assert [Path(opened['clip_reader'].paths[place]).name for place in places] == [
            names[place] for place in segment_indices(40, 16)]
    assert [Path(opened['clip_reader'].paths[place]).stem for place in places[:4]] == [
        '1', '11', '14', '16']


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
