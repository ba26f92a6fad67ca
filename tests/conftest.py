"""Small real media files and configs that several tests share."""

import gc
import multiprocessing
from pathlib import Path

import cv2
import hypothesis
import pytest
import torch
from media_files import coloured_frame, write_frames, write_video
from mmengine.config import config
from mmengine.registry import DefaultScope

import unilearn_mm  # noqa: F401  (repairs the stack before any test imports mmaction.models)

hypothesis.settings.register_profile('ours', deadline=None)  # a slow machine fails no test
hypothesis.settings.load_profile('ours')
torch.set_num_threads(1)  # the models of the tests are so small that a second thread only waits


@pytest.fixture(autouse=True, scope='session')
def unformatted_configs():
    """Each Runner has yapf format its config for seconds, which no test reads."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(config, 'FormatCode', lambda text, **style: (text, True))
        yield


@pytest.fixture(autouse=True)
def mmaction_scope():
    """Registries resolve plain type names in MMAction2, as they do under the Runner."""
    with DefaultScope.overwrite_default_scope('mmaction'):
        yield


@pytest.fixture(autouse=True)
def end_workers():
    """Runners are reference cycles, and processes of their loaders would live on for minutes."""
    yield
    if multiprocessing.active_children():
        gc.collect()


@pytest.fixture(scope='session')
def media_root(tmp_path_factory) -> Path:
    """A tiny data set on disk: 14 clips (mp4 and frame folders), 21 images, both lists."""
    root = tmp_path_factory.mktemp('media')
    for folder in ('clips', 'images'):
        (root / folder).mkdir()
    clips, images = ['video_name,label'], []
    for index in range(14):
        name = f'{index:05d}'
        if index % 3:
            write_video(root / 'clips' / f'{name}.mp4')
        else:
            write_frames(root / 'clips' / name)
        clips.append(f'{name},{index % 7}')
    for index in range(21):
        name = f'person {index % 3}/{index}.jpg'  # a path with a space
        (root / 'images' / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(root / 'images' / name), coloured_frame(index % 12))
        images.append(f'{name} {index % 7}')
    (root / 'clips.csv').write_text('\n'.join(clips) + '\n')
    (root / 'images.txt').write_text('\n'.join(images) + '\n')
    return root


@pytest.fixture
def video_cfg(media_root) -> dict:
    """Config of the clips, without a pipeline."""
    return dict(
        type='ExpressionVideoDataset', task='toy_video', data_root=str(media_root),
        ann_file='clips.csv', data_prefix=dict(media='clips'), pipeline=[])


@pytest.fixture
def image_cfg(media_root) -> dict:
    """Config of the images, without a pipeline."""
    return dict(
        type='ExpressionImageDataset', task='toy_image', data_root=str(media_root),
        ann_file='images.txt', data_prefix=dict(media='images'), pipeline=[])


@pytest.fixture
def toy_root(media_root, tmp_path):
    """The tiny media files in the layout of the toy data set."""
    for source, folder, name, suffix in (('toy_video', 'clips', 'clips', 'csv'),
                                         ('toy_image', 'images', 'images', 'txt')):
        root = tmp_path / 'toy' / source
        root.mkdir(parents=True)
        (root / folder).symlink_to(media_root / folder)
        for split in ('train', 'test'):
            (root / f'{split}.{suffix}').symlink_to(media_root / f'{name}.{suffix}')
    return tmp_path / 'toy'


SINGLE = """
_base_ = ['{configs}/unilearn_toy_video_only.py']
custom_imports = _base_.custom_imports
work_dir = '{folder}/work'
loader = dict(batch_size=4, num_workers=0, persistent_workers=False, batch_sampler=None)
train_dataloader = dict(
    **loader, dataset=dict(_delete_=True, **_base_.train_dataloader.dataset.datasets[0]))
val_dataloader = dict(
    **loader, dataset=dict(_delete_=True, **_base_.val_dataloader.dataset.datasets[0]))
test_dataloader = val_dataloader
"""


@pytest.fixture
def single_recipe(toy_root, tmp_path, monkeypatch) -> Path:
    """A toy recipe whose loaders hold one data set each, without a MixedMediaDataset."""
    monkeypatch.setenv('TOY_DATA', str(toy_root))
    path = tmp_path / 'single.py'
    path.write_text(SINGLE.format(configs=Path(__file__).parents[1] / 'configs', folder=tmp_path))
    return path
