"""The command on files of all kinds: good, damaged, many, killed and started again."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import DefaultScope

from unilearn_mm.apis.tables import read_table
from unilearn_mm.datasets.label_spaces import LABEL_SPACES
from unilearn_mm.faces.frames import open_frames
from unilearn_mm.faces.video_file import VideoFileWriter

sys.path.insert(0, str(Path(__file__).parents[1] / 'faces'))
from real_media import real_media

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmaction'):
        model = MODELS.build(Config.fromfile(ROOT / 'configs/unilearn_toy.py').model)
    model.init_weights()
    path = tmp_path_factory.mktemp('weights') / 'epoch_1.pth'
    torch.save(dict(meta={}, state_dict=model.state_dict()), path)
    return path


def command(weights, *words):
    return [sys.executable, str(ROOT / 'tools/predict.py'), '--model', 'unilearn_toy', '--weights',
            str(weights), '--device', 'cpu', *map(str, words)]


def predict(weights, *words):
    return subprocess.run(command(weights, *words), capture_output=True, text=True, timeout=240)


def excerpt(source, path, frames=40, tiles=1, sound=False):
    """The begin of a real video, side by side with itself, with or without a tone."""
    with open_frames(str(source)) as stream:
        images = [(frame.image[::2, ::2], frame.time) for frame, _ in zip(stream, range(frames))]
    writer = VideoFileWriter(path)
    for image, moment in images:
        writer.add(np.concatenate([image] * tiles, axis=1), moment)
    writer.close()
    if sound:
        silent = path.with_name('silent.mp4')
        path.rename(silent)
        with av.open(str(silent)) as old, av.open(str(path), 'w') as new:
            picture = new.add_stream_from_template(old.streams.video[0])
            tone = new.add_stream('aac', rate=44100)
            tone.layout = 'mono'
            for packet in old.demux(video=0):
                if packet.dts is not None:
                    packet.stream = picture
                    new.mux(packet)
            for start in range(0, 44100, 1024):
                wave = np.sin(np.arange(start, start + 1024) * .05).astype(np.float32)
                frame = av.AudioFrame.from_ndarray(wave[None], 'fltp', 'mono')
                frame.rate, frame.pts = 44100, start
                new.mux(tone.encode(frame))
            new.mux(tone.encode())
        silent.unlink()
    return path


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Good and damaged files side by side."""
    path = tmp_path_factory.mktemp('inputs')
    face = real_media('single_face.mp4')
    excerpt(face, path / 'good.mp4', sound=True)
    excerpt(face, path / 'three.mp4', tiles=3)
    whole = (path / 'good.mp4').read_bytes()
    (path / 'cut.mp4').write_bytes(whole[:len(whole) // 3])
    (path / 'text.mp4').write_text('this is no video')
    (path / 'zero.mp4').write_bytes(b'')
    (path / 'noise.jpg').write_bytes(bytes(np.random.default_rng(0).integers(0, 256, 4000, 'u1')))
    return path


def test_a_folder_of_good_and_damaged_files(weights, folder, tmp_path):
    """Every file has a status and, if it failed, a reason; the good ones have all outputs."""
    out = tmp_path / 'out'
    words = [folder, '-o', out, '--timeline', '--video', '--srt', '--elan', '--features']
    done = predict(weights, *words)
    assert done.returncode == 1, done.stderr
    state = {path.stem: json.loads(path.read_text()) for path in out.glob('*.json')}
    assert {name: content['status'] for name, content in state.items()} == dict(
        good='ok', three='ok', cut='failed', text='failed', zero='failed', noise='failed')
    for name in ('cut', 'text', 'zero', 'noise'):
        assert name in state[name]['reason'] and f'{name}.' in done.stderr
        assert not [path for path in out.glob(f'{name}*') if path.suffix != '.json']
    for name, faces in (('good', [0]), ('three', [0, 1, 2])):
        assert {path.name for path in out.glob(f'{name}*')} == {f'{name}{suffix}' for suffix in (
            '.csv', '.json', '.timeline.png', '.annotated.mp4', '.srt', '.eaf', '.features.npy')}
        table = read_table(out / f'{name}.csv')
        assert list(table['face']) == faces and (table['status'] == 'ok').all()
        assert len(np.load(out / f'{name}.features.npy')) == len(faces)
        assert [face['face'] for face in state[name]['faces']] == faces
    with av.open(str(out / 'good.annotated.mp4')) as video:
        assert video.streams.video[0].frames == 40
        sound = np.concatenate([frame.to_ndarray()[0] for frame in video.decode(audio=0)])
    assert len(sound) / 44100 == pytest.approx(1, abs=.1) and np.abs(sound).max() > .5
    assert not list(out.rglob('.*'))
    # another call does what failed again, and nothing else
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    assert predict(weights, *words).returncode == 1
    assert all(path.stat().st_mtime_ns == before[path] for path in out.glob('good*'))


def test_killed_and_started_again_every_file_once_with_the_same_bytes(weights, tmp_path):
    inputs = tmp_path / 'inputs'
    inputs.mkdir()
    source = excerpt(real_media('single_face.mp4'), tmp_path / 'clip.mp4', frames=16)
    for number in range(9):
        (inputs / f'{number:02d}.mp4').write_bytes(source.read_bytes())
    assert predict(weights, inputs, '-o', tmp_path / 'whole').returncode == 0
    out = tmp_path / 'killed'
    process = subprocess.Popen(command(weights, inputs, '-o', out, '--workers', 2),
                               start_new_session=True, stderr=subprocess.DEVNULL)
    while len(list(out.glob('*.json'))) < 3 and process.poll() is None:
        time.sleep(.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    kept = {path: path.stat().st_mtime_ns for path in out.glob('*.json')}
    assert 3 <= len(kept) <= 9
    assert predict(weights, inputs, '-o', out).returncode == 0
    assert all(path.stat().st_mtime_ns == moment for path, moment in kept.items())
    tables = sorted(path.name for path in (tmp_path / 'whole').glob('[0-9]*.csv'))
    assert len(tables) == 9 and tables == sorted(path.name for path in out.glob('[0-9]*.csv'))
    for name in tables:
        assert (out / name).read_bytes() == (tmp_path / 'whole' / name).read_bytes()
    assert not list(out.rglob('.*'))


def test_a_video_over_http(weights, folder, tmp_path):
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(('127.0.0.1', 0), partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f'http://127.0.0.1:{server.server_port}/good.mp4'
        done = predict(weights, url, '-o', tmp_path, '--table', '.jsonl')
    finally:
        server.shutdown()
        server.server_close()
    assert done.returncode == 0, done.stderr
    (path, ) = tmp_path.rglob('good*.jsonl')
    table = read_table(path)
    assert list(table['status']) == ['ok'] and table['input'][0] == url


def test_labels_are_scored_as_a_test_scores_them(weights, media_root, tmp_path):
    rows = (media_root / 'clips.csv').read_text().splitlines()[1:]
    names = [row.split(',')[0] for row in rows]
    paths = [next(media_root.joinpath('clips').glob(f'{name}*')) for name in names]
    labels = tmp_path / 'labels.csv'
    labels.write_text('sample_id,path,label\n' + ''.join(
        f'{name},{path.name},{row.split(",")[1]}\n'
        for name, path, row in zip(names, paths, rows)))
    done = predict(weights, *paths, '-o', tmp_path / 'out', '--faces', 'none',
                   '--frames-are-clips', '--labels', labels)
    assert done.returncode == 0, done.stderr
    tables = [read_table(tmp_path / 'out' / f'{name}.csv') for name in names]
    order = LABEL_SPACES['toy_video'].classes
    right = np.mean([order.index(table['label'][0]) == int(row.split(',')[1])
                     for table, row in zip(tables, rows)])
    assert f'{len(rows)} inputs scored' in done.stdout and f'WAR {right:.2%}' in done.stdout


def test_what_cannot_begin_says_why(weights, tmp_path):
    done = predict(weights, tmp_path / 'none.mp4', '-o', tmp_path)
    assert done.returncode == 2 and 'Traceback' not in done.stderr
    assert 'none.mp4: no such file' in done.stderr
