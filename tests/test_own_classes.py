"""A recipe brings its own classes: from folders of clips to scores, without a change of code."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from media_files import write_video
from mmaction.registry import DATASETS
from mmengine.config import Config
from mmengine.runner import Runner

from unilearn_mm.datasets.annotations import AnnotationError
from unilearn_mm.datasets.label_spaces import read_classes

ROOT = Path(__file__).parents[1]
CLASSES = ('calm', 'tense', 'tired')


@pytest.fixture(scope='module')
def own(tmp_path_factory):
    """Five clips of each class in a folder of its name, and the file of the names."""
    root = tmp_path_factory.mktemp('own')
    for name in CLASSES:
        (root / 'clips' / name).mkdir(parents=True)
        for index in range(5):
            write_video(root / 'clips' / name / f'{index}.mp4')
    (root / 'classes.txt').write_text('\n'.join(CLASSES) + '\n')
    return root


def run_tool(name, *arguments):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / 'tools' / 'data'))
        patch.setattr(sys, 'argv', [name, *map(str, arguments)])
        assert importlib.import_module(name).main() == 0


def test_the_example_from_folders_to_scores(own, tmp_path, monkeypatch):
    run_tool('prepare_folder', '--root', own, '--media', 'clips', '--label-from-folder',
             own / 'classes.txt')
    run_tool('hold_out', own / 'prepared' / 'videos.csv', '--share', '0.4', '--out', own / 'lists')
    cfg = Config.fromfile(ROOT / 'configs' / 'unilearn_own_classes.py')
    cfg.work_dir = str(tmp_path)
    cfg.model.backbone.update(embed_dims=32, depth=2, num_heads=2)
    cfg.model.cls_head.in_channels = 32
    cfg.optim_wrapper.paramwise_cfg.num_layers = 2
    cfg.train_cfg.max_epochs = 1
    cfg.param_scheduler = []
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.update(batch_size=4, num_workers=0, persistent_workers=False, timeout=0)
        loader.dataset.datasets[0].data_root = str(own)
    # the recipe's names and the file are the same
    cfg.test_dataloader.dataset.datasets[0].classes = 'classes.txt'
    monkeypatch.setattr(sys, 'argv', ['train'])
    runner = Runner.from_cfg(cfg)
    runner.train()
    scores = runner.test()
    assert {f'own/recall_{name}' for name in CLASSES} <= set(scores)
    table = pd.read_csv(next(tmp_path.rglob('predictions.csv')))
    assert set(table['label_name']) == set(CLASSES)
    assert (table['label_name'] == table['sample_id'].str.split('/').str[0]).all()
    assert (table['label'] == table['label_name'].map(CLASSES.index)).all()
    assert scores['own/WAR'] == pytest.approx((table['label'] == table['prediction']).mean())
    assert runner.model.cls_head.fc_cls['own'].weight.shape == torch.Size((3, 32))


@pytest.fixture
def cfg(own):
    (own / 'some.csv').write_text('sample_id,path,label\na,tense/0,tense\nb,calm/1,0\n')
    return dict(type='ExpressionVideoDataset', task='own', classes=list(CLASSES), pipeline=[],
                data_root=str(own), ann_file='some.csv', data_prefix=dict(media='clips'))


def test_names_and_ids_in_the_order_that_is_declared(cfg):
    for order in (CLASSES, CLASSES[::-1]):
        dataset = DATASETS.build(dict(cfg, classes=order))
        assert dataset.labels.tolist() == [order.index('tense'), 0]
        assert dataset.metainfo['classes'] == order
        assert dataset.get_data_info(0)['num_classes'] == 3
        mixed = DATASETS.build(dict(type='MixedMediaDataset', datasets=[dataset]))
        assert mixed.metainfo['label_spaces'] == dict(own=order)


def test_lists_of_a_known_task_are_mapped_to_own_classes(cfg, own):
    (own / 'dfew.csv').write_text('video_name,label\ncalm/0,2\ntense/1,0\n')
    mapped = dict(cfg, classes=['happiness', 'neutral'], ann_task='dfew', ann_file='dfew.csv')
    assert DATASETS.build(mapped).labels.tolist() == [1, 0]
    with pytest.raises(AnnotationError, match=r"dfew\.csv, line 2: class 'neutral' of 'dfew' does "
                                              "not exist in the task 'own'"):
        DATASETS.build(dict(mapped, classes=['happiness', 'calm']))


def test_missing_lists_of_an_own_task_say_what_to_do(cfg):
    with pytest.raises(FileNotFoundError, match="own: annotation list '.*gone.csv' does not exist"):
        DATASETS.build(dict(cfg, ann_file='gone.csv'))


@pytest.mark.parametrize('change, message', [
    (dict(classes=None), "unknown task 'own'; .*`classes`"),
    (dict(task='dfew'), "'dfew' has classes of its own.*another name"),
    (dict(classes=['calm', 'tense', 'calm']), "'calm' stands twice"),
    (dict(classes=['calm', '']), "class 1 is ''"),
    (dict(classes=['0', '1', '2']), "'0' would be taken for a class id"),
    (dict(classes=['calm']), 'at least two'),
    (dict(classes='gone.txt'), r'gone\.txt: .*cannot be read'),
    (dict(classes=['calm', 'tired']), r"some\.csv, line 2: label 'tense' is neither")])
def test_wrong_declarations_are_refused(cfg, change, message):
    with pytest.raises((ValueError, KeyError), match=message):
        DATASETS.build({**cfg, **change})


def test_files_of_class_names(tmp_path):
    path = tmp_path / 'classes.txt'
    path.write_bytes('\ufeffcalm\r\n very tense \r\n\r\nmüde\r\n'.encode())
    assert read_classes(str(path)) == ('calm', 'very tense', 'müde')
    path.write_bytes(b'calm\nm\xfcde\n')
    with pytest.raises(ValueError, match=r'classes\.txt: .*UTF-8'):
        read_classes(str(path))


def test_one_task_has_one_set_of_classes(cfg):
    parts = [cfg, dict(cfg, source='other', classes=list(CLASSES[::-1]))]
    with pytest.raises(ValueError, match="task 'own'.*'own'.*'other'.*order"):
        DATASETS.build(dict(type='MixedMediaDataset', datasets=parts))
    parts[1]['classes'] = CLASSES
    mixed = DATASETS.build(dict(type='MixedMediaDataset', datasets=parts))
    np.testing.assert_array_equal(mixed.labels('other'), mixed.labels('own'))
