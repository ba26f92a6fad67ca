"""The package is light until MMAction2 is there, in whatever order the two are imported.

Each story runs in a fresh interpreter, since what is imported stays imported.
"""

import importlib
import os
import pkgutil
import subprocess
import sys
import textwrap
from pathlib import Path

import mmaction.registry
import mmengine.registry

import unilearn_mm
from unilearn_mm import registration

ROOT = Path(__file__).parents[1]
HEAVY = ('torch', 'torchvision', 'mmengine', 'mmcv', 'mmaction', 'mmpretrain')
# what is for those who have no torch
LIGHT = ['', 'files', 'media', 'datasets.annotations', 'datasets.label_spaces',
         'datasets.locations', 'datasets.manifests', 'datasets.readers', 'datasets.splits',
         'datasets.video_reader', 'evaluation.bootstrap', 'evaluation.calibration',
         'evaluation.expression_scores', 'evaluation.prediction_table',
         'evaluation.score_tables', 'evaluation.subgroups', 'evaluation.temperature',
         *sorted(f'{folder}.{path.stem}' for folder in ('faces', 'visualization')
                 for path in (ROOT / 'unilearn_mm' / folder).glob('*.py')
                 if path.stem != '__init__')]
BUILD = '''
from mmaction.registry import MODELS
model = MODELS.build(dict(
    type='UniLearnRecognizer', data_preprocessor=dict(type='mmaction.ActionDataPreprocessor'),
    backbone=dict(type='VisionTransformerMoAE', img_size=16, patch_size=8, num_frames=4,
                  embed_dims=16, depth=1, num_heads=2, moae=None),
    cls_head=dict(type='MultiTaskHead', in_channels=16, num_classes=dict(toy_video=7))))
assert MODELS.get('DRN') is not None
'''
REPAIRED = '''
from mmengine.dist import utils
from mmengine.hooks import CheckpointHook
from mmengine.runner.checkpoint import CheckpointLoader
from unilearn_mm.engine import score_rules
assert utils._init_dist_pytorch.repaired_by_unilearn_mm
assert CheckpointLoader._get_checkpoint_loader('x.pth').__module__.startswith('unilearn_mm.')
assert CheckpointHook._init_rule is score_rules.rules_of_best
'''


def story(code, *arguments, **environment):
    """Run code, or a script, in a fresh interpreter; what it printed."""
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', *(['-c', code] if isinstance(code, str) else [code]),
         *arguments], text=True, capture_output=True, timeout=300, cwd=ROOT,
        env={**os.environ, 'CUDA_VISIBLE_DEVICES': '', **environment})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_what_needs_no_torch_loads_none():
    names = ['unilearn_mm' + f'.{name}' * bool(name) for name in LIGHT]
    shown = story(f'''
import importlib, sys
for name in {names}:
    importlib.import_module(name)
    loaded = [heavy for heavy in {HEAVY} if heavy in sys.modules]
    assert not loaded, f'{{name}} loads {{loaded}}'
sys.path.append('{ROOT}/tools/data')
import extract_faces
assert not [heavy for heavy in {HEAVY} if heavy in sys.modules], 'extract_faces'
print(len({names}))
''')
    assert int(shown) == len(LIGHT) >= 25


def test_first_light_then_a_config_then_workers_that_are_spawned(toy_root, tmp_path):
    """An application that reads media first and builds models later, in one process."""
    script = tmp_path / 'application.py'
    script.write_text('''
import sys


class Collate:
    """The number of samples, and what their process has loaded."""

    def __call__(self, batch):
        return len(batch), set(sys.modules)


if __name__ == '__main__':
    import unilearn_mm.media
    assert 'mmengine' not in sys.modules
    from mmengine.config import Config
    assert 'mmaction' not in sys.modules
''' + textwrap.indent(REPAIRED, '    ') + '''
    cfg = Config.fromfile('configs/unilearn_toy.py')
    from mmengine.registry import DATASETS, DefaultScope
    with DefaultScope.overwrite_default_scope('mmaction'):
        dataset = DATASETS.build(cfg.train_dataloader.dataset)
    from torch.utils.data import DataLoader
    loader = DataLoader(dataset, batch_size=2, num_workers=1, collate_fn=Collate(),
                        multiprocessing_context='spawn', sampler=[0, 1])
    (samples, loaded), = loader
    assert samples == 2 and 'unilearn_mm.datasets.mixed_media' in loaded
    assert 'unilearn_mm.models' not in loaded, 'a worker needs no models'
''' + textwrap.indent(BUILD, '    '))
    story(script, TOY_DATA=str(toy_root))


def test_first_this_package_then_the_registry():
    story('''
import unilearn_mm, sys
assert 'torch' not in sys.modules
import mmengine.registry
assert mmengine.registry.MODEL_WRAPPERS.get('FullyShardedModel') is not None
''' + BUILD + REPAIRED)


def test_every_registered_module_is_in_the_locations_of_its_registry():
    for module in pkgutil.walk_packages(unilearn_mm.__path__, 'unilearn_mm.'):
        importlib.import_module(module.name)
    ours = 0
    for scope, registries, locations in (
            ('mmengine', mmengine.registry, registration.MMENGINE_LOCATIONS),
            ('mmaction', mmaction.registry, registration.MMACTION_LOCATIONS)):
        for name, registry in vars(registries).items():
            if getattr(registry, 'scope', None) != scope:  # no registry, or another's
                continue
            for key, thing in registry.module_dict.items():
                home = thing.__module__
                if home.startswith('unilearn_mm.') and key != 'DRN':
                    ours += 1
                    assert any(f'{home}.'.startswith(f'{place}.') for place in locations[name]), (
                        f'{home} registers {key}: add the module to {name} in registration.py')
    assert ours >= 30


def test_registries_that_were_asked_before_find_our_modules_too():
    story('''
from mmaction.registry import DATASETS, METRICS
assert DATASETS.get('VideoDataset') is not None and DATASETS.get('MixedMediaDataset') is None
import unilearn_mm
assert METRICS.get('WARUARMetric').__name__ == 'WARUARMetric'
assert DATASETS.get('MixedMediaDataset').__name__ == 'MixedMediaDataset'
''' + BUILD + REPAIRED)


def test_a_missing_part_of_the_stack_is_named_when_it_is_needed():
    """Not before: what is light needs none of it."""
    story('''
import sys
sys.modules['mmcv'] = None  # as if it were not installed
import unilearn_mm.media
try:
    import mmaction
except ImportError as error:
    assert 'mmcv>=2.0.0rc4,<2.2.0 is needed. Run: pip install mmcv-lite' in str(error), error
else:
    raise AssertionError('mmaction was imported')
''')
