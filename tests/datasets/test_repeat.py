"""Fixed crop, and several views of one clip."""

import numpy as np
import pytest
from mmaction.registry import TRANSFORMS
from mmcv.transforms import Compose

from unilearn_mm.datasets.draws import seeded
from unilearn_mm.datasets.transforms import FixedCrop, RepeatAugment

VIEWS = [dict(type='RandomResizedCrop', area_range=(0.2, 1.)),
         dict(type='Resize', scale=(12, 12), keep_ratio=False), dict(type='Flip', flip_ratio=0.5)]


def clip(frames=4, height=20, width=30):
    rng = np.random.default_rng(0)
    return dict(imgs=[rng.integers(0, 256, (height, width, 3), np.uint8) for _ in range(frames)],
                num_clips=1, clip_len=frames, img_shape=(height, width), modality='RGB',
                path='a.mp4')


def test_the_box_is_cut_out():
    results = FixedCrop(left=5, top=2, width=8, height=10).transform(clip())
    for found, frame in zip(results['imgs'], clip()['imgs']):
        assert (found == frame[2:12, 5:13]).all()
    assert results['img_shape'] == (10, 8)
    with pytest.raises(ValueError, match=r'a\.mp4: .*columns 25..34 and rows 0..9.*30 x 20'):
        FixedCrop(left=25, top=0, width=10, height=10).transform(clip())


def test_views_equal_single_runs_in_order_and_leave_the_frames_alone():
    original = clip()
    with seeded(3):
        results = RepeatAugment(times=3, transforms=VIEWS).transform(clip())
    assert results['num_clips'] == 3 and len(results['imgs']) == 12
    single = Compose([TRANSFORMS.build(dict(cfg)) for cfg in VIEWS])
    with seeded(3):
        expected = [frame for _ in range(3) for frame in single(clip())['imgs']]
    assert all((a == b).all() for a, b in zip(results['imgs'], expected))
    assert not all((a == b).all() for a, b in zip(results['imgs'][:4], results['imgs'][4:8]))
    given = clip()
    RepeatAugment(times=2, transforms=[dict(type='Flip', flip_ratio=1.)]).transform(given)
    assert all((a == b).all() for a, b in zip(given['imgs'], original['imgs']))


def test_views_are_packed_one_by_one():
    results = RepeatAugment(times=2, transforms=[VIEWS[0], VIEWS[1]]).transform(clip())
    frames = list(results['imgs'])
    packed = TRANSFORMS.build(dict(type='FormatShape', input_format='NCTHW'))(results)['imgs']
    assert packed.shape == (2, 3, 4, 12, 12)
    for view in range(2):
        for frame in range(4):
            assert (packed[view, :, frame].transpose(1, 2, 0) == frames[4 * view + frame]).all()


def test_wrong_use():
    with pytest.raises(ValueError, match='times must be positive'):
        RepeatAugment(times=0, transforms=VIEWS)
    with pytest.raises(ValueError, match='one view, found 2'):
        RepeatAugment(times=2, transforms=VIEWS).transform({**clip(), 'num_clips': 2})
