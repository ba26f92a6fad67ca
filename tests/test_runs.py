"""Real runs: the Runner, real media files, the command line, and two gloo ranks."""

import itertools
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from unilearn_mm.engine.hooks.read_failures import TooManyUnreadableError
from unilearn_mm.models.backbones.vit_moae import InputSizeError
from unilearn_mm.models.checkpoints.fit import CheckpointMismatchError
from unilearn_mm.run import stock_scripts

ROOT = Path(__file__).parents[1]


def small_cfg(name, toy_root, work_dir, monkeypatch, epochs=1):
    """A config of the repository on tiny data, without worker processes."""
    monkeypatch.setenv('TOY_DATA', str(toy_root))
    cfg = Config.fromfile(ROOT / 'configs' / name)
    cfg.work_dir = str(work_dir)
    cfg.train_cfg.update(max_epochs=epochs, val_interval=1)
    cfg.train_dataloader.batch_size = 7
    sizes = cfg.train_dataloader.batch_sampler.get('batch_sizes', {})
    for source in sizes:
        sizes[source] = 7
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.update(num_workers=0, persistent_workers=False)
    cfg.param_scheduler = []
    cfg.experiment_name = f'{name}_{work_dir.name}_{epochs}'
    return cfg


def runner_of(cfg, monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['test'])
    return Runner.from_cfg(cfg)


def scores_of_a_dump(name, dump, monkeypatch):
    """What MMAction2's eval_metric.py prints."""
    script, = stock_scripts('tools/analysis_tools/eval_metric.py')
    printed = []
    monkeypatch.setattr('rich.print', printed.append)
    monkeypatch.setattr(sys, 'argv', [
        'eval_metric.py', str(ROOT / 'configs' / name), dump, '--cfg-options',
        f'test_evaluator.prediction_file={dump}.csv'])
    runpy.run_path(str(script), run_name='__main__')
    return printed[0]


class StepCounter(Hook):
    """Counts the training steps of this runner."""

    steps = 0

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        """One more."""
        self.steps += 1


@pytest.mark.parametrize('name', ['compose_slowonly_toy.py', 'compose_stock_recognizer_toy.py',
                                  'unilearn_toy_image_only.py', 'unilearn_toy_video_only.py'])
def test_compositions_and_baselines_train(name, toy_root, tmp_path, monkeypatch):
    """Stock SlowOnly with our data; our backbone in stock Recognizer3D + TimeSformerHead.

    The checkpoints are saved as MMAction2's default_runtime.py says.
    """
    cfg = small_cfg(name, toy_root, tmp_path / 'run', monkeypatch)
    cfg.default_hooks.checkpoint = dict(type='CheckpointHook', interval=1, save_best='auto')
    runner = runner_of(cfg, monkeypatch)
    runner.model.init_weights()
    before = {name: p.detach().clone() for name, p in runner.model.named_parameters()}
    runner.train()
    after = dict(runner.model.named_parameters())
    assert all(parameter.isfinite().all() for parameter in after.values())
    # vectors have no weight decay: only a gradient moves them
    still = [name for name, parameter in after.items()
             if parameter.dim() == 1 and (parameter == before[name]).all()]
    assert not [name for name in still if 'moae' not in name], 'the rest must learn'
    task = 'toy_image' if 'image_only' in name else 'toy_video'
    war = runner.message_hub.get_scalar(f'val/{task}/WAR').current()
    assert 0 <= war <= 1 and runner.message_hub.get_info('best_score') == war
    assert (tmp_path / 'run' / f'best_{task}_WAR_epoch_1.pth').is_file()
    found = runner.test()
    assert found[f'{task}/num_samples'] == (35 if 'slowonly' in name else 14)


def test_joint_training_test_resume_and_refusal(toy_root, tmp_path, monkeypatch):
    """One story, because a Runner is slow to build."""
    work = tmp_path / 'joint'
    cfg = small_cfg('unilearn_toy.py', toy_root, work, monkeypatch)
    cfg.default_hooks.checkpoint.save_best = 'auto'
    runner = runner_of(cfg, monkeypatch)
    runner.train()
    steps = runner.iter
    best, = work.glob('best_*.pth')
    assert best.name == 'best_toy_video_WAR_epoch_1.pth', 'of the first task of the recipe'
    assert steps == 4 * 2 + 3  # clips 14 // 7 batches at rate 4, images 21 // 7 batches
    trained_scores = {key: runner.message_hub.get_scalar(f'val/{key}').current()
                      for key in ('toy_video/WAR', 'toy_image/UAR')}
    checkpoint = Path((work / 'last_checkpoint').read_text())

    # a new process would do the same: build from the config, load, test
    cfg = small_cfg('unilearn_toy.py', toy_root, work, monkeypatch)
    cfg.load_from = str(checkpoint)
    dump = str(tmp_path / 'dump.pkl')
    cfg.test_evaluator = [cfg.test_evaluator, dict(type='DumpResults', out_file_path=dump)]
    scores = runner_of(cfg, monkeypatch).test()
    assert scores_of_a_dump('unilearn_toy.py', dump, monkeypatch) == scores
    for key, value in trained_scores.items():
        assert scores[key] == pytest.approx(value, abs=1e-6)
    table = pd.read_csv(work / 'predictions.csv', dtype=dict(sample_id=str))
    assert table.groupby('source').size().to_dict() == dict(toy_video=14, toy_image=21)
    clips = table[table.task == 'toy_video']
    assert (clips.label == clips.prediction).mean() == pytest.approx(scores['toy_video/WAR'])

    # resume (the checkpoint holds what torch's safe loading refuses without our allow-list)
    cfg = small_cfg('unilearn_toy.py', toy_root, work, monkeypatch, epochs=2)
    cfg.resume = True
    runner = runner_of(cfg, monkeypatch)
    counter = StepCounter()
    runner.register_hook(counter)
    runner.train()
    assert (runner.epoch, runner.iter, counter.steps) == (2, 2 * steps, steps)

    # a checkpoint with other classes
    state = torch.load(checkpoint, weights_only=True)
    state['state_dict']['cls_head.fc_cls.toy_video.weight'] = torch.zeros(11, 128)
    torch.save(state, work / 'eleven.pth')
    cfg = small_cfg('unilearn_toy.py', toy_root, work, monkeypatch)
    cfg.load_from = str(work / 'eleven.pth')
    with pytest.raises(CheckpointMismatchError,
                       match=r'eleven\.pth.*toy_video\.weight: checkpoint \(11, 128\), model'):
        runner_of(cfg, monkeypatch).test()

    # one of another model: without experts, and with other heads of the same shapes
    for name, change, named in (
            ('unilearn_toy_no_moae.py', {}, r'blocks\.2\.moae\.router'),
            ('unilearn_toy.py', dict(num_heads=2), r'num_heads: checkpoint 4, model 2')):
        cfg = small_cfg(name, toy_root, work, monkeypatch)
        cfg.model.backbone.update(change)
        cfg.load_from = str(checkpoint)
        with pytest.raises(CheckpointMismatchError, match=f'epoch_1.*{named}'):
            runner_of(cfg, monkeypatch).test()


def test_an_image_that_the_patch_does_not_divide_is_named(toy_root, tmp_path, monkeypatch):
    cfg = small_cfg('unilearn_toy.py', toy_root, tmp_path / 'odd', monkeypatch)
    for part in cfg.test_dataloader.dataset.datasets:
        for transform in part.pipeline:
            if transform.type == 'Resize':
                transform.scale = (60, 60)
    with pytest.raises(InputSizeError, match=r'60 x 60 pixels.*patches of 16.*clips/00000'):
        runner_of(cfg, monkeypatch).test()


def official_layout(name, media_root, root):
    """The tiny media files in the layout that a real recipe reads, 8 clips and 35 images."""
    video, lists = dict(
        dfew=('DFEW/clip_jpg_256', 'DFEW/EmoLabel_DataSplit/{0}(single-labeled)/{0}_set_1.csv'),
        mafw=('MAFW/frames_crop_align_224', 'MAFW/anno/single/no_caption/set_1/{0}.csv'),
        ferv39k=('FERV39K/2_ClipsforFaceCrop', 'FERV39K/Annotation/{0}.csv'))[name]
    data, affectnet = root / 'data', root / 'data' / 'AffectNetdataset'
    affectnet.mkdir(parents=True)
    (data / video).parent.mkdir()
    (data / video).symlink_to(media_root / 'clips')
    (affectnet / 'Manually_Annotated_Images').symlink_to(media_root / 'images')
    for split in ('train', 'test'):
        path = data / lists.format(split)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('\n'.join((media_root / 'clips.csv').read_text().splitlines()[:9]))
        (affectnet / f'{split}_affectnet7_2w.txt').symlink_to(media_root / 'images.txt')


@pytest.mark.parametrize('name', ['dfew', 'mafw', 'ferv39k'])
def test_real_recipes_train_on_data_in_the_official_layout(name, media_root, tmp_path,
                                                           monkeypatch):
    """With all their augmentation; one with an average of the weights, one with a bad file."""
    official_layout(name, media_root, tmp_path)
    monkeypatch.delenv('FOLD', raising=False)
    monkeypatch.chdir(tmp_path)
    cfg = Config.fromfile(ROOT / 'configs' / f'unilearn_{name}.py')
    cfg.model.backbone.update(embed_dims=24, depth=2, num_heads=2)
    cfg.model.cls_head.in_channels = 24
    cfg.optim_wrapper.paramwise_cfg.num_layers = 2
    cfg.train_cfg.max_epochs = 1
    cfg.train_dataloader.update(batch_size=4)
    cfg.train_dataloader.batch_sampler.batch_sizes.affectnet7 = 5
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.update(num_workers=0, persistent_workers=False, timeout=0)
    cfg.param_scheduler = []
    if name == 'mafw':
        cfg.custom_hooks.append(dict(type='EMAHook', momentum=0.5))
    if name == 'ferv39k':
        (tmp_path / 'bad').mkdir()
        bad = tmp_path / 'bad' / '00001.mp4'
        bad.write_bytes(b'no video')
        clips = tmp_path / 'data' / 'FERV39K' / '2_ClipsforFaceCrop'
        clips.unlink()
        clips.mkdir()
        for clip in (media_root / 'clips').iterdir():
            (clips / clip.name).symlink_to(bad if clip.name == bad.name else clip)
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
        with pytest.raises(TooManyUnreadableError, match='1 samples.*than 1.00% of about'):
            runner_of(cfg, monkeypatch).train()
        cfg.experiment_name = 'tolerant'
        cfg.custom_hooks[-1].max_share = 0.5
    runner = runner_of(cfg, monkeypatch)
    runner.train()
    assert runner.iter == 8 // 4 + int(0.5 * (21 // 5))
    for loss in (f'loss_cls_{name}', 'loss_cls_affectnet7', 'loss_balance'):
        assert 0 < runner.message_hub.get_scalar(f'train/{loss}').current() < 10
    if name == 'ferv39k':
        table = pd.read_csv(Path(runner.log_dir) / 'read_failures.csv')
        assert set(table.outcome) == {'read again', 'replaced'}
        assert all(path.endswith('00001.mp4') for path in table.path)
        return
    assert runner.message_hub.get_scalar(f'val/{name}/num_samples').current() == 8
    if name == 'mafw':
        state = torch.load(Path(runner.work_dir, 'epoch_1.pth'), weights_only=True)
        key = 'backbone.blocks.1.moae.experts.fc2.weight'
        average = state['state_dict'][key]  # what a test uses; zero at the start
        assert 0 < average.abs().sum() < state['ema_state_dict'][f'module.{key}'].abs().sum()


@pytest.mark.slow
def test_command_line_on_two_gloo_ranks_equals_one_process(toy_root, tmp_path):
    """dist_train.sh trains and validates on two CPU ranks; tools/test.py on one process and
    dist_test.sh on two give the same scores for its checkpoint."""
    work = tmp_path / 'dist'
    env = {**os.environ, 'TOY_DATA': str(toy_root), 'PYTHON': sys.executable,
           'OMP_NUM_THREADS': '1'}
    options = ['train_cfg.max_epochs=1', 'train_cfg.val_interval=1',
               'train_dataloader.batch_size=3',
               'train_dataloader.batch_sampler.batch_sizes.toy_image=5']
    config = 'configs/unilearn_toy.py'

    def run(*command):
        done = subprocess.run(
            [*command, '--work-dir', str(work), '--cfg-options', *options], cwd=ROOT, env=env,
            text=True, capture_output=True, timeout=280)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout + done.stderr

    def scores_in(log):
        """The last scores that the logger printed: {name: value}."""
        line = [text for text in log.splitlines() if 'toy_video/WAR: ' in text][-1]
        words = line.split()
        return {word[:-1]: float(value) for word, value in itertools.pairwise(words) if '/' in word
                and word.endswith(':')}

    trained = scores_in(run('bash', 'tools/dist_train.sh', config, '2'))
    checkpoint = (work / 'last_checkpoint').read_text()
    single = scores_in(run(sys.executable, 'tools/test.py', config, checkpoint))
    table = pd.read_csv(work / 'predictions.csv')
    double = scores_in(run('bash', 'tools/dist_test.sh', config, checkpoint, '2'))
    assert len(single) == 2 * (6 + 7 + 1)
    # the log has four digits
    assert trained == double == pytest.approx(single, abs=2e-4)
    again = pd.read_csv(work / 'predictions.csv')
    pd.testing.assert_frame_equal(table, again, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_missing_data_on_the_command_line(tmp_path):
    done = subprocess.run(
        [sys.executable, str(ROOT / 'tools/train.py'), str(ROOT / 'configs/unilearn_dfew.py')],
        cwd=tmp_path, text=True, capture_output=True, timeout=200)
    assert done.returncode == 1
    assert 'Traceback' not in done.stderr
    assert 'https://dfew-dataset.github.io/' in done.stderr
    assert 'http://mohammadmahoor.com/affectnet/' in done.stderr
