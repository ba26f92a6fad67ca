"""Annotation lists become sample dicts; bad lists become errors that name file, row and cure."""

import numpy as np
import pytest
from mmaction.registry import DATASETS

from unilearn_mm.datasets.annotations import AnnotationError
from unilearn_mm.datasets.expression import MissingDataError
from unilearn_mm.datasets.label_spaces import class_names
from unilearn_mm.datasets.locations import locate_clip


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


OURS = ('sample_id,path,label,subject,audio,age\n'
        'first,00001,anger,s1,wav/1.wav,30\n'
        'second,00000,6,s2,,31\n')


@pytest.mark.parametrize('fixture, media', [('video_cfg', 'clips'), ('image_cfg', 'images')])
def test_lists_in_our_format(request, media_root, fixture, media):
    cfg = request.getfixturevalue(fixture)
    (media_root / 'ours.csv').write_text(OURS)
    (media_root / media / 'wav').mkdir(exist_ok=True)
    (media_root / media / 'wav' / '1.wav').touch()
    dataset = DATASETS.build(dict(cfg, ann_file='ours.csv'))
    first, second = (dataset.get_data_info(index) for index in range(2))
    assert (first['sample_id'], second['sample_id']) == ('first', 'second')
    assert first['label'] == class_names(cfg['task']).index('anger') and second['label'] == 6
    assert first['groups'] == dict(subject='s1', age='30')
    assert second['groups'] == dict(subject='s2', age='31')
    assert first['audio_path'] == str(media_root / media / 'wav' / '1.wav')
    assert 'audio_path' not in second
    assert first['num_classes'] == second['num_classes'] == 7
    expected = '00001.mp4' if media == 'clips' else '00001'
    assert first['filename'] == first['path'] == str(media_root / media / expected)


def test_missing_audio_is_missing_data(video_cfg, media_root):
    (media_root / 'deaf.csv').write_text(OURS.replace('wav/1.wav', 'wav/9.wav'))
    with pytest.raises(MissingDataError, match='the sound of 1 of 2 samples .* missing.*wav/9.wav'):
        DATASETS.build(dict(video_cfg, ann_file='deaf.csv'))


def test_groups_are_empty_in_official_lists(video_cfg):
    info = DATASETS.build(video_cfg).get_data_info(3)
    assert info['groups'] == {} and info['num_classes'] == 7 and 'audio_path' not in info


def test_labels_are_those_of_the_samples(video_cfg, media_root):
    labels = DATASETS.build(video_cfg).labels
    assert labels.dtype == np.int64 and (labels == np.arange(14) % 7).all()
    mapped = DATASETS.build(dict(video_cfg, task='toy_image', ann_task='toy_video')).labels
    assert [class_names('toy_image')[i] for i in mapped] == list(class_names('toy_video')) * 2
    some = DATASETS.build(dict(video_cfg, indices=[5, 3, 1]))
    assert some.labels.tolist() == [5, 3, 1], 'a subset keeps its order'


def test_unlabelled_samples_have_no_label(video_cfg, media_root):
    (media_root / 'bare.csv').write_text('sample_id,path,label\na,00000,\nb,00001,\n')
    cfg = dict(video_cfg, task='unlabelled', ann_file='bare.csv')
    dataset = DATASETS.build(cfg)
    info = dataset.get_data_info(1)
    assert 'label' not in info and info['num_classes'] == 0
    assert dataset.metainfo['classes'] == ()
    with pytest.raises(ValueError, match="samples of the task 'unlabelled' have no labels"):
        _ = dataset.labels
    for task in ('dfew', 'toy_video'):
        with pytest.raises(AnnotationError, match="bare.csv, line 2: label '' is neither"):
            DATASETS.build(dict(cfg, task=task))


def test_labelled_lists_serve_pre_training_when_told_so(video_cfg):
    cfg = dict(video_cfg, task='unlabelled')
    with pytest.raises(AnnotationError, match="clips.csv, line 2: label '0', but 'unlabelled' has "
                                              'no classes.*set ann_task'):
        DATASETS.build(cfg)
    dataset = DATASETS.build(dict(cfg, ann_task='toy_video'))
    assert len(dataset) == 14
    assert all('label' not in dataset.get_data_info(index) for index in range(14))


def test_labels_that_are_left_out_are_checked_all_the_same(video_cfg, media_root):
    (media_root / 'odd.csv').write_text('video_name,label\n00000,1\n00001,9\n')
    with pytest.raises(AnnotationError, match='odd.csv, line 3: label id 9 is unknown'):
        DATASETS.build(dict(video_cfg, task='unlabelled', ann_task='dfew', ann_file='odd.csv'))


def test_a_task_with_classes_needs_labels(video_cfg):
    with pytest.raises(ValueError, match="'dfew' has classes, but ann_task='unlabelled' has none"):
        DATASETS.build(dict(video_cfg, task='dfew', ann_task='unlabelled'))


def test_candidates_for_a_clip_in_their_order(tmp_path):
    clip = tmp_path / 'clip'
    assert locate_clip(str(clip)) is None
    for name in ('clip.npy', 'clip.webm', 'clip.mkv', 'clip.mov', 'clip.avi', 'clip.mp4', 'clip'):
        (tmp_path / name).touch()
        assert locate_clip(str(clip)) == dict.fromkeys(('path', 'filename'), str(tmp_path / name))
    clip.unlink()
    clip.mkdir()
    assert locate_clip(str(clip)) == dict.fromkeys(('path', 'frame_dir'), str(clip))
    assert locate_clip(str(tmp_path / 'clip.npy'))['filename'] == str(tmp_path / 'clip.npy')


def test_paths_stay_in_the_media_folder(video_cfg, image_cfg, media_root):
    (media_root / 'out.csv').write_text('video_name,label\n00000,1\n../clips/00001,1\n')
    (media_root / 'out.txt').write_text('/etc/passwd 1\n')
    with pytest.raises(AnnotationError, match='out.csv, line 3: .*not inside the media folder'):
        DATASETS.build(dict(video_cfg, ann_file='out.csv'))
    with pytest.raises(AnnotationError, match='out.txt, line 1: .*is absolute'):
        DATASETS.build(dict(image_cfg, ann_file='out.txt'))


@pytest.mark.parametrize('rows, message', [
    ('00001,7', r"line 3: label id 7 is unknown; expected 0\.\.6 \(happiness, .*fear\)"),
    ('00001,-1', r'line 3: label id -1 is unknown'),
    ('00001,happy', r"line 3: label 'happy' is not an integer"),
    ('00001', r"line 3: found '00001', expected two columns"),
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
    with pytest.raises(ValueError, match=r"data_prefix must be dict\(media=FOLDER\).*, found"):
        DATASETS.build(dict(video_cfg, data_prefix=dict(video='clips')))


@pytest.mark.parametrize('row, message', [
    ('person 0/0.jpg', r"bad.txt, line 2: label '0/0.jpg' is neither an integer"),
    ('0.jpg', r"bad.txt, line 2: found '0.jpg', expected `relative/path label`"),
    ('person 0/0.jpg 7', r'bad.txt, line 2: label id 7 is unknown'),
])
def test_bad_image_rows(image_cfg, media_root, row, message):
    (media_root / 'bad.txt').write_text(f'person 1/1.jpg 0\n{row}\n')
    with pytest.raises(AnnotationError, match=message):
        DATASETS.build(dict(image_cfg, ann_file='bad.txt'))


def test_an_empty_list_is_an_error(video_cfg, media_root):
    (media_root / 'empty.csv').write_text('video_name,label\n')
    with pytest.raises(AnnotationError, match='empty.csv, line 1: no rows'):
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
