"""Head, preprocessor and recognizer: losses, predictions and refusals."""

import numpy as np
import pytest
import torch
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
    torch.testing.assert_close(losses['loss_balance'], aux['balance_loss'])
    total, logged = recognizer.parse_losses(losses)
    torch.testing.assert_close(total, losses['loss_cls_dfew'] + losses['loss_balance'])
    assert set(logged) == {'loss', 'loss_cls_dfew', 'acc_dfew', 'loss_balance'}
    assert (recognizer.routing['expert_load'] == aux['expert_load']).all()


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
