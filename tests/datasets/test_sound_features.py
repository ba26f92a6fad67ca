"""Sound of any file becomes the features that an independent restatement gives."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from media_files import write_frames, write_video
from mmengine.dataset import Compose
from scipy.io import wavfile
from speech import speech, voice_like, write_sound

from unilearn_mm.datasets.log_mel import (
    log_mel,
    num_frames_within,
    read_log_mel,
    write_log_mel,
)
from unilearn_mm.datasets.sound_reader import read_sound
from unilearn_mm.datasets.transforms import DecodeSound, OpenClip, SegmentFrames, SoundFbank
from unilearn_mm.media import MediaReadError

FLOOR = np.log(np.finfo(np.float32).eps)
RATES = (8000, 11025, 16000, 22050, 44100, 48000)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('sound')


@pytest.fixture(scope='module')
def spoken(folder):
    return {rate: speech(rate, folder) for rate in RATES}


def restated(samples, rate):
    """Kaldi's log-mel filter banks in double precision, as MMA-DFER sets them."""
    samples = np.asarray(samples, np.float64)
    window, shift = int(rate * 0.025), int(rate * 0.010)
    size = 1
    while size < window:
        size *= 2
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / (window - 1))
    edges = 1127 * np.log(1 + np.array([20, rate / 2]) / 700)
    points = np.linspace(*edges, 130)
    mel = 1127 * np.log(1 + np.arange(size // 2) * rate / size / 700)
    banks = np.zeros((128, size // 2))
    for number, (left, middle, right) in enumerate(zip(points, points[1:], points[2:])):
        rising, falling = (mel - left) / (middle - left), (right - mel) / (right - middle)
        banks[number] = np.maximum(0, np.minimum(rising, falling))
    rows = []
    for start in range(0, len(samples) - window + 1, shift):
        part = samples[start:start + window]
        part = part - part.mean()
        part = part - 0.97 * np.concatenate([part[:1], part[:-1]])
        power = np.abs(np.fft.fft(part * hann, size)) ** 2
        rows.append(np.log(np.maximum(banks @ power[:size // 2], np.finfo(np.float32).eps)))
    return np.array(rows), banks


@pytest.mark.parametrize('rate', RATES)
def test_features_equal_a_restatement_in_double_precision(spoken, rate):
    found = log_mel(spoken[rate], rate)
    expected, banks = restated(spoken[rate], rate)
    assert found.rate == rate and found.frames.dtype == np.float32
    assert found.frames.shape == expected.shape == (
        1 + (len(spoken[rate]) - int(0.025 * rate)) // int(0.01 * rate), 128)
    difference = np.abs(found.frames - expected)
    assert difference.max() < 1e-2 and np.median(difference) < 1e-5
    assert difference[expected > expected.max() - 12].max() < 5e-4
    assert (banks.max(1) == 0).sum() == {8000: 4, 16000: 1}.get(rate, 0)
    assert (found.frames[:, banks.max(1) == 0] == np.float32(FLOOR)).all()


def test_an_offset_of_the_sound_makes_no_difference(spoken):
    """So the mean of the whole file, which the official code takes off, need not be known."""
    offset = spoken[16000] + np.float32(0.125)
    expected = log_mel(spoken[16000], 16000).frames
    loud = expected > expected.max() - 15
    np.testing.assert_allclose(log_mel(offset, 16000).frames[loud], expected[loud], atol=2e-3)


@pytest.mark.parametrize('num_samples', [0, 1, 399, 400, 559, 560])
def test_sound_around_one_frame(num_samples):
    frames = log_mel(np.full(num_samples, 0.5, np.float32), 16000).frames
    assert frames.shape == (0 if num_samples < 400 else 1 if num_samples < 560 else 2, 128)
    assert num_frames_within(num_samples / 16000, 16000) == len(frames)


# ---- files


def test_integers_of_a_file_become_the_numbers_that_they_mean(folder):
    """-1 to 1; every sample format that a sound file has, the first of two channels."""
    ramp = np.linspace(-0.9, 0.9, 3001)
    for kind, scale, zero in ((np.uint8, 128, 128), (np.int16, 2**15, 0), (np.int32, 2**31, 0),
                              (np.float32, 1, 0), (np.float64, 1, 0)):
        stored = (np.round(ramp * scale) + zero if scale > 1 else ramp).astype(kind)
        wavfile.write(folder / 'kind.wav', 16000, np.stack([stored, stored[::-1]], 1))
        sound = read_sound(str(folder / 'kind.wav'), 0., 1.)
        assert sound.rate == 16000 and sound.samples.dtype == np.float32
        np.testing.assert_allclose(
            sound.samples, (stored.astype(np.float64) - zero) / scale, atol=1e-7, err_msg=kind)


def lag(first, second):
    """By how many samples the second sound is late."""
    size = 2 * len(first)
    curve = np.fft.irfft(np.fft.rfft(second, size) * np.conj(np.fft.rfft(first, size)))
    return (int(curve.argmax()) + size // 2) % size - size // 2


CODED = [('film.mp4', 'aac', True), ('sound.m4a', 'aac', False), ('film.mkv', 'flac', True),
         ('sound.mp3', 'libmp3lame', False), ('film.webm', 'libopus', False)]


@pytest.mark.parametrize('name, encoder, film', CODED)
def test_a_stretch_lies_where_players_play_it(folder, spoken, name, encoder, film):
    """What encoders put before the first sample is no sound; a stretch is that of the whole."""
    rate = 48000
    frames = np.zeros((150, 32, 32, 3), np.uint8) if film else None
    write_sound(folder / name, spoken[rate], rate, encoder, frames, bit_rate=128000)
    for start in (0., 0.5, 2.9):
        found = read_sound(str(folder / name), start, 0.8)
        assert found.rate == rate and len(found.samples) == 0.8 * rate
        wanted = spoken[rate][int(start * rate):][:len(found.samples)]
        # Matroska rounds times to 1 ms
        assert abs(lag(wanted, found.samples)) <= (48 if name.endswith(('mkv', 'webm')) else 0)


def test_features_hardly_depend_on_how_the_file_stores_the_sound(folder, spoken):
    """On bins within 7 nats of the maximum: median difference <= 0.1, 95th percentile <= 0.3."""
    for rate in (16000, 44100, 48000):
        write_sound(folder / 'same.wav', spoken[rate], rate)
        write_sound(folder / 'same.mp4', np.stack([spoken[rate]] * 2), rate, 'aac',
                    np.zeros((150, 32, 32, 3), np.uint8), bit_rate=128000)
        plain, coded = (features(folder / f'same.{suffix}')['audios'] for suffix in ('wav', 'mp4'))
        loud = plain > plain.max() - 7
        difference = np.abs(plain - coded)[loud]
        assert loud.sum() > 5000
        assert np.median(difference) <= 0.1 and np.percentile(difference, 95) <= 0.3


def test_eight_channels_give_the_first(folder, spoken):
    channels = np.stack([spoken[48000] * (number == 0) for number in range(8)])
    write_sound(folder / 'eight.wav', channels, 48000)
    found = features(folder / 'eight.wav')
    np.testing.assert_array_equal(found['audios'],
                                  features_of(spoken[48000], 48000))
    assert found['sound'] == 'ok'
    # AAC decodes to a plane for each channel
    write_sound(folder / 'eight.mp4', channels, 48000, 'aac', np.zeros((20, 32, 32, 3), np.uint8),
                bit_rate=512000)
    for start in (0., 2.5):
        found = read_sound(str(folder / 'eight.mp4'), start, 1.)
        wanted = spoken[48000][int(start * 48000):][:48000]
        assert len(found.samples) == 48000 and lag(wanted, found.samples) == 0
        assert np.corrcoef(found.samples, wanted)[0, 1] > 0.99


def test_sound_that_starts_later_than_the_video_has_zeros_before(folder):
    sound = voice_like(16000, 1.).astype(np.float32)
    write_sound(folder / 'late.mkv', sound, 16000, 'flac', np.zeros((50, 32, 32, 3), np.uint8),
                delay=0.4)
    found = read_sound(str(folder / 'late.mkv'), 0., 2.).samples
    assert (found[:6300] == 0).all() and len(found) == pytest.approx(1.4 * 16000, abs=20)
    np.testing.assert_allclose(found[6400:], sound[:len(found) - 6400], atol=1e-3)


@pytest.mark.parametrize('content, message', [
    (b'', 'sound cannot be decoded'), (b'RIFF\x00\x00\x00\x00WAVEjunk' * 9, 'cannot be decoded'),
    (b'#EXTM3U\n/etc/passwd\n', 'cannot be decoded')])
def test_files_that_hold_no_sound_are_named(tmp_path, content, message):
    (tmp_path / 'bad.wav').write_bytes(content)
    with pytest.raises(MediaReadError, match=rf'bad\.wav: the {message}|bad\.wav: .*{message}'):
        read_sound(str(tmp_path / 'bad.wav'), 0., 1.)


def test_hostile_headers_and_numbers(tmp_path):
    wavfile.write(tmp_path / 'fast.wav', 900000, np.zeros(1000, np.int16))
    with pytest.raises(MediaReadError, match='sampling rate of 900000 Hz, expected 1000 to 768000'):
        read_sound(str(tmp_path / 'fast.wav'), 0., 1.)
    wavfile.write(tmp_path / 'nan.wav', 16000, np.full(1000, np.nan, np.float32))
    with pytest.raises(MediaReadError, match='infinite or no numbers'):
        read_sound(str(tmp_path / 'nan.wav'), 0., 1.)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_damaged_file_gives_sound_or_a_named_error(tmp_path_factory, data):
    root = tmp_path_factory.getbasetemp()
    if not (root / 'whole.m4a').is_file():
        write_sound(root / 'whole.m4a', voice_like(16000, 0.3).astype(np.float32), 16000, 'aac')
    content = bytearray((root / 'whole.m4a').read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (root / 'damaged.m4a').write_bytes(content[:data.draw(st.integers(1, len(content)))])
    try:
        sound = read_sound(str(root / 'damaged.m4a'), 0., 1.)
    except MediaReadError as error:
        assert 'damaged.m4a' in str(error)
    else:
        assert sound is None or (len(sound.samples) <= sound.rate
                                 and np.isfinite(sound.samples).all())


# ---- transforms


def features(path, decode=(), **sample):
    sample = dict(path=str(path), **sample)
    if path is not None:
        sample['audio_path'] = str(path)
    return Compose([DecodeSound(**dict(decode)), SoundFbank()])(sample)


def features_of(samples, rate):
    """The 512 frames of a sound, padded with zeros."""
    frames = log_mel(samples, rate).frames[:512]
    return np.pad(frames, ((0, 512 - len(frames)), (0, 0)))[None, None]


def test_padding_and_cutting(folder, spoken):
    """At most the first 512 frames; missing ones are zeros before the normalisation."""
    for seconds in (0.01, 0.3, 9.):
        repeated = np.resize(spoken[16000], int(16000 * seconds))
        write_sound(folder / 'length.wav', repeated, 16000)
        found = features(folder / 'length.wav')
        assert found['audios'].shape == (1, 1, 512, 128) and found['audios'].dtype == np.float32
        np.testing.assert_array_equal(found['audios'], features_of(repeated, 16000))
        assert found['sound'] == ('none' if seconds < 0.025 else 'ok')
    with pytest.raises(ValueError, match=r'num_frames=600\) needs more sound than DecodeSou'):
        Compose([DecodeSound(), SoundFbank(600)])(dict(audio_path=str(folder / 'length.wav')))


def test_a_clip_without_sound(folder, tmp_path):
    """No file, or a film without a track: an error, or zeros where they are allowed."""
    write_video(tmp_path / 'mute.mp4')
    mute = dict(audio_path=str(tmp_path / 'mute.mp4'))
    for sample, message in (({}, 'it has no sound file'), (mute, r'mute\.mp4 has no sound track')):
        with pytest.raises(MediaReadError, match=rf"clip 7: .*{message}.*on_missing='allow'"):
            DecodeSound().transform(dict(sample, path='clip 7'))
        for missing, frames in (('zeros', 512), ('empty', 0)):
            found = Compose([DecodeSound(on_missing='allow'), SoundFbank(missing=missing)])(
                dict(sample))
            assert found['sound'] == 'none' and found['audios'].shape == (1, 1, frames, 128)
            assert (found['audios'] == 0).all()


def test_silence_is_not_missing_sound(folder):
    write_sound(folder / 'silent.wav', np.zeros(32000, np.float32), 16000)
    found = features(folder / 'silent.wav')
    assert found['sound'] == 'silent'
    assert (found['audios'][0, 0, :198] == np.float32(FLOOR)).all()
    assert (found['audios'][0, 0, 198:] == 0).all()
    quiet = 3e-3 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    write_sound(folder / 'quiet.wav', quiet.astype(np.float32), 16000)
    assert features(folder / 'quiet.wav')['sound'] == 'ok'


def test_the_sound_of_a_window_or_of_the_file(folder, spoken):
    """A window's sound is its own; 'file' is what the official code would take of a long video."""
    write_sound(folder / 'film.mp4', spoken[16000], 16000, 'aac',
                np.zeros((150, 32, 32, 3), np.uint8), bit_rate=128000)
    whole = features(folder / 'film.mp4')['audios']
    window = features(folder / 'film.mp4', clip_span=(1.5, 3.))
    np.testing.assert_allclose(window['audios'][0, 0, :148], whole[0, 0, 150:298], atol=1e-5)
    assert (window['audios'][0, 0, 148:] == 0).all() and window['sound'] == 'ok'
    begin = features(folder / 'film.mp4', dict(of='file'), clip_span=(1.5, 3.))
    np.testing.assert_array_equal(begin['audios'], whole)
    length = len(spoken[16000]) / 16000
    for span, status in (((length - 0.5, length + 0.5), 'partly'), ((60., 62.), 'none')):
        assert features(folder / 'film.mp4', clip_span=span)['sound'] == status


@pytest.mark.parametrize('suffix', ['mp4', 'jpg'])
def test_each_view_has_the_sound_of_its_frames(tmp_path, spoken, suffix):
    """By the times of the film's frames, or 25 a second."""
    frames = np.zeros((140, 32, 32, 3), np.uint8)
    write_sound(tmp_path / 'film.mp4', spoken[16000], 16000, 'aac', frames)
    clip = dict(filename=str(tmp_path / 'film.mp4'))
    if suffix == 'jpg':
        (tmp_path / 'film').mkdir()
        for number in range(140):
            cv2.imwrite(str(tmp_path / 'film' / f'{number}.jpg'), frames[0])
        clip = dict(frame_dir=str(tmp_path / 'film'))
    found = Compose([
        OpenClip(), dict(type='WindowFrames', clip_len=16, frame_interval=2, num_clips=3),
        DecodeSound(of='views'), SoundFbank()])(dict(clip, audio_path=str(tmp_path / 'film.mp4')))
    assert found['audios'].shape == (3, 1, 512, 128)
    for view, places in zip(found['audios'], found['frame_inds'].reshape(3, 16)):
        span = places[0] / 25, (places[-1] + 1) / 25
        expected = features(tmp_path / 'film.mp4', clip_span=span)['audios'][0]
        np.testing.assert_array_equal(view, expected)
        assert (view[0, num_frames_within(span[1] - span[0], 16000):] == 0).all()
    assert not np.array_equal(found['audios'][0], found['audios'][1])
    with pytest.raises(KeyError, match='before DecodeClip'):
        DecodeSound(of='views').transform(dict(
            audio_path='x.wav', frame_inds=np.arange(2), num_clips=1, start_index=0))


def test_another_sampling_rate(folder, spoken):
    """Resampled features mean the same frequencies: those of the sound at that rate."""
    write_sound(folder / 'rate.wav', spoken[48000], 48000)
    found = features(folder / 'rate.wav', dict(sample_rate=16000))['audios']
    expected = features_of(spoken[16000], 16000)
    loud = expected > expected.max() - 7
    difference = np.abs(found - expected)[loud]
    assert np.median(difference) < 0.05 and np.percentile(difference, 95) < 0.2
    after = features(folder / 'rate.wav', dict(sample_rate=16000), clip_span=(60., 61.))
    assert after['sound'] == 'none', 'nothing there to resample'
    own = features(folder / 'rate.wav')['audios']
    assert np.median(np.abs(own - expected)[loud]) > 0.5


def test_cached_features_are_those_of_the_file(folder, spoken):
    write_sound(folder / 'cached.wav', spoken[22050], 22050)
    write_log_mel(folder / 'cached.safetensors', log_mel(spoken[22050], 22050), None)
    for span in ((0., np.inf), (0., 2.), (1.234, 2.8), (4.9, 9.), (90., 91.)):
        decoded = features(folder / 'cached.wav', clip_span=span)
        cached = features(folder / 'cached.safetensors', clip_span=span)
        np.testing.assert_allclose(cached['audios'], decoded['audios'], atol=1e-4)
        assert cached['sound'] == decoded['sound']
    with pytest.raises(ValueError, match=r"'None'\), the recipe wants .*'16000'\): run tools"):
        features(folder / 'cached.safetensors', dict(sample_rate=16000))
    (folder / 'cut.safetensors').write_bytes((folder / 'cached.safetensors').read_bytes()[:-5])
    with pytest.raises(MediaReadError, match=r'cut\.safetensors: cannot be read as features'):
        read_log_mel(str(folder / 'cut.safetensors'), 0., 1., None)


def test_wrong_settings():
    for options in (dict(of='view'), dict(on_missing='ignore')):
        with pytest.raises(ValueError, match=r"DecodeSound: \w+ must be one of .*, found '\w+'"):
            DecodeSound(**options)
    with pytest.raises(ValueError, match="missing must be 'zeros' or 'empty', found 'skip'"):
        SoundFbank(missing='skip')


def test_the_official_frames_with_their_sound_are_packed(tmp_path, spoken):
    """As the model takes them: frames of one clip, and one stretch of sound."""
    write_frames(tmp_path / 'clip')
    write_sound(tmp_path / 'clip.wav', spoken[16000], 16000)
    packed = Compose([
        OpenClip(), SegmentFrames(16, test_mode=True), DecodeSound(), SoundFbank(),
        dict(type='DecodeClip'), dict(type='FormatShape', input_format='NCTHW'),
        dict(type='PackActionInputs', collect_keys=('imgs', 'audios'), meta_keys=('sound', ))])(
            dict(frame_dir=str(tmp_path / 'clip'), audio_path=str(tmp_path / 'clip.wav')))
    assert packed['inputs']['imgs'].shape == (1, 3, 16, 32, 32)
    assert packed['inputs']['audios'].shape == (1, 1, 512, 128)
    assert packed['data_samples'].sound == 'ok'
