"""What a run says of itself, for every start."""

import hashlib
import json
import logging
import platform
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config

import unilearn_mm
from unilearn_mm.engine.hooks.atomic_checkpoint import AtomicCheckpointHook
from unilearn_mm.engine.hooks.run_record import RunRecordHook, _git_state

CONFIG = '''
train_dataloader = dict(dataset=dict(type='Mixed', datasets=[
    dict(type='A', ann_file='lists/train.csv', data_root='{root}'),
    dict(type='B', ann_file='{root}/images.txt'),
    dict(type='A', ann_file='gone.csv', data_root='{root}')]))
'''


@pytest.fixture
def runner(tmp_path, monkeypatch):
    """A home directory with a config, two lists, and one manifest."""
    root = tmp_path / 'secret-name'
    (root / 'lists').mkdir(parents=True)
    (root / 'lists/train.csv').write_bytes(b'a,b\n')
    (root / 'lists/train.manifest.json').write_bytes(b'{}')
    (root / 'images.txt').write_bytes(b'x 1\n')
    (root / 'config.py').write_text(CONFIG.format(root=root))
    monkeypatch.setenv('HOME', str(root))
    monkeypatch.setattr(sys, 'argv', [f'{root}/train.py', '--seed', '3'])
    cfg = Config.fromfile(root / 'config.py')
    work = tmp_path / 'work'
    work.mkdir()
    return SimpleNamespace(cfg=cfg, work_dir=str(work), _resume=False, seed=3, world_size=1,
                           epoch=0, iter=0, hooks=[AtomicCheckpointHook(interval=1)],
                           logger=logging.getLogger('run_record'))


def record_of(runner):
    return json.loads(Path(runner.work_dir, 'run_record.json').read_text())


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def test_an_entry_holds_what_made_the_checkpoints(runner, tmp_path):
    RunRecordHook().before_train(runner)
    entry, = record_of(runner)['starts']
    runner.cfg.dump(tmp_path / 'dumped.py')
    assert entry['config_sha256'] == sha256((tmp_path / 'dumped.py').read_bytes())
    assert entry['config'] == '~/config.py'
    assert entry['command'] == ['~/train.py', '--seed', '3']
    assert entry['data'] == [
        dict(ann_file='~/gone.csv', sha256=None, manifest_sha256=None),
        dict(ann_file='~/images.txt', sha256=sha256(b'x 1\n'), manifest_sha256=None),
        dict(ann_file='~/lists/train.csv', sha256=sha256(b'a,b\n'), manifest_sha256=sha256(b'{}'))]
    versions = entry['versions']
    assert versions['torch'].split('+')[0] == torch.__version__.split('+')[0]
    assert (versions['numpy'], versions['unilearn_mm'], versions['python']) == (
        np.__version__, unilearn_mm.__version__, platform.python_version())
    assert (entry['seed'], entry['world_size']) == (3, 1)
    assert sum(entry['hardware']['ranks'].values()) == 1 and entry['hardware']['cpu']
    text = Path(runner.work_dir, 'run_record.json').read_text()
    assert 'secret-name' not in text and platform.node() not in text


def test_saves_and_resumed_starts_are_added_up(runner):
    hook = RunRecordHook()
    hook.before_train(runner)
    hook.begin -= 100  # seconds ago
    hook.before_save_checkpoint(runner, dict(meta=dict(epoch=2, iter=20)))
    entry, = record_of(runner)['starts']
    assert (entry['epoch'], entry['step']) == (2, 20)
    assert entry['wall_time'] == pytest.approx(100, abs=5)

    runner._resume, runner.epoch, runner.iter, runner.world_size = True, 2, 20, 4
    resumed = RunRecordHook()
    resumed.before_train(runner)
    resumed.begin -= 50
    resumed.before_save_checkpoint(runner, dict(meta=dict(epoch=3, iter=30)))
    record = record_of(runner)
    assert record['starts'][0] == entry
    assert [start['step'] for start in record['starts']] == [20, 30]
    assert [start['world_size'] for start in record['starts']] == [1, 4]
    assert record['wall_time'] == pytest.approx(150, abs=10)

    runner._resume = False  # another run in the same directory
    RunRecordHook().before_train(runner)
    assert len(record_of(runner)['starts']) == 1


def test_a_record_that_is_none_is_named(runner):
    Path(runner.work_dir, 'run_record.json').write_text('[]')
    runner._resume = True
    with pytest.raises(ValueError, match=r'run_record\.json: not a run record .*move it away'):
        RunRecordHook().before_train(runner)


def test_git_state_is_of_the_repository_that_tracks_the_file(tmp_path):
    def git(*words):
        return subprocess.run(
            ['git', '-C', str(tmp_path), '-c', 'user.name=a', '-c', 'user.email=b', *words],
            check=True, text=True, capture_output=True).stdout.strip()

    tracked, other = tmp_path / 'tracked.py', tmp_path / 'other.py'
    tracked.write_text('1')
    other.write_text('1')
    assert _git_state(tracked) is None, 'no repository'
    git('init')
    git('add', 'tracked.py')
    git('commit', '-m', 'first')
    assert _git_state(tracked) == dict(commit=git('rev-parse', 'HEAD'), dirty=False)
    assert _git_state(other) is None, 'a package that some repository only surrounds'
    tracked.write_text('2')
    assert _git_state(tracked)['dirty']
