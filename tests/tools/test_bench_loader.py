"""The benchmark compares equal work: both sides make the same batches of the same files."""

import argparse
import re
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import default_collate

import unilearn_mm  # noqa: F401
from unilearn_mm.datasets.transforms.rand_augment import OPS, Layer

sys.path.insert(0, str(Path(__file__).parents[2] / 'tools' / 'benchmark'))
import bench_loader
import official_loader

RANDOM_STAGES = ('RandAugment', 'crop + flip', 'erasing')
RANDOM_TRANSFORMS = ('ClipRandAugment', 'RandomResizedCrop', 'Flip')


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Two short clips of 200 x 200 pixels in all three storages."""
    folder = tmp_path_factory.mktemp('clips')
    args = argparse.Namespace(clips=2, frames=70, size=200)
    bench_loader.prepare(folder, args)
    return folder


def first_batch(side):
    bench_loader.seed_all(0)  # where the window begins
    return side.finish(next(iter(side.loader))).squeeze(1)


WITHOUT_CHANCE = f'''
_base_ = ['{bench_loader.CONFIG}']
custom_imports = _base_.custom_imports
model = dict(data_preprocessor=dict(erasing=None))
train_dataloader = dict(dataset=dict(pipeline=[
    step for step in _base_.train_pipeline if step['type'] not in {RANDOM_TRANSFORMS}]))
'''


@pytest.mark.parametrize('storage', ['mp4', 'jpeg', 'packed'])
def test_both_sides_end_at_the_same_numbers(data, monkeypatch, storage, tmp_path):
    """Without what is drawn by chance, but for the frames."""
    (tmp_path / 'recipe.py').write_text(WITHOUT_CHANCE)
    args = argparse.Namespace(config=str(tmp_path / 'recipe.py'), device='cpu', workers=0,
                              batch_size=2)
    monkeypatch.setattr(bench_loader, 'STAGES', {
        name: stage for name, stage in official_loader.STAGES.items()
        if name not in RANDOM_STAGES})
    ours = bench_loader.our_side(data / storage, args)
    ours.batches.as_draws = False  # draws from the same global generator as the official side
    theirs = bench_loader.official_side(data / ('jpeg' if storage == 'packed' else storage), args)
    ours, theirs = first_batch(ours), first_batch(theirs)
    assert ours.shape == theirs.shape == (2, 3, 16, 160, 160)
    level = 1 / (255 * 0.225)  # a grey level is at most this much
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2.1 * level)
    assert not torch.allclose(theirs[0, :, 0], theirs[0, :, 8], atol=10 * level)  # it moves


def test_recipes_of_another_size_are_no_equal_work(data):
    args = argparse.Namespace(config=str(bench_loader.CONFIG.with_name('unilearn_toy.py')),
                              device='cpu', workers=0, batch_size=2)
    side = bench_loader.our_side(data / 'packed', args)
    with pytest.raises(ValueError, match=r'found clips \(2, 1, 3, 8, 64, 64\), .*must end at'):
        side.one_pass(0)
    assert {'UniformSample', 'resize'} & set(side.watch.seconds) == {'UniformSample'}


def test_both_rand_augments_do_the_same(data):
    frame = Image.open(data / 'jpeg' / '00000' / '00001.jpg').resize((160, 160))
    assert list(official_loader.OPERATIONS) == list(OPS)
    for name, operation in official_loader.OPERATIONS.items():
        for sign in (-1, 1):
            theirs = np.asarray(operation(0.7, sign)(frame)).astype(int)
            ours = OPS[name](np.asarray(frame)[None], Layer(name, 7.0, sign, 'bicubic'))[0]
            difference = np.abs(ours - theirs)
            assert difference.mean() < 0.5 and difference.max() <= 16, (name, sign)
            if name not in ('Equalize', 'AutoContrast'):
                assert np.abs(theirs - np.asarray(frame)).mean() > 0.5, (name, sign)


def test_official_frames():
    """The values that the official formula gives."""
    assert official_loader.frame_indices(20).tolist() == [0, 5, 10, 15] + [19] * 12
    assert official_loader.frame_indices(3).tolist() == [2] * 16
    offsets = [0, 4, 8, 12, 17, 21, 25, 29, 34, 38, 42, 46, 51, 55, 59, 63]
    starts = set()
    for seed in range(40):
        np.random.seed(seed)
        indices = official_loader.frame_indices(70)
        assert (indices - indices[0]).tolist() == offsets
        starts.add(int(indices[0]))
    assert starts == set(range(6))  # the last frame is never used


def test_official_augmentations_have_their_probabilities():
    """Over 400 clips: every share lies within four standard deviations of what is stated."""
    bench_loader.seed_all(0)
    clip = torch.arange(3 * 16 * 32 * 32.).view(3, 16, 32, 32).requires_grad_(False)
    erased = [official_loader.erase(clip.clone()) != clip for _ in range(400)]
    assert 0.25 - 0.087 < np.mean([bool(mask.any()) for mask in erased]) < 0.25 + 0.087
    for mask in erased:
        assert (mask == mask[0, 0]).all()  # one box in all frames
    areas = [float(mask.float().mean()) for mask in erased if mask.any()]
    assert 0.01 < min(areas) and max(areas) < 0.36
    frame = Image.new('RGB', (8, 8))
    untouched = np.mean([official_loader.rand_augment([frame])[0] is frame for _ in range(400)])
    assert abs(untouched - 1 / 16) < 0.049  # four draws, each left out with 0.5


def test_crops_are_bilinear_and_one_for_all_frames():
    """A plane stays a plane; flipped or not, all frames alike."""
    bench_loader.seed_all(1)
    ramp = torch.arange(160.).expand(3, 16, 160, 160)
    directions = set()
    for _ in range(20):
        out = official_loader.crop_and_flip(ramp)
        assert out.shape == ramp.shape and (out == out[0, 0]).all()
        steps = out[0, 0, 0].diff()[5:-5]
        torch.testing.assert_close(steps, steps.mean().expand_as(steps), rtol=0, atol=1e-3)
        assert 0.2 < steps.abs().mean() <= 1.0001
        directions.add(bool(steps.mean() > 0))
    assert directions == {True, False}


@pytest.mark.parametrize('workers', [0, 1, 3])
@pytest.mark.parametrize('num_clips, batch_size', [(24, 8), (7, 4), (2, 5), (100, 3)])
def test_every_worker_gets_as_many_full_batches(num_clips, batch_size, workers):
    batches = list(bench_loader.Batches(num_clips, batch_size, workers, as_draws=True))
    assert {len(batch) for batch in batches} == {batch_size}
    assert len(batches) % max(workers, 1) == 0
    visits = np.bincount([draw.index for batch in batches for draw in batch])
    assert len(visits) == num_clips and visits.min() >= 1 and np.ptp(visits) <= 1
    assert len({draw for batch in batches for draw in batch}) == len(batches) * batch_size


def test_the_official_batch_is_collated_floats(data):
    paths = sorted((data / 'jpeg').iterdir())
    dataset = official_loader.OfficialVideoDataset(paths)
    clips, numbers = default_collate([dataset[0], dataset[1]])
    assert clips.dtype == torch.float32 and clips.shape == (2, 3, 16, 160, 160)
    assert numbers.tolist() == [0, 1]


def test_made_clips_are_the_same_pictures_in_every_storage(data):
    import decord
    for name in ('00000', '00001'):
        files = sorted((data / 'jpeg' / name).iterdir())
        video = decord.VideoReader(str(data / 'mp4' / f'{name}.mp4'), num_threads=1)
        packed = np.load(data / 'packed' / f'{name}.npy', allow_pickle=False)
        assert len(files) == len(video) == len(packed)
        for index in (0, len(files) - 1):
            picture = cv2.imread(str(files[index]), cv2.IMREAD_COLOR_RGB).astype(int)
            assert np.abs(picture - video[index].asnumpy()).mean() < 6
            small = cv2.resize(picture.astype(np.float32), (160, 160),
                               interpolation=cv2.INTER_AREA)
            assert np.abs(small - packed[index]).mean() < 6


def test_different_clips_are_refused(tmp_path):
    args = argparse.Namespace(clips=2, frames=4, size=32)
    bench_loader.prepare(tmp_path, args)
    (tmp_path / 'packed' / '00001.npy').unlink()
    with pytest.raises(SystemExit, match='packed holds 1 clips that are not the 2 of .*jpeg'):
        bench_loader.prepare(tmp_path, args)


def test_the_printed_ratios_are_those_of_the_printed_speeds(data, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['bench_loader.py', '--data', str(data), '--repeats', '1',
                                      '--batch-size', '2'])
    bench_loader.main()
    printed = capsys.readouterr().out
    rows = re.findall(r'^\| (mp4|JPEG folders|packed cache.*?) \| (.*) \| (.*) \| (.*)x \|$',
                      printed, re.MULTILINE)
    assert len(rows) == 3
    for _, official, ours, ratio in rows:
        assert float(ours) / float(official) == pytest.approx(float(ratio), rel=0.05)
    stages = [line.split(' | ') for line in printed.splitlines() if line.startswith('| ')
              and len(line.split(' | ')) == 6]
    header, body, total = stages[0], stages[1:-1], stages[-1]
    assert header[1:] == ['official, mp4', 'ours, mp4', 'official, jpeg', 'ours, jpeg',
                          'ours, packed |']
    for column in range(1, 6):
        numbers = [line[column].rstrip(' |') for line in body]
        assert sum(float(number) for number in numbers if number != '-') == pytest.approx(
            float(total[column].rstrip(' |')), abs=0.1)
