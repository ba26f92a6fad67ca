"""Every module that the package registers is built, run forward and, if it learns, backward."""

import pytest
import torch
from mmaction.registry import (
    DATA_SAMPLERS,
    DATASETS,
    HOOKS,
    LOOPS,
    METRICS,
    MODELS,
    OPTIM_WRAPPER_CONSTRUCTORS,
    OPTIM_WRAPPERS,
    TRANSFORMS,
)
from mmaction.structures import ActionDataSample
from mmengine.registry import MODEL_WRAPPERS

TINY = dict(type='VisionTransformerMoAE', img_size=16, patch_size=8, num_frames=4, embed_dims=16,
            depth=2, num_heads=2, moae=dict(num_experts=3))
PREPROCESSOR = dict(type='MixedMediaPreprocessor', mean=[127.] * 3, std=[63.] * 3)
HEAD = dict(type='MultiTaskHead', in_channels=16, num_classes=dict(dfew=7, affectnet7=7))


def samples(count=2, **meta):
    found = []
    for index in range(count):
        sample = ActionDataSample()
        sample.set_gt_label(index)
        sample.set_metainfo(dict(source='dfew', task='dfew', media='video', path='x',
                                 sample_id=str(index)))
        found.append(sample)
    return found


def learns(module, output):
    """The gradient of the output's sum reaches parameters, and is finite."""
    module.zero_grad()
    output.sum().backward()
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    assert gradients and all(gradient.isfinite().all() for gradient in gradients)
    assert any(gradient.abs().sum() > 0 for gradient in gradients)


def run_backbone():
    backbone = MODELS.build(TINY)
    backbone.init_weights()
    for frames in (4, 1):
        tokens, aux = backbone.forward_tokens(torch.randn(2, 3, frames, 16, 16))
        learns(backbone, tokens.square().sum() + aux['loss_balance'])


def run_head():
    head = MODELS.build(HEAD)
    head.init_weights()
    learns(head, head.loss(torch.randn(2, 16), samples())['loss_cls_dfew'])
    assert head.predict(torch.randn(2, 16), samples())[1].pred_score.sum().item() == \
        pytest.approx(1, abs=1e-5)


def run_preprocessor():
    out = MODELS.build(PREPROCESSOR)(
        dict(inputs=[torch.full((1, 3, 1, 8, 8), 127, dtype=torch.uint8)] * 2,
             data_samples=samples()))
    assert (out['inputs'] == 0).all()


def run_recognizer():
    model = MODELS.build(dict(type='UniLearnRecognizer', backbone=TINY, cls_head=HEAD,
                              data_preprocessor=PREPROCESSOR))
    model.init_weights()
    inputs = [torch.randint(0, 256, (1, 3, 4, 16, 16), dtype=torch.uint8) for _ in range(2)]
    data = model.data_preprocessor(dict(inputs=inputs, data_samples=samples()), training=True)
    learns(model, model.parse_losses(model(**data, mode='loss'))[0])
    with torch.no_grad():
        assert model.test_step(dict(inputs=inputs, data_samples=samples()))[0].pred_label < 7


def run_mae(decoder='MAEDecoder'):
    model = MODELS.build(dict(
        type='DualModalMAE', backbone=dict(TINY, moae=None, use_mean_pooling=False),
        neck=dict(type=decoder, in_channels=16, embed_dims=24, depth=2, num_heads=2,
                  patch_values=384, table_grid=(2, 2, 2)),
        head=dict(type='PixelReconstructionHead', patch_size=8),
        data_preprocessor=PREPROCESSOR, mask_ratio=dict(image=0.5, video=0.75)))
    model.init_weights()
    for frames in (4, 1):
        inputs = [torch.randint(0, 256, (2, 3, frames, 16, 16), dtype=torch.uint8)] * 2
        data = model.data_preprocessor(dict(inputs=inputs, data_samples=samples()), training=True)
        learns(model, model.parse_losses(model(**data, mode='loss'))[0])
        with torch.no_grad():
            assert model.val_step(dict(inputs=inputs, data_samples=samples()))[1].rec_loss > 0


def run_cross_decoder():
    run_mae('CrossMAEDecoder')


LANDMARK_NET = dict(type='MobileFaceNet', channels=(4, 8), num_blocks=(1, 1),
                    init_cfg=dict(type='Kaiming', layer='Conv2d'))


def run_landmark_net():
    net = MODELS.build({**LANDMARK_NET, 'frozen': False})
    net.init_weights()
    learns(net, net(torch.randn(2, 3, 16, 16)))


def run_s2d():
    model = MODELS.build(dict(
        type='Recognizer3D', data_preprocessor=PREPROCESSOR,
        backbone=dict(
            type='S2DVisionTransformer', img_size=16, patch_size=8, num_frames=4,
            landmark_net=LANDMARK_NET, tma_heads=2,
            arch=dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)),
        cls_head={**HEAD, 'type': 'EmotionAnchorHead', 'sdl': dict(weights=((30, 1.), ))}))
    model.init_weights()
    for frames in (4, 1):
        inputs = [torch.randint(0, 256, (1, 3, frames, 16, 16), dtype=torch.uint8)] * 2
        data = model.data_preprocessor(dict(inputs=inputs, data_samples=samples()), training=True)
        learns(model, model.parse_losses(model(**data, mode='loss'))[0])


def run_av_fusion():
    model = MODELS.build(dict(
        type='MMRecognizer3D', cls_head=HEAD,
        data_preprocessor=dict(PREPROCESSOR, audios=dict(mean=-4., std=9.)),
        backbone=dict(
            type='AVFusionViT', visual=dict(img_size=16, patch_size=8),
            audio=dict(img_size=(32, 16), patch_size=8), num_frames=4, latent_dims=4,
            arch=dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32),
            temporal=dict(embed_dims=16, num_heads=2, feedforward_channels=32))))
    model.init_weights()
    for sounds in (1, 0):  # the second one of a batch has none
        inputs = dict(imgs=[torch.randint(0, 256, (1, 3, 4, 16, 16), dtype=torch.uint8)] * 2,
                      audios=[torch.randn(1, 1, 32, 16), torch.randn(1, 1, 32 * sounds, 16)])
        data = model.data_preprocessor(dict(inputs=inputs, data_samples=samples()), training=True)
        learns(model, model.parse_losses(model(**data, mode='loss'))[0])
        with torch.no_grad():
            assert model.test_step(dict(inputs=inputs, data_samples=samples()))[0].pred_label < 7


RUNS = dict(
    AVFusionViT=run_av_fusion,
    DualModalMAE=run_mae,
    MAEDecoder=run_mae,
    CrossMAEDecoder=run_cross_decoder,
    PixelReconstructionHead=run_mae,
    VisionTransformerMoAE=run_backbone,
    MultiTaskHead=run_head,
    MixedMediaPreprocessor=run_preprocessor,
    MobileFaceNet=run_landmark_net,
    S2DVisionTransformer=run_s2d,
    EmotionAnchorHead=run_s2d,
    UniLearnRecognizer=run_recognizer)
# built and run for real elsewhere
ELSEWHERE = dict(
    ExpressionVideoDataset='datasets/test_expression.py',
    ExpressionImageDataset='datasets/test_expression.py',
    MixedMediaDataset='datasets/test_expression.py',
    MixedMediaBatchSampler='datasets/test_samplers.py',
    OpenClip='datasets/test_loading.py',
    DecodeClip='datasets/test_loading.py',
    LinspaceFrames='datasets/test_sampling.py',
    SegmentFrames='datasets/test_sampling.py',
    WindowFrames='datasets/test_sampling.py',
    DecodeSound='datasets/test_sound_features.py',
    SoundFbank='datasets/test_sound_features.py',
    AntialiasResize='datasets/test_resize.py',
    ClipRandAugment='datasets/test_rand_augment.py',
    FixedCrop='datasets/test_repeat.py',
    FrameOrder='datasets/test_ordering.py',
    RepeatAugment='datasets/test_repeat.py',
    ReconstructionMetric='evaluation/test_reconstruction_metric.py',
    WARUARMetric='evaluation/test_war_uar_metric.py',
    LayerDecayConstructor='engine/test_optimizers.py',
    Bf16OptimWrapper='engine/test_optimizers.py',
    AnchorUpdateHook='test_s2d_training.py',
    TrainedOnlyHook='test_s2d_training.py',
    CheckpointCheckHook='engine/test_checkpoint_check.py',
    PredictionFileHook='test_runs.py',
    ReadFailureHook='engine/test_read_failures.py',
    TemperatureHook='engine/test_temperature_hook.py',
    AtomicCheckpointHook='engine/test_atomic_checkpoint.py',
    ExactResumeHook='engine/test_exact_resume.py',
    ResumableTrainLoop='engine/test_exact_resume.py',
    FigureHook='engine/test_figure_hook.py',
    FiniteGuardHook='engine/test_finite_guard.py',
    PreemptionHook='engine/test_preemption.py',
    RunRecordHook='engine/test_run_record.py',
    FullyShardHook='engine/test_sharding.py',
    FullyShardedModel='engine/test_sharding.py',
    ReconstructionHook='test_pretraining.py',
    RoutingHook='engine/test_routing.py')


def test_every_registered_name_is_covered():
    registries = (MODELS, DATASETS, DATA_SAMPLERS, METRICS, TRANSFORMS, HOOKS, LOOPS,
                  OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, MODEL_WRAPPERS)
    for registry in registries:
        registry.import_from_location()
    ours = {name for registry in registries
            for name, cls in registry.module_dict.items()
            if cls.__module__.startswith('unilearn_mm') and name != 'DRN'}
    assert ours == set(RUNS) | set(ELSEWHERE)


@pytest.mark.parametrize('name', RUNS)
def test_builds_and_runs(name):
    torch.manual_seed(0)
    RUNS[name]()
