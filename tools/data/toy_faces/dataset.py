"""Writes a toy set: samples in worker processes, annotations, manifest, and the safe rename."""
from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
from collections import Counter
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from tqdm import tqdm

from .expressions import IMAGE_ORDER, VIDEO_ORDER
from .motion import FRAMES_PER_SECOND, Performance, perform_clip, perform_image
from .render import Stage
from .samples import (
    IMAGE,
    SPLITS,
    VIDEO,
    Sample,
    Settings,
    ToySetError,
    make_identity,
    plan,
    stream,
)
from .scene import Scene, draw_scene
from .voice import ALIKE_BY_EYE, draw_manner, draw_speaker, speak, write_wav

MAKER = 'make_toy_faces'
GENERATOR_VERSION = 2  # raise it whenever the same settings give other files
NOISY_LIST = f'{VIDEO}/train_noisy.csv'
NOISY_SHARE = 0.3      # of its labels are wrong
ANNOTATIONS = tuple(f'{VIDEO}/{split}.csv' for split in SPLITS) + (NOISY_LIST, ) + tuple(
    f'{IMAGE}/{split}.txt' for split in SPLITS)
JOBS_PER_TURN = 8      # samples handed to a worker at once


def sample_path(sample: Sample) -> str:
    """Where a sample lies under OUT: a file, or a folder of frames."""
    if sample.source == IMAGE:
        return f'{IMAGE}/images/{sample.sample_id}.jpg'
    suffix = '.mp4' if sample.stored_as == 'mp4' else ''
    return f'{VIDEO}/clips/{sample.sample_id}{suffix}'


def sound_path(sample: Sample) -> str:
    """Where the voice of a clip lies under OUT, in a set with voices."""
    return f'{VIDEO}/sound/{sample.sample_id}.wav'


def shown_expression(sample: Sample, settings: Settings) -> str:
    """What the face of a clip shows: in a set with voices, fear and surprise look the same."""
    if settings.voice and sample.expression in ALIKE_BY_EYE:
        rng = stream(settings.seed, 'face', sample.sample_id)
        return ALIKE_BY_EYE[int(rng.integers(len(ALIKE_BY_EYE)))]
    return sample.expression


def voice_of(sample: Sample, num_frames: int, peak: float, settings: Settings) -> np.ndarray:
    """What is heard in a clip, float (n,) from -1 to 1 at ``voice.RATE``."""
    speaker = draw_speaker(stream(settings.seed, 'speaker', sample.identity))
    rng = stream(settings.seed, 'voice', sample.sample_id)
    manner = draw_manner(sample.expression, peak, rng)
    return speak(manner, speaker, num_frames / FRAMES_PER_SECOND, settings.nuisance, rng)


def rehearse(sample: Sample, settings: Settings) -> tuple[
        Stage, Performance, np.random.Generator]:
    """Who acts where, what is acted, and the random stream of the sensor's noise."""
    rng = stream(settings.seed, 'sample', sample.source, sample.sample_id)
    scene = draw_scene(rng, settings.nuisance)
    if sample.source == IMAGE:
        performance = perform_image(sample.expression, scene.pose, rng)
    else:
        performance = perform_clip(shown_expression(sample, settings), scene.pose,
                                   settings.nuisance, rng)
    identity = make_identity(sample.identity, settings)
    return Stage(identity, scene, settings.size), performance, rng


def render_sample(sample: Sample, settings: Settings) -> tuple[list[np.ndarray], dict]:
    """Frames (each uint8 (size, size, 3), blue green red) and the row of ``samples.csv``."""
    stage, performance, rng = rehearse(sample, settings)
    frames = [stage.frame(actions, pose, rng)
              for actions, pose in zip(performance.frames, performance.poses)]
    row = {
        'sample_id': sample.sample_id, 'source': sample.source, 'split': sample.split,
        'path': sample_path(sample), 'expression': sample.expression,
        'identity': sample.identity, 'num_frames': len(frames),
        'peak_intensity': round(performance.peak, 4), 'apex_frame': performance.apex_frame,
        'glasses': stage.identity.glasses, 'hair_style': stage.identity.hair_style,
        **_scene_columns(stage.scene),
    }
    return frames, row


def _scene_columns(scene: Scene) -> dict:
    pose = scene.pose
    numbers = {'yaw': pose.yaw, 'pitch': pose.pitch, 'roll': pose.roll, 'shift_x': pose.shift_x,
               'shift_y': pose.shift_y, 'scale': pose.scale, 'light_x': scene.light_x,
               'light_y': scene.light_y, 'brightness': scene.brightness,
               'background_contrast': scene.background_contrast,
               'noise_sigma': scene.noise_sigma, 'blur_sigma': scene.blur_sigma}
    return {**{name: round(value, 4) for name, value in numbers.items()},
            'occluder': scene.occluder, 'jpeg_quality': scene.jpeg_quality}


def write_sample(sample: Sample, settings: Settings, folder: Path) -> dict:
    """Draw one sample, write its file(s) under ``folder`` and return its row."""
    frames, row = render_sample(sample, settings)
    quality = [cv2.IMWRITE_JPEG_QUALITY, row['jpeg_quality']]
    coded = [cv2.imencode('.jpg', frame, quality)[1] for frame in frames]
    target = folder / row['path']
    if sample.stored_as == 'mp4':
        _write_mp4(target, [cv2.imdecode(code, cv2.IMREAD_COLOR) for code in coded])
    elif sample.stored_as == 'frames':
        target.mkdir()
        for number, code in enumerate(coded, start=1):
            (target / f'{number:05d}.jpg').write_bytes(code.tobytes())
    else:
        target.write_bytes(coded[0].tobytes())
    if settings.voice and sample.source == VIDEO:
        write_wav(folder / sound_path(sample),
                  voice_of(sample, row['num_frames'], row['peak_intensity'], settings))
    return row


def _write_mp4(path: Path, frames: list[np.ndarray]) -> None:
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'mp4v'), FRAMES_PER_SECOND,
                             (width, height))
    if not writer.isOpened():
        raise ToySetError(
            f'OpenCV {cv2.__version__} cannot write mp4v video ({path.name}): expected a build '
            'with FFmpeg. Install opencv-python-headless from PyPI, or pass '
            '--frame-folder-share 1 to store all clips as folders of frames.')
    for frame in frames:
        writer.write(frame)
    writer.release()


def make_toy_set(out: Path, settings: Settings, workers: int, overwrite: bool) -> bool:
    """Make the set at ``out``; False when an equal set is already there and nothing was done."""
    out = out.resolve()
    if _is_current(out, settings):
        return False
    _check_replaceable(out, overwrite)
    out.parent.mkdir(parents=True, exist_ok=True)
    partial_set = out.parent / f'.{out.name}.partial-{os.getpid()}'
    previous = out.parent / f'.{out.name}.previous-{os.getpid()}'
    try:
        _write_set(partial_set, settings, workers)
        if out.exists():
            out.rename(previous)
        partial_set.rename(out)
        shutil.rmtree(previous, ignore_errors=True)
    finally:
        shutil.rmtree(partial_set, ignore_errors=True)
    return True


def _write_set(folder: Path, settings: Settings, workers: int) -> None:
    sound = [f'{VIDEO}/sound'] if settings.voice else []
    for part in (f'{VIDEO}/clips', f'{IMAGE}/images', *sound):
        (folder / part).mkdir(parents=True)
    samples = plan(settings)
    job = partial(write_sample, settings=settings, folder=folder)
    with multiprocessing.Pool(workers, cv2.setNumThreads, (0,)) as pool:
        rows = list(tqdm(pool.imap(job, samples, JOBS_PER_TURN), total=len(samples),
                         desc='toy faces', unit='sample'))
    table = pd.DataFrame(rows)
    table.to_csv(folder / 'samples.csv', index=False)
    _write_annotations(folder, table, settings.seed)
    manifest = {
        'maker': MAKER, 'generator_version': GENERATOR_VERSION,
        'arguments': settings.arguments(), 'seed': settings.seed,
        'counts': _counts(table), 'sha256': _hashes(folder),
        'libraries': {'numpy': np.__version__, 'opencv': cv2.__version__},
    }
    (folder / 'manifest.json').write_text(json.dumps(manifest, indent=2) + '\n')


def _write_annotations(folder: Path, table: pd.DataFrame, seed: int) -> None:
    for split in SPLITS:
        clips = table[(table.source == VIDEO) & (table.split == split)]
        rows = pd.DataFrame({'video_name': clips.sample_id,
                             'label': clips.expression.map(VIDEO_ORDER.index)})
        rows.to_csv(folder / VIDEO / f'{split}.csv', index=False)
        if split == 'train':
            rows['label'] = _with_wrong_labels(rows['label'].to_numpy(), seed)
            rows.to_csv(folder / NOISY_LIST, index=False)
        images = table[(table.source == IMAGE) & (table.split == split)]
        lines = [f'{name}.jpg {IMAGE_ORDER.index(expression)}\n'
                 for name, expression in zip(images.sample_id, images.expression)]
        (folder / IMAGE / f'{split}.txt').write_text(''.join(lines))


def _with_wrong_labels(labels: np.ndarray, seed: int) -> np.ndarray:
    """A share of the labels replaced by another class, drawn uniformly."""
    rng = stream(seed, 'wrong labels')
    chosen = rng.permutation(len(labels))[:round(NOISY_SHARE * len(labels))]
    labels = labels.copy()
    labels[chosen] = (labels[chosen] + rng.integers(1, len(VIDEO_ORDER), len(chosen))) % len(
        VIDEO_ORDER)
    return labels


def _counts(table: pd.DataFrame) -> dict:
    return {f'{source}/{split}': dict(sorted(Counter(part.expression).items()))
            for (source, split), part in table.groupby(['source', 'split'])}


def _hashes(folder: Path) -> dict[str, str]:
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
            for name in ANNOTATIONS}


def settings_of(out: Path) -> Settings:
    """The settings of the toy set at ``out``.

    Raises:
        ToySetError: If there is none, or one that another version made.
    """
    manifest = _manifest(out)
    if manifest is None or manifest.get('generator_version') != GENERATOR_VERSION:
        raise ToySetError(f'{out} is no toy set of this version: run '
                          f'tools/data/make_toy_faces.py --out {out}')
    return Settings(**manifest['arguments'])


def _manifest(out: Path) -> dict | None:
    path = out / 'manifest.json'
    if not path.is_file():
        return None
    try:
        manifest = json.loads(path.read_text())
    except ValueError:
        return None
    ours = isinstance(manifest, dict) and manifest.get('maker') == MAKER
    return manifest if ours else None


def _is_current(out: Path, settings: Settings) -> bool:
    manifest = _manifest(out)
    if manifest is None or manifest.get('generator_version') != GENERATOR_VERSION:
        return False
    if manifest.get('arguments') != settings.arguments():
        return False
    present = all((out / name).is_file() for name in ANNOTATIONS)
    return present and manifest['sha256'] == _hashes(out) and all(
        (out / sample_path(sample)).exists() and (
            not settings.voice or sample.source == IMAGE or (out / sound_path(sample)).exists())
        for sample in plan(settings))


def _check_replaceable(out: Path, overwrite: bool) -> None:
    if out.exists() and not out.is_dir():
        raise ToySetError(f'{out} is a file: expected a folder, or nothing. Choose another --out.')
    if Path.cwd().is_relative_to(out) or Path.home().is_relative_to(out):
        raise ToySetError(f'{out} contains the current or the home folder, and the toy set would '
                          'replace it as a whole. Choose a folder of its own with --out.')
    if out.is_dir() and any(out.iterdir()) and _manifest(out) is None and not overwrite:
        found = ', '.join(sorted(entry.name for entry in out.iterdir())[:5])
        raise ToySetError(
            f'{out} is not empty and is no toy set: found {found}; expected nothing, or a '
            f'manifest.json written by {MAKER}. Choose another --out, or pass --overwrite to '
            'delete all that is in it.')
