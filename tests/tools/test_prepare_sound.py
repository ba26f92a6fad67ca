"""Lists of clips with their sound, and the lists of MMA-DFER."""

import numpy as np
import pytest
from media_files import write_frames
from mmaction.registry import DATASETS
from speech import voice_like, write_sound
from test_prepare import manifest, rows, run, write

from unilearn_mm.datasets.label_spaces import class_names

# MMA-DFER's id -> S2D's id of the same class of MAFW, as the lists of both were compared
MMA_TO_S2D = {0: 6, 1: 9, 2: 8, 3: 0, 4: 10, 5: 4, 6: 5, 7: 2, 8: 1, 9: 7, 10: 3}


def clips(root, folder, names):
    for name in names:
        write_frames(root / folder / name, num_frames=2)


def test_the_lists_of_mma_dfer_name_the_same_classes(tmp_path):
    names = [f'{number:05d}' for number in range(1, 23)]
    clips(tmp_path, 'faces', names)
    for place, (split, part) in enumerate((('train', names[:11]), ('test', names[11:]))):
        write(tmp_path / f'annotation/MAFW_set_1_{split}_faces.txt', ''.join(
            f'/scratch/someone/mfaw/clips_faces/{name} 103 {label}\n'
            for label, name in enumerate(part)))
        write(tmp_path / f'annotation/DFEW_set_1_{split}.txt', ''.join(
            f'/scratch/someone/dfew/clip_224x224/{name} 66 {label}\n'
            for label, name in enumerate(names[7 * place:7 * place + 7])))
    assert run('mafw', tmp_path, '--folds', 1, '--media', 'faces') == 0
    for split in ('train', 'test'):
        data = DATASETS.build(dict(
            type='ExpressionVideoDataset', task='mafw', data_root=str(tmp_path), pipeline=[],
            ann_file=f'prepared/{split}_set_1.csv', data_prefix=dict(media='faces')))
        assert data.labels.tolist() == [MMA_TO_S2D[label] for label in range(11)]
    assert run('dfew', tmp_path, '--folds', 1, '--media', 'faces') == 0
    assert [row['label'] for row in rows(tmp_path, 'train_set_1')] == list(class_names('dfew'))
    assert [row['path'] for row in rows(tmp_path, 'train_set_1')] == names[:7]


@pytest.mark.parametrize('line', ['clips_faces/00001 103', 'clips_faces/00001 103 11', '00001,3'])
def test_rows_that_are_none_are_named(tmp_path, line, capsys):
    for split in ('train', 'test'):
        write(tmp_path / f'annotation/MAFW_set_1_{split}_faces.txt', f'a/00002 5 3\n{line}\n')
    assert run('mafw', tmp_path, '--folds', 1) == 2
    assert f"faces.txt, line 2: '{line}' is no row FRAME_FOLDER NUM_FRAMES" in (
        capsys.readouterr().err)


def test_sound_is_found_and_what_lacks_it_is_named(tmp_path, capsys):
    """DFEW's raw_wav has names without zeros; what has none is counted, and trains where it may."""
    names = [f'{number:05d}' for number in range(1, 15)]
    clips(tmp_path, 'clip_jpg_256', names)
    sound = voice_like(16000, 0.2).astype(np.float32)
    for number in range(1, 14):
        (tmp_path / 'raw_wav').mkdir(exist_ok=True)
        write_sound(tmp_path / f'raw_wav/{number}.wav', sound, 16000)
    for split, part in (('train', range(1, 8)), ('test', range(8, 15))):
        write(tmp_path / f'EmoLabel_DataSplit/{split}(single-labeled)/set_1.csv',
              'video_name,label\n' + ''.join(f'{i},{(i - 1) % 7 + 1}\n' for i in part))
    assert run('dfew', tmp_path, '--folds', 1, '--sound', 'raw_wav') == 0
    shown = capsys.readouterr().out
    assert 'test_set_1: 1 samples have no sound in raw_wav, e.g. 00014' in shown
    assert [row['audio'] for row in rows(tmp_path, 'train_set_1')] == [
        f'{number}.wav' for number in range(1, 8)]
    assert manifest(tmp_path, 'train_set_1')['sound'] == dict(folder='raw_wav', without=[])
    assert manifest(tmp_path, 'test_set_1')['sound'] == dict(folder='raw_wav', without=['00014'])
    data = DATASETS.build(dict(
        type='ExpressionVideoDataset', task='dfew', data_root=str(tmp_path), pipeline=[
            dict(type='DecodeSound', on_missing='allow'), dict(type='SoundFbank')],
        ann_file='prepared/test_set_1.csv', on_missing_sound='allow',
        data_prefix=dict(media='clip_jpg_256', audio='raw_wav')))
    assert [data[index]['sound'] for index in range(7)] == ['ok'] * 6 + ['none']
    for folder, message in (('nowhere', 'nowhere: the folder of the sound does not exist'),
                            ('EmoLabel_DataSplit', 'none of the 7 samples of train_set_1 has so')):
        assert run('dfew', tmp_path, '--folds', 1, '--sound', folder) == 2
        assert message in capsys.readouterr().err
    assert run('dfew', tmp_path, '--folds', 1) == 0
    assert 'audio' not in rows(tmp_path, 'train_set_1')[0]
    assert manifest(tmp_path, 'train_set_1')['sound'] is None
