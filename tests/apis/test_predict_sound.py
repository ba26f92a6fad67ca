"""Predictions with sound, by an untrained model that sees and hears: whatever track a video has."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import DefaultScope
from speech import speech, voice_like, write_sound

from unilearn_mm.apis.inferencer import ExpressionInferencer
from unilearn_mm.apis.tables import classes_of, read_table, write_table

CONFIGS = Path(__file__).parents[2] / 'configs'
FRAMES = 75  # 3 s: windows of 32 frames at 0, 1 and, with the end, 1.72 s


@pytest.fixture(scope='module')
def infer(tmp_path_factory):
    config = Config.fromfile(CONFIGS / 'mma_dfer_toy.py')
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmaction'):
        model = MODELS.build(config.model)
    model.init_weights()
    for name, parameter in model.named_parameters():
        if 'gate' in name:
            torch.nn.init.constant_(parameter, 0.5)  # they start at 0, where nothing is fused
    path = tmp_path_factory.mktemp('weights') / 'epoch_0.pth'
    torch.save(dict(meta={}, state_dict=model.state_dict()), path)
    return ExpressionInferencer(CONFIGS / 'mma_dfer_toy.py', path, 'cpu', show_progress=False)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('films')


def pictures():
    rng = np.random.default_rng(0)
    return np.repeat(rng.integers(0, 256, (FRAMES // 15, 64, 64, 3), np.uint8), 15, axis=0)


def probabilities(table):
    return table[[f'p_{name}' for name in classes_of(table)]].to_numpy()


def film(folder, name, samples, rate, encoder='flac'):
    path = folder / name
    write_sound(path, samples, rate, encoder, pictures())
    return str(path)


@pytest.fixture(scope='module')
def voice(folder):
    return speech(16000, folder)[:3 * 16000]


@pytest.fixture(scope='module')
def mute(folder, voice):
    """The film without a track, encoded as the others are."""
    import av
    path = film(folder, 'with_track.mkv', voice, 16000)
    with av.open(path) as source, av.open(str(folder / 'mute.mkv'), 'w') as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    return str(folder / 'mute.mkv')


def predict(infer, path, **options):
    return infer(path, faces='none', mode='timeline', **options)


def test_any_track_is_predicted_and_the_row_says_what_was_heard(infer, folder, voice, mute):
    """No track, a silent one, 8 channels of 48 kHz, 8 kHz mono, sound shorter than the video."""
    loud = speech(48000, folder)[:3 * 48000]
    eight = np.stack([loud if channel == 0 else 0 * loud for channel in range(8)])
    films = {
        mute: ['none'] * 3,
        film(folder, 'silent.mkv', 0 * voice, 16000): ['silent'] * 3,
        film(folder, 'eight.mp4', eight, 48000, 'aac'): ['ok'] * 3,
        film(folder, 'narrow.mkv', speech(8000, folder)[:3 * 8000], 8000): ['ok'] * 3,
        film(folder, 'short.mkv', loud[:int(1.2 * 48000)], 48000): ['ok', 'partly', 'none']}
    table = infer(list(films), faces='none', mode='timeline')
    assert list(table.columns)[-2:] == ['sound', 'status']
    assert (table['status'] == 'ok').all() and (table['label'] != '').all()
    np.testing.assert_allclose(probabilities(table).sum(1), 1, atol=1e-5)
    for path, states in films.items():
        assert table[table['input'] == path]['sound'].tolist() == states, path
    own = {Path(path).stem: probabilities(table[table['input'] == path]) for path in films}
    heard = probabilities(predict(infer, film(folder, 'plain.mkv', voice, 16000)))
    assert np.abs(heard - own['mute']).max() > 1e-4, 'the sound changes the prediction'
    assert np.abs(own['silent'] - own['mute']).max() > 1e-4, 'silence is not missing sound'
    # what has no sound is scored as if it had never had a track
    np.testing.assert_allclose(own['short'][2], own['mute'][2], atol=1e-5)
    # resampled to the rate of the training; the same voice
    np.testing.assert_allclose(own['eight'], heard, atol=0.02)
    for suffix in ('csv', 'parquet', 'jsonl'):
        write_table(table, folder / f'table.{suffix}')
        assert read_table(folder / f'table.{suffix}')['sound'].tolist() == table['sound'].tolist()


def test_a_window_hears_its_own_time(infer, folder, voice):
    """Other sound in the last half second changes the windows that reach it, and no other."""
    changed = voice.copy()
    changed[int(2.5 * 16000):] = voice_like(16000, 0.5).astype(np.float32)
    one, other = (probabilities(predict(infer, film(folder, f'{name}.mkv', samples, 16000)))
                  for name, samples in (('one', voice), ('other', changed)))
    differences = np.abs(one - other).max(1)
    assert differences[0] == 0 and differences[1] == 0 and differences[2] > 1e-4


def test_the_official_way_hears_the_begin_of_the_file(infer, folder, voice, monkeypatch):
    path = film(folder, 'begin.mkv', voice, 16000)
    pipeline = infer.pipelines['video', False]
    decode = next(one for one in pipeline.transforms if type(one).__name__ == 'DecodeSound')
    own = probabilities(predict(infer, path))
    monkeypatch.setattr(decode, 'of', 'file')
    official = probabilities(predict(infer, path))
    assert np.abs(own[2] - official[2]).max() > 1e-4


def test_sound_beside_a_video_without_a_track(infer, folder, voice, mute):
    track = probabilities(predict(infer, film(folder, 'track.mkv', voice, 16000)))
    write_sound(folder / 'mute.wav', voice, 16000)
    found = predict(infer, mute)
    (folder / 'mute.wav').unlink()
    assert (found['sound'] == 'ok').all()
    np.testing.assert_allclose(probabilities(found), track, atol=1e-5)


def test_a_whole_clip_is_scored_with_its_sound(infer, folder, voice, mute):
    """Mode clip of face crops: the sound of the whole file, as a test hears it."""
    path = film(folder, 'clip.mkv', voice, 16000)
    with_sound, without = (infer(one, faces='none', mode='clip') for one in (path, mute))
    assert with_sound['sound'].tolist() == ['ok'] and without['sound'].tolist() == ['none']
    assert np.abs(probabilities(with_sound) - probabilities(without)).max() > 1e-4


def test_damaged_sound_is_left_out(infer, folder, voice, mute, monkeypatch):
    path = film(folder, 'damaged.mkv', voice, 16000)
    content = bytearray(Path(path).read_bytes())
    header = content.index(b'fLaC') + 8
    content[header + 10:header + 14] = b'\xff\xff\xff\xff'  # a rate that no sound has
    Path(path).write_bytes(content)
    found = predict(infer, path)
    assert (found['status'] == 'ok').all() and (found['sound'] == 'damaged').all()
    np.testing.assert_allclose(probabilities(found), probabilities(predict(infer, mute)), atol=1e-5)


def test_sound_without_a_face(infer, folder, voice):
    """No face in noise: rows without a label, or on demand those of the sound alone."""
    path = film(folder, 'faceless.mkv', voice[:2 * 16000], 16000)
    plain = infer(path, mode='timeline')
    assert plain['status'].tolist() == ['no face'] and plain['label'].tolist() == ['']
    alone = infer(path, mode='timeline', sound_alone=True)
    assert alone['status'].tolist() == ['sound alone', 'sound alone']
    assert alone['sound'].tolist() == ['ok', 'partly'] and (alone['label'] != '').all()
    assert (alone['face'] == -1).all() and (alone['frames'] == 0).all()
    assert alone['start_s'].tolist() == pytest.approx([0, 1.5])
    assert np.abs(np.diff(probabilities(alone), axis=0)).max() > 1e-4
