"""Every config is parsed, names only registered parts, and says what it needs."""

from pathlib import Path

import pytest
import torch
from mmaction.registry import DATASETS, MODELS
from mmengine.config import Config

from unilearn_mm.datasets.expression import MissingDataError
from unilearn_mm.datasets.label_spaces import class_names
from unilearn_mm.recipes import own_pipelines

CONFIGS = Path(__file__).parents[1] / 'configs'
RECIPES = sorted(path.name for path in CONFIGS.glob('*.py'))


def data_parts(cfg):
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        if loader in cfg:
            yield from cfg[loader].dataset.datasets


@pytest.mark.parametrize('name', RECIPES)
def test_model_and_data_agree(name):
    """The model has a head of the right size for every task of its data."""
    cfg = Config.fromfile(CONFIGS / name)
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    if cfg.model.type == 'DualModalMAE':
        backbone, neck, head = model.backbone, model.neck, model.head
        assert neck.table_grid == backbone.table_grid
        assert (head.patch_size, head.tubelet_size) == (backbone.patch_size,
                                                        backbone.tubelet_size)
        assert neck.head.out_features == 3 * head.tubelet_size * head.patch_size**2
        assert neck.embed.in_features == backbone.embed_dims
        return
    for part in data_parts(cfg):
        classes = len(part.get('classes') or class_names(part.task))
        if cfg.model.cls_head.type in ('MultiTaskHead', 'EmotionAnchorHead'):
            assert model.cls_head.fc_cls[part.task].out_features == classes
        else:
            assert model.cls_head.num_classes == classes


@pytest.mark.parametrize('name', RECIPES)
def test_missing_data_is_one_clear_error(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv('TOY_DATA', raising=False)
    cfg = Config.fromfile(CONFIGS / name)
    with pytest.raises(MissingDataError) as error:
        DATASETS.build(cfg.train_dataloader.dataset)
    for part in cfg.train_dataloader.dataset.datasets:
        assert part.data_root in str(error.value)


def test_dfew_without_data_tells_where_to_apply(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cfg = Config.fromfile(CONFIGS / 'unilearn_dfew.py')
    with pytest.raises(MissingDataError) as error:
        DATASETS.build(cfg.train_dataloader.dataset)
    for needed in ("'data/DFEW'", 'https://dfew-dataset.github.io/', "'data/AffectNetdataset'",
                   'http://mohammadmahoor.com/affectnet/'):
        assert needed in str(error.value)


def test_fold_selects_lists_and_work_dir(monkeypatch):
    monkeypatch.delenv('FOLD', raising=False)
    first = Config.fromfile(CONFIGS / 'unilearn_dfew.py')
    monkeypatch.setenv('FOLD', '3')
    third = Config.fromfile(CONFIGS / 'unilearn_dfew.py')
    for cfg, fold in ((first, 1), (third, 3)):
        assert cfg.work_dir.endswith(f'fold_{fold}')
        assert [part.ann_file for part in data_parts(cfg) if part.task == 'dfew'] == [
            f'EmoLabel_DataSplit/train(single-labeled)/train_set_{fold}.csv',
            f'EmoLabel_DataSplit/test(single-labeled)/test_set_{fold}.csv',
            f'EmoLabel_DataSplit/test(single-labeled)/test_set_{fold}.csv']


@pytest.mark.parametrize('name', RECIPES)
def test_the_test_pipeline_is_that_of_the_first_test_data(name):
    """Stock inference reads it at the top level."""
    cfg = Config.fromfile(CONFIGS / name)
    assert [step.type for step in cfg.test_pipeline[-2:]] == ['FormatShape', 'PackActionInputs']
    if 'test_dataloader' in cfg:
        tested = cfg.test_dataloader.dataset
        assert cfg.test_pipeline == tested.pipeline
        assert cfg.test_pipeline == tested.datasets[0].get('pipeline', tested.pipeline)


@pytest.mark.parametrize('task, interval', [('dfew', 4), ('ferv39k', 1), ('mafw', 4)])
def test_recipes_of_data_sets_differ_in_their_clips_only(task, interval):
    """The sampling of frames is the paper's; the rest is that of the DFEW recipe."""
    cfg, dfew = (Config.fromfile(CONFIGS / f'unilearn_{name}.py') for name in (task, 'dfew'))
    for loader, sampler in (('train', dict(type='LinspaceFrames')), ('val', dict(
            type='WindowFrames')), ('test', dict(type='WindowFrames', num_clips=2))):
        for found in (cfg, dfew):
            own_pipelines(found[f'{loader}_dataloader'])
        parts, others = (found[f'{loader}_dataloader'].dataset.datasets for found in (cfg, dfew))
        assert [part.task for part in parts] == [task, 'affectnet7'] and parts[1] == others[1]
        assert parts[0].pipeline[1] == dict(sampler, clip_len=16, frame_interval=interval)
        assert parts[0].pipeline[2:] == others[0].pipeline[2:]
        assert bool(parts[0].get('test_mode')) == (loader != 'train')
        for found in (cfg, dfew):
            for key in ('datasets', 'pipeline'):
                found[f'{loader}_dataloader'].dataset.pop(key)
    assert cfg.model.cls_head.num_classes == {task: len(class_names(task)), 'affectnet7': 7}
    own = ('fold', 'work_dir', 'clips', 'frames', 'train_list', 'test_list', 'test_data',
           'train_pipeline', 'val_pipeline', 'test_pipeline')
    for found in (cfg, dfew):
        found.model.cls_head.pop('num_classes')
        for key in own:
            found.pop(key, None)
    assert cfg.to_dict() == dfew.to_dict()


def test_the_base_of_all_systems_has_nothing_of_one():
    runtime = Config.fromfile(CONFIGS / '_base_' / 'default_runtime.py')
    hooks = [*runtime.custom_hooks, *runtime.default_hooks.values()]
    assert 'RoutingHook' not in [hook.type for hook in hooks]
    assert 'find_unused_parameters' not in runtime
    for name in RECIPES:
        cfg = Config.fromfile(CONFIGS / name)
        routed = cfg.model.backbone.get('moae') is not None
        assert not routed or cfg.default_hooks.routing.type == 'RoutingHook', name
        # ranks that train one of several heads in a step must not wait for the others
        heads = (cfg.model.get('cls_head') or {}).get('num_classes')
        assert not isinstance(heads, dict) or cfg.find_unused_parameters, name


def test_work_dirs_do_not_collide():
    work_dirs = [Config.fromfile(CONFIGS / name).work_dir for name in RECIPES]
    assert len(set(work_dirs)) == len(work_dirs)


def test_composition_configs_are_short():
    for name in RECIPES:
        if name.startswith('compose'):
            lines = (CONFIGS / name).read_text().splitlines()
            assert len([line for line in lines if line.strip()]) < 40


def test_dfew_learning_rates_are_the_papers():
    """Official code, utils/optim_factory.py and run_class_finetuning.py: 0.75 ** (13 - id), floor
    1/320 of each peak, experts with their block, no decay for vectors and stacked biases."""
    from mmengine.optim import build_optim_wrapper
    cfg = Config.fromfile(CONFIGS / 'unilearn_dfew.py')
    model = MODELS.build(cfg.model)
    groups = build_optim_wrapper(model, cfg.optim_wrapper).optimizer.param_groups
    found = {name: group for group in groups for name in group['param_names']}
    assert set(found) == {name for name, _ in model.named_parameters()}
    expected = {
        'backbone.patch_embed.projection.weight': 13, 'backbone.blocks.0.norm1.weight': 12,
        'backbone.blocks.6.moae.experts.fc1.weight': 6, 'backbone.blocks.11.mlp.layers.1.bias': 1,
        'backbone.fc_norm.weight': 0, 'cls_head.fc_cls.affectnet7.weight': 0}
    for name, power in expected.items():
        assert found[name]['lr'] == pytest.approx(4e-5 * 0.75**power)
    for name, parameter in model.named_parameters():
        decayed = found[name]['weight_decay'] > 0
        assert decayed == (parameter.dim() > 1 and not name.endswith('bias')), name
    assert cfg.param_scheduler[1].eta_min_ratio == pytest.approx((1e-6 / 256) / (1e-5 / 8))
