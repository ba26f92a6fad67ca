"""Features of the test set and the choice of those that are drawn."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from mmaction.registry import DATASETS, MODELS
from mmengine.config import Config

from unilearn_mm.models.checkpoints.fit import CheckpointMismatchError

ROOT = Path(__file__).parents[2]
spec = importlib.util.spec_from_file_location(
    'plot_features', ROOT / 'tools' / 'analysis' / 'plot_features.py')
plot_features = importlib.util.module_from_spec(spec)
spec.loader.exec_module(plot_features)

OPTIONS = {'test_dataloader.num_workers': 0, 'test_dataloader.persistent_workers': False}


def toy(name, toy_root, monkeypatch):
    monkeypatch.setenv('TOY_DATA', str(toy_root))
    cfg = Config.fromfile(ROOT / 'configs' / name)
    cfg.merge_from_dict(OPTIONS)
    torch.manual_seed(0)
    return cfg, MODELS.build(cfg.model).eval()


def test_features_are_those_of_the_backbone(toy_root, monkeypatch):
    cfg, model = toy('unilearn_toy.py', toy_root, monkeypatch)
    features, names = plot_features.extract_features(model, cfg)
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    assert features.shape == (35, 128)
    assert names['source'] == ['toy_video'] * 14 + ['toy_image'] * 21
    for index in (0, 13, 14, 34):
        packed = dataset[index]
        pixels = (packed['inputs'].float() - 127.5) / 63
        with torch.no_grad():
            np.testing.assert_allclose(features[index], model.backbone(pixels)[0], atol=1e-5)
        sample = packed['data_samples']
        classes = dataset.metainfo['label_spaces'][sample.task]
        assert names['class'][index] == classes[int(sample.gt_label)]


def test_maps_and_views_are_averaged(toy_root, monkeypatch):
    """Of a stock backbone, which returns a map, on two windows of each clip."""
    cfg, model = toy('compose_slowonly_toy.py', toy_root, monkeypatch)
    data = cfg.test_dataloader.dataset
    data.datasets = data.datasets[:1]
    data.datasets[0].pipeline[1] = dict(
        type='WindowFrames', clip_len=8, frame_interval=1, num_clips=2)
    features, _ = plot_features.extract_features(model, cfg)
    assert features.shape == (14, 512)
    pixels = (DATASETS.build(data)[3]['inputs'].float() - 127.5) / 63
    assert len(pixels) == 2
    with torch.no_grad():
        expected = torch.stack([model.backbone(view[None])[0].mean((1, 2, 3))
                                for view in pixels]).mean(0)
    np.testing.assert_allclose(features[3], expected, atol=1e-5)


def test_a_share_of_each_source_is_chosen():
    sources = ['a'] * 50 + ['b'] * 3 + ['a'] * 50
    chosen = plot_features.choose(sources, 10)
    assert len(set(chosen)) == 13 and (np.diff(chosen) > 0).all()
    assert [index for index in chosen if sources[index] == 'b'] == [50, 51, 52]
    np.testing.assert_array_equal(chosen, plot_features.choose(sources, 10))
    assert plot_features.choose(sources, 1000).tolist() == list(range(103))


def test_the_command_line(toy_root, tmp_path, monkeypatch):
    _, model = toy('unilearn_toy.py', toy_root, monkeypatch)
    state = model.state_dict()
    torch.save(dict(state_dict=state), tmp_path / 'good.pth')
    state.pop('backbone.patch_embed.projection.weight')
    torch.save(dict(state_dict=state), tmp_path / 'bad.pth')

    def run(name):
        monkeypatch.setattr(sys, 'argv', [
            'plot_features.py', str(ROOT / 'configs/unilearn_toy.py'), str(tmp_path / name),
            '--out', str(tmp_path / 'new' / 'features.png'), '--device', 'cpu', '--samples', '9',
            '--cfg-options', *[f'{key}={value}' for key, value in OPTIONS.items()]])
        plot_features.main()

    with pytest.raises(CheckpointMismatchError, match=r'bad\.pth with .*patch_embed'):
        run('bad.pth')
    run('good.pth')
    assert imread(tmp_path / 'new' / 'features.png').std() > .02
