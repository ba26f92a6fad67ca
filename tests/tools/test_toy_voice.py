"""Properties of the voices that ``tools/data/make_toy_faces.py --voice`` adds to the toy clips."""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.io import wavfile
from test_make_toy_faces import TINY, hashes, make, read_table

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / 'tools' / 'data'))

from toy_faces import dataset, samples
from toy_faces.voice import RATE, draw_manner, draw_speaker, speak

from unilearn_mm.datasets.log_mel import log_mel

COUNT = 40  # voices of a class


@pytest.fixture(scope='module')
def voiced(tmp_path_factory):
    out = tmp_path_factory.mktemp('voiced') / 'set'
    assert make(out, '--voice', counts=TINY) == 0
    return out


def test_without_the_flag_the_set_is_the_one_it_was(voiced, tmp_path):
    """No file more, no other byte: with it, only faces of fear and surprise may change."""
    assert make(tmp_path / 'plain', counts=TINY) == 0
    plain, with_voice = hashes(tmp_path / 'plain'), hashes(voiced)
    manifest = json.loads((tmp_path / 'plain' / 'manifest.json').read_text())
    assert 'voice' not in manifest['arguments'] and not any('sound' in name for name in plain)
    table = read_table(voiced)
    sounds = {name for name in with_voice if name.startswith('toy_video/sound/')}
    assert set(with_voice) - sounds == set(plain)
    clips = table[table.source == 'toy_video']
    assert sounds == {f'toy_video/sound/{name}.wav' for name in clips.sample_id}
    alike = clips[clips.expression.isin(['fear', 'surprise'])]
    for name, digest in plain.items():
        if not any(name.startswith(path) for path in alike.path):
            assert with_voice[name] == digest or name in ('manifest.json', 'samples.csv')


def test_the_same_arguments_give_the_same_voices(voiced, tmp_path):
    assert make(tmp_path / 'again', '--voice', '--workers', '1', counts=TINY) == 0
    assert hashes(tmp_path / 'again') == hashes(voiced)
    assert make(tmp_path / 'mini', '--voice') == 0
    next((tmp_path / 'mini' / 'toy_video' / 'sound').iterdir()).unlink()
    before = hashes(tmp_path / 'mini')
    assert make(tmp_path / 'mini', '--voice') == 0
    assert len(hashes(tmp_path / 'mini')) == len(before) + 1, 'a lost voice is made again'


def test_a_voice_lasts_as_long_as_its_clip(voiced):
    clips = read_table(voiced).query('source == "toy_video"')
    for name, frames in zip(clips.sample_id, clips.num_frames):
        rate, sound = wavfile.read(voiced / 'toy_video' / 'sound' / f'{name}.wav')
        assert rate == RATE and sound.dtype == np.int16 and sound.ndim == 1
        assert len(sound) == round(frames / 25 * rate)
        assert 300 < np.abs(sound.astype(int)).max() <= 32767


def test_faces_of_fear_and_surprise_are_drawn_from_the_same():
    """In a set with voices; all other faces show what they are labelled with."""
    settings = samples.Settings(voice=True, video_train=1400)
    clips = pd.DataFrame([(sample.expression, dataset.shown_expression(sample, settings))
                          for sample in samples.plan(settings) if sample.source == 'toy_video'],
                         columns=['label', 'face'])
    for label, faces in clips.groupby('label').face:
        if label in ('fear', 'surprise'):
            assert set(faces) == {'fear', 'surprise'}
            assert abs((faces == 'fear').mean() - 0.5) < 4 * 0.5 / np.sqrt(len(faces))
        else:
            assert set(faces) == {label}
    plain = samples.Settings()
    assert all(dataset.shown_expression(sample, plain) == sample.expression
               for sample in samples.plan(plain))


@pytest.fixture(scope='module')
def heard():
    """expression -> (COUNT, 4 * 128): simple statistics of the features of its voices."""
    found = {}
    for expression in ('sad', 'neutral', 'angry', 'disgust', 'surprise', 'fear', 'happy'):
        rows = []
        for number in range(COUNT):
            rng = np.random.default_rng([number, len(expression), ord(expression[0])])
            manner = draw_manner(expression, 0.0 if expression == 'neutral' else 0.8, rng)
            sound = speak(manner, draw_speaker(rng), 0.9, 0.4, rng).astype(np.float32)
            frames = log_mel(sound, RATE).frames
            rows.append(np.concatenate([frames.mean(0), frames.std(0), frames.max(0),
                                        np.abs(np.diff(frames, axis=0)).mean(0)]))
        found[expression] = np.array(rows)
    return found


def told_apart(first, second):
    """Share of held-out voices that are nearer to the mean of their own class."""
    scale = np.concatenate([first, second]).std(0)
    heard = scale > 0  # a mel bin may be empty
    first, second, scale = first[:, heard], second[:, heard], scale[heard]
    means = [part[:COUNT // 2].mean(0) for part in (first, second)]
    right = []
    for place, part in enumerate((first, second)):
        distances = [(((part[COUNT // 2:] - mean) / scale) ** 2).sum(1) for mean in means]
        right.append(np.argmin(distances, 0) == place)
    return np.mean(right)


def test_ears_tell_apart_what_eyes_cannot(heard):
    assert told_apart(heard['fear'], heard['surprise']) > 0.9
    for first, second in (('happy', 'sad'), ('angry', 'neutral'), ('fear', 'angry')):
        guessing = 0.5 + 3 * 0.5 / np.sqrt(COUNT)
        assert told_apart(heard[first], heard[second]) > guessing, (first, second)


@pytest.mark.parametrize('first, second', [('angry', 'disgust')])
def test_ears_confuse_what_eyes_tell_apart(heard, first, second):
    """40 held-out voices: within 3 standard deviations of guessing. (Neutral faces have no peak, so
    that their voices are calm, and so are sad ones of any.)"""
    assert abs(told_apart(heard[first], heard[second]) - 0.5) < 3 * 0.5 / np.sqrt(COUNT)


def test_a_calm_voice_is_calm_at_every_intensity():
    def drawn(expression, peak):
        return draw_manner(expression, peak, np.random.default_rng(0))
    assert drawn('sad', 1.0) == drawn('sad', 0.5) == drawn('neutral', 0.0)
    assert drawn('fear', 1.0).pitch > drawn('fear', 0.5).pitch > drawn('neutral', 0.0).pitch
