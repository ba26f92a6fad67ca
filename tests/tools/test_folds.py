"""Folds: the summary's numbers against independent ones, and a real run that is resumed."""

import importlib.util
import json
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mmengine.config import Config
from mmengine.runner import Runner
from scipy import stats
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from unilearn_mm.datasets.label_spaces import class_names
from unilearn_mm.jobs import Job, JobError, validation_scores

ROOT = Path(__file__).parents[2]


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


run_folds = load(ROOT / 'tools' / 'run_folds.py')
summarize_folds = load(ROOT / 'tools' / 'analysis' / 'summarize_folds.py')


@pytest.mark.parametrize('text, folds', [('1-5', [1, 2, 3, 4, 5]), ('2', [2]),
                                         ('4,1-2', [4, 1, 2])])
def test_fold_numbers(text, folds):
    assert run_folds.parse_folds(text) == folds


@pytest.mark.parametrize('text', ['', '1-', 'a', '5-1', '1,1-2', '-1'])
def test_wrong_fold_numbers(text):
    with pytest.raises(run_folds.argparse.ArgumentTypeError, match='expected|names no fold'):
        run_folds.parse_folds(text)


def test_spread_is_the_t_interval():
    values = [0.71, 0.75, 0.73, 0.78, 0.74]
    found = summarize_folds.spread(values)
    low, high = stats.t.interval(0.95, 4, np.mean(values), stats.sem(values))
    assert found['interval'] == pytest.approx([low, high])
    assert (found['n'], found['mean']) == (5, pytest.approx(0.742))
    assert found['sd'] == pytest.approx(pd.Series(values).std())
    assert summarize_folds.spread([0.5]) == dict(n=1, mean=0.5, sd=None, interval=None)
    assert summarize_folds.spread([0.5, 0.5])['interval'] == [0.5, 0.5]


def test_a_pooled_task_that_the_package_does_not_know():
    tables = [pd.DataFrame(dict(
        source='own', task='own', media='video', sample_id=[f'{fold}{row}' for row in range(3)],
        label=[0, 0, 1], prediction=[0, 1, 1], label_name=['a', 'a', 'b'],
        prediction_name=['a', 'b', 'b'], score_0=[1., 0., 0.], score_1=[0., 1., 1.],
        score_2=[0., 0., 0.])) for fold in range(2)]
    assert summarize_folds.pooled(tables, 'own') == dict(WAR=2 / 3, UAR=0.75, num_samples=6)


def test_best_epoch_is_the_first_of_equals():
    scores = {epoch: {'a/WAR': war, 'a/UAR': epoch / 10}
              for epoch, war in ((1, 0.2), (2, 0.7), (3, 0.7), (4, 0.1))}
    assert summarize_folds.best_epoch(scores, 'a') == dict(epoch=2, WAR=0.7, UAR=0.2)


def finished_fold(folder, seed, ids, val_list='test.csv', tasks=('toy_video', 'toy_image')):
    """A work directory with random predictions of 7 classes; returns the table."""
    parts = [dict(task=task, data_root='data', ann_file='test.csv') for task in tasks]
    validated = [dict(part, ann_file=val_list) for part in parts]
    cfg = Config(dict(
        work_dir=str(folder), train_cfg=dict(max_epochs=2),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook')),
        val_dataloader=dict(dataset=dict(datasets=validated)),
        test_dataloader=dict(dataset=dict(datasets=parts)),
        test_evaluator=dict(type='WARUARMetric', prediction_file='predictions.csv')),
        format_python_code=False)
    job = Job(cfg)
    job._claim()
    (folder / 'epoch_2.pth').write_bytes(b'weights')
    (folder / 'last_checkpoint').write_text('epoch_2.pth')
    rng = np.random.default_rng(seed)
    names = [(task, name) for task in tasks
             for name in (ids if task == 'toy_video' else map(str, range(30)))]
    scores = rng.dirichlet(np.ones(7), len(names))
    table = pd.DataFrame([
        dict(source=task, task=task, media=task[4:], sample_id=name, label=label,
             prediction=prediction, label_name=class_names(task)[label],
             prediction_name=class_names(task)[prediction])
        for (task, name), label, prediction in zip(names, rng.integers(7, size=len(names)),
                                                   scores.argmax(1))
    ]).join(pd.DataFrame(scores).add_prefix('score_'))
    table.to_csv(job.prediction_file, index=False)
    job.note.write_text(json.dumps(job._note(job.checkpoint())))
    log = folder / '1' / 'vis_data' / 'scalars.json'
    log.parent.mkdir(parents=True)
    log.write_text(''.join(json.dumps(
        {'step': epoch, **{f'{task}/{name}': value / 10 for task in tasks
                           for name, value in (('WAR', seed + 5 - epoch), ('UAR', epoch))}}) + '\n'
        for epoch in (1, 2)))
    return table


def test_summary_equals_independent_numbers(tmp_path, monkeypatch, capsys):
    ids = np.array_split([f'{index:04d}' for index in range(160)], 3)
    folders = [tmp_path / f'fold_{fold}' for fold in (1, 2, 3)]
    tables = [finished_fold(folder, seed, part)
              for seed, (folder, part) in enumerate(zip(folders, ids))]
    monkeypatch.setattr(sys, 'argv', ['summarize_folds.py', *map(str, folders)])
    assert summarize_folds.main() == 0
    found = json.loads((tmp_path / 'summary.json').read_text())

    clips = [table[table.task == 'toy_video'] for table in tables]
    for name, score in (('WAR', accuracy_score), ('UAR', balanced_accuracy_score)):
        values = [score(table.label, table.prediction) for table in clips]
        tested = found['tasks']['toy_video']['tested epoch'][name]
        assert tested['mean'] == pytest.approx(np.mean(values))
        assert tested['sd'] == pytest.approx(np.std(values, ddof=1))
        whole = pd.concat(clips)
        assert found['tasks']['toy_video']['pooled'][name] == pytest.approx(
            score(whole.label, whole.prediction))
    assert found['tasks']['toy_video']['pooled']['num_samples'] == 160
    assert found['tasks']['toy_image']['pooled'] is None, 'every fold tests the same images'
    # WAR of the validations: 0.4, 0.5, 0.6 in the first epochs, less in the second
    best = found['tasks']['toy_video']['best epoch on the test fold']
    assert best['WAR']['mean'] == pytest.approx(0.5) and best['UAR']['mean'] == pytest.approx(0.1)
    report = (tmp_path / 'summary.md').read_text()
    assert 'last epoch' in report and 'selected by its WAR on the test data' in report
    assert '| 1 | 40.00 | 10.00 |' in report and 'n = 3' in report
    assert 'pooled: folds share test samples' in report
    assert report.strip() in capsys.readouterr().out


def test_other_validation_data_give_no_best_epoch_on_the_test_fold(tmp_path):
    finished_fold(tmp_path / 'fold_1', 0, ['a', 'b'], val_list='held_out.csv')
    fold = summarize_folds.read_fold(tmp_path / 'fold_1')
    assert fold['tasks']['toy_video']['best epoch on the test fold'] is None
    lines = summarize_folds.markdown(summarize_folds.summarize([fold]))
    assert any(line.endswith('| - | - | - |') for line in lines)


def test_folds_that_cannot_be_summarized(tmp_path, monkeypatch, capsys):
    finished_fold(tmp_path / 'fold_1', 0, ['a', 'b'])
    finished_fold(tmp_path / 'fold_2', 1, ['c'], tasks=('toy_video', ))
    monkeypatch.setattr(sys, 'argv', ['summarize_folds.py', str(tmp_path / 'fold_1'),
                                      str(tmp_path / 'fold_2')])
    assert summarize_folds.main() == 1
    assert 'different tasks' in capsys.readouterr().err
    (tmp_path / 'fold_1' / 'predictions.csv').write_text('other')
    with pytest.raises(JobError, match='fold_1: no predictions that belong to a finished'):
        summarize_folds.read_fold(tmp_path / 'fold_1')


SCORES = ('toy_video/WAR', 'toy_video/UAR')
CONFIG = '''
_base_ = ['{root}/configs/unilearn_toy_video_only.py']
fold = '{{{{$FOLD:1}}}}'
work_dir = f'{out}/runs/fold_{{fold}}'
custom_imports = _base_.custom_imports
model = dict(backbone=dict(embed_dims=24, depth=2, num_heads=2), cls_head=dict(in_channels=24))
part = dict(type='ExpressionVideoDataset', task='toy_video', data_root='{media}',
            data_prefix=dict(media='clips'))
train = dict(**part, ann_file=f'{out}/train_{{fold}}.csv', pipeline=_base_.video_train_pipeline)
test = dict(**part, ann_file=f'{out}/test_{{fold}}.csv', pipeline=_base_.video_test_pipeline,
            test_mode=True)
loader = dict(num_workers=0, persistent_workers=False)
train_dataloader = dict(batch_size=4, **loader, dataset=dict(datasets=[train]),
                        batch_sampler=dict(rates=dict(toy_video=1.)))
val_dataloader = dict(**loader, dataset=dict(datasets=[test]))
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=2, val_interval=1)
param_scheduler = []
'''


@pytest.fixture
def folds_config(media_root, tmp_path, monkeypatch):
    """A recipe of two folds of the 14 tiny clips, with subjects."""
    rows = [f'{index:05d},{index:05d},{index % 7},{"ab"[index // 7]}' for index in range(14)]
    for fold, tested in ((1, rows[:5]), (2, rows[5:])):
        for split, part in (('test', tested), ('train', rows)):
            (tmp_path / f'{split}_{fold}.csv').write_text(
                '\n'.join(['sample_id,path,label,subject', *part]) + '\n')
    path = tmp_path / 'recipe.py'
    path.write_text(CONFIG.format(root=ROOT, out=tmp_path, media=media_root))
    monkeypatch.setenv('FOLD', '1')  # restored afterwards
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    monkeypatch.setattr(sys, 'argv', ['test'])
    return path


def test_a_recipe_that_ignores_the_fold_is_refused(folds_config, capsys):
    folds_config.write_text(folds_config.read_text().replace('test_{fold}', 'test_1'))
    assert run_folds.main([str(folds_config), '--folds', '1-2']) == 1
    assert 'tests on the same data in several folds' in capsys.readouterr().err
    assert not (folds_config.parent / 'runs').exists()


def held_out(path, tmp_path, options=()):
    cfg = run_folds.fold_config(str(path), 1, str(tmp_path / 'out'), dict(options), 0.5, 0, None)
    parts = [loader.dataset.get('datasets', [loader.dataset])
             for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader)]
    return cfg, [[(part.type[10:15], part.ann_file) for part in found] for found in parts]


def test_a_recipe_with_one_data_set_is_held_out_from(single_recipe, tmp_path, monkeypatch):
    monkeypatch.setenv('FOLD', '1')  # restored afterwards
    cfg, (train, validated, tested) = held_out(single_recipe, tmp_path)
    lists = tmp_path / 'out' / 'fold_1' / 'split'
    assert train == [('Video', str(lists / 'train.csv'))]
    assert validated == [('Video', str(lists / 'validation.csv'))]
    assert tested == [('Video', 'test.csv')]
    assert cfg.default_hooks.checkpoint.save_best == 'toy_video/WAR'
    names = [pd.read_csv(lists / f'{name}.csv', dtype=str).sample_id for name in
             ('train', 'validation')]
    assert sorted(pd.concat(names)) == [f'{index:05d}' for index in range(14)]


def test_images_are_held_out_where_there_are_no_clips(toy_root, tmp_path, monkeypatch):
    monkeypatch.setenv('FOLD', '1')
    monkeypatch.setenv('TOY_DATA', str(toy_root))
    cfg, (train, validated, tested) = held_out(ROOT / 'configs/unilearn_toy_image_only.py',
                                               tmp_path)
    lists = tmp_path / 'out' / 'fold_1' / 'split'
    assert train == [('Image', str(lists / 'train.csv'))]
    assert validated == [('Image', str(lists / 'validation.csv'))]
    assert tested == [('Video', 'test.csv')]
    assert cfg.default_hooks.checkpoint.save_best == 'toy_image/WAR'


def test_the_clips_of_a_joint_recipe_are_held_out(toy_root, tmp_path, monkeypatch):
    monkeypatch.setenv('FOLD', '1')
    monkeypatch.setenv('TOY_DATA', str(toy_root))
    _, (train, validated, _) = held_out(ROOT / 'configs/unilearn_toy.py', tmp_path)
    assert [path for kind, path in train + validated if kind == 'Image'] == ['train.txt',
                                                                             'test.txt']
    with pytest.raises(JobError, match=r"needs one video list in train.* the tasks "
                                       r"\['toy_video'\] and \['other'\]"):
        held_out(ROOT / 'configs/unilearn_toy.py', tmp_path,
                 {'val_dataloader.dataset.datasets.0.task': 'other'})


@pytest.mark.slow
def test_folds_are_resumed_skipped_and_summarized(folds_config, capfd):
    runs = folds_config.parent / 'runs'
    # as left by an interruption after the first epoch of the first fold
    cfg = Config.fromfile(folds_config)
    cfg.train_cfg.max_epochs = 1
    Runner.from_cfg(cfg).train()
    first = validation_scores(runs / 'fold_1')
    assert list(first) == [1]

    command = [str(folds_config), '--folds', '1-2']
    capfd.readouterr()
    assert run_folds.main(command) == 0
    epochs = re.findall(r'Epoch\(train\) +\[(\d)\]', capfd.readouterr().out)
    assert epochs == ['2', '1', '2'], 'the rest of the first fold, then the second'
    # the epoch was saved before its validation, which is repeated
    again = validation_scores(runs / 'fold_1')[1]
    assert {key: again[key] for key in SCORES} == {key: first[1][key] for key in SCORES}
    summary = json.loads((runs / 'summary.json').read_text())
    tables = [pd.read_csv(runs / f'fold_{fold}' / 'predictions.csv') for fold in (1, 2)]
    assert [len(table) for table in tables] == [5, 9]
    scores = [accuracy_score(table.label, table.prediction) for table in tables]
    assert summary['tasks']['toy_video']['tested epoch']['WAR']['mean'] == pytest.approx(
        np.mean(scores))
    for fold, score in zip((1, 2), scores):
        # one and the same view in validation and test
        assert validation_scores(runs / f'fold_{fold}')[2]['toy_video/WAR'] == pytest.approx(score)

    files = [path for fold in (1, 2) for name in ('epoch_2.pth', 'predictions.csv')
             for path in [runs / f'fold_{fold}' / name]]
    times = [path.stat().st_mtime_ns for path in files]
    files[3].unlink()
    assert run_folds.main(command) == 0
    again = [path.stat().st_mtime_ns for path in files]
    assert again[:3] == times[:3] and again[3] > times[3], 'only the missing test was run'
    assert 'Epoch(train)' not in capfd.readouterr().out

    # another recipe in the same place
    assert run_folds.main([*command, '--cfg-options', 'randomness.seed=5']) == 1
    assert 'different are randomness.seed' in capfd.readouterr().err


@pytest.mark.slow
def test_a_held_out_part_of_the_training_list_selects_the_epoch(folds_config, capfd):
    out = folds_config.parent / 'selected'
    assert run_folds.main([str(folds_config), '--folds', '1', '--work-dir', str(out),
                           '--val-from-train', '0.5']) == 0
    assert '7 samples train, 7 select the epoch; identities: subject' in capfd.readouterr().out
    fold = out / 'fold_1'
    subjects = [set(pd.read_csv(fold / 'split' / f'{name}.csv').subject)
                for name in ('train', 'validation')]
    assert subjects in ([{'a'}, {'b'}], [{'b'}, {'a'}])
    scores = {epoch: found['toy_video/WAR'] for epoch, found in validation_scores(fold).items()}
    note = json.loads((fold / 'job' / 'tested.json').read_text())
    best = max(scores, key=scores.get)  # the first of equals
    assert note['checkpoint'] == f'best_toy_video_WAR_epoch_{best}.pth'
    assert len(pd.read_csv(fold / 'predictions.csv')) == 5, 'the test fold itself'
    summary = (out / 'summary.md').read_text()
    assert 'epoch of the best toy_video/WAR in validation' in summary
    assert '| - | - | - |' in summary, 'nothing was selected on the test fold'
