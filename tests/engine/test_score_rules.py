"""MMEngine's hooks know which of our scores are better when they are greater."""

import pytest
from mmaction.registry import HOOKS
from mmengine.hooks import CheckpointHook, EarlyStoppingHook

from unilearn_mm.engine.hooks import AtomicCheckpointHook

GREATER = ['dfew/WAR', 'dfew/UAR', 'dfew/macro_F1', 'dfew/weighted_F1', 'dfew/recall_fear',
           'loss_of_face/WAR']
# 'acc' and 'top' in a key mean greater to MMEngine
LESS = ['dfew/ECE', 'dfew/NLL', 'accents/NLL', 'top/ECE', 'acc/rec_loss']


@pytest.mark.parametrize('hook', [CheckpointHook, AtomicCheckpointHook])
@pytest.mark.parametrize('keys, rule', [(GREATER, 'greater'), (LESS, 'less')])
def test_the_best_checkpoint_needs_no_rule(hook, keys, rule):
    assert [HOOKS.build(dict(type=hook, save_best=key)).rules for key in keys] == [[rule]] * len(
        keys)
    assert HOOKS.build(dict(type=hook, save_best=keys)).rules == [rule] * len(keys)


@pytest.mark.parametrize('keys, rule', [(GREATER, 'greater'), (LESS, 'less')])
def test_early_stopping_needs_no_rule(keys, rule):
    assert {HOOKS.build(dict(type=EarlyStoppingHook, monitor=key)).rule for key in keys} == {rule}


def test_what_is_no_score_of_ours_is_left_to_mmengine():
    """Also where a part of a word is 'war' or 'ece'."""
    assert CheckpointHook(save_best=['acc/top1', 'flow/warp_loss', 'piece_loss']).rules == [
        'greater', 'less', 'less']
    for key in ('dfew/reward', 'dfew/num_samples', 'WARNINGS', 'recall_'):
        with pytest.raises(ValueError, match=f'Cannot infer the rule for key {key}'):
            CheckpointHook(save_best=key)
    with pytest.raises(ValueError, match='Cannot infer the rule for dfew/num_samples'):
        EarlyStoppingHook(monitor='dfew/num_samples')


def test_a_rule_that_is_given_is_obeyed():
    assert CheckpointHook(save_best='dfew/WAR', rule='less').rules == ['less']
    assert CheckpointHook(save_best=['dfew/WAR', 'dfew/NLL'], rule=['less', 'greater']).rules == [
        'less', 'greater']
    assert CheckpointHook(save_best='auto').rules == [None]
