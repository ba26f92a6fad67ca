"""The hook that counts, names and bounds what could not be read."""

import logging
from types import SimpleNamespace

import pandas as pd
import pytest
from mmaction.structures import ActionDataSample

from unilearn_mm.engine.hooks.read_failures import ReadFailureHook, TooManyUnreadableError

BAD = ('a.mp4', 'a.mp4: cannot be opened', 'replaced')
SLOW = ('b.mp4', 'b.mp4: cannot be opened', 'read again')


def batch(*failures_of_samples):
    samples = []
    for failures in failures_of_samples:
        sample = ActionDataSample()
        sample.set_metainfo(dict(read_failures=failures))
        samples.append(sample)
    return dict(data_samples=samples)


@pytest.fixture
def runner(tmp_path):
    return SimpleNamespace(log_dir=str(tmp_path), train_dataloader=range(10),
                           logger=logging.getLogger('read_failures'))


def epoch(hook, runner, *batches):
    hook.before_train_epoch(runner)
    for index, data_batch in enumerate(batches):
        hook.after_train_iter(runner, index, data_batch)
    hook.after_train_epoch(runner)


def report(tmp_path):
    table = pd.read_csv(tmp_path / 'read_failures.csv')
    return {row.path: (row.outcome, row.times) for row in table.itertuples()}


def test_failures_are_counted_over_the_run_and_named(runner, tmp_path, caplog):
    hook = ReadFailureHook(max_share=0.2)
    epoch(hook, runner, batch((), ()), batch((BAD, ), (SLOW, )))
    assert report(tmp_path) == {'a.mp4': ('replaced', 1), 'b.mp4': ('read again', 1)}
    assert '1 samples of this epoch could not be read' in caplog.text
    epoch(hook, runner, batch((BAD, ), ()))
    assert report(tmp_path) == {'a.mp4': ('replaced', 2), 'b.mp4': ('read again', 1)}


def test_an_epoch_without_failures_reports_nothing(runner, tmp_path, caplog):
    hook = ReadFailureHook()
    epoch(hook, runner, *[batch((), ())] * 3)
    assert not caplog.text and not list(tmp_path.iterdir())
    stock = dict(data_samples=[ActionDataSample()])  # another data set says nothing of failures
    epoch(hook, runner, stock)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('share, bad, stops', [(0.1, 2, False), (0.1, 3, True), (0., 1, True),
                                               (0., 0, False)])
def test_too_many_stop_the_run_at_once(runner, tmp_path, share, bad, stops):
    """10 steps of 2 samples: 2 of 20 are 10 %."""
    hook = ReadFailureHook(max_share=share)
    hook.before_train_epoch(runner)
    batches = [batch((BAD, ), ())] * bad + [batch((), ())]
    if not stops:
        for index, data_batch in enumerate(batches):
            hook.after_train_iter(runner, index, data_batch)
        return
    for index, data_batch in enumerate(batches[:bad - 1]):
        hook.after_train_iter(runner, index, data_batch)
    with pytest.raises(TooManyUnreadableError, match=f'{bad} samples.*of about 20.*csv names'):
        hook.after_train_iter(runner, bad - 1, batches[bad - 1])
    assert report(tmp_path) == {'a.mp4': ('replaced', bad)}


def test_waiting_to_read_again_does_not_stop_a_run(runner):
    hook = ReadFailureHook(max_share=0.)
    epoch(hook, runner, *[batch((SLOW, ), (SLOW, ))] * 5)


def test_samples_without_sound_are_named_in_training_and_test(runner, tmp_path, caplog):
    def clips(*states):
        data_batch = batch(*[()] * len(states))
        for number, (sample, state) in enumerate(zip(data_batch['data_samples'], states)):
            sample.set_metainfo(dict(path=f'{number}.mp4', sound=state))
        return data_batch

    hook = ReadFailureHook(max_share=0.)
    epoch(hook, runner, clips('ok', 'none', 'silent', 'partly'))
    assert report(tmp_path) == {'1.mp4': ('without sound', 1)}
    assert '0 samples of this epoch could not be read' in caplog.text
    assert '1 samples have no sound' in caplog.text
    caplog.clear()
    hook = ReadFailureHook()
    hook.before_test_epoch(runner)
    hook.after_test_iter(runner, 0, clips('none', 'ok', 'none'))
    hook.after_test_epoch(runner)
    assert report(tmp_path) == {'0.mp4': ('without sound', 1), '2.mp4': ('without sound', 1)}
    assert '2 samples have no sound' in caplog.text
