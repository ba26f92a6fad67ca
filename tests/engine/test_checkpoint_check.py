"""A checkpoint that does not fit is refused with its name, before anything is loaded."""

import logging
from types import SimpleNamespace

import pytest
import torch
from mmaction.registry import HOOKS, MODELS
from mmengine.runner import BaseLoop

from unilearn_mm.models.checkpoints.fit import CheckpointMismatchError, compare_state
from unilearn_mm.models.checkpoints.s4d import FINE_TUNED


def model(**classes):
    return MODELS.build(
        dict(type='UniLearnRecognizer',
             backbone=dict(type='VisionTransformerMoAE', img_size=16, patch_size=8, num_frames=4,
                           embed_dims=16, depth=2, num_heads=2, moae=dict(num_experts=3)),
             cls_head=dict(type='MultiTaskHead', in_channels=16, num_classes=classes)))


class TrainLoop(BaseLoop):
    """A train loop that has been built, as in Runner.train before anything is loaded."""

    def __init__(self):
        pass

    def run(self):
        """Not called."""


def load(target, state, name='work/old.pth', training=True, resume=False):
    hook = HOOKS.build(dict(type='CheckpointCheckHook'))
    runner = SimpleNamespace(model=target, _load_from=name, work_dir='work', _resume=resume,
                             logger=logging.getLogger('test'),
                             _train_loop=TrainLoop() if training else dict(max_epochs=1))
    checkpoint = dict(state_dict=state)
    hook.after_load_checkpoint(runner, checkpoint)
    return checkpoint['state_dict']


def test_a_checkpoint_of_the_same_model_passes():
    load(model(dfew=7), model(dfew=7).state_dict())
    wrapped = {f'module.{key}': value for key, value in model(dfew=7).state_dict().items()}
    load(model(dfew=7), wrapped)


def test_another_number_of_classes_is_named():
    with pytest.raises(CheckpointMismatchError) as error:
        load(model(dfew=7), model(dfew=11).state_dict())
    message = str(error.value)
    assert 'work/old.pth: 2 tensors' in message
    assert 'cls_head.fc_cls.dfew.weight: checkpoint (11, 16), model (7, 16)' in message


def test_training_may_start_with_new_heads_and_experts(caplog):
    caplog.set_level('INFO')
    state = {key: value for key, value in model(dfew=7).state_dict().items()
             if 'moae' not in key and 'cls_head' not in key}
    load(model(mafw=11), {**state, 'decoder.norm.bias': torch.zeros(1)})
    assert 'backbone.blocks.1.moae.router.route.weight' in caplog.text, 'what is new'
    assert 'not in the model: decoder.norm.bias' in caplog.text, 'what is not used'


@pytest.mark.parametrize('how', [dict(training=False), dict(resume=True)])
def test_a_test_or_resume_needs_every_parameter(how):
    load(model(dfew=7, mafw=11), model(dfew=7, mafw=11).state_dict(), **how)
    with pytest.raises(CheckpointMismatchError, match=r'2 parameters.*fc_cls\.mafw\.weight'):
        load(model(dfew=7, mafw=11), model(dfew=7).state_dict(), **how)


def test_a_checkpoint_of_something_else_is_refused():
    with pytest.raises(CheckpointMismatchError,
                       match=r'old\.pth: holds only 0% .*keys begin model, the'):
        load(model(dfew=7), dict(model=torch.zeros(1)))


def test_official_files_are_adopted():
    """What the official code calls `blocks.0.mlp.fc1` is loaded, under our name."""
    source = model(dfew=7)
    official = FINE_TUNED.restore(source.state_dict(), dict(video='dfew')).state
    adopted = load(model(dfew=7), official)
    for name, value in source.state_dict().items():
        if name.startswith('backbone.') and name != 'backbone.pos_embed':
            assert (adopted[name] == value).all(), name
    assert not any('head' in name for name in adopted), 'the file does not say whose heads'


def test_a_foreign_file_with_strange_keys_is_named():
    official = FINE_TUNED.restore(model(dfew=7).state_dict(), dict(video='dfew')).state
    with pytest.raises(CheckpointMismatchError, match=r'old\.pth .*: 1 keys .*blocks\.0\.extra'):
        load(model(dfew=7), {**official, 'blocks.0.extra': torch.zeros(1)})


def test_compare_state_counts_elements():
    parameters = dict(a=torch.zeros(2, 3), b=torch.zeros(4), c=torch.zeros(5))
    wrong, missing, share = compare_state(
        {'module.a': torch.ones(2, 3), 'b': torch.ones(3), 'x': torch.ones(9)}, parameters)
    assert wrong == dict(b=(torch.Size([3]), torch.Size([4])))
    assert missing == ['c'] and share == pytest.approx(6 / 15)
