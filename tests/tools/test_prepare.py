"""The tools prepare_*.py: on small data sets of real files they find all that is wrong, and what
they write is what the data sets read."""

import argparse
import csv
import hashlib
import importlib
import json
import multiprocessing
import os
import shutil
import signal
import struct
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from media_files import write_frames, write_video
from mmaction.registry import DATASETS

from unilearn_mm.datasets.label_spaces import class_names

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / 'tools' / 'data'))

from preparation import published
from preparation.samples import Sample, SampleList
from preparation.screening import measure, screen

from unilearn_mm.processes import Stopped, run_bounded

LISTS = Path(__file__).parents[2] / '..' / 'shared' / 'data' / 'annotations'
TOOLS = ('dfew', 'ferv39k', 'mafw', 'affectnet7', 'affectnet8', 'rafdb', 'ferplus', 'voxceleb2',
         'folder')


def run(tool, root, *more):
    """Exit code of a tool, sizes accepted."""
    main = importlib.import_module(f'prepare_{tool}').main
    return main(['--root', str(root), '--accept-counts', '--workers', '1', *map(str, more)])


def manifest(root, name):
    return json.loads((root / 'prepared' / f'{name}.manifest.json').read_text())


def rows(root, name):
    with open(root / 'prepared' / f'{name}.csv', newline='') as file:
        return list(csv.DictReader(file))


def image(path, size=32):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 256, (size, size, 3),
                                                                    dtype=np.uint8))


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


# ---- screening

def fix_box(data, name, offset, number):
    """The bytes of an mp4 with a 32-bit number in its first box of that name overwritten."""
    at = data.index(name) + 4 + offset
    return data[:at] + struct.pack('>I', number) + data[at + 4:]


def damaged_clips(folder):
    """Files and folders by what is wrong with them, and a part of the reason they must get."""
    write_video(folder / 'good.mp4')
    whole = (folder / 'good.mp4').read_bytes()
    (folder / 'truncated.mp4').write_bytes(whole[:len(whole) // 2])
    (folder / 'empty.mp4').touch()
    # the table of times says 90 frames
    (folder / 'declares90.mp4').write_bytes(fix_box(whole, b'stts', 8, 90))
    # the last two thirds of the frames overwritten
    start, end = whole.index(b'mdat') + 4, whole.index(b'moov') - 4
    cut = start + (end - start) // 3
    (folder / 'zeroed.mp4').write_bytes(whole[:cut] + bytes(end - cut) + whole[end:])
    image(folder / 'picture.png')
    (folder / 'picture.png').rename(folder / 'picture.mp4')
    (folder / 'text.mp4').write_text('no video at all\n' * 100)
    write_frames(folder / 'frames')
    (folder / 'no_frames').mkdir()
    write_frames(folder / 'sizes')
    image(folder / 'sizes' / '3.jpg', 40)
    write_frames(folder / 'cut_frame')
    code = (folder / 'cut_frame' / '7.jpg').read_bytes()
    (folder / 'cut_frame' / '7.jpg').write_bytes(code[:-len(code) // 3])
    write_frames(folder / 'empty_frame')
    (folder / 'empty_frame' / '2.jpg').write_bytes(b'')
    np.save(folder / 'packed.npy', np.zeros((5, 8, 9, 3), np.uint8))
    np.save(folder / 'objects.npy', np.array([{}]), allow_pickle=True)
    os.mkfifo(folder / 'pipe.mp4')
    return {
        'good': '', 'frames': '', 'packed': '',
        'truncated': 'cannot be opened as a video', 'empty': 'empty file (0 bytes)',
        'declares90': 'declares 90 frames, 12 can be decoded',
        'zeroed': 'frames [4] of 12 cannot be decoded',
        'picture': 'an image with the suffix of a video', 'text': 'cannot be opened as a video',
        'no_frames': 'holds no image', 'sizes': 'different sizes: 32 x 32, 40 x 40',
        'cut_frame': '7.jpg: cannot be decoded as an image',
        'empty_frame': '2.jpg: empty file (0 bytes)',
        'objects': 'cannot be opened as a packed clip', 'nothing': 'missing',
        'pipe.mp4': 'neither a file nor a folder'}


def test_all_that_is_wrong_with_a_clip_is_found(tmp_path):
    expected = damaged_clips(tmp_path)
    found = screen(tmp_path, expected, 'video', 2, 20)
    assert set(found) == set(expected)
    for name, reason in expected.items():
        assert (reason in found[name].problem) if reason else not found[name].problem, name
        assert str(tmp_path) not in found[name].problem
    assert found['good'][:3] == found['frames'][:3] == (12, 32, 32)
    assert found['packed'][:3] == (5, 9, 8), 'frames, width, height'
    assert found['declares90'].num_frames == 12
    assert 0 < found['zeroed'].num_frames < 12
    again = screen(tmp_path, expected, 'video', 1, 20)
    assert again == found, 'no times or addresses in the reasons'


@pytest.mark.parametrize('suffix', ['.jpg', '.png', '.bmp'])
def test_all_that_is_wrong_with_an_image_is_found(tmp_path, suffix):
    image(tmp_path / f'good{suffix}', 50)
    code = (tmp_path / f'good{suffix}').read_bytes()
    (tmp_path / f'cut{suffix}').write_bytes(code[:len(code) * 2 // 3])
    (tmp_path / f'empty{suffix}').touch()
    (tmp_path / f'text{suffix}').write_text('words')
    names = [f'{name}{suffix}' for name in ('good', 'cut', 'empty', 'text', 'gone')]
    found = screen(tmp_path, names, 'image', 1, 20)
    assert found[names[0]] == (1, 50, 50, '')
    assert all(found[name].problem and found[name].num_frames == 0 for name in names[1:])
    assert '0 bytes' in found[names[2]].problem and found[names[4]].problem == 'missing'


def test_files_without_permission_are_bad(tmp_path):
    image(tmp_path / 'locked.jpg')
    (tmp_path / 'locked.jpg').chmod(0)
    if os.access(tmp_path / 'locked.jpg', os.R_OK):
        pytest.skip('this user may read everything')
    found = screen(tmp_path, ['locked.jpg'], 'image', 1, 20)
    assert found['locked.jpg'].problem == 'locked.jpg: Permission denied'


def test_a_file_that_never_answers_costs_only_its_time(tmp_path):
    for name in ('a.jpg', 'c.jpg'):
        image(tmp_path / name)
    os.mkfifo(tmp_path / 'b.jpg')  # whoever opens it waits for a writer
    found = screen(tmp_path, ['a.jpg', 'b.jpg', 'c.jpg'], 'image', 1, 1.5)
    assert found['b.jpg'].problem == 'no result within 1.5 s'
    assert found['a.jpg'].problem == found['c.jpg'].problem == ''


def crash_on_three(number):
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number ** 2


def test_a_crash_costs_one_job():
    results = [result for _, result in
               sorted(run_bounded(crash_on_three, [(i,) for i in range(80)], 2, 20))]
    assert isinstance(results[3], Stopped) and 'crashed (exit code -9)' in results[3]
    assert [r for i, r in enumerate(results) if i != 3] == [i**2 for i in range(80) if i != 3]


def wait_for(path):
    while not os.path.exists(path):
        time.sleep(0.01)
    return path


def test_results_come_as_soon_as_they_are_there(tmp_path):
    """The first job ends only after the result of the second has been taken."""
    (tmp_path / 'second').touch()
    order = []
    for place, result in run_bounded(wait_for, [(tmp_path / 'first',), (tmp_path / 'second',)],
                                     2, 20):
        order.append((place, result))
        (tmp_path / 'first').touch()
    assert order == [(1, tmp_path / 'second'), (0, tmp_path / 'first')]


def sleep_long(folder, name):
    (folder / f'{name}-{os.getpid()}').touch()
    time.sleep(60)


def run_sleepers(folder):
    list(run_bounded(sleep_long, [(folder, 'a'), (folder, 'b')], 2, 120))


def is_there(pid):
    try:
        return Path(f'/proc/{pid}/stat').read_text().split(')')[-1].split()[0] != 'Z'
    except OSError:
        return False


def test_nobody_works_on_when_the_parent_was_killed(tmp_path):
    parent = multiprocessing.get_context('fork').Process(target=run_sleepers, args=(tmp_path,))
    parent.start()
    deadline = time.monotonic() + 40
    while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    workers = [int(path.name.split('-')[1]) for path in tmp_path.iterdir()]
    assert len(workers) == 2 and all(map(is_there, workers))
    os.kill(parent.pid, signal.SIGKILL)
    parent.join()
    while any(map(is_there, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(is_there, workers))


def test_errors_of_our_own_are_not_hidden():
    with pytest.raises(TypeError):
        list(run_bounded(crash_on_three, [('x',)], 1, 20))


def test_measures_are_those_of_the_decoder(tmp_path):
    write_video(tmp_path / 'a.mp4', 7, 64)
    capture = cv2.VideoCapture(str(tmp_path / 'a.mp4'))
    shapes = []
    while (frame := capture.read())[0]:
        shapes.append(frame[1].shape)
    path = str(tmp_path / 'a.mp4')
    found = measure(dict(path=path, filename=path), 'video')
    assert found == (len(shapes), shapes[0][1], shapes[0][0], '') == (7, 64, 64, '')


# ---- DFEW, the whole way

@pytest.fixture
def dfew(tmp_path):
    """Two folds as the data set publishes them: ids from 1, names without zeros."""
    media = tmp_path / 'clip_jpg_256'
    media.mkdir()
    for number in range(1, 15):
        if number % 2:
            write_frames(media / f'{number:05d}', num_frames=number)
        else:
            write_video(media / f'{number:05d}.mp4', num_frames=number)
    numbers = list(range(1, 15))
    for fold, (train, test) in enumerate(((numbers[:7], numbers[7:]),
                                          (numbers[7:], numbers[:7])), start=1):
        for split, part in (('train', train), ('test', test)):
            write(tmp_path / f'EmoLabel_DataSplit/{split}(single-labeled)/set_{fold}.csv',
                  'video_name,label\n' + ''.join(f'{i},{(i - 1) % 7 + 1}\n' for i in part))
    return tmp_path


def test_dfew_from_the_published_lists_to_the_data_set(dfew, capsys):
    assert run('dfew', dfew, '--folds', 1, 2) == 0
    assert '28 rows' not in capsys.readouterr().out
    classes = class_names('dfew')
    for fold, split, numbers in ((1, 'train', range(1, 8)), (1, 'test', range(8, 15)),
                                 (2, 'train', range(8, 15)), (2, 'test', range(1, 8))):
        name = f'{split}_set_{fold}'
        assert [row['sample_id'] for row in rows(dfew, name)] == [f'{i:05d}' for i in numbers]
        dataset = DATASETS.build(dict(
            type='ExpressionVideoDataset', task='dfew', data_root=str(dfew), pipeline=[],
            ann_file=f'prepared/{name}.csv', data_prefix=dict(media='clip_jpg_256')))
        assert dataset.labels.tolist() == [(i - 1) % 7 for i in numbers]
        found = manifest(dfew, name)
        assert found['class_counts'] == dict.fromkeys(sorted(classes), 1)
        assert found['notes'] == ['class ids of the official list are 1..7']
        assert found['num_frames'] == dict(min=numbers[0], median=numbers[3], max=numbers[-1])
        assert found['width'] == dict(min=32, median=32, max=32)
        assert (found['bad'], found['missing']) == ([], [])
        for entry, folder in (('official_list', dfew), ('written_list', dfew / 'prepared')):
            content = (folder / found[entry]['path']).read_bytes()
            assert found[entry]['sha256'] == hashlib.sha256(content).hexdigest()
        with open(dfew / 'prepared' / f'{name}.samples.csv', newline='') as file:
            measures = list(csv.DictReader(file))
        assert [int(row['num_frames']) for row in measures] == list(numbers)


def test_the_same_data_give_the_same_bytes(dfew):
    (dfew / 'clip_jpg_256' / '00002.mp4').write_bytes(b'no video')
    shutil.rmtree(dfew / 'clip_jpg_256' / '00003')
    written = []
    for workers in (1, 2):
        assert run('dfew', dfew, '--folds', 1, '--workers', workers) == 1
        written.append({path.name: path.read_bytes() for path in (dfew / 'prepared').iterdir()})
        shutil.rmtree(dfew / 'prepared')
    moved = dfew.parent / 'moved'
    dfew.rename(moved)
    run('dfew', moved, '--folds', 1)
    written.append({path.name: path.read_bytes() for path in (moved / 'prepared').iterdir()})
    assert written[0] == written[1] == written[2] and len(written[0]) == 6


@pytest.mark.parametrize('drop', [False, True])
def test_bad_and_missing_samples_are_named_and_dropped_on_demand(dfew, drop, capsys):
    (dfew / 'clip_jpg_256' / '00002.mp4').write_bytes(b'no video')
    shutil.rmtree(dfew / 'clip_jpg_256' / '00003')
    assert run('dfew', dfew, '--folds', 1, *(['--drop-bad'] if drop else [])) == 1
    found = manifest(dfew, 'train_set_1')
    assert [sample['sample_id'] for sample in found['bad']] == ['00002']
    assert found['missing'] == [dict(sample_id='00003', path='00003', reason='missing')]
    shown = capsys.readouterr().out
    assert '00002: 00002.mp4: cannot be opened' in shown and '00003: missing' in shown
    kept = [f'{i:05d}' for i in range(1, 8) if not drop or i not in (2, 3)]
    assert [row['path'] for row in rows(dfew, 'train_set_1')] == kept
    assert found['written_list']['rows'] == len(kept) and found['rows'] == 7
    assert found['bad_and_missing_dropped'] is drop
    assert sum(found['written_list']['class_counts'].values()) == len(kept)


def test_dfew_lists_of_s4d_count_from_zero(dfew):
    folder = dfew / 'EmoLabel_DataSplit' / 'train(single-labeled)'
    (folder / 'set_1.csv').unlink()
    write(folder / 'train_set_1.csv',
          'video_name,label\n' + ''.join(f'{i:05d},{i - 1}\n' for i in range(1, 8)))
    assert run('dfew', dfew, '--folds', 1) == 0
    found = manifest(dfew, 'train_set_1')
    assert found['notes'] == ['class ids of the official list are 0..6']
    assert [row['label'] for row in rows(dfew, 'train_set_1')] == list(class_names('dfew'))


@pytest.mark.parametrize('labels, message', [
    ((0, 7), 'neither 0..6 (S4D) nor 1..7 (DFEW)'), ((3, 4), 'neither 0..6'),
    ((0, 8), "label '8' of '2' (and of 0 more) is unknown; expected 0..6")])
def test_dfew_lists_of_no_known_numbering(dfew, labels, message, capsys):
    path = 'EmoLabel_DataSplit/train(single-labeled)/set_1.csv'
    write(dfew / path, 'video_name,label\n'
          + ''.join(f'{i},{label}\n' for i, label in enumerate(labels, start=1)))
    assert run('dfew', dfew, '--folds', 1) == 2
    shown = capsys.readouterr().err
    assert message in shown and path in shown and not (dfew / 'prepared').exists()


def test_other_sizes_than_published_are_an_error(dfew, capsys):
    main = importlib.import_module('prepare_dfew').main
    assert main(['--root', str(dfew), '--folds', '1']) == 2
    shown = capsys.readouterr().err
    assert 'train_set_1: 7 rows, published are 9,356' in shown
    assert 'test_set_1: 1 x fear, published are 181' in shown
    assert '--accept-counts' in shown and not (dfew / 'prepared').exists()


def test_errors_of_the_user_end_with_two(tmp_path, dfew, capsys):
    assert run('dfew', tmp_path / 'nowhere') == 2
    assert 'nowhere does not exist; check --root' in capsys.readouterr().err
    assert run('dfew', dfew, '--folds', 3) == 2
    assert 'train_set_3.csv or EmoLabel' in capsys.readouterr().err
    assert run('dfew', dfew, '--folds', 1, '--media', 'elsewhere') == 2
    assert 'elsewhere: the folder of the media does not exist' in capsys.readouterr().err
    assert run('dfew', dfew, '--folds', 1, '--time-limit', 0) == 2
    with pytest.raises(SystemExit, match='2'):
        run('dfew', dfew, '--folds', 6)


# ---- sizes

def sample_list(name, task, labels, fold=None, first=0):
    samples = [Sample(str(i), str(i), label) for i, label in enumerate(labels, start=first)]
    return SampleList(name, task, name.split('_')[0], 'video', '.', samples, fold=fold)


def test_published_sizes_add_up():
    for (task, name), one in published.PUBLISHED.items():
        assert task in published.SOURCES and one.rows > 0, (task, name)
        if one.classes:
            assert sum(one.classes.values()) == one.rows
            assert set(one.classes) == set(class_names(task))
    for task, totals in published.FOLD_TOTALS.items():
        for fold in range(1, 6):
            pair = [published.PUBLISHED[task, f'{split}_set_{fold}'].rows
                    for split in ('train', 'test')]
            assert sum(pair) == sum(totals.values())
        tests = [published.PUBLISHED[task, f'test_set_{fold}'].rows for fold in range(1, 6)]
        assert sum(tests) == sum(totals.values()), 'the test folds are a partition'


def test_every_difference_is_told():
    counts = published.PUBLISHED['rafdb', 'test'].classes
    labels = [name for name, count in counts.items() for _ in range(count)]
    right = sample_list('test', 'rafdb', labels)
    assert published.differences([right]) == dict(test=[])
    wrong = sample_list('test', 'rafdb', ['fear', *labels[1:], 'fear'])
    assert published.differences([wrong]) == dict(test=[
        '3,069 rows, published are 3,068', '328 x surprise, published are 329',
        '76 x fear, published are 74'])
    train = sample_list('train', 'dfew', ['fear'] * 3, 1)
    test = sample_list('test', 'dfew', ['fear'] * 3, 1, first=2)
    assert '1 samples are in train too, e.g. 2' in published.differences([train, test])['test']


def test_published_lists_have_the_published_sizes(tmp_path):
    if not (LISTS / 'dfew_test_set_1.csv').is_file():
        pytest.skip('the published lists are not part of this repository')
    folds = {'dfew': ('EmoLabel_DataSplit/{split}(single-labeled)/{split}_set_1.csv',
                      'dfew_{split}_set_1.csv'),
             'mafw': ('anno/single/no_caption/set_1/{split}.csv', 'mafw_set_1_{split}.csv')}
    for task, (place, name) in folds.items():
        for split in ('train', 'test'):
            path = tmp_path / task / place.format(split=split)
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(LISTS / name.format(split=split), path)
        arguments = argparse.Namespace(root=tmp_path / task, media=None, folds=[1])
        lists = importlib.import_module(f'prepare_{task}').read_lists(arguments)
        assert published.differences(lists) == dict(train_set_1=[], test_set_1=[])


# ---- the other layouts

def test_ferv39k_in_both_layouts(tmp_path):
    words = dict(anger='Angry', disgust='Disgust', fear='Fear', happiness='Happy',
                 neutral='Neutral', sadness='Sad', surprise='Surprise')
    clips = [f'{scene}/{word}/{i:04d}' for i, (scene, word) in enumerate(
        (scene, word) for scene in ('Crime', 'School') for word in words.values())]
    for clip in clips:
        write_frames(tmp_path / '2_ClipsforFaceCrop' / clip, 2)
    for split, part in (('train', clips[:7]), ('test', clips[7:])):
        write(tmp_path / f'4_setups/All_scenes/{split}_All.csv',
              ''.join(f'{clip} {clip.split("/")[1]}\n' for clip in part))
    assert run('ferv39k', tmp_path) == 0
    words_lists = {split: rows(tmp_path, split) for split in ('train', 'test')}
    for split, part in (('train', clips[:7]), ('test', clips[7:])):
        write(tmp_path / f'Annotation/{split}.csv', 'path,id\n'
              + ''.join(f'{clip},{i}\n' for i, clip in enumerate(part)))
    assert run('ferv39k', tmp_path) == 0
    for split in ('train', 'test'):
        found = rows(tmp_path, split)
        assert found == words_lists[split]
        assert [row['label'] for row in found] == list(words)
        assert [row['scene'] for row in found] == ['Crime' if split == 'train' else 'School'] * 7
    write(tmp_path / 'Annotation/test.csv', 'path,id\nSchool/Sad/0012,3\n')
    assert run('ferv39k', tmp_path) == 2


def test_mafw_in_both_layouts(tmp_path):
    classes = class_names('mafw')
    for number in range(1, 12):
        write_frames(tmp_path / 'frames_crop_align_224' / f'{number:05d}', 1)
    for split, part in (('train', range(1, 8)), ('test', range(8, 12))):
        write(tmp_path / f'Train & Test Set/single/no_caption/set_2/{split}.txt',
              ''.join(f'{i:05d}.mp4 {classes[i - 1]}\n' for i in part))
    assert run('mafw', tmp_path, '--folds', 2) == 0
    from_words = {split: rows(tmp_path, f'{split}_set_2') for split in ('train', 'test')}
    for split, part in (('train', range(1, 8)), ('test', range(8, 12))):
        write(tmp_path / f'anno/single/no_caption/set_2/{split}.csv',
              'video_name,labels\n' + ''.join(f'{i:05d},{i - 1}\n' for i in part))
    assert run('mafw', tmp_path, '--folds', 2) == 0
    assert {split: rows(tmp_path, f'{split}_set_2') for split in ('train', 'test')} == from_words
    assert [row['label'] for split in ('train', 'test') for row in from_words[split]] == \
        list(classes)


def test_affectnet7_to_the_data_set(tmp_path):
    for split in ('train', 'test'):
        names = [f'{i}/a b{i}_aligned/face_det_000000.bmp' for i in range(7)]
        for name in names:
            image(tmp_path / 'Manually_Annotated_Images' / split / name)
        write(tmp_path / f'{split}_affectnet7_2w.txt',
              ''.join(f'{split}/{name} {i}\n' for i, name in enumerate(names)))
    assert run('affectnet7', tmp_path) == 0
    dataset = DATASETS.build(dict(
        type='ExpressionImageDataset', task='affectnet7', data_root=str(tmp_path), pipeline=[],
        ann_file='prepared/test.csv', data_prefix=dict(media='Manually_Annotated_Images')))
    assert dataset.labels.tolist() == list(range(7))
    assert all(Path(dataset.get_data_info(i)['filename']).is_file() for i in range(7))


@pytest.mark.parametrize('header', [True, False])
def test_affectnet8_full_release(tmp_path, header):
    columns = ('subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,'
               'expression,valence,arousal\n')
    for name, labels in (('training', [*range(11), 8]), ('validation', range(8))):
        lines = []
        for i, label in enumerate(labels):
            path = f'{name}/{i}.jpg'
            image(tmp_path / 'Manually_Annotated_Images' / path)
            lines.append(f'{path},1,2,30,40,1.5;2.5;3.5,{label},0.1,-2\n')
        write(tmp_path / f'{name}.csv',
              (columns if header or name == 'training' else '') + ''.join(lines))
    assert run('affectnet8', tmp_path) == 0
    assert [row['label'] for row in rows(tmp_path, 'train')] == list(class_names('affectnet8'))
    assert [row['label'] for row in rows(tmp_path, 'val')] == list(class_names('affectnet8'))
    assert manifest(tmp_path, 'train')['left_out'] == {'no face': 1, 'none': 2, 'uncertain': 1}
    write(tmp_path / 'validation.csv', columns + 'a.jpg,1,2\n')
    assert run('affectnet8', tmp_path) == 2


def test_affectnet8_smaller_release(tmp_path, capsys):
    for split in ('train', 'val'):
        for number in range(12):
            image(tmp_path / f'{split}_set/images/{number}.jpg')
            folder = tmp_path / f'{split}_set/annotations'
            folder.mkdir(exist_ok=True)
            # ids are stored as text or as numbers
            label = np.array(str(number % 8)) if split == 'train' else np.array(number % 8)
            np.save(folder / f'{number}_exp.npy', label)
            np.save(folder / f'{number}_val.npy', np.array(0.5))
    assert run('affectnet8', tmp_path) == 0
    expected = [class_names('affectnet8')[i % 8] for i in range(12)]
    for split in ('train', 'val'):
        assert [row['label'] for row in rows(tmp_path, split)] == expected, 'numerical order'
        assert rows(tmp_path, split)[11]['path'] == f'{split}_set/images/11.jpg'
    first = manifest(tmp_path, 'val')['official_list']['sha256']
    np.save(tmp_path / 'val_set/annotations/3_exp.npy', np.array(4))
    run('affectnet8', tmp_path)
    assert manifest(tmp_path, 'val')['official_list']['sha256'] != first
    np.save(tmp_path / 'val_set/annotations/3_exp.npy', np.array([{}]), allow_pickle=True)
    assert run('affectnet8', tmp_path) == 2
    assert '3_exp.npy: expected a NumPy file of one class id' in capsys.readouterr().err


def test_rafdb(tmp_path):
    lines = []
    for split, count in (('train', 8), ('test', 7)):
        for i in range(count):
            image(tmp_path / f'Image/aligned/{split}_{i:05d}_aligned.jpg')
            lines.append(f'{split}_{i:05d}.jpg {i % 7 + 1}\n')
    write(tmp_path / 'EmoLabel/list_patition_label.txt', ''.join(lines))
    assert run('rafdb', tmp_path) == 0
    assert [row['label'] for row in rows(tmp_path, 'test')] == list(class_names('rafdb'))
    assert rows(tmp_path, 'train')[7] == dict(sample_id='train_00007', label='surprise',
                                              path='train_00007_aligned.jpg')
    write(tmp_path / 'EmoLabel/list_patition_label.txt', 'train_0.jpg 0\n')
    assert run('rafdb', tmp_path) == 2


def plain_majority(votes):
    """The published rule for one image, step by step."""
    votes = [vote if vote > 1 else 0 for vote in votes]
    for place, vote in enumerate(votes):
        if vote > sum(votes) - vote:
            return place
    return -1


@settings(max_examples=300, deadline=None)
@given(arrays(np.int64, (7, 10), elements=st.integers(0, 10)))
def test_majority_of_ferplus(votes):
    majority = importlib.import_module('prepare_ferplus').majority
    assert majority(votes).tolist() == [plain_majority(row.tolist()) for row in votes]


def test_ferplus(tmp_path):
    lines = ['Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,'
             'unknown,NF']
    lines += ['Training,fer0000000.png,4,0,0,1,3,2,0,0,0,0',   # 4 of 9: no majority
              'Training,fer0000001.png,6,0,1,1,0,0,0,0,2,0',   # 6 of 8
              'Training,fer0000002.png,5,0,0,3,1,0,0,0,1,0',   # 5 of 8
              'Training,,0,0,0,0,0,0,0,0,0,10',
              'PublicTest,fer0028638.png,0,0,6,0,0,0,4,0,0,0',
              'PublicTest,fer0028639.png,0,0,0,0,2,0,0,1,7,0',  # unknown
              'PrivateTest,fer0032220.png,0,0,0,1,0,0,1,8,0,0',
              'PrivateTest,fer0032221.png,0,0,0,0,0,0,2,0,0,8']
    write(tmp_path / 'fer2013new.csv', '\n'.join(lines) + '\n')
    for name in ('Train/fer0000001', 'Train/fer0000002', 'Valid/fer0028638', 'Test/fer0032220'):
        image(tmp_path / f'data/FER2013{name}.png', 48)
    assert run('ferplus', tmp_path) == 0
    assert [row['label'] for row in rows(tmp_path, 'train')] == ['neutral'] * 2
    path = 'FER2013Valid/fer0028638.png'
    assert rows(tmp_path, 'val') == [dict(sample_id=path, path=path, label='surprise')]
    assert [row['label'] for row in rows(tmp_path, 'test')] == ['contempt']
    assert manifest(tmp_path, 'train')['left_out'] == {'no image name': 1, 'no majority': 1}
    assert manifest(tmp_path, 'val')['left_out'] == {'unknown': 1}
    assert manifest(tmp_path, 'test')['left_out'] == {'NF': 1}
    write(tmp_path / 'fer2013new.csv', '\n'.join(lines).replace('6,0,1', '6,x,1') + '\n')
    assert run('ferplus', tmp_path) == 2


def test_voxceleb2_for_pre_training(tmp_path):
    clips = ['id00012/21Uxsk56VDQ/00001', 'id00012/21Uxsk56VDQ/00002',
             'id00015/0fijmz4vTVU/00001']
    for clip in clips:
        (tmp_path / 'dev/mp4' / clip).parent.mkdir(parents=True, exist_ok=True)
        write_video(tmp_path / 'dev/mp4' / f'{clip}.mp4')
    write(tmp_path / 'dev/mp4/id00012/notes.txt', 'x')
    assert run('voxceleb2', tmp_path) == 0
    assert manifest(tmp_path, 'voxceleb2_dev')['left_out'] == {'not subject/video/clip.mp4': 1}
    dataset = DATASETS.build(dict(
        type='ExpressionVideoDataset', task='unlabelled', data_root=str(tmp_path), pipeline=[],
        ann_file='prepared/voxceleb2_dev.csv', data_prefix=dict(media='dev/mp4')))
    infos = [dataset.get_data_info(i) for i in range(3)]
    assert [info['groups']['subject'] for info in infos] == ['id00012', 'id00012', 'id00015']
    assert [info['filename'] for info in infos] == [str(tmp_path / f'dev/mp4/{clip}.mp4')
                                                    for clip in clips]
    assert all('label' not in info for info in infos)


def test_any_folder(tmp_path, capsys):
    for folder in ('Happy', 'anger'):
        (tmp_path / folder).mkdir()
        write_video(tmp_path / folder / 'clip, "one".mp4')
        image(tmp_path / folder / 'Bild ü.JPG')
    write(tmp_path / 'anger/readme.md', 'x')
    assert run('folder', tmp_path) == 0
    assert [row['label'] for row in rows(tmp_path, 'videos')] == ['', '']
    assert run('folder', tmp_path, '--label-from-folder', 'dfew') == 0, 'prepared/ is no media'
    for name, file in (('videos', 'clip, "one".mp4'), ('images', 'Bild ü.JPG')):
        assert [(row['path'], row['label']) for row in rows(tmp_path, name)] == [
            (f'Happy/{file}', 'happiness'), (f'anger/{file}', 'anger')]
    assert manifest(tmp_path, 'images')['left_out'] == {'.md': 1}
    image(tmp_path / 'joy' / 'x.jpg')
    assert run('folder', tmp_path, '--label-from-folder', 'dfew') == 2
    assert "joy/x.jpg: 'joy' is no class of 'dfew'" in capsys.readouterr().err
    image(tmp_path / 'two\nlines.png')
    assert run('folder', tmp_path) == 2, 'such a name cannot stand in a list'


@pytest.mark.parametrize('tool', TOOLS)
def test_help_names_the_layout(tool, capsys):
    with pytest.raises(SystemExit, match='0'):
        importlib.import_module(f'prepare_{tool}').main(['--help'])
    shown = capsys.readouterr().out
    assert '--accept-counts' in shown and 'below ROOT' in shown
