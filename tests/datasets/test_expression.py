"""Annotation lists become sample dicts; bad lists become errors that name file, row and cure."""

import numpy as np
import pytest
from mmaction.registry import DATASETS

from unilearn_mm.datasets.expression import AnnotationError, MissingDataError
from unilearn_mm.datasets.label_spaces import class_names


def test_clips_are_files_or_folders(video_cfg, media_root):
    dataset = DATASETS.build(video_cfg)
    assert len(dataset) == 14
    for index in range(14):
        info = dataset.get_data_info(index)
        assert info['sample_id'] == f'{index:05d}'
        assert (info['source'], info['task'], info['media']) == ('toy_video',) * 2 + ('video',)
        assert info['label'] == index % 7
        assert info['modality'] == 'RGB', 'stock transforms reserve the key'
        if index % 3:
            assert info['filename'] == info['path'] == str(media_root / f'clips/{index:05d}.mp4')
        else:
            assert info['frame_dir'] == info['path'] == str(media_root / f'clips/{index:05d}')


def test_image_paths_may_hold_spaces(image_cfg, media_root):
    dataset = DATASETS.build(image_cfg)
    assert len(dataset) == 21
    info = dataset.get_data_info(4)
    assert info['filename'] == str(media_root / 'images/person 1/4.jpg')
    assert (info['label'], info['media']) == (4, 'image')


def test_labels_of_another_label_space_are_mapped_by_name(video_cfg):
    plain = DATASETS.build(video_cfg)
    mapped = DATASETS.build(dict(video_cfg, task='toy_image', ann_task='toy_video'))
    for index in range(len(plain)):
        assert (class_names('toy_video')[plain.get_data_info(index)['label']] ==
                class_names('toy_image')[mapped.get_data_info(index)['label']])


def test_a_class_that_the_task_lacks_is_an_error(video_cfg, media_root):
    (media_root / 'mafw.csv').write_text('video_name,labels\n00000,1\n')
    with pytest.raises(AnnotationError, match=r"mafw.csv, line 2: class 'anxiety' of 'mafw'"):
        DATASETS.build(dict(video_cfg, ann_file='mafw.csv', task='dfew', ann_task='mafw'))


@pytest.mark.parametrize('key, value, what', [
    ('data_root', '/no/such/root', r"data root '/no/such/root'"),
    ('ann_file', 'no.csv', r"annotation list '.*no\.csv'"),
    ('data_prefix', dict(media='nowhere'), r"media folder '.*nowhere'"),
])
def test_missing_data_says_where_it_goes_and_where_to_get_it(video_cfg, key, value, what):
    with pytest.raises(MissingDataError, match=what) as error:
        DATASETS.build({**video_cfg, 'task': 'dfew', key: value})
    assert 'https://dfew-dataset.github.io' in str(error.value)
    assert 'data_root' in str(error.value)


@pytest.mark.parametrize('rows, message', [
    ('00001,7', r"line 3: label id 7 is unknown; expected 0\.\.6 \(happiness, .*fear\)"),
    ('00001,-1', r'line 3: label id -1 is unknown'),
    ('00001,happy', r"line 3: label 'happy' is not an integer"),
    ('00001', r"line 3: found \['00001'\], expected two columns"),
    ('00001,1,2', r'line 3: found .* expected two columns'),
    (',1', r'line 3: found .* expected two columns'),
    ('00000,1', r"line 3: '00000' stands already in line 2"),
])
def test_bad_csv_rows(video_cfg, media_root, rows, message):
    (media_root / 'bad.csv').write_text(f'video_name,label\n00000,1\n{rows}\n')
    with pytest.raises(AnnotationError, match='bad.csv, ' + message):
        DATASETS.build(dict(video_cfg, ann_file='bad.csv'))


@pytest.mark.parametrize('header', ['00005,1', 'name', ''])
def test_a_list_without_a_header_loses_no_row_silently(video_cfg, media_root, header):
    (media_root / 'bare.csv').write_text(f'{header}\n00000,1\n')
    with pytest.raises(AnnotationError, match='bare.csv, line 1: .*expected a header row'):
        DATASETS.build(dict(video_cfg, ann_file='bare.csv'))


def test_empty_lines_are_no_samples(video_cfg, image_cfg, media_root):
    (media_root / 'gaps.csv').write_text('video_name,label\n00000,1\n\n00001,2\n\n')
    assert len(DATASETS.build(dict(video_cfg, ann_file='gaps.csv'))) == 2
    (media_root / 'gaps.txt').write_text('person 1/1.jpg 0\n\n \nperson 1/4.jpg 3\n\n')
    assert len(DATASETS.build(dict(image_cfg, ann_file='gaps.txt'))) == 2


def test_the_prefix_must_name_the_media(video_cfg):
    with pytest.raises(ValueError, match=r"data_prefix must be dict\(media=FOLDER\), found"):
        DATASETS.build(dict(video_cfg, data_prefix=dict(video='clips')))


@pytest.mark.parametrize('row, message', [
    ('person 0/0.jpg', r"bad.txt, line 2: label '0/0.jpg' is not an integer"),
    ('0.jpg', r"bad.txt, line 2: found '0.jpg', expected `relative/path label`"),
    ('person 0/0.jpg 7', r'bad.txt, line 2: label id 7 is unknown'),
])
def test_bad_image_rows(image_cfg, media_root, row, message):
    (media_root / 'bad.txt').write_text(f'person 1/1.jpg 0\n{row}\n')
    with pytest.raises(AnnotationError, match=message):
        DATASETS.build(dict(image_cfg, ann_file='bad.txt'))


def test_an_empty_list_is_an_error(video_cfg, media_root):
    (media_root / 'empty.csv').write_text('video_name,label\n')
    with pytest.raises(AnnotationError, match='empty.csv: no rows'):
        DATASETS.build(dict(video_cfg, ann_file='empty.csv'))


def test_missing_clips_are_counted_and_named(video_cfg, media_root):
    names = ['00000', *(f'gone{i}' for i in range(8))]
    (media_root / 'gone.csv').write_text(
        'video_name,label\n' + ''.join(f'{name},0\n' for name in names))
    with pytest.raises(MissingDataError, match='8 of 9 samples') as error:
        DATASETS.build(dict(video_cfg, ann_file='gone.csv'))
    assert 'gone0' in str(error.value) and 'gone.csv' in str(error.value)


def test_mixed_media_knows_its_sources(video_cfg, image_cfg):
    mixed = DATASETS.build(dict(type='MixedMediaDataset', datasets=[video_cfg, image_cfg]))
    assert mixed.source_ranges == dict(toy_video=(0, 14), toy_image=(14, 35))
    assert mixed.metainfo['label_spaces'] == {
        task: class_names(task) for task in ('toy_video', 'toy_image')}
    sources = np.array([mixed.get_data_info(i)['source'] for i in range(len(mixed))])
    for source, (start, end) in mixed.source_ranges.items():
        assert (np.flatnonzero(sources == source) == np.arange(start, end)).all()


def test_mixed_media_names_all_that_is_missing(video_cfg, image_cfg):
    datasets = [dict(video_cfg, task='dfew', data_root='/no/dfew'),
                image_cfg,
                dict(image_cfg, task='affectnet7', data_root='/no/affectnet')]
    with pytest.raises(MissingDataError) as error:
        DATASETS.build(dict(type='MixedMediaDataset', datasets=datasets))
    assert '/no/dfew' in str(error.value) and '/no/affectnet' in str(error.value)


def test_mixed_media_refuses_ambiguous_parts(video_cfg, image_cfg):
    with pytest.raises(ValueError, match='source names must be unique'):
        DATASETS.build(dict(type='MixedMediaDataset', datasets=[video_cfg, video_cfg]))
    both = DATASETS.build(dict(type='MixedMediaDataset',
                               datasets=[video_cfg, dict(video_cfg, source='again')]))
    assert list(both.source_ranges) == ['toy_video', 'again']
    with pytest.raises(TypeError, match='VideoDataset'):
        stock = dict(type='VideoDataset', ann_file=image_cfg['data_root'] + '/images.txt',
                     pipeline=[], delimiter='\t')
        DATASETS.build(dict(type='MixedMediaDataset', datasets=[stock, image_cfg]))
