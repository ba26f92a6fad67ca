"""The official 2 x 2 test views and ours: the same scores at half the work.

The official test (S4D, datasets/kinetics.py:453-464) takes two windows of time and two crops; the
frames are as large as the crop, so both crops are the whole frame.
"""

import numpy as np
import pytest
import torch
from mmaction.registry import DATASETS, MODELS
from mmengine.dataset import pseudo_collate

from unilearn_mm.datasets.transforms.sampling import window_indices

PIPELINE = [dict(type='OpenClip'),
            dict(type='WindowFrames', clip_len=4, frame_interval=2, num_clips=2),
            dict(type='DecodeClip'), dict(type='Resize', scale=(16, 16), keep_ratio=False),
            dict(type='FormatShape', input_format='NCTHW'),
            dict(type='PackActionInputs', meta_keys=('source', 'task', 'media', 'sample_id'))]


@pytest.fixture
def recognizer():
    torch.manual_seed(0)
    model = MODELS.build(dict(
        type='UniLearnRecognizer',
        data_preprocessor=dict(type='MixedMediaPreprocessor', mean=[127.5] * 3, std=[63.] * 3),
        backbone=dict(type='VisionTransformerMoAE', img_size=16, patch_size=8, num_frames=4,
                      embed_dims=24, depth=2, num_heads=2,
                      moae=dict(num_experts=4, init='official')),
        cls_head=dict(type='MultiTaskHead', in_channels=24, num_classes=dict(toy_video=7),
                      init_std=1.)))
    model.init_weights()
    return model.eval()


def test_two_windows_equal_the_official_four_views(recognizer, video_cfg):
    dataset = DATASETS.build(dict(video_cfg, pipeline=PIPELINE, test_mode=True))
    batch = pseudo_collate([dataset[index] for index in range(len(dataset))])
    assert batch['inputs'][0].shape == (2, 3, 4, 16, 16)
    assert any((views[0] != views[1]).any() for views in batch['inputs']), 'distinct windows'
    # window 0 crop 0, window 0 crop 1, window 1 crop 0, window 1 crop 1
    official = dict(batch, inputs=[views.repeat_interleave(2, 0) for views in batch['inputs']])

    def scores_of(batch):
        """Scores, and views and tokens of each pass through the first block."""
        passes = []
        handle = recognizer.backbone.blocks[0].register_forward_hook(
            lambda module, args, output: passes.append(args[0].shape[:2]))
        with torch.no_grad():
            samples = recognizer.test_step(batch)
        handle.remove()
        return torch.stack([sample.pred_score for sample in samples]), passes

    ours, our_passes = scores_of(batch)
    theirs, their_passes = scores_of(official)
    assert ours.std(0).max() > 1e-3, 'samples differ'
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
    assert (ours.argmax(1) == theirs.argmax(1)).all()
    tokens = 2 * 2 * 2  # of a view
    assert our_passes == [(14 * 2, tokens)], 'views are batched'
    assert their_passes == [(14 * 4, tokens)]  # so ours is 0.5 of the forward passes

    # plain restatement: softmax of each of the four views in float64, their mean
    for index, views in enumerate(official['inputs']):
        data = recognizer.data_preprocessor(dict(inputs=[views],
                                                 data_samples=[batch['data_samples'][index]]))
        with torch.no_grad():
            logits = recognizer.cls_head(recognizer.backbone(data['inputs'][0]))
        logits = logits.double().numpy()
        probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        np.testing.assert_allclose(ours[index], probabilities.mean(0), atol=1e-6)


def test_windows_of_short_clips_coincide():
    """Both are the padded clip, up to 16 frames at the stride."""
    for stride in (1, 4):
        for length in range(1, 200):
            first, last = window_indices(length, 16, stride, num_clips=2)
            assert (first == last).all() == (length <= 16 * stride)
