"""Speed of the training data path of video, beside a restatement of the official one.

    python tools/benchmark/bench_loader.py                       # makes its own clips
    python tools/benchmark/bench_loader.py --data /tmp/clips     # makes them there, or uses them
    python tools/benchmark/bench_loader.py --device cuda --workers 4
    python tools/benchmark/bench_loader.py --config configs/unilearn_dfew.py    # the default

Ours is the training pipeline of CONFIG for clips. Both sides read the same clips and end at a
normalised float32 batch (B, 3, 16, 160, 160) on the device; RandAugment, crop, flip and erasing
are on, mixup and CutMix are left out on both sides (both mix on the device in training). The
passes over the clips alternate; medians are printed. The official code has no packed cache: ours
from the cache stands beside its JPEG folders. Files are in the page cache of the system: disks
are not measured.

One core is one loader worker, or with ``--workers 0`` (the default) this process, which then does
everything; on the CPU its CPU time is counted, so that other programs disturb little. With
workers, or on a GPU, it is wall time; this process normalises the batches beside the workers.
Every process runs one thread.

DATA holds ``jpeg/<clip>/*.jpg`` and, as you like, ``mp4/<clip>.mp4`` and ``packed/<clip>.npy``
(see tools/data/pack_frames.py; packed here if missing).
"""

import argparse
import importlib.util
import random
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Tuple

import cv2
import numpy as np
import torch
from measure import processor_name
from mmaction.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope
from official_loader import CLIP_LEN, SIZE, STAGES, OfficialVideoDataset
from torch import Tensor
from torch.utils.data import DataLoader, default_collate
from tqdm import tqdm

import unilearn_mm  # noqa: F401
from unilearn_mm.datasets.draws import Draw
from unilearn_mm.recipes import data_parts, own_pipelines

sys.path.insert(0, str(Path(__file__).parents[1] / 'data'))
from pack_frames import Clip, find_clips, pack_clip

CONFIG = Path(__file__).parents[2] / 'configs' / 'unilearn_dfew.py'
# transform -> stage of the table, in the words of the official side where both have the stage;
# other transforms are stages of their own name
STAGE_OF = dict(
    OpenClip='open + decode', LinspaceFrames='open + decode', DecodeClip='open + decode',
    AntialiasResize='resize', ClipRandAugment='RandAugment', RandomResizedCrop='crop + flip',
    Resize='crop + flip', Flip='crop + flip', FormatShape='pack + collate',
    PackActionInputs='pack + collate')
REST = 'rest (loader, draws)'
LAST_STAGES = ['pack + collate', 'to device + preprocessor', REST]
# row of the table -> storage that each side reads
ROWS = {'mp4': ('mp4', 'mp4'), 'JPEG folders': ('jpeg', 'jpeg'),
        'packed cache (official: JPEG folders)': ('jpeg', 'packed')}


class Stopwatch:
    """Time spent in the stages of one pass over the clips.

    Args:
        clock (Callable): Gives the time in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.seconds: Dict[str, float] = defaultdict(float)

    def timed(self, stage: str, step: Callable) -> Callable:
        """The same step, which adds the time that it takes to a stage."""
        def run(*inputs):
            start = self.clock()
            result = step(*inputs)
            self.seconds[stage] += self.clock() - start
            return result
        return run


class Batches:
    """Batch sampler: full batches of the clips in order, as many for every worker.

    All clips are visited, some once more than others. Every epoch has random draws of its own.

    Args:
        num_clips (int): Clips.
        batch_size (int): Clips of a batch.
        workers (int): Loader workers; 0 is this process.
        as_draws (bool): Whether to give ``Draw`` instead of plain indices.
    """

    def __init__(self, num_clips: int, batch_size: int, workers: int, as_draws: bool) -> None:
        self.num_clips, self.batch_size, self.as_draws = num_clips, batch_size, as_draws
        rounds = -(-num_clips // (batch_size * max(workers, 1)))
        # the first batch of a worker is waited for, so there are some more
        self.num_batches = max(rounds, 4) * workers if workers else rounds
        self.epoch = 0

    def __len__(self) -> int:
        return self.num_batches

    def __iter__(self) -> Iterator[list]:
        for start in range(0, self.num_batches * self.batch_size, self.batch_size):
            visits = [divmod(visit, self.num_clips)
                      for visit in range(start, start + self.batch_size)]
            yield [Draw(index, 0, self.epoch, view) if self.as_draws else index
                   for view, index in visits]


class Side:
    """One data path from files to the batch on the device.

    Args:
        dataset (Dataset): Clips.
        collate (Callable): Samples -> batch.
        finish (Callable): Batch -> (B, 3, 16, 160, 160) or (B, 1, 3, 16, 160, 160) on the device.
        watch (Stopwatch): What the steps inside of ``dataset`` are timed with.
        args (argparse.Namespace): Command line.
    """

    def __init__(self, dataset, collate: Callable, finish: Callable, watch: Stopwatch,
                 args: argparse.Namespace) -> None:
        def finish_and_wait(batch) -> Tensor:
            result = finish(batch)
            if args.device == 'cuda':
                torch.cuda.synchronize()
            return result

        self.watch = watch
        self.finish = watch.timed('to device + preprocessor', finish_and_wait)
        self.batches = Batches(len(dataset), args.batch_size, args.workers,
                               as_draws=not isinstance(dataset, OfficialVideoDataset))
        self.num_clips = len(self.batches) * args.batch_size
        self.loader = DataLoader(
            dataset, batch_sampler=self.batches, num_workers=args.workers,
            collate_fn=watch.timed('pack + collate', collate), worker_init_fn=one_thread,
            persistent_workers=args.workers > 0, pin_memory=args.device == 'cuda')

    def one_pass(self, epoch: int) -> Tuple[float, Dict[str, float]]:
        """Read all clips once.

        Returns:
            tuple: Clips per second, and milliseconds per clip of every stage.
        """
        seed_all(epoch)
        self.batches.epoch = epoch
        self.watch.seconds.clear()
        start = self.watch.clock()
        for batch in self.loader:
            clips = self.finish(batch)
            if clips.dtype != torch.float32 or clips.shape[-4:] != (3, CLIP_LEN, SIZE, SIZE):
                raise ValueError(f'found clips {tuple(clips.shape)}, {clips.dtype}; both sides '
                                 f'must end at float32 (..., 3, {CLIP_LEN}, {SIZE}, {SIZE})')
        spent = self.watch.clock() - start
        stages = dict(self.watch.seconds)
        stages[REST] = spent - sum(stages.values())
        return self.num_clips / spent, {
            stage: 1000 * seconds / self.num_clips for stage, seconds in stages.items()}


def one_thread(_: int = 0) -> None:
    """Keep this process to one thread."""
    torch.set_num_threads(1)
    cv2.setNumThreads(0)


def stopwatch(args: argparse.Namespace) -> Stopwatch:
    """CPU time if this process does everything on the CPU, else wall time."""
    alone = args.workers == 0 and args.device == 'cpu'
    return Stopwatch(time.process_time if alone else time.perf_counter)


def seed_all(seed: int) -> None:
    """Seed the global generators, from which the official side draws."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def official_side(media: Path, args: argparse.Namespace) -> Side:
    """The restatement of the official data path over the clips of a folder."""
    watch = stopwatch(args)
    stages = {name: watch.timed(name, stage) for name, stage in STAGES.items()}
    dataset = OfficialVideoDataset(sorted(media.iterdir()), stages)
    return Side(dataset, default_collate,
                lambda batch: batch[0].to(args.device, non_blocking=True), watch, args)


def our_side(media: Path, args: argparse.Namespace) -> Side:
    """Our data path over the clips of a folder: that of the first training data of a recipe."""
    cfg = Config.fromfile(args.config)
    own_pipelines(cfg.train_dataloader)
    part = data_parts(cfg.train_dataloader)[0]
    with tempfile.TemporaryDirectory() as folder:
        ann_file = Path(folder) / 'clips.csv'
        ann_file.write_text('video_name,label\n'
                            + ''.join(f'{path.name},0\n' for path in sorted(media.iterdir())))
        part.update(data_root=str(media), ann_file=str(ann_file), data_prefix=dict(media=''))
        dataset = DATASETS.build(
            dict(cfg.train_dataloader.dataset, datasets=[part], on_unreadable='raise'))
        dataset.full_init()
    preprocessor = MODELS.build(dict(cfg.model.data_preprocessor, mixing=None)).to(args.device)
    watch = stopwatch(args)
    pipeline = dataset.datasets[0].pipeline
    names = [type(step).__name__ for step in pipeline.transforms]
    pipeline.transforms = [watch.timed(STAGE_OF.get(name, name), step)
                           for name, step in zip(names, pipeline.transforms)]
    return Side(dataset, pseudo_collate,
                lambda batch: preprocessor(batch, training=True)['inputs'], watch, args)


def moving_picture(rng: np.random.Generator, num_frames: int, size: int) -> List[np.ndarray]:
    """Frames (size, size, 3) uint8 RGB with the detail of camera pictures: moving gradients, skin
    and hair texture, a drifting face and sensor noise."""
    wide = 2 * size
    gradient = cv2.resize(rng.uniform(30, 220, (5, 5, 3)).astype(np.float32), (wide, wide),
                          interpolation=cv2.INTER_CUBIC)
    texture = cv2.GaussianBlur(rng.normal(0, 60, (wide, wide, 1)).astype(np.float32), (0, 0), 2)
    picture = (gradient + texture[..., None]).clip(0, 255)
    face = 0.6 * rng.uniform(120, 230, 3) + 0.4 * picture[::-1]
    frames = []
    for index in range(num_frames):
        phase = 2 * np.pi * index / 60
        x, y = (int(size * (0.5 + 0.05 * wave)) for wave in (np.sin(phase), np.cos(phase)))
        frame = picture[y - size // 3:y - size // 3 + size, x - size // 3:x - size // 3 + size]
        inside = np.zeros((size, size, 1), np.float32)
        cv2.ellipse(inside, (x, y), (size // 3, int(0.42 * size)), 0, 0, 360, 1., -1, cv2.LINE_AA)
        frame = frame + (face[x:x + size, y:y + size] - frame) * inside
        for side in (-1, 1):
            cv2.circle(frame, (x + side * size // 8, y - size // 10), size // 24, (30, 20, 20), -1,
                       cv2.LINE_AA)
        cv2.ellipse(frame, (x, y + size // 5), (size // 8, int(size * (0.03 + 0.02
                    * np.sin(3 * phase)))), 0, 0, 360, (140, 40, 50), -1, cv2.LINE_AA)
        noisy = frame + rng.normal(0, 2, frame.shape)
        frames.append(noisy.round().clip(0, 255).astype(np.uint8))
    return frames


def write_video(path: Path, frames: List[np.ndarray]) -> str:
    """Write an mp4 at 25 frames/s; returns the name of the encoder."""
    height, width = frames[0].shape[:2]
    if importlib.util.find_spec('av'):
        import av
        if 'libx264' in av.codecs_available:
            with av.open(str(path), 'w') as container:
                stream = container.add_stream('libx264', 25, options={'crf': '23'})
                stream.width, stream.height, stream.pix_fmt = width, height, 'yuv420p'
                for frame in frames:
                    container.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
                container.mux(stream.encode())
            return 'H.264 (libx264, crf 23)'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'mp4v'), 25, (width, height))
    for frame in frames:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()
    return 'MPEG-4 part 2 (mp4v), as PyAV with libx264 is not installed'


def make_clips(data: Path, num_clips: int, num_frames: int, size: int) -> None:
    """Write the same moving pictures as mp4 files and as folders of JPEGs of quality 95."""
    (data / 'mp4').mkdir(parents=True)
    for index in tqdm(range(num_clips), 'making clips', leave=False):
        # around the median length of DFEW, some within one window of 64 frames
        rng = np.random.default_rng(index)
        frames = moving_picture(rng, round(num_frames * rng.uniform(0.75, 1.25)), size)
        encoder = write_video(data / 'mp4' / f'{index:05d}.mp4', frames)
        folder = data / 'jpeg' / f'{index:05d}'
        folder.mkdir(parents=True)
        for number, frame in enumerate(frames, start=1):
            cv2.imwrite(str(folder / f'{number:05d}.jpg'), cv2.cvtColor(frame, cv2.COLOR_RGB2BGR),
                        [cv2.IMWRITE_JPEG_QUALITY, 95])
    print(f'made {num_clips} clips of {size} x {size}, video by {encoder}')


def prepare(data: Path, args: argparse.Namespace) -> List[str]:
    """Make what is missing; returns the storages that are there."""
    if not (data / 'jpeg').is_dir():
        make_clips(data, args.clips, args.frames, args.size)
    if not (data / 'packed').is_dir():
        clips = find_clips(data / 'jpeg', data / 'packed')
        for name, source in tqdm(clips.items(), 'packing', leave=False):
            problem = pack_clip(Clip(source, data / 'packed' / f'{name}.npy'), SIZE)
            if problem:
                sys.exit(problem)
    storages = [name for name in ('mp4', 'jpeg', 'packed') if (data / name).is_dir()]
    names = {name: {path.stem for path in (data / name).iterdir()} for name in storages}
    for name in storages:
        if names[name] != names['jpeg']:
            sys.exit(f'{data / name} holds {len(names[name])} clips that are not the '
                     f'{len(names["jpeg"])} of {data / "jpeg"}: both sides must read the same '
                     'clips. Delete the folder that is incomplete; mp4 is optional, packed is '
                     'made anew')
    frames = sum(1 for _ in (data / 'jpeg').glob('*/*.jpg'))
    for name in storages:
        size = sum(path.stat().st_size for path in (data / name).rglob('*') if path.is_file())
        print(f'{name}: {len(list((data / name).iterdir()))} clips, {size / frames / 1000:.1f} kB '
              f'per frame')
    return storages


def print_tables(speeds: Dict[tuple, float], stages: Dict[tuple, Dict[str, float]],
                 args: argparse.Namespace) -> None:
    """Print speeds with their ratios, and the stages where one process did everything."""
    print('\n| storage | official (clips/s/core) | ours (clips/s/core) | ours / official |')
    print('|---|---|---|---|')
    for row, (theirs, ours) in ROWS.items():
        if ('ours', ours) in speeds:
            official, own = speeds['official', theirs], speeds['ours', ours]
            print(f'| {row} | {official:.1f} | {own:.1f} | {own / official:.2f}x |')
    if args.workers:
        print('\nMilliseconds of the stages: with --workers 0')
        return
    print('\n| ms per clip | ' + ' | '.join(f'{side}, {storage}' for side, storage in stages)
          + ' |')
    print('|---' * (1 + len(stages)) + '|')
    own = dict.fromkeys(stage for spent in stages.values() for stage in spent)
    middle = [stage for stage in own if stage not in [*STAGES, *LAST_STAGES]]
    for stage in [*STAGES, *middle, *LAST_STAGES]:
        print(f'| {stage} | ' + ' | '.join(
            f'{spent[stage]:.2f}' if stage in spent else '-' for spent in stages.values()) + ' |')
    print('| all | ' + ' | '.join(f'{sum(spent.values()):.2f}' for spent in stages.values())
          + ' |')


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('--config', default=str(CONFIG), help='recipe of our side (%(default)s)')
    add('--device', choices=('cpu', 'cuda'), default='cpu')
    add('--workers', type=int, default=0, help='loader workers (%(default)s)')
    add('--batch-size', type=int, default=8)
    add('--repeats', type=int, default=5, help='passes after the first, which warms up')
    add('--data', type=Path, help='folder of the clips; default: a temporary one')
    add('--clips', type=int, default=24, help='clips to make (%(default)s)')
    add('--frames', type=int, default=71, help="mean length; 71 is DFEW's median (%(default)s)")
    add('--size', type=int, default=224, help='side of the frames on disk, px (%(default)s)')
    args = parser.parse_args()
    one_thread()
    print(f'{Path(args.config).name}, {args.device} ({processor_name()}), torch '
          f'{torch.__version__}, {args.workers} workers, batches of {args.batch_size}, '
          f'{args.repeats} passes')
    with tempfile.TemporaryDirectory() as temporary, \
            DefaultScope.overwrite_default_scope('mmaction'):
        data = args.data or Path(temporary)
        storages = prepare(data, args)
        sides = {(name, storage): make(data / storage, args)
                 for storage in storages
                 for name, make in (('official', official_side), ('ours', our_side))
                 if (name, storage) != ('official', 'packed')}
        taken: Dict[tuple, list] = {key: [] for key in sides}
        for repeat in tqdm(range(args.repeats + 1), 'passes', leave=False):
            for key, side in sides.items():
                result = side.one_pass(repeat)
                if repeat:  # the first pass warms up
                    taken[key].append(result)
        del sides  # ends the workers before their files go
    speeds = {key: statistics.median(speed for speed, _ in results) / max(args.workers, 1)
              for key, results in taken.items()}
    stages = {key: {stage: statistics.median(spent[stage] for _, spent in results)
                    for stage in results[0][1]} for key, results in taken.items()}
    print_tables(speeds, stages, args)


if __name__ == '__main__':
    main()
