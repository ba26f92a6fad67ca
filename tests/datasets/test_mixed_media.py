"""The mixed data set: draws that do not depend on the worker, and files that cannot be read."""

import os

import numpy as np
import pytest
import torch
from media_files import write_video
from mmaction.registry import DATASETS
from mmengine.dataset import pseudo_collate
from mmengine.dataset.sampler import DefaultSampler
from torch.utils.data import DataLoader

from unilearn_mm.datasets.draws import Draw
from unilearn_mm.datasets.reading_board import being_read, is_loader_timeout
from unilearn_mm.datasets.samplers import MixedMediaBatchSampler
from unilearn_mm.media import MediaReadError

TRAIN = [dict(type='OpenClip'), dict(type='LinspaceFrames', clip_len=4, frame_interval=1),
         dict(type='DecodeClip'), dict(type='RandomResizedCrop', area_range=(0.2, 1.)),
         dict(type='Resize', scale=(16, 16), keep_ratio=False), dict(type='Flip', flip_ratio=0.5),
         dict(type='FormatShape', input_format='NCTHW'),
         dict(type='PackActionInputs', meta_keys=('source', 'sample_id', 'path'))]


@pytest.fixture
def clips(tmp_path):
    """Six mp4 clips, the list of which each test may spoil."""
    (tmp_path / 'clips').mkdir()
    for index in range(6):
        write_video(tmp_path / 'clips' / f'{index:05d}.mp4', num_frames=6 + index, ramp=2)
    rows = [f'{index:05d},{index}' for index in range(6)]
    (tmp_path / 'clips.csv').write_text('\n'.join(['video_name,label', *rows]) + '\n')
    return tmp_path


def mixed(root, **kwargs):
    part = dict(type='ExpressionVideoDataset', task='dfew', data_root=str(root),
                ann_file='clips.csv', data_prefix=dict(media='clips'), pipeline=TRAIN)
    part['test_mode'] = kwargs.pop('test_mode', False)
    return DATASETS.build(dict(type='MixedMediaDataset', datasets=[part], **kwargs))


def loader(dataset, workers, batch_size=2, seed=1, **kwargs):
    sampler = MixedMediaBatchSampler(DefaultSampler(dataset, seed=seed), batch_size)
    return DataLoader(dataset, batch_sampler=sampler, num_workers=workers,
                      collate_fn=pseudo_collate, **kwargs)


def same(one, two):
    """Equal pixels, samples and draw seeds."""
    return all(
        all(torch.equal(x, y) for x, y in zip(a['inputs'], b['inputs']))
        and [s.metainfo for s in a['data_samples']] == [s.metainfo for s in b['data_samples']]
        for a, b in zip(one, two)) and len(one) == len(two)


def test_samples_do_not_depend_on_the_workers(clips):
    dataset = mixed(clips)
    torch.manual_seed(0)
    none = list(loader(dataset, 0))
    torch.manual_seed(1)
    assert same(none, list(loader(dataset, 0))), 'not on the global state'
    assert same(none, list(loader(dataset, 2)))
    resumed = loader(dataset, 2)
    resumed.batch_sampler.load_state_dict(
        {**resumed.batch_sampler.state_dict(), 'consumed': 1})
    assert same(none[1:], list(resumed))
    assert not same(none, list(loader(dataset, 0, seed=2)))


def test_views_and_epochs_differ(clips):
    dataset = mixed(clips)
    first = dataset[Draw(2, seed=0, epoch=0, view=0)]
    assert torch.equal(first['inputs'], dataset[Draw(2, seed=0, epoch=0, view=0)]['inputs'])
    for other in (Draw(2, 0, 0, 1), Draw(2, 0, 1, 0), Draw(2, 1, 0, 0)):
        packed = dataset[other]
        assert packed['data_samples'].sample_id == first['data_samples'].sample_id
        assert packed['data_samples'].draw_seed != first['data_samples'].draw_seed
        assert not torch.equal(packed['inputs'], first['inputs'])
    assert first['data_samples'].num_classes == 7


def test_a_plain_index_uses_the_global_generators(clips):
    dataset = mixed(clips)
    np.random.seed(0)
    found = [dataset[2]['inputs'] for _ in range(4)]
    assert any(not torch.equal(found[0], other) for other in found[1:])


def test_an_unreadable_file_is_replaced_named_and_kept_apart(clips):
    (clips / 'clips' / '00003.mp4').write_bytes(b'no video')
    dataset = mixed(clips, on_unreadable='replace')
    sample = dataset[Draw(3, 0, 0, 0)]['data_samples']
    assert sample.sample_id != '00003'
    assert sample.gt_label == int(sample.sample_id), 'the label of the sample that is there'
    outcomes = [outcome for path, reason, outcome in sample.read_failures
                if path.endswith('00003.mp4') and '00003.mp4: cannot be opened' in reason]
    assert outcomes == ['read again', 'replaced']
    again = dataset[Draw(3, 0, 0, 0)]['data_samples']
    assert again.sample_id == sample.sample_id, 'the replacement is a function of the draw'
    assert len({dataset[Draw(3, 0, 0, view)]['data_samples'].sample_id
                for view in range(12)}) > 1
    assert dataset[Draw(2, 0, 0, 0)]['data_samples'].read_failures == ()


def test_a_second_attempt_that_succeeds_is_told(clips, monkeypatch):
    dataset = mixed(clips)
    path = clips / 'clips' / '00003.mp4'
    whole = path.read_bytes()
    path.write_bytes(b'no video')
    # the file comes back between the attempts, as on a network file system
    monkeypatch.setattr(dataset.board, 'clear', lambda: path.write_bytes(whole))
    sample = dataset[Draw(3, 0, 0, 0)]['data_samples']
    assert sample.sample_id == '00003'
    assert [outcome for *_, outcome in sample.read_failures] == ['read again']


def test_an_unreadable_file_ends_a_test(clips):
    (clips / 'clips' / '00003.mp4').write_bytes(b'')
    for dataset in (mixed(clips), mixed(clips, test_mode=True)):
        with pytest.raises(MediaReadError, match='00003.mp4'):
            dataset[Draw(3, 0, 0, 0)]
    with pytest.raises(ValueError, match='a test scores every sample'):
        mixed(clips, test_mode=True, on_unreadable='replace')
    with pytest.raises(ValueError, match="'raise' or 'replace', found 'skip'"):
        mixed(clips, on_unreadable='skip')


def test_replacements_are_bounded(clips):
    for path in (clips / 'clips').iterdir():
        path.write_bytes(b'no video')
    with pytest.raises(MediaReadError, match='6 samples of a source in a row cannot be read.*mp4'):
        mixed(clips, on_unreadable='replace')[Draw(3, 0, 0, 0)]


def test_a_file_that_hangs_is_named(clips):
    dataset = mixed(clips)
    path = clips / 'clips' / '00003.mp4'
    path.unlink()
    os.mkfifo(path)  # nobody writes: reading it waits for ever
    with pytest.raises(RuntimeError) as error:
        list(loader(dataset, 1, timeout=3))
    assert is_loader_timeout(error.value)
    assert any('worker 0 has been reading' in line and '00003.mp4' in line
               for line in being_read())
    assert not is_loader_timeout(RuntimeError('another')) and not is_loader_timeout(KeyError())
