"""The recipes of MMA-DFER on tiny data: frames and sound, or one of both, and official files."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mma_dfer_models import official
from mmaction.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.runner import Runner
from official_mma_dfer import Sizes
from scipy.io import wavfile

from unilearn_mm.evaluation.prediction_table import read_predictions, score_columns
from unilearn_mm.models.checkpoints.fit import load_whole
from unilearn_mm.recipes import data_parts

CONFIGS = Path(__file__).parents[1] / 'configs'
NARROW = Sizes(dim=32, depth=2, num_heads=2, every=1, patch=16, latent=4, image=(14, 14),
               sound=(32, 8), temporal_dim=24, temporal_heads=2, temporal_hidden=32)


@pytest.fixture
def recipe(media_root, tmp_path, monkeypatch):
    """Loads a recipe, makes its model narrow, and puts tiny clips with sound where it looks."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv('FOLD', raising=False)
    monkeypatch.setattr(sys, 'argv', ['test'])
    rows = (media_root / 'clips.csv').read_text().splitlines()[:8]
    rng = np.random.default_rng(0)

    def load(name, silent=(), **options):
        cfg = Config.fromfile(CONFIGS / name)
        cfg.model.backbone.update(
            arch=dict(embed_dims=NARROW.dim, num_layers=NARROW.depth, num_heads=NARROW.num_heads,
                      feedforward_channels=4 * NARROW.dim), prompt_every=1, latent_dims=4,
            temporal=dict(embed_dims=24, num_heads=2, feedforward_channels=32))
        for encoder in ('visual', 'audio'):
            cfg.model.backbone[encoder].pop('init_cfg')
        cfg.model.cls_head.in_channels = 24
        cfg.merge_from_dict(dict(train_cfg=dict(max_epochs=1), **options))
        for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
            loader.update(num_workers=0, persistent_workers=False, timeout=0, batch_size=4)
            for part in data_parts(loader):
                root = Path(part.data_root)
                sound = root / part.data_prefix.audio
                sound.mkdir(parents=True, exist_ok=True)
                for row in rows[1:]:
                    clip = row.split(',')[0]
                    if clip not in silent:
                        noise = rng.normal(0, 3000, 8000).astype(np.int16)  # one second
                        wavfile.write(sound / f'{clip}.wav', 8000, noise)
                media = root / part.data_prefix.media
                if not media.exists():
                    media.symlink_to(media_root / 'clips')
                (root / part.ann_file).write_text('\n'.join(rows))
        return cfg

    return load


def test_training_then_an_official_file_with_and_without_a_modality(recipe, tmp_path):
    """One story, because a Runner is slow to build."""
    cfg = recipe('mma_dfer_dfew.py', **{
        'model.data_preprocessor.modality_dropout': dict(imgs=0.3, audios=0.3)})
    training = Runner.from_cfg(cfg)
    training.train()
    assert training.iter == 1  # of 7 clips, the rest is left out
    assert 0 < training.message_hub.get_scalar('train/loss_cls_dfew').current() < 10
    assert training.message_hub.get_scalar('val/dfew/num_samples').current() == 7

    # an official file is tested as it is, and scores what the official model does
    theirs = official(NARROW)
    path = str(tmp_path / 'official.pth')
    torch.save(dict(state_dict={f'module.{key}': value
                                for key, value in theirs.state_dict().items()}), path)
    cfg = recipe('mma_dfer_dfew.py')
    cfg.load_from = path
    testing = Runner.from_cfg(cfg)
    assert testing.test()['dfew/num_samples'] == 7
    table = read_predictions(Path(cfg.work_dir) / 'predictions.csv')
    table = table.sort_values('sample_id')[score_columns(table.columns)]
    batches, logits = list(testing.test_dataloader), []
    for data in batches:
        inputs = testing.model.data_preprocessor(data)['inputs']
        assert inputs['imgs'].shape[2:] == (3, 16, 224, 224)
        assert inputs['audios'].shape[1:] == (1, 1, 512, 128)
        padding = inputs['audios'][0, 0, 0, 98:]  # one second has 98 frames
        torch.testing.assert_close(padding, torch.full_like(padding, 0.46703), atol=1e-5, rtol=0)
        with torch.no_grad():
            logits.append(theirs(inputs['imgs'][:, 0].transpose(1, 2), inputs['audios'][:, 0]))
    expected = torch.cat(logits).softmax(-1)
    np.testing.assert_allclose(table, expected, atol=1e-5)

    # the same file scores one of both alone
    for modality in ('imgs', 'audios'):
        model = MODELS.build(recipe('mma_dfer_dfew.py', **{
            'model.data_preprocessor.modalities': [modality]}).model).eval()
        load_whole(model, path, 'a config')
        with torch.no_grad():
            found = [sample.pred_score for data in batches for sample in model.test_step(data)]
        assert (torch.stack(found) - expected).abs().max() > 1e-3


def test_clips_of_mafw_without_sound_are_trained_and_told(recipe):
    cfg = recipe('mma_dfer_mafw.py', silent=('00001', '00003'))
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    states = {}
    for index in range(len(dataset)):
        packed = dataset[index]
        states[packed['data_samples'].sample_id] = packed['data_samples'].sound
        assert packed['inputs']['audios'].shape == (1, 1, 512, 128)
        has_sound = packed['data_samples'].sound != 'none'
        assert bool(packed['inputs']['audios'].abs().sum() > 0) == has_sound
    assert {name for name, state in states.items() if state == 'none'} == {'00001', '00003'}


@pytest.mark.parametrize('name, classes', [('mma_dfer_dfew.py', 7), ('mma_dfer_mafw.py', 11)])
def test_what_the_recipes_train_and_how(name, classes):
    """The published numbers of parameters; weight decay for all of them, a cosine to zero."""
    cfg = Config.fromfile(CONFIGS / name)
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    optim = build_optim_wrapper(model, cfg.optim_wrapper)
    trained = [value for group in optim.optimizer.param_groups for value in group['params']
               if value.requires_grad]
    assert sum(value.numel() for value in trained) == {7: 7_630_367, 11: 7_632_419}[classes]
    for group in optim.optimizer.param_groups:
        assert (group['lr'], group['weight_decay']) == (1e-4, 1e-2)
    assert cfg.param_scheduler[0].T_max == cfg.train_cfg.max_epochs == 25
