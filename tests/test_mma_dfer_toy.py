"""MMA-DFER's toy recipe on a small toy set with voices: from the files to the scores."""

import sys
from pathlib import Path

import pandas as pd
import pytest
from mmengine.config import Config
from mmengine.runner import Runner

sys.path.insert(0, str(Path(__file__).parent / 'tools'))
from test_make_toy_faces import make

CONFIGS = Path(__file__).parents[1] / 'configs'
COUNTS = ['--size', '40', '--video-train', '14', '--video-test', '7', '--image-train', '1',
          '--image-test', '1']


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    out = tmp_path_factory.mktemp('data') / 'toy_voice'
    assert make(out, '--voice', counts=COUNTS) == 0
    return out


def lost(data, split, count):
    """The first clips of a list, without their sound from now on."""
    names = pd.read_csv(data / 'toy_video' / f'{split}.csv', dtype=str).video_name[:count]
    for name in names:
        (data / 'toy_video' / 'sound' / f'{name}.wav').unlink()
    return set(names)


def test_clips_without_sound_train_and_are_scored_and_named(data, tmp_path, monkeypatch):
    monkeypatch.setenv('TOY_VOICE_DATA', str(data))
    without = {split: lost(data, split, count) for split, count in (('train', 3), ('test', 2))}
    config = Config.fromfile(CONFIGS / 'mma_dfer_toy.py')
    config.merge_from_dict(dict(work_dir=str(tmp_path), load_from=None, launcher='none'))
    config.model.backbone.freeze_vit = False  # nothing to start from
    config.train_cfg.update(max_epochs=1, val_interval=1)
    for name in ('train', 'val', 'test'):
        loader = config[f'{name}_dataloader']
        loader.update(num_workers=0, persistent_workers=False, batch_size=7)
        for part in loader.dataset.datasets:
            part.on_missing_sound = 'allow'
            for transform in part.pipeline:
                if transform.type == 'DecodeSound':
                    transform.on_missing = 'allow'
    runner = Runner.from_cfg(config)
    runner.train()

    def named():
        table = pd.read_csv(Path(runner.log_dir) / 'read_failures.csv', dtype=str)
        assert set(table.outcome) == {'without sound'}
        return {Path(path).stem for path in table.path}

    assert named() == without['train']
    scores = runner.test()
    assert named() == without['train'] | without['test']
    assert scores['toy_video/num_samples'] == 7 and 0 <= scores['toy_video/WAR'] <= 1
