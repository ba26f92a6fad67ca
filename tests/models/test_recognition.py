"""Head, preprocessor and recognizer: losses, predictions and refusals."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample

from unilearn_mm.models.backbones.vit_moae import InputSizeError

TINY = dict(type='VisionTransformerMoAE', img_size=16, patch_size=8, num_frames=4, embed_dims=16,
            depth=2, num_heads=2, moae=dict(num_experts=3))
MEAN, STD = [120., 110., 100.], [60., 50., 40.]


def sample(label=None, task=None, path='somewhere.mp4'):
    data_sample = ActionDataSample()
    if label is not None:
        data_sample.set_gt_label(label)
    data_sample.set_metainfo(dict(path=path, **(dict(task=task) if task else {})))
    return data_sample


@pytest.fixture
def head():
    torch.manual_seed(0)
    return MODELS.build(dict(type='MultiTaskHead', in_channels=16, label_smooth_eps=0.1,
                             num_classes=dict(dfew=7, mafw=11)))


@pytest.fixture
def recognizer():
    torch.manual_seed(0)
    return MODELS.build(
        dict(type='UniLearnRecognizer', backbone=TINY,
             data_preprocessor=dict(type='MixedMediaPreprocessor', mean=MEAN, std=STD),
             cls_head=dict(type='MultiTaskHead', in_channels=16,
                           num_classes=dict(dfew=7, mafw=11))))


def test_head_chooses_the_task(head):
    feats = torch.randn(3, 16)
    for task, classes in (('dfew', 7), ('mafw', 11)):
        logits = head(feats, task)
        weight, bias = head.fc_cls[task].weight, head.fc_cls[task].bias
        assert logits.shape == (3, classes)
        torch.testing.assert_close(logits, feats @ weight.T + bias)
    assert (head(feats) == head(feats, 'dfew')).all(), 'the first task is the default'
    with pytest.raises(KeyError, match='no task \'ferv39k\'.*dfew.*mafw'):
        head(feats, 'ferv39k')


def test_head_loss_is_the_smoothed_cross_entropy(head):
    feats, labels = torch.randn(4, 16), [10, 0, 3, 3]
    losses = head.loss(feats, [sample(label, 'mafw') for label in labels])
    assert set(losses) == {'loss_cls_mafw', 'acc_mafw'}
    logits = head(feats, 'mafw').double()
    target = torch.full((4, 11), 0.1 / 11, dtype=torch.float64)
    target[range(4), labels] += 0.9
    expected = -(target * logits.log_softmax(-1)).sum(-1).mean()
    torch.testing.assert_close(losses['loss_cls_mafw'].double(), expected, rtol=0, atol=1e-6)
    expected = np.mean(logits.argmax(-1).numpy() == labels)
    assert losses['acc_mafw'].item() == pytest.approx(expected)


def test_head_takes_soft_labels(head):
    head.label_smooth_eps = 0.
    feats, soft = torch.randn(1, 16), torch.rand(7).softmax(-1)
    losses = head.loss(feats, [sample(soft, 'dfew')])
    expected = -(soft * head(feats, 'dfew').log_softmax(-1)).sum()
    torch.testing.assert_close(losses['loss_cls_dfew'], expected)
    assert set(losses) == {'loss_cls_dfew'}, 'no accuracy without class ids'


def test_head_refuses_two_tasks_in_a_batch(head):
    with pytest.raises(ValueError, match=r"one task, found \['dfew', 'mafw'\].*BatchSampler"):
        head.loss(torch.randn(2, 16), [sample(0, 'dfew'), sample(0, 'mafw')])


def test_prediction_is_the_mean_probability_of_the_views(head):
    feats = torch.randn(6, 16)  # two samples of three views
    found = head.predict(feats, [sample(task='mafw'), sample(task='mafw')])
    probabilities = head(feats, 'mafw').softmax(-1)
    for index, data_sample in enumerate(found):
        expected = probabilities[3 * index:3 * index + 3].mean(0)
        torch.testing.assert_close(data_sample.pred_score, expected)
        assert data_sample.pred_label.item() == expected.argmax()


def test_logits_are_fp32_in_bf16_and_the_gradient_survives(head):
    """Stock heads hand bf16 scores to NumPy, which has no such type."""
    feats = torch.randn(4, 16, dtype=torch.bfloat16, requires_grad=True)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert head(feats, 'dfew').dtype == torch.float32
        loss = head.loss(feats, [sample(i, 'dfew') for i in range(4)])['loss_cls_dfew']
    loss.backward()
    assert feats.grad.abs().sum() > 0


def test_unknown_default_task_is_refused():
    with pytest.raises(ValueError, match="default_task 'x' is none"):
        MODELS.build(dict(type='MultiTaskHead', in_channels=4, num_classes=dict(dfew=7),
                          default_task='x'))


def test_preprocessor_normalises():
    preprocessor = MODELS.build(dict(type='MixedMediaPreprocessor', mean=MEAN, std=STD))
    frames = torch.randint(0, 256, (2, 1, 3, 4, 8, 8), dtype=torch.uint8)
    out = preprocessor(dict(inputs=list(frames), data_samples=[sample(), sample()]))['inputs']
    for channel in range(3):
        torch.testing.assert_close(
            out[:, :, channel], (frames[:, :, channel].float() - MEAN[channel]) / STD[channel])


def test_preprocessor_refuses_unequal_shapes():
    """MMEngine would pad the image with zeros to the length of the clip."""
    preprocessor = MODELS.build(dict(type='MixedMediaPreprocessor', mean=MEAN, std=STD))
    data = dict(inputs=[torch.zeros(1, 3, 4, 8, 8), torch.zeros(1, 3, 1, 8, 8)],
                data_samples=[sample(path='a.mp4'), sample(path='b.jpg')])
    with pytest.raises(ValueError, match=r'\(1, 3, 4, 8, 8\) \(a\.mp4\) and .*b\.jpg'):
        preprocessor(data)


@pytest.mark.parametrize('frames', [4, 1])
def test_recognizer_adds_the_balance_loss(recognizer, frames):
    recognizer.eval()  # no routing noise: the restatement must see the same
    inputs = torch.randn(2, 1, 3, frames, 16, 16)
    samples = [sample(1, 'dfew'), sample(2, 'dfew')]
    losses = recognizer(inputs, samples, mode='loss')
    _, aux = recognizer.backbone.forward_tokens(inputs[:, 0])
    expected = recognizer.cls_head.loss(recognizer.backbone(inputs[:, 0]), samples)
    torch.testing.assert_close(losses['loss_cls_dfew'], expected['loss_cls_dfew'])
    torch.testing.assert_close(losses['loss_balance'], aux['loss_balance'])
    total, logged = recognizer.parse_losses(losses)
    torch.testing.assert_close(total, losses['loss_cls_dfew'] + losses['loss_balance'])
    assert set(logged) == {'loss', 'loss_cls_dfew', 'acc_dfew', 'loss_balance'}
    assert (recognizer.routing['expert_load'] == aux['expert_load']).all()


@MODELS.register_module()
class MixingNeck(torch.nn.Module):
    """Mixes the channels of features (N, 16); its loss is their mean square."""

    def __init__(self, loss='loss_neck'):
        super().__init__()
        self.mix = torch.nn.Linear(16, 16)
        self.loss = loss

    def forward(self, feats, data_samples=None):
        mixed = self.mix(feats)
        return mixed, {} if data_samples is None else {self.loss: mixed.square().mean()}


def test_a_neck_trains_and_tests_alike_and_its_loss_counts(recognizer):
    plain = recognizer.eval()  # no routing noise
    model = MODELS.build(dict(
        type='UniLearnRecognizer', backbone=TINY, neck=dict(type='MixingNeck'),
        cls_head=dict(type='MultiTaskHead', in_channels=16, num_classes=dict(dfew=7, mafw=11))))
    model.load_state_dict(plain.state_dict(), strict=False)
    model.eval()
    inputs, samples = torch.randn(3, 1, 3, 4, 16, 16), [sample(i, 'mafw') for i in range(3)]
    feats = plain.backbone(inputs[:, 0]) @ model.neck.mix.weight.T + model.neck.mix.bias
    logits = feats @ plain.cls_head.fc_cls['mafw'].weight.T + plain.cls_head.fc_cls['mafw'].bias
    losses = model(inputs, samples, mode='loss')
    torch.testing.assert_close(losses['loss_cls_mafw'], F.cross_entropy(logits, torch.arange(3)))
    torch.testing.assert_close(losses['loss_neck'], feats.square().mean())
    total, _ = model.parse_losses(losses)
    torch.testing.assert_close(
        total, losses['loss_cls_mafw'] + losses['loss_neck'] + losses['loss_balance'])
    assert torch.equal(losses['loss_balance'], plain(inputs, samples, mode='loss')['loss_balance'])
    found = torch.stack([s.pred_score for s in model(inputs, samples, mode='predict')])
    torch.testing.assert_close(found, logits.softmax(-1))
    total.backward()
    assert model.neck.mix.weight.grad.abs().sum() > 0


@pytest.mark.parametrize('name', ['loss_balance', 'loss_cls_dfew'])
def test_no_loss_hides_another_of_its_name(recognizer, name):
    recognizer.neck = MixingNeck(name)
    with pytest.raises(ValueError, match=f"name a loss ..{name}.., of which one would be"):
        recognizer(torch.randn(1, 1, 3, 4, 16, 16), [sample(0, 'dfew')], mode='loss')


SLOW_ONLY = dict(type='ResNet3dSlowOnly', depth=18, pretrained=None, conv1_kernel=(1, 7, 7),
                 inflate=(0, 0, 1, 1), base_channels=8, norm_eval=False)
STOCK = {
    'backbone and head': dict(
        backbone=SLOW_ONLY, cls_head=dict(type='I3DHead', num_classes=7, in_channels=64)),
    'backbone, neck and head': dict(
        backbone=dict(SLOW_ONLY, out_indices=(2, 3)),
        neck=dict(type='TPN', in_channels=(32, 64), out_channels=32,
                  spatial_modulation_cfg=dict(in_channels=(32, 64), out_channels=64),
                  temporal_modulation_cfg=dict(downsample_scales=(2, 2)),
                  upsample_cfg=dict(scale_factor=(1, 1, 1)),
                  downsample_cfg=dict(downsample_scale=(1, 1, 1)),
                  level_fusion_cfg=dict(in_channels=(32, 32), mid_channels=(32, 32),
                                        out_channels=64, downsample_scales=((1, 1, 1), (1, 1, 1))),
                  aux_head_cfg=dict(out_channels=7, loss_weight=0.5)),
        cls_head=dict(type='TPNHead', num_classes=7, in_channels=2048))}


@pytest.mark.parametrize('parts', STOCK)
def test_stock_parts_do_what_they_do_in_recognizer3d(parts):
    """Losses, gradients and predictions, bit for bit."""
    found = []
    inputs, samples = torch.randn(2, 1, 3, 8, 32, 32), [sample(0), sample(6)]
    for recognizer in ('Recognizer3D', 'UniLearnRecognizer'):
        torch.manual_seed(0)
        model = MODELS.build(dict(type=recognizer, **STOCK[parts]))
        model.init_weights()
        losses = model(inputs, samples, mode='loss')
        model.parse_losses(losses)[0].backward()
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        model.eval()
        scores = [s.pred_score for s in model(inputs, samples, mode='predict')]
        found.append((losses, gradients, scores))
    (losses, gradients, scores), theirs = found[1], found[0]
    assert ('loss_aux' in losses) == ('neck' in STOCK[parts])
    assert losses.keys() == theirs[0].keys()
    for ours, wanted in zip((*losses.values(), *gradients, *scores),
                            (*theirs[0].values(), *theirs[1], *theirs[2])):
        assert torch.equal(ours, wanted)


@MODELS.register_module()
class NormPenaltySlowOnly(MODELS.get('mmaction.ResNet3dSlowOnly')):
    """A stock backbone with a loss of its own."""

    def forward_with_aux(self, x):
        feats = self(x)
        return feats, dict(loss_norm=feats.square().mean(), mean=feats.mean())


@pytest.mark.parametrize('backbone', ['ResNet3dSlowOnly', 'NormPenaltySlowOnly'])
def test_stock_backbone_and_our_head_train_and_test_clips_and_images(backbone):
    torch.manual_seed(0)
    model = MODELS.build(dict(
        type='UniLearnRecognizer', backbone=dict(SLOW_ONLY, type=backbone),
        cls_head=dict(type='MultiTaskHead', in_channels=64, num_classes=dict(dfew=7, rafdb=7))))
    model.init_weights()
    for task, frames in (('dfew', 4), ('rafdb', 1)):
        inputs, samples = torch.randn(2, 1, 3, frames, 32, 32), [sample(i, task) for i in (0, 6)]
        feats = model.backbone(inputs[:, 0])
        logits = feats.mean((2, 3, 4)) @ model.cls_head.fc_cls[task].weight.T
        losses = model(inputs, samples, mode='loss')
        wanted = {f'loss_cls_{task}': F.cross_entropy(logits, torch.tensor([0, 6]))}
        if backbone.startswith('Norm'):
            wanted['loss_norm'] = feats.square().mean()
        total, _ = model.parse_losses(losses)
        torch.testing.assert_close(total, sum(wanted.values()))
        assert set(losses) == {*wanted, f'acc_{task}'} and model.routing is None
        total.backward()
        assert model.backbone.conv1.conv.weight.grad.abs().sum() > 0
        found = model(inputs, samples, mode='predict')
        torch.testing.assert_close(found[1].pred_score, logits[1].softmax(-1))


@pytest.mark.parametrize('stage', ['backbone', 'neck', 'head'])
def test_tensor_mode_gives_every_stage(recognizer, stage):
    recognizer.eval().neck = MixingNeck()
    inputs = torch.randn(2, 1, 3, 4, 16, 16)
    wanted = recognizer.backbone(inputs[:, 0])
    if stage != 'backbone':
        wanted = recognizer.neck.mix(wanted)
    if stage == 'head':
        wanted = recognizer.cls_head(wanted, 'dfew')
    torch.testing.assert_close(recognizer(inputs, stage=stage), wanted)


def test_all_parameters_of_the_trained_task_learn(recognizer):
    recognizer.train()
    torch.nn.init.normal_(recognizer.backbone.blocks[1].moae.experts.fc2.weight, std=0.1)
    losses = recognizer(torch.randn(4, 1, 3, 4, 16, 16), [sample(i, 'mafw') for i in range(4)],
                        mode='loss')
    recognizer.parse_losses(losses)[0].backward()
    idle = {name for name, p in recognizer.named_parameters()
            if p.grad is None or not p.grad.abs().sum()}
    assert idle == {'cls_head.fc_cls.dfew.weight', 'cls_head.fc_cls.dfew.bias'}


def test_several_views_in_training_are_refused(recognizer):
    with pytest.raises(ValueError, match='one view .* found 2.*num_clips'):
        recognizer(torch.zeros(1, 2, 3, 4, 16, 16), [sample(0, 'dfew')], mode='loss')


def test_wrong_size_names_the_files(recognizer):
    with pytest.raises(InputSizeError, match=r'16 x 20 pixels.*batch: odd\.jpg'):
        recognizer(torch.zeros(1, 1, 3, 1, 16, 20), [sample(0, 'dfew', 'odd.jpg')], mode='loss')


def test_stock_recognizer_and_head_take_our_backbone():
    model = MODELS.build(
        dict(type='Recognizer3D', backbone=TINY,
             cls_head=dict(type='TimeSformerHead', num_classes=7, in_channels=16,
                           average_clips='prob')))
    losses = model(torch.randn(2, 1, 3, 4, 16, 16), [sample(0), sample(6)], mode='loss')
    losses['loss_cls'].backward()
    assert model.backbone.patch_embed.projection.weight.grad.abs().sum() > 0
    with torch.no_grad():
        found = model(torch.randn(1, 2, 3, 1, 16, 16), [sample()], mode='predict')
    assert found[0].pred_score.sum().item() == pytest.approx(1, abs=1e-5)
