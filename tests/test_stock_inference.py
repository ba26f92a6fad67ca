"""MMAction2's own inference takes our recipes, and gives the scores of our test."""

import re
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from media_files import encode_video
from mmaction.apis import (
    ActionRecogInferencer,
    MMAction2Inferencer,
    inference_recognizer,
    init_recognizer,
)
from mmengine.config import Config
from mmengine.runner import Runner, save_checkpoint

from unilearn_mm.datasets.video_reader import VideoReader
from unilearn_mm.media import MediaReadError

CONFIG = Path(__file__).parents[1] / 'configs' / 'unilearn_toy.py'


@pytest.fixture(scope='module')
def clips(tmp_path_factory):
    """Clips 1 to 4, mp4 files but for the last, a folder; every frame differs from the others."""
    folder = tmp_path_factory.mktemp('inference') / 'toy_video'
    (folder / 'clips' / '4').mkdir(parents=True)
    for number in range(1, 5):
        blocks = np.random.default_rng(number).integers(0, 256, (12, 4, 4, 3), np.uint8)
        frames = blocks.repeat(16, 1).repeat(16, 2)
        if number < 4:
            encode_video(folder / 'clips' / f'{number}.mp4', frames)
        else:
            for index, frame in enumerate(frames, start=1):
                cv2.imwrite(str(folder / 'clips' / '4' / f'{index}.jpg'), frame)
    (folder / 'test.csv').write_text('video_name,label\n1,0\n2,1\n3,2\n4,3\n')
    return folder / 'clips'


@pytest.fixture(scope='module')
def tested(clips, tmp_path_factory):
    """A checkpoint of the toy recipe, and the probabilities of its test by clip."""
    root = tmp_path_factory.mktemp('tested')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('TOY_DATA', str(clips.parents[1]))
        patch.chdir(root)
        patch.setattr('sys.argv', ['test'])
        cfg = Config.fromfile(CONFIG)
        data = cfg.test_dataloader
        data.update(num_workers=0, persistent_workers=False)
        data.dataset.datasets = data.dataset.datasets[:1]
        cfg.work_dir = str(root / 'work')
        torch.manual_seed(0)
        runner = Runner.from_cfg(cfg)
        runner.model.init_weights()
        for classifier in runner.model.cls_head.fc_cls.values():  # scores that differ
            torch.nn.init.normal_(classifier.weight, std=0.2)
        save_checkpoint(dict(state_dict=runner.model.state_dict()), str(root / 'model.pth'))
        runner.test()
        table = next(root.rglob('predictions.csv'))
    rows = pd.read_csv(table, dtype=dict(sample_id=str)).set_index('sample_id')
    scores = rows[[f'score_{index}' for index in range(7)]]
    assert scores.to_numpy().std(axis=0).max() > 0.01, 'clips are told apart'
    return root / 'model.pth', scores


@pytest.fixture(scope='module')
def model(tested):
    return init_recognizer(str(CONFIG), str(tested[0]), device='cpu')


def same(found, expected):
    np.testing.assert_allclose(np.asarray(found), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize('inferencer', [ActionRecogInferencer, MMAction2Inferencer])
def test_inferencers_on_video_files(clips, tested, inferencer):
    checkpoint, scores = tested
    infer = inferencer(str(CONFIG), str(checkpoint), device='cpu')
    predictions = infer([str(clips / '1.mp4'), str(clips / '2.mp4')])['predictions']
    for name, prediction in zip('12', predictions, strict=True):
        same(prediction['pred_scores'] if 'pred_scores' in prediction else
             prediction['rec_scores'][0], scores.loc[name])


def test_inferencer_on_frames(clips, tested):
    """Frames in memory, and a folder of files that are named as the caller says."""
    checkpoint, scores = tested
    infer = ActionRecogInferencer(str(CONFIG), str(checkpoint), device='cpu', input_format='array')
    frames = np.stack(VideoReader(str(clips / '1.mp4')).read(range(12)))
    same(infer(frames)['predictions'][0]['pred_scores'], scores.loc['1'])
    infer = ActionRecogInferencer(
        str(CONFIG), str(checkpoint), device='cpu', input_format='rawframes',
        pack_cfg=dict(filename_tmpl='{:d}.jpg'))
    same(infer(str(clips / '4'))['predictions'][0]['pred_scores'], scores.loc['4'])


def test_inference_recognizer(clips, tested, model):
    scores = tested[1]
    same(inference_recognizer(model, str(clips / '2.mp4')).pred_score, scores.loc['2'])
    same(inference_recognizer(model, dict(frame_dir=str(clips / '4'))).pred_score, scores.loc['4'])
    # as MMAction2's RawframeDataset numbers frames
    numbered = dict(frame_dir=str(clips / '4'), start_index=1, filename_tmpl='{:d}.jpg',
                    total_frames=12)
    same(inference_recognizer(model, numbered).pred_score, scores.loc['4'])
    frames = VideoReader(str(clips / '3.mp4')).read(range(12))
    for array in (frames, np.stack(frames)):
        before = np.copy(array)
        same(inference_recognizer(model, dict(array=array)).pred_score, scores.loc['3'])
        np.testing.assert_array_equal(array, before)


def test_an_image_is_told_by_its_name(clips, model):
    picture = str(clips / '4' / '1.jpg')
    result = inference_recognizer(model, picture)
    assert result.media == 'image'
    image = cv2.cvtColor(cv2.imread(picture), cv2.COLOR_BGR2RGB)
    same(inference_recognizer(model, dict(array=image[None])).pred_score, result.pred_score)


@pytest.mark.parametrize('sample, message', [
    (dict(audio_path='clip.npy'), r"expected 'array', 'frame_dir' or 'filename'"),
    (dict(array=[]), 'the clip has no frames'),
    (dict(array=np.zeros((4, 8, 8, 3))), r'frame 0 .*\(8, 8, 3\) float64.*uint8'),
    (dict(array=np.zeros((4, 8, 8), np.uint8)), r'frame 0 .*\(8, 8\) uint8')])
def test_what_is_no_clip(model, sample, message):
    with pytest.raises((MediaReadError, KeyError), match=message):
        inference_recognizer(model, sample)


@pytest.mark.parametrize('name', sorted(path.name for path in CONFIG.parent.glob('*.py')))
def test_every_recipe_says_how_a_clip_is_prepared(name):
    cfg = Config.fromfile(CONFIG.parent / name)
    if 'test_dataloader' not in cfg:
        assert re.search('pretrain', name)
        return
    dataset = cfg.test_dataloader.dataset
    # a model of images prepares these
    first = next((part for part in dataset.datasets if part.type == 'ExpressionVideoDataset'),
                 dataset.datasets[0])
    assert cfg.test_pipeline == dataset.pipeline == first.get('pipeline', dataset.pipeline)
