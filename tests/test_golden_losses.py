"""The first 20 steps of three recipes give the losses that are written in tests/golden.

The toy fine-tuning, the toy pre-training, and the recipe for DFEW with its augmentation, mixing
and erasing, all on toy faces, the last with a tiny model.

A change that means to alter no number leaves these files as they are. Another processor rounds
differently, so the test allows 1e-5; on one machine the losses are equal to the last bit:

    python tests/test_golden_losses.py            compares exactly, exit code 1 if they differ
    python tests/test_golden_losses.py --write    writes the files anew, after a change that is
                                                  meant to alter the numbers (say so in the commit)
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path
from unittest import mock

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

ROOT = Path(__file__).parents[1]
GOLDEN = Path(__file__).with_name('golden')
BATCH_SIZES = dict(unilearn_toy=4, unilearn_toy_pretrain=2, unilearn_dfew=4)  # clips
EPOCHS, STEPS = 2, 20  # 8 steps of clips and 2 of images in each epoch

sys.path.insert(0, str(ROOT / 'tools' / 'data'))

import make_toy_faces  # noqa: E402

# frame folders: JPEG decodes to the same bytes everywhere, mp4 may not
TOY = ('--size 64 --workers 1 --frame-folder-share 1 --video-train 8 --image-train 16 '
       '--video-test 1 --image-test 1').split()


class LossRecorder(Hook):
    """Keeps what every step logs, as lines 'step, source, name, value'."""

    def __init__(self):
        self.lines = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        """Python writes a float so that reading it gives the same float."""
        source = data_batch['data_samples'][0].source
        self.lines += [f'{runner.iter + 1}\t{source}\t{name}\t{torch.as_tensor(value).item()!r}'
                       for name, value in sorted(outputs.items())]


def small_recipe(name: str, toy: Path) -> Config:
    """A recipe on the toy set, without validation."""
    with mock.patch.dict(os.environ, TOY_DATA=str(toy)):
        cfg = Config.fromfile(ROOT / 'configs' / f'{name}.py')
    if name == 'unilearn_dfew':
        for part, source, ann_file, folder in zip(
                cfg.train_dataloader.dataset.datasets, ('toy_video', 'toy_image'),
                ('train.csv', 'train.txt'), ('clips', 'images')):
            part.update(data_root=str(toy / source), ann_file=ann_file,
                        data_prefix=dict(media=folder))
        cfg.model.backbone.update(embed_dims=24, depth=2, num_heads=2)
        cfg.model.cls_head.in_channels = 24
        cfg.optim_wrapper.paramwise_cfg.num_layers = 2
        cfg.param_scheduler = []  # its warm-up would hardly move the weights in 20 steps
    batch_size = BATCH_SIZES[name]
    videos, images = (part.get('source', part.task)
                      for part in cfg.train_dataloader.dataset.datasets)
    cfg.train_cfg.max_epochs = EPOCHS
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.train_dataloader.update(
        batch_size=batch_size, num_workers=0, persistent_workers=False, timeout=0)
    cfg.train_dataloader.batch_sampler.update(
        batch_sizes={images: 8}, rates={videos: float(batch_size), images: 1.})
    cfg.default_hooks.checkpoint.interval = EPOCHS
    return cfg


def recorded(name: str, toy: Path, work_dir: Path) -> list:
    """Lines of the first steps of a recipe on the toy set."""
    cfg = small_recipe(name, toy)
    cfg.work_dir = str(work_dir)
    cfg.experiment_name = f'golden_{name}'
    runner, recorder = Runner.from_cfg(cfg), LossRecorder()
    runner.register_hook(recorder)
    runner.train()
    assert runner.iter == STEPS
    return recorder.lines


def golden(name: str) -> list:
    """Lines of the golden file of a recipe."""
    return (GOLDEN / f'{name}.tsv').read_text().splitlines()


@pytest.fixture(scope='module')
def toy(tmp_path_factory) -> Path:
    """A toy set of 24 training samples."""
    out = tmp_path_factory.mktemp('golden') / 'toy'
    assert make_toy_faces.main(['--out', str(out), *TOY]) == 0
    return out


@pytest.mark.parametrize('name', BATCH_SIZES)
def test_losses_are_the_golden_ones(name, toy, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['test'])
    found, expected = ([line.split('\t') for line in lines]
                       for lines in (recorded(name, toy, tmp_path), golden(name)))
    assert [line[:3] for line in found] == [line[:3] for line in expected]
    for (*where, value), (*_, wanted) in zip(found, expected):
        assert float(value) == pytest.approx(float(wanted), rel=1e-5), where


def main() -> int:
    """Compare exactly, or write; see above."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--write', action='store_true')
    write = parser.parse_args().write
    sys.argv[1:] = []  # the Runner looks there for a local rank
    torch.set_num_threads(1)
    differ = False
    with tempfile.TemporaryDirectory() as folder:
        assert make_toy_faces.main(['--out', f'{folder}/toy', *TOY]) == 0
        for name in BATCH_SIZES:
            lines = recorded(name, Path(folder, 'toy'), Path(folder, name))
            if write:
                (GOLDEN / f'{name}.tsv').write_text('\n'.join(lines) + '\n')
                continue
            expected = golden(name)
            places = [place for place, pair in enumerate(zip(lines, expected))
                      if pair[0] != pair[1]]
            differ |= bool(places) or len(lines) != len(expected)
            print(f'{name}: {len(lines)} values, {len(expected)} in the file, '
                  f'{len(places)} differ' +
                  (f', first {lines[places[0]]!r} instead of {expected[places[0]]!r}'
                   if places else ''))
    return int(differ)


if __name__ == '__main__':
    sys.exit(main())
