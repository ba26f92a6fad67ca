"""What tools read from recipes."""

import pytest
from mmengine.config import Config, ConfigDict

from unilearn_mm.datasets.expression import ExpressionImageDataset
from unilearn_mm.recipes import data_parts, media_of, own_pipelines, prediction_file


def test_parts_are_those_of_the_recipe_itself_in_order():
    part = dict(type='VideoDataset', ann_file='a')
    inner = dict(type='ConcatDataset', datasets=[dict(part, ann_file=name) for name in 'bc'])
    cfg = Config(dict(loader=dict(dataset=dict(type='MixedMediaDataset', datasets=[
        part, dict(type='RepeatDataset', times=2, dataset=inner), dict(part, ann_file='d')]))))
    parts = data_parts(cfg.loader)
    assert [found.ann_file for found in parts] == list('abcd')
    parts[2].ann_file = 'new'
    assert cfg.loader.dataset.datasets[1].dataset.datasets[1].ann_file == 'new'
    assert data_parts(ConfigDict(dataset=part)) == [part]


def test_parts_without_a_pipeline_get_that_of_their_wrapper():
    steps = [dict(type='OpenClip')]
    parts = [dict(type='ExpressionVideoDataset'), dict(type='ExpressionImageDataset', pipeline=[])]
    cfg = Config(dict(one=dict(dataset=dict(pipeline=steps, datasets=parts)),
                      other=dict(dataset=dict(datasets=parts)),
                      single=dict(dataset=dict(parts[0], pipeline=steps))))
    for loader in cfg.values():
        own_pipelines(loader)
    clips, images = cfg.one.dataset.datasets
    assert clips.pipeline == steps and images.pipeline == []
    clips.pipeline.append(dict(type='DecodeClip'))
    assert cfg.one.dataset.pipeline == steps, 'a copy'
    assert 'pipeline' not in cfg.other.dataset.datasets[0]
    assert cfg.single.dataset == dict(parts[0], pipeline=steps)


def test_media_are_those_of_the_data_sets():
    for kind, media in (('ExpressionVideoDataset', 'video'), ('ExpressionImageDataset', 'image'),
                        (ExpressionImageDataset, 'image'), ('VideoDataset', 'video')):
        assert media_of(ConfigDict(type=kind)) == media
    with pytest.raises(KeyError, match="'Unknown' is no registered data set"):
        media_of(ConfigDict(type='Unknown'))


def test_the_file_of_predictions_is_that_of_the_first_metric_that_writes_one():
    writes = dict(type='WARUARMetric', prediction_file='p.csv')
    others = [dict(type='DumpResults', out_file_path='dump.pkl'), dict(type='WARUARMetric')]
    assert prediction_file(Config(dict(test_evaluator=writes))) == 'p.csv'
    assert prediction_file(Config(dict(test_evaluator=[*others, writes]))) == 'p.csv'
    for wrong in (others, others[1], None):
        with pytest.raises(ValueError, match='no metric of the test writes.*prediction_file'):
            prediction_file(Config(dict(test_evaluator=wrong)))
