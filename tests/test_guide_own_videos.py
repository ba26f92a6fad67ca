"""configs/own_videos.md, command by command, on videos made of one with a real face."""

import re
import runpy
import shlex
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from s2d_models import landmark_file, official
from test_s2d_recipes import ARCH, NARROW

from unilearn_mm.datasets.manifests import face_crops

sys.path.insert(0, str(Path(__file__).parent / 'faces'))
from real_media import real_media

ROOT = Path(__file__).parents[1]
GUIDE = ROOT / 'configs' / 'own_videos.md'
# of configs/_base_: what the paper has -> what a test has time for
SMALLER = {
    's2d_vit_base.py': [
        ("arch='base'", f'arch=dict(**{ARCH})'), ('in_channels=768', 'in_channels=32'),
        ("type='MobileFaceNet',", "type='MobileFaceNet', channels=(4, 8), num_blocks=(1, 1),")],
    's2d_100e.py': [('num_layers=12', 'num_layers=2'), ('max_epochs = 100', 'max_epochs = 2'),
                    ('warmup_epochs = 2', 'warmup_epochs = 1')],
    's2d_finetune.py': [('batch_size=8', 'batch_size=2')],
    'unilearn_vit_base.py': [
        ('depth=12', 'depth=2'), ('embed_dims=768', 'embed_dims=24'),
        ('num_heads=12', 'num_heads=2'), ('in_channels=768', 'in_channels=24')],
    'unilearn_100e.py': [('num_layers=12', 'num_layers=2'), ('max_epochs = 100', 'max_epochs = 2'),
                         ('warmup_epochs = 5', 'warmup_epochs = 1')],
    'unilearn_finetune.py': [('batch_size=16', 'batch_size=2')],
    'loaders.py': [('num_workers=8', 'num_workers=0'), ('persistent_workers=True',
                                                       'persistent_workers=False'),
                   ('timeout=300', 'timeout=0')],
}


def commands() -> list:
    """The guide's commands, in order."""
    blocks = re.findall(r'```bash\n(.*?)```', GUIDE.read_text(), re.DOTALL)
    return [shlex.split(line, comments=True) for block in blocks for line in block.splitlines()]


def make_videos(folder: Path) -> None:
    """Four videos of each class: pieces of a real one, of other sizes and brightness."""
    capture = cv2.VideoCapture(str(real_media('single_face.mp4')))
    frames = [capture.read()[1] for _ in range(72)]
    for number in range(12):
        path = folder / ('calm', 'tense', 'tired')[number % 3] / f'{number:04d}.mp4'
        path.parent.mkdir(parents=True, exist_ok=True)
        size = (256 + 16 * (number % 3), 144)
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'mp4v'), 25, size)
        for frame in frames[4 * number:4 * number + 16]:
            shade = np.clip(frame * (0.8 + 0.03 * number), 0, 255).astype(np.uint8)
            writer.write(cv2.resize(shade, size, interpolation=cv2.INTER_AREA))
        writer.release()


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder as a user has it, with smaller models."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    (tmp_path / 'tools').symlink_to(ROOT / 'tools')
    for path in (ROOT / 'configs').glob('**/*.py'):
        text = path.read_text()
        for theirs, ours in SMALLER.get(path.name, []):
            assert theirs in text, f'{path.name} has no {theirs!r} any more'
            text = text.replace(theirs, ours)
        target = tmp_path / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    make_videos(tmp_path / 'data/own/videos')
    (tmp_path / 'data/own/classes.txt').write_text('calm\ntense\ntired\n')
    model, net = official(temporal=False, sizes=NARROW)
    (tmp_path / 'checkpoints').mkdir()
    landmark_file(net, tmp_path / 'checkpoints')
    torch.save(dict(model=model.state_dict()), 'checkpoints/Pretrain-AffectNet-7.pth')
    return tmp_path


def run(command: list, monkeypatch) -> None:
    """One command in this process, which has loaded everything already."""
    assert command[0] == 'python'
    monkeypatch.setattr(sys, 'argv', command[1:])
    monkeypatch.syspath_prepend(str(Path(command[1]).resolve().parent))
    try:
        runpy.run_path(command[1], run_name='__main__')
    except SystemExit as stop:
        assert not stop.code, command


def test_the_guide_leads_to_a_tested_model(project, monkeypatch):
    said = commands()
    assert [Path(command[1]).name for command in said] == [
        'prepare_folder.py', 'extract_faces.py', 'hold_out.py', 'train.py', 'train.py', 'test.py',
        'make_report.py', 'predict.py']
    (project / 'NEW_VIDEO.mp4').symlink_to(project / 'data/own/videos/calm/0000.mp4')
    for command in said:
        run([part.replace('epoch_100', 'epoch_2') for part in command], monkeypatch)
    lists = {name: pd.read_csv(f'data/own/{name}.csv') for name in (
        'videos', 'lists/train', 'lists/validation')}
    assert sorted(len(table) for table in lists.values()) == [3, 9, 12]
    assert len(list(Path('data/own/clips').glob('*/*/*.jpg'))) == 12 * 16
    for name in ('s2d_own_classes', 'unilearn_own_classes'):
        checkpoint = torch.load(f'work_dirs/{name}/epoch_2.pth', weights_only=True)
        assert checkpoint['state_dict']['cls_head.fc_cls.own.bias'].shape == (3, )
        crops, = checkpoint['meta']['dataset_meta']['face_crops'].values()
        assert crops == face_crops('data/own/videos.csv')
    found = pd.read_csv('work_dirs/s2d_own_classes/predictions.csv')
    assert len(found) == 3 and set(found.label_name) <= {'calm', 'tense', 'tired'}
    assert Path('work_dirs/s2d_own_classes/report/report.md').is_file()
    row, = pd.read_csv(next(Path('predictions').glob('NEW_VIDEO*.csv'))).itertuples()
    assert row.label in ('calm', 'tense', 'tired') and row.p_calm + row.p_tense + row.p_tired > 0.99
