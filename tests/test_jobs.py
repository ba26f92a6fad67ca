"""Which jobs are done, resumed, refused; told from real files of a work directory."""

import json
import signal
import sys

import pytest
from mmengine.config import Config

from unilearn_mm.jobs import (
    LAST_EPOCH,
    Job,
    JobError,
    JobPreempted,
    run_and_hand_on_signals,
    validation_scores,
)


def job_in(folder, save_best=None, **options):
    checkpoint = dict(type='CheckpointHook', **(dict(save_best=save_best) if save_best else {}))
    cfg = Config(dict(work_dir=str(folder), train_cfg=dict(max_epochs=2),
                      default_hooks=dict(checkpoint=checkpoint),
                      test_evaluator=dict(type='WARUARMetric', prediction_file='p.csv'),
                      pipeline=[dict(type='Resize', scale=(64, 64)), dict(type='Flip')],
                      **options), format_python_code=False)
    return Job(cfg)


def write_checkpoint(folder, name, content=b'weights'):
    (folder / name).write_bytes(content)
    (folder / 'last_checkpoint').write_text(f'/elsewhere/{name}')


def finish(job):
    """What a test leaves."""
    job._claim()
    job.prediction_file.write_text('predictions')
    job.note.write_text(json.dumps(job._note(job.checkpoint())))


def test_a_job_is_done_while_checkpoint_and_predictions_are_those_of_its_test(tmp_path):
    job = job_in(tmp_path)
    assert job.checkpoint() is None and not job.is_done()
    write_checkpoint(tmp_path, 'epoch_1.pth')
    assert job.checkpoint() is None, 'not the last epoch'
    write_checkpoint(tmp_path, 'epoch_2.pth')
    assert job.checkpoint() == tmp_path / 'epoch_2.pth' and job.selected_by == LAST_EPOCH
    assert not job.is_done(), 'no test yet'
    finish(job)
    assert job.is_done()
    job.prediction_file.write_text('of another checkpoint')
    assert not job.is_done()
    job.prediction_file.write_text('predictions')
    assert job.is_done()
    write_checkpoint(tmp_path, 'epoch_2.pth', b'trained anew')
    assert not job.is_done()


def test_a_longer_schedule_is_not_done(tmp_path):
    write_checkpoint(tmp_path, 'epoch_2.pth')
    job = job_in(tmp_path)
    finish(job)
    job.cfg.train_cfg.max_epochs = 3
    assert not job.is_done() and job.checkpoint() is None


def test_the_best_epoch_is_tested_where_the_recipe_saves_it(tmp_path):
    job = job_in(tmp_path, save_best='dfew/WAR')
    write_checkpoint(tmp_path, 'epoch_2.pth')
    assert job.checkpoint() is None, 'the validation of the last epoch is still to come'
    job.trained.parent.mkdir()
    job.trained.touch()
    with pytest.raises(JobError, match=r'one file best_dfew_WAR_epoch_\*\.pth, found \[\]'):
        job.checkpoint()
    (tmp_path / 'best_dfew_WAR_epoch_1.pth').write_bytes(b'best')
    assert job.checkpoint() == tmp_path / 'best_dfew_WAR_epoch_1.pth'
    assert job.selected_by == 'dfew/WAR'


def test_auto_is_the_first_task_s_score(tmp_path):
    parts = [dict(task='mafw'), dict(task='affectnet7')]
    job = job_in(tmp_path, save_best='auto', val_dataloader=dict(dataset=dict(datasets=parts)))
    assert job.selected_by == 'mafw/WAR'
    single = job_in(tmp_path, save_best='auto', val_dataloader=dict(dataset=parts[1]))
    assert single.selected_by == 'affectnet7/WAR'
    write_checkpoint(tmp_path, 'epoch_2.pth')
    job.trained.parent.mkdir()
    job.trained.touch()
    (tmp_path / 'best_mafw_WAR_epoch_2.pth').write_bytes(b'best')
    assert job.checkpoint() == tmp_path / 'best_mafw_WAR_epoch_2.pth'


def test_several_best_checkpoints_are_refused(tmp_path):
    assert job_in(tmp_path, save_best=['dfew/UAR']).selected_by == 'dfew/UAR'
    with pytest.raises(JobError, match=r"save_best=\['a/WAR', 'a/UAR'\].*tests one"):
        _ = job_in(tmp_path, save_best=['a/WAR', 'a/UAR']).selected_by


def test_another_recipe_is_refused_with_what_differs(tmp_path):
    write_checkpoint(tmp_path, 'epoch_2.pth')
    job_in(tmp_path, seed=0)._claim()
    job_in(tmp_path, seed=0)._claim()
    other = job_in(tmp_path, seed=1)
    other.cfg.pipeline[0].scale = (64, 32)
    with pytest.raises(JobError, match=r'different are pipeline\.0\.scale\.1, seed\. Use another'):
        other.train()


def test_a_lost_checkpoint_is_named(tmp_path):
    (tmp_path / 'last_checkpoint').write_text('/somewhere/epoch_1.pth')
    with pytest.raises(JobError, match=r'last_checkpoint names epoch_1\.pth, which is not there'):
        job_in(tmp_path).train()


@pytest.mark.slow
def test_a_script_that_fails_is_an_error(tmp_path):
    """A recipe without a model, run for real."""
    job = job_in(tmp_path)
    job.quiet = True
    with pytest.raises(JobError, match=r'train ended with exit code 1.*train\.log'):
        job.train()
    assert 'Error' in (tmp_path / 'job' / 'train.log').read_text()


def test_a_preempted_script_is_told_from_one_that_failed(tmp_path):
    job = job_in(tmp_path)
    job.launcher = [sys.executable, '-c', 'import sys; sys.exit(85)']
    with pytest.raises(JobPreempted, match='train was told to end and is saved'):
        job.train()
    job.launcher[-1] = 'import sys; sys.exit(84)'
    with pytest.raises(JobError, match='exit code 84') as caught:
        job.train()
    assert not isinstance(caught.value, JobPreempted)


LISTENER = """
import signal, sys, os
signal.signal(signal.{name}, lambda *_: sys.exit(85))
os.kill(os.getppid(), signal.{name})
signal.pause()
"""


@pytest.mark.parametrize('name', ['SIGTERM', 'SIGUSR1'])
def test_signals_are_handed_on(name):
    """The child sends its parent, this process, the signal, and gets it back."""
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)]
    command = [sys.executable, '-c', LISTENER.format(name=name)]
    assert run_and_hand_on_signals(command) == 85
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)] == before


def test_validation_scores_of_all_sessions(tmp_path):
    """An epoch that was repeated counts once, as logged last; lines of training do not count."""
    for name, lines in (
            ('2', '{"lr": 0.1, "step": 1, "epoch": 1}\n{"a/WAR": 0.3, "a/UAR": NaN, "step": 1}\n'
                  '{"a/WAR": 0.1, "step": 2}\n'),
            ('3', '{"routing/a/moae0/expert0": 0.2, "step": 7}\n{"a/WAR": 0.2, "step": 2}\n')):
        path = tmp_path / name / 'vis_data' / 'scalars.json'
        path.parent.mkdir(parents=True)
        path.write_text(lines)
    found = validation_scores(tmp_path)
    assert {epoch: scores['a/WAR'] for epoch, scores in found.items()} == {1: 0.3, 2: 0.2}
    with open(path, 'a') as file:
        file.write('{"a/WAR": 0.')
    assert validation_scores(tmp_path) == found, 'half a line, as a kill leaves'
    with open(path, 'a') as file:
        file.write('\n')
    with pytest.raises(JobError, match=r'3/vis_data/scalars\.json, line 3.*expected a JSON'):
        validation_scores(tmp_path)
