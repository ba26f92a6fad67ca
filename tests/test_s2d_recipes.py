"""The recipes of S2D on tiny data in the official layout: the image stage, then videos."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.runner import Runner
from official_s2d import Sizes
from s2d_models import landmark_file, official

from unilearn_mm.apis.inferencer import ExpressionInferencer
from unilearn_mm.datasets.label_spaces import class_names
from unilearn_mm.recipes import data_parts

sys.path.insert(0, str(Path(__file__).parent / 'faces'))
from real_media import real_media

CONFIGS = Path(__file__).parents[1] / 'configs'
# frames of 224 x 224, but a narrow model
NARROW = Sizes(dim=32, depth=2, num_heads=2, narrow=4, wide=8, narrow_blocks=1, wide_blocks=1)
ARCH = dict(embed_dims=32, num_layers=2, num_heads=2, feedforward_channels=128)


@pytest.fixture
def recipe(media_root, tmp_path, monkeypatch):
    """Loads a recipe, makes its model narrow, and puts tiny data where it looks for them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv('FOLD', raising=False)
    monkeypatch.setattr(sys, 'argv', ['test'])
    (tmp_path / 'checkpoints').mkdir()
    landmark_file(official(sizes=NARROW)[1], tmp_path / 'checkpoints')
    lists = dict(ExpressionVideoDataset=(media_root / 'clips.csv').read_text(),
                 ExpressionImageDataset=(media_root / 'images.txt').read_text())

    def load(name, epochs=1, start=None):
        cfg = Config.fromfile(CONFIGS / name)
        cfg.model.backbone.update(arch=ARCH, init_cfg=start and dict(
            type='Pretrained', checkpoint=start))
        cfg.model.backbone.landmark_net.update(channels=(4, 8), num_blocks=(1, 1))
        cfg.model.cls_head.in_channels = 32
        cfg.optim_wrapper.paramwise_cfg.num_layers = 2
        cfg.train_cfg.max_epochs = epochs
        cfg.param_scheduler = []
        cfg.train_dataloader.batch_size = 4
        for source in cfg.train_dataloader.batch_sampler.get('batch_sizes', {}):
            cfg.train_dataloader.batch_sampler.batch_sizes[source] = 7
            cfg.train_dataloader.batch_sampler.rates[source] = 1
        for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
            loader.update(num_workers=0, persistent_workers=False, timeout=0)
            for part in data_parts(loader):
                media = Path(part.data_root, part.data_prefix.media)
                media.parent.mkdir(parents=True, exist_ok=True)
                kind = 'clips' if part.type == 'ExpressionVideoDataset' else 'images'
                if not media.exists():
                    media.symlink_to(media_root / kind)
                path = Path(part.data_root, part.ann_file)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(''.join(lists[part.type].splitlines(keepends=True)[:9]))
        return cfg

    return load


def test_image_stage_then_joint_training_then_an_official_file(recipe, tmp_path):
    """One story, because a Runner is slow to build."""
    image = Runner.from_cfg(recipe('s2d_sfer_affectnet7.py'))
    image.train()
    assert image.iter == 2  # of 9 images
    first = image.model.state_dict()

    checkpoint = (tmp_path / image.work_dir / 'last_checkpoint').read_text()
    joint = Runner.from_cfg(recipe('s2d_joint_dfew.py', start=checkpoint))
    joint.train()
    assert joint.iter == 2 + 1  # 8 clips, 9 images
    for loss in ('loss_cls_dfew', 'loss_cls_affectnet7'):
        assert 0 < joint.message_hub.get_scalar(f'train/{loss}').current() < 10
    assert joint.message_hub.get_scalar('val/affectnet7/num_samples').current() == 9
    second = joint.model.state_dict()
    for name, parameter in joint.model.named_parameters():
        if not parameter.requires_grad:
            assert torch.equal(second[name], first[name]), f'{name} is frozen'

    # an official file is tested as it is, by the recipe of its data set
    torch.save(dict(model=official(sizes=NARROW)[0].state_dict()), tmp_path / 'official.pth')
    cfg = recipe('s2d_dfew.py')
    cfg.load_from = str(tmp_path / 'official.pth')
    scores = Runner.from_cfg(cfg).test()
    assert scores['dfew/num_samples'] == 8
    assert len(pd.read_csv(tmp_path / cfg.work_dir / 'predictions.csv')) == 8

    # and predicts the windows of a real video, with the head that the file has
    infer = ExpressionInferencer(cfg, cfg.load_from, 'cpu', show_progress=False)
    (result, ) = infer.predict([str(real_media('single_face.mp4'))], features=True)
    assert len(result.table) == 3 and set(result.table.frames) == {16}
    logits = official(sizes=NARROW)[0].head['fc_cls'](torch.from_numpy(result.features))
    found = result.table[[f'p_{name}' for name in class_names('dfew')]].to_numpy()
    np.testing.assert_allclose(found, logits.softmax(-1).detach(), atol=1e-6)


def test_self_distillation_in_the_recipe_of_ferv39k(recipe):
    cfg = recipe('s2d_ferv39k.py', epochs=3)
    cfg.model.cls_head.sdl.update(first_epoch=0, weights=[(1, 0.1)])
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    runner = Runner.from_cfg(cfg)
    runner.train()
    anchors = runner.model.cls_head.anchors
    assert anchors.filled.tolist() == [6, 3, 3, 3, 3, 3, 3]  # of 8 clips, three times
    logged = runner.message_hub.get_scalar('train/loss_sdl')
    assert len(logged.data[0]) == 4 and logged.current() > 0  # of the second and third epoch


@pytest.mark.parametrize('name, classes, rate', [
    ('s2d_dfew.py', 7, 2e-5), ('s2d_mafw.py', 11, 2e-5), ('s2d_ferv39k.py', 7, 2e-5)])
def test_what_the_recipes_train_and_how_fast(name, classes, rate):
    """The published numbers of parameters; weight decay for matrices only."""
    cfg = Config.fromfile(CONFIGS / name)
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    groups = build_optim_wrapper(model, cfg.optim_wrapper).optimizer.param_groups
    found = {key: group for group in groups for key in group['param_names']}
    sizes = {key: value.numel() for key, value in model.named_parameters() if key in found}
    assert sum(sizes.values()) == {7: 9_258_451, 11: 9_261_527}[classes]
    assert {group['lr'] for group in groups} == {rate}
    for key, value in model.named_parameters():
        if key in found:
            decayed = value.dim() > 1 and key != 'backbone.temporal_embedding'
            assert found[key]['weight_decay'] == (0.05 if decayed else 0.), key
