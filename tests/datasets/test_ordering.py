"""Frames in another order: within each view, and through to the pixels."""

import numpy as np
import pytest
from media_files import write_frames
from mmaction.registry import TRANSFORMS
from mmcv.transforms import Compose

from unilearn_mm.datasets.draws import seeded
from unilearn_mm.datasets.transforms.ordering import FrameOrder

VIEWS = [[3, 5, 7, 9], [20, 22, 24, 24]]


def order_of(order, seed=0):
    with seeded(seed):
        results = FrameOrder(order).transform(
            dict(frame_inds=np.ravel(VIEWS), num_clips=2, clip_len=4))
    return results['frame_inds'].reshape(2, 4).tolist()


def test_each_view_keeps_its_own_frames():
    assert order_of('reverse') == [view[::-1] for view in VIEWS]
    assert order_of('repeat_middle') == [[7] * 4, [24] * 4]
    for seed in range(20):
        assert [sorted(view) for view in order_of('shuffle', seed)] == VIEWS


def test_a_shuffle_is_a_function_of_the_seed_and_reaches_every_order():
    assert order_of('shuffle', 3) == order_of('shuffle', 3)
    orders = [tuple(order_of('shuffle', seed)[0]) for seed in range(600)]
    counts = np.unique(orders, axis=0, return_counts=True)[1]
    assert len(counts) == 24
    # a binomial of 600 and 1 / 24 has mean 25 and sd 4.9
    assert counts.min() > 5 and counts.max() < 50


def test_pixels_follow(tmp_path):
    write_frames(tmp_path / 'clip')
    steps = [dict(type='OpenClip'), dict(type='WindowFrames', clip_len=4, frame_interval=2),
             dict(type='FrameOrder', order='reverse'), dict(type='DecodeClip')]
    results = Compose([TRANSFORMS.build(step) for step in steps])(
        dict(media='video', frame_dir=str(tmp_path / 'clip'), path=str(tmp_path / 'clip')))
    # level 20 + 10 * index; the window in the middle has the frames 2, 4, 6, 8
    levels = [round((frame.mean() - 20) / 10) for frame in results['imgs']]
    assert levels == [8, 6, 4, 2]


def test_what_cannot_be_ordered_is_an_error():
    with pytest.raises(ValueError, match="'shuffle', 'reverse', 'repeat_middle'.*'backwards'"):
        FrameOrder('backwards')
    with pytest.raises(ValueError, match='clip_len > 1'):
        FrameOrder('reverse').transform(dict(frame_inds=np.arange(3), num_clips=3, clip_len=1))
