"""A checkpoint that does not fit is refused with its name, before anything is loaded."""

import io
import logging
from types import SimpleNamespace

import pytest
import torch
from mmaction.registry import HOOKS, MODELS
from mmengine.runner import BaseLoop

from unilearn_mm.models.checkpoints.family import Family
from unilearn_mm.models.checkpoints.fit import CheckpointMismatchError, compare
from unilearn_mm.models.checkpoints.s4d import FINE_TUNED


def model(backbone=dict(), mean=127.5, **classes):
    return MODELS.build(
        dict(type='UniLearnRecognizer',
             data_preprocessor=dict(type='MixedMediaPreprocessor', mean=[mean] * 3, std=[60.] * 3),
             backbone={**dict(type='VisionTransformerMoAE', img_size=16, patch_size=8,
                              num_frames=4, embed_dims=16, depth=2, num_heads=2,
                              moae=dict(num_experts=3)), **backbone},
             cls_head=dict(type='MultiTaskHead', in_channels=16, num_classes=classes)))


def slow_only(**change):
    return MODELS.build(
        dict(type='Recognizer3D',
             backbone=dict(type='ResNet3dSlowOnly', depth=18, pretrained=None, **change),
             cls_head=dict(type='I3DHead', in_channels=512, num_classes=7)))


class TrainLoop(BaseLoop):
    """A train loop that has been built, as in Runner.train before anything is loaded."""

    def __init__(self):
        pass

    def run(self):
        """Not called."""


def saved(source):
    """A checkpoint as the Runner writes it, after its hooks."""
    checkpoint = dict(meta=dict(epoch=1, iter=1), state_dict=source.state_dict(), message_hub={},
                      optimizer={}, param_schedulers=[])
    HOOKS.build(dict(type='CheckpointCheckHook')).before_save_checkpoint(
        SimpleNamespace(model=source), checkpoint)
    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def load_file(target, checkpoint, name='work/old.pth', training=True, resume=False):
    hook = HOOKS.build(dict(type='CheckpointCheckHook'))
    runner = SimpleNamespace(model=target, _load_from=name, work_dir='work', _resume=resume,
                             logger=logging.getLogger('test'),
                             _train_loop=TrainLoop() if training else dict(max_epochs=1))
    hook.after_load_checkpoint(runner, checkpoint)
    return checkpoint['state_dict']


def load(target, state, **how):
    """Load a state dict as checkpoints had it before the settings of the layers were in them."""
    return load_file(target, dict(state_dict=state, meta=dict(epoch=1, iter=1), message_hub={},
                                  optimizer={}, param_schedulers=[]), **how)


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


WHOLE = pytest.mark.parametrize('how', [dict(training=False), dict(resume=True)])


@WHOLE
def test_a_test_or_resume_needs_every_parameter(how):
    load(model(dfew=7, mafw=11), model(dfew=7, mafw=11).state_dict(), **how)
    with pytest.raises(CheckpointMismatchError, match=r'2 tensors.*fc_cls\.mafw\.weight'):
        load(model(dfew=7, mafw=11), model(dfew=7).state_dict(), **how)


@WHOLE
def test_a_test_or_resume_drops_nothing(how, caplog):
    """The dense model has all its parameters in the file of the one with experts."""
    dense = model(dict(moae=None), dfew=7)
    with pytest.raises(CheckpointMismatchError,
                       match=r'old\.pth: 8 tensors .*backbone\.blocks\.1\.moae\.router\.route'):
        load(dense, model(dfew=7).state_dict(), **how)
    with pytest.raises(CheckpointMismatchError, match=r'2 tensors .*fc_cls\.mafw\.weight'):
        load(model(dfew=7), model(dfew=7, mafw=11).state_dict(), **how)
    # MMEngine's older models saved these, which the config says
    load(dense, {**dense.state_dict(), 'data_preprocessor.mean': torch.zeros(3, 1, 1)}, **how)
    load(dense, model(dfew=7).state_dict())  # to train a changed model is a choice


@WHOLE
def test_a_test_or_resume_needs_buffers_too(how):
    """Statistics of a BatchNorm are no parameters, and the table of positions has a shape."""
    normed = model(dfew=7)
    normed.neck = torch.nn.BatchNorm1d(4)
    state = normed.state_dict()
    del state['neck.running_var']
    with pytest.raises(CheckpointMismatchError, match=r'1 .*not in the .*neck\.running_var'):
        load(normed, state, **how)
    longer = model(dict(num_frames=8), dfew=7)
    with pytest.raises(CheckpointMismatchError,
                       match=r'backbone\.pos_embed: checkpoint \(1, 8, 16\), model \(1, 16, 16\)'):
        load(longer, model(dfew=7).state_dict(), **how)
    load(longer, model(dfew=7).state_dict())
    computed = model(dfew=7).state_dict()
    del computed['backbone.pos_embed']  # the converter writes none
    load(model(dfew=7), computed, **how)


@WHOLE
def test_a_layer_declares_what_only_training_uses(how):
    class Head(torch.nn.Linear):
        checkpoint_optional = ('bank', )

    plain, training = model(dfew=7), model(dfew=7)
    for target in (plain, training):
        target.neck = Head(2, 2)
    training.neck.bank = torch.nn.BatchNorm1d(4)
    load(plain, training.state_dict(), **how)
    load(training, plain.state_dict(), **how)


@WHOLE
@pytest.mark.parametrize('change, named', [
    (dict(backbone=dict(num_heads=4)),
     r'backbone\.blocks\.0\.attn\.num_heads: checkpoint 2, model 4'),
    (dict(backbone=dict(moae=dict(num_experts=3, top_k=1))),
     r'blocks\.1\.moae\.router\.top_k: checkpoint 2, model 1'),
    (dict(backbone=dict(moae=dict(num_experts=3, preset='official'))),
     r'blocks\.1\.moae\.capacity_factor: checkpoint None, model 1\.0'),
    (dict(mean=0.5),
     r'data_preprocessor\.mean: checkpoint \[127\.5, 127\.5, 127\.5\], model \[0\.5'),
])
def test_what_shapes_cannot_tell_is_compared(how, change, named):
    checkpoint = saved(model(dfew=7))
    load_file(model(dfew=7), checkpoint, **how)
    with pytest.raises(CheckpointMismatchError, match=r'old\.pth: .*' + named):
        load_file(model(**change, dfew=7), checkpoint, **how)
    load(model(**change, dfew=7), checkpoint['state_dict'], **how)  # an older file says nothing


@WHOLE
def test_what_only_training_uses_may_change(how):
    checkpoint = saved(model(dfew=7))
    other = model(dict(drop_path_rate=0.2, with_cp=True, drop_rate=0.1, moae=dict(
        num_experts=3, balance_loss_weight=0.5, backend='loop', init='official')), dfew=7)
    load_file(other, checkpoint, **how)


def test_a_training_may_start_with_other_settings_but_not_heads(caplog):
    caplog.set_level('WARNING')
    checkpoint = saved(model(dfew=7))
    load_file(model(dict(moae=dict(num_experts=3, top_k=1)), mean=0.5, dfew=7), checkpoint)
    assert 'data_preprocessor.mean' in caplog.text and 'router.top_k' in caplog.text
    with pytest.raises(CheckpointMismatchError, match='num_heads: checkpoint 2, model 4'):
        load_file(model(dict(num_heads=4), dfew=7), checkpoint)


def test_stock_models_have_settings_too():
    checkpoint = saved(slow_only())
    load_file(slow_only(), checkpoint, training=False)
    with pytest.raises(CheckpointMismatchError,
                       match=r'layer4\.0\..*stride: checkpoint \[1, 2, 2\], model \[1, 1, 1'):
        load_file(slow_only(spatial_strides=(1, 2, 2, 1)), checkpoint, training=False)


def test_weights_alone_cannot_be_resumed():
    """MMEngine: KeyError: 'meta'."""
    state = model(dfew=7).state_dict()
    with pytest.raises(CheckpointMismatchError, match=r'old\.pth: .*meta, message_hub, optimizer'):
        load_file(model(dfew=7), dict(state_dict=state), resume=True)
    load_file(model(dfew=7), dict(state_dict=state), training=False)


@pytest.mark.parametrize('content', [torch.zeros(2), [torch.zeros(2)], None, dict(state_dict=None),
                                     dict(state_dict=torch.zeros(2)), {1: torch.zeros(2)},
                                     dict(state_dict={1: torch.zeros(2)}), {}])
def test_what_is_no_state_dict_is_named(content):
    """A file from the net does not come through our reader."""
    with pytest.raises(CheckpointMismatchError, match=r'old\.pth: '):
        load_file(model(dfew=7), content)


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


@pytest.mark.parametrize('frames', [1, 2])
def test_an_image_model_takes_the_tubelets_of_the_backbone(frames):
    """A MAE image model: the embedding of an image stays that of the file."""
    official = FINE_TUNED.restore(model(dfew=7).state_dict(), dict(video='dfew')).state
    state = {key: value for key, value in official.items()
             if not any(part in key for part in ('head', 'moe', 'bias', 'patch_embed'))}
    state['patch_embed.proj.weight'] = torch.randn(16, 3, 8, 8)
    state['cls_token'] = torch.zeros(1, 1, 16)
    target = model(dict(tubelet_size=frames, num_frames=2 * frames), dfew=7)
    target.load_state_dict(load(target, state), strict=False)
    with torch.no_grad():
        target.backbone.patch_embed.projection.bias.zero_()
    image = torch.randn(1, 3, 1, 8, 8)
    found = target.backbone.patch_embed.projection(image.expand(-1, -1, frames, -1, -1))
    flat = torch.nn.functional.conv2d(image[:, :, 0], state['patch_embed.proj.weight'])
    torch.testing.assert_close(found[:, :, 0], flat)


def test_a_file_for_another_backbone_is_refused_with_its_name():
    class GlassViT(torch.nn.Linear):
        checkpoint_families = (Family('Glass', lambda state: 'glass.weight' in state, None), )

    official = FINE_TUNED.restore(model(dfew=7).state_dict(), dict(video='dfew')).state
    MODELS.register_module(module=GlassViT)
    try:
        with pytest.raises(CheckpointMismatchError,
                           match='old.pth: a file of Glass, for the backbone GlassViT.*'
                                 'VisionTransformerMoAE, which understands S4D or VideoMAE'):
            load(model(dfew=7), {'glass.weight': torch.zeros(2)})
    finally:
        MODELS.module_dict.pop('GlassViT')
    with pytest.raises(CheckpointMismatchError,
                       match='S4D or VideoMAE, fine-tuned, for the backbone VisionTransformerMoAE'
                             '.*ResNet3dSlowOnly, which understands only our own names'):
        load(slow_only(), official)


def test_a_foreign_file_with_strange_keys_is_named():
    official = FINE_TUNED.restore(model(dfew=7).state_dict(), dict(video='dfew')).state
    with pytest.raises(CheckpointMismatchError, match=r'old\.pth .*: 1 keys .*blocks\.0\.extra'):
        load(model(dfew=7), {**official, 'blocks.0.extra': torch.zeros(1)})


def test_the_share_counts_elements():
    target = torch.nn.Module()
    for name, shape in dict(a=(2, 3), b=(4, ), c=(5, )).items():
        target.register_parameter(name, torch.nn.Parameter(torch.zeros(shape)))
    fit = compare({'module.a': torch.ones(2, 3), 'b': torch.ones(3), 'x': torch.ones(9)}, target,
                  'file', with_buffers=False)
    assert fit.wrong == ['b: checkpoint (3,), model (4,)']
    assert fit.missing == ['c'] and fit.strangers == ['x']
    assert fit.share == pytest.approx(6 / 15)
