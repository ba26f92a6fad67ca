"""Pre-training in real runs: train, resume, pictures, and the hand-over to fine-tuning."""

import importlib.util
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.runner import Runner

from unilearn_mm.engine.hooks import ReconstructionHook
from unilearn_mm.models.checkpoints.fit import CheckpointMismatchError

ROOT = Path(__file__).parents[1]
spec = importlib.util.spec_from_file_location(
    'show_reconstruction', ROOT / 'tools' / 'analysis' / 'show_reconstruction.py')
show_reconstruction = importlib.util.module_from_spec(spec)
spec.loader.exec_module(show_reconstruction)


def small_cfg(toy_root, work_dir, monkeypatch, epochs, name='unilearn_toy_pretrain.py', **options):
    monkeypatch.setenv('TOY_DATA', str(toy_root))
    monkeypatch.setattr(sys, 'argv', ['test'])
    cfg = Config.fromfile(ROOT / 'configs' / name)
    cfg.work_dir = str(work_dir)
    cfg.train_cfg.update(max_epochs=epochs, val_interval=1)
    cfg.train_dataloader.batch_size = 7
    cfg.train_dataloader.batch_sampler.batch_sizes.toy_image = 7
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.update(num_workers=0, persistent_workers=False)
    cfg.param_scheduler = []
    cfg.experiment_name = f'{work_dir.name}_{epochs}'
    cfg.merge_from_dict(options)
    return cfg


@pytest.mark.parametrize('decoder', ['MAEDecoder', 'CrossMAEDecoder'])
def test_train_resume_look_and_hand_over(decoder, toy_root, tmp_path, monkeypatch, caplog):
    """One story, because a Runner is slow to build."""
    work = tmp_path / decoder
    options = {'model.neck.type': decoder}
    runner = Runner.from_cfg(small_cfg(toy_root, work, monkeypatch, 1, **options))
    runner.train()
    first = {source: runner.message_hub.get_scalar(f'val/{source}/rec_loss').current()
             for source in ('toy_video', 'toy_image')}
    assert all(0 < loss < 3 for loss in first.values())
    for source in first:
        picture, = Path(runner.log_dir).glob(f'vis_data/vis_image/reconstruction_{source}_*.png')
        pixels = cv2.imread(str(picture))
        assert pixels.shape == (4 * 64, 3 * 64, 3)
        assert (pixels[:, 64:128] == [128, 128, 128]).all(2).mean() > 0.4, 'masked in grey'

    hook = ReconstructionHook()
    hook.before_val_epoch(runner)
    batch = next(iter(runner.val_dataloader))
    batch['data_samples'][0].set_metainfo(dict(source='lab/clips'))
    hook.after_val_iter(runner, 0, batch)
    assert list(Path(runner.log_dir).rglob('reconstruction_lab=2Fclips_1.png'))

    cfg = small_cfg(toy_root, work, monkeypatch, 3, **options)
    cfg.resume = True
    steps = runner.iter
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert (runner.epoch, runner.iter) == (3, 3 * steps)

    checkpoint = work / 'epoch_3.pth'
    monkeypatch.setattr(sys, 'argv', [
        'show_reconstruction.py', str(ROOT / 'configs' / 'unilearn_toy_pretrain.py'),
        str(checkpoint), '--images', '3', '--clips', '2', '--out', str(tmp_path / decoder),
        '--device', 'cpu', '--cfg-options', f'model.neck.type={decoder}'])
    show_reconstruction.main()
    assert cv2.imread(str(tmp_path / decoder / 'val_toy_video.png')).shape[0] > 400

    fine = small_cfg(toy_root, tmp_path / f'fine_{decoder}', monkeypatch, 1, 'unilearn_toy.py')
    fine.model.backbone.patch_size = 8
    fine.load_from = str(checkpoint)
    fine.optim_wrapper.optimizer.lr = 0.  # after the training, the weights are the loaded ones
    runner = Runner.from_cfg(fine)
    runner.train()
    state = torch.load(checkpoint, weights_only=True)['state_dict']
    for key, value in runner.model.state_dict().items():
        if key.startswith('backbone.') and key in state:
            assert torch.equal(value, state[key]), key
    log = next(Path(runner.log_dir).glob('*.log')).read_text()
    assert 'In the file, but not in the model: backbone.norm.weight' in log

    fine = small_cfg(toy_root, tmp_path / f'sixteen_{decoder}', monkeypatch, 1, 'unilearn_toy.py')
    fine.load_from = str(checkpoint)
    with pytest.raises(CheckpointMismatchError,
                       match=r'patch_embed\.projection\.weight: checkpoint \(128, 3, 2, 8, 8\)'):
        Runner.from_cfg(fine).train()


def test_pictures_show_the_pixels(toy_root, tmp_path, monkeypatch):
    cfg = small_cfg(toy_root, tmp_path / 'pictures', monkeypatch, 1)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).eval()
    model.init_weights()
    found = show_reconstruction.strips(model, cfg, 'val', dict(image=5, video=2))
    assert {source: len(strips) for source, strips in found.items()} == dict(
        toy_video=2, toy_image=1)
    original, masked, made = found['toy_image'][0].frames.astype(int)
    assert original.shape == (5, 64, 64, 3)
    grey = (masked == 128).all(-1)
    assert grey.mean() == pytest.approx(int(model.mask_ratio['image'] * 64) / 64, abs=0.05)
    assert (made[~grey] == original[~grey]).all(), 'visible patches stay'
    tiles = np.reshape(grey, (5, 8, 8, 8, 8))
    whole = tiles.all((2, 4)) | ~tiles.any((2, 4))
    assert whole.mean() > 0.95, 'whole patches'

    alone = cfg.copy()  # a recipe with one data set
    alone.val_dataloader = dict(dataset=cfg.val_dataloader.dataset.datasets[1], batch_size=5,
                                sampler=dict(type='DefaultSampler', shuffle=False))
    again, = show_reconstruction.strips(model, alone, 'val', dict(image=5))['toy_image']
    assert (again.frames[0] == original).all()
