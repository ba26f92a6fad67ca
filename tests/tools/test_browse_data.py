"""The contact sheet shows what the model gets."""

import importlib.util
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from media_files import coloured_frame
from mmaction.structures import ActionDataSample
from mmengine.config import Config

from unilearn_mm.visualization.contact_sheet import SheetRow, contact_sheet

ROOT = Path(__file__).parents[2]
spec = importlib.util.spec_from_file_location(
    'browse_data', ROOT / 'tools' / 'analysis' / 'browse_data.py')
browse_data = importlib.util.module_from_spec(spec)
spec.loader.exec_module(browse_data)


@pytest.fixture
def cfg(toy_root, monkeypatch):
    monkeypatch.setenv('TOY_DATA', str(toy_root))
    cfg = Config.fromfile(ROOT / 'configs' / 'unilearn_toy.py')
    cfg.train_dataloader.batch_size = 7
    cfg.train_dataloader.batch_sampler.batch_sizes.toy_image = 7
    return cfg


def test_frames_of_the_validation_data_are_the_pixels_of_the_files(cfg):
    rows = browse_data.sheet_rows(cfg, 'val', samples=3, epoch=0)
    assert {source: len(found) for source, found in rows.items()} == dict(
        toy_video=3, toy_image=3)
    levels = rows['toy_video'][0].frames.mean((1, 2, 3))
    indices = (levels - 20) / 10  # the level of a frame tells its index
    assert (np.diff(indices) > 0.5).all() and -0.5 < indices[0] and indices[-1] < 11.5
    for index, row in enumerate(rows['toy_image']):
        assert row.text.splitlines()[0].endswith(f'{index}.jpg')
        np.testing.assert_allclose(row.frames[0].mean(), coloured_frame(index).mean(), atol=4)


def test_training_shows_the_draws_of_an_epoch_and_mixed_labels(cfg):
    cfg.model.data_preprocessor.mixing = dict(mixup_alpha=0.8, cutmix_alpha=1.0)
    sheets = [browse_data.sheet_rows(cfg.copy(), 'train', samples=5, epoch=epoch)
              for epoch in (0, 0, 1)]
    frames = [np.stack([row.frames for row in sheet['toy_video']]) for sheet in sheets]
    assert (frames[0] == frames[1]).all() and (frames[0] != frames[2]).any()
    texts = [row.text.splitlines() for row in sheets[0]['toy_image']]
    shares = [[int(line.split('%')[0]) for line in lines[1:]] for lines in texts]
    assert all(99 <= sum(found) <= 101 and found == sorted(found)[::-1] for found in shares)
    assert any(len(found) == 2 for found in shares)


@pytest.mark.parametrize('label, lines', [
    (None, ['abc']), (2, ['abc', 'neutral']),
    (torch.tensor([0.25, 0., 0.75, 0., 0., 0., 0.]), ['abc', '75% neutral', '25% happiness'])])
def test_descriptions(label, lines):
    sample = ActionDataSample()
    sample.set_metainfo(dict(sample_id='abc', task='dfew'))
    if label is not None:
        sample.set_gt_label(label)
    spaces = dict(dfew=('happiness', 'sadness', 'neutral', 'anger', 'surprise', 'disgust', 'fear'))
    assert browse_data.describe(sample, spaces).splitlines() == lines


def test_a_sheet_has_every_frame_in_reading_order(tmp_path):
    clips = [SheetRow(np.stack([coloured_frame(index)] * 3 + [coloured_frame(11)]), f'{index}\na')
             for index in range(3)]
    fig = contact_sheet(clips, 'clips')
    levels = [int(ax.images[0].get_array().max()) for ax in fig.axes if ax.images]
    assert levels == [level for index in range(3) for level in [20 + 10 * index] * 3 + [130]]
    assert [ax.get_title('left') for ax in fig.axes if not ax.images] == ['0   a', '1   a', '2   a']
    fig.savefig(tmp_path / 'sheet.png')
    assert cv2.imread(str(tmp_path / 'sheet.png')) is not None
    with pytest.raises(ValueError, match='no rows'):
        contact_sheet([], 'nothing')
    with pytest.raises(ValueError, match=r'one length, found \[1, 4\]'):
        contact_sheet([clips[0], SheetRow(clips[0].frames[:1], 'image')], 'mixed')


def test_the_command_line(cfg, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', [
        'browse_data.py', str(ROOT / 'configs' / 'unilearn_toy.py'), '--split', 'val',
        '--samples', '2', '--out', str(tmp_path / 'sheets'), '--cfg-options',
        'val_dataloader.dataset.datasets.1.source=toy/image'])
    browse_data.main()
    paths = capsys.readouterr().out.split()
    assert [Path(path).name for path in paths] == ['val_toy_video.png', 'val_toy=2Fimage.png']
    assert all(cv2.imread(path).shape[1] > 500 for path in paths)


def test_a_recipe_with_one_data_set(single_recipe):
    rows = browse_data.sheet_rows(Config.fromfile(single_recipe), 'train', samples=5, epoch=0)
    assert [len(found) for found in rows.values()] == [5] and list(rows) == ['toy_video']
