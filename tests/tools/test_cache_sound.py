"""Features that tools/data/cache_sound.py keeps are those that a recipe would compute."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
from media_files import write_video
from mmaction.registry import DATASETS
from speech import voice_like, write_sound

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / 'tools' / 'data'))
main = importlib.import_module('cache_sound').main

PIPELINE = [dict(type='DecodeSound', on_missing='allow'), dict(type='SoundFbank')]


@pytest.fixture
def root(tmp_path):
    (tmp_path / 'sound' / 'scene').mkdir(parents=True)
    sound = voice_like(22050, 0.7).astype(np.float32)
    write_sound(tmp_path / 'sound' / '1.wav', sound, 22050)
    write_sound(tmp_path / 'sound' / 'scene' / '00002.mp4', sound, 22050, 'aac',
                np.zeros((18, 32, 32, 3), np.uint8))
    write_video(tmp_path / 'sound' / 'mute.mp4')
    return tmp_path


def run(root, *more):
    return main(['--sound', str(root / 'sound'), '--out', str(root / 'cache'), *more])


def test_a_data_set_reads_the_same_from_the_cache(root, capsys):
    assert run(root) == 0
    shown = capsys.readouterr().out
    assert '1 videos have no sound track, e.g. mute.mp4' in shown and '2 of 3 files' in shown
    for clip in ('00001', 'scene/00002', 'mute'):
        (root / 'clips' / clip).mkdir(parents=True)
    for content in ('video_name,label\n00001,0\nscene/00002,1\nmute,2\n',
                    'sample_id,path,label,audio\na,00001,anger,1.wav\n'
                    'b,scene/00002,anger,scene/00002.mp4\nc,mute,anger,\n'):
        (root / 'list.csv').write_text(content)
        found = {}
        for folder in ('sound', 'cache'):
            data = DATASETS.build(dict(
                type='ExpressionVideoDataset', task='dfew', ann_file='list.csv',
                data_root=str(root), data_prefix=dict(media='clips', audio=folder),
                on_missing_sound='allow', pipeline=PIPELINE))
            found[folder] = [data[index] for index in range(3)]
        for decoded, cached in zip(found['sound'], found['cache']):
            np.testing.assert_allclose(cached['audios'], decoded['audios'], atol=1e-4)
            assert cached['sound'] == decoded['sound']
            assert cached.get('audio_path', '').endswith('.safetensors') or (
                cached['sound'] == 'none')


def test_a_run_goes_on_and_does_again_what_changed(root, capsys):
    assert run(root) == 0
    times = {path: path.stat().st_mtime_ns for path in (root / 'cache').rglob('*.safetensors')}
    assert run(root) == 0
    assert '3 files: 2 cached already, 1 to do' in capsys.readouterr().out
    assert times == {path: path.stat().st_mtime_ns for path in times}
    write_sound(root / 'sound' / '1.wav', np.zeros(9000, np.float32), 8000)
    (root / 'cache' / 'scene' / '00002.safetensors').write_bytes(b'half')
    assert run(root) == 0
    assert '0 cached already' in capsys.readouterr().out
    assert run(root, '--sample-rate', '16000') == 2
    assert "the recipe wants ('1', '16000')" in capsys.readouterr().err
    assert run(root, '--sample-rate', '16000', '--overwrite') == 0


def test_what_cannot_be_read_is_named(root, capsys):
    (root / 'sound' / 'bad.wav').write_bytes(b'RIFF and no more')
    assert run(root) == 1
    assert 'bad.wav: the sound cannot be decoded' in capsys.readouterr().err
    (root / 'sound' / '1.mp4').write_bytes(b'')
    assert run(root) == 2
    assert 'would both become' in capsys.readouterr().err
    assert main(['--sound', str(root / 'nowhere'), '--out', str(root)]) == 2
