"""What the data preprocessor takes and gives besides the frames: sound, and the unmixed batch."""

import numpy as np
import pytest
import torch
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmengine.dataset import Compose, pseudo_collate
from mmengine.optim import build_optim_wrapper
from torch import nn

FRAMES = dict(mean=[120., 110., 100.], std=[60., 50., 40.])
SOUND = dict(mean=-4.2677393, std=9.1379948)  # log-mel of AudioMAE
MIXING = dict(mixup_alpha=0.8, cutmix_alpha=1.0)


def batch(count=4, size=(24, 32), sound=True):
    """A collated batch of real packed samples."""
    rng = np.random.default_rng(0)
    keys = ('imgs', 'audios') if sound else None
    pack = Compose([dict(type='PackActionInputs', collect_keys=keys,
                         meta_keys=('path', 'media', 'draw_seed', 'num_classes'))])
    return pseudo_collate([pack(dict(
        imgs=rng.integers(0, 256, (1, 3, 4, *size), np.uint8),
        audios=rng.normal(-4, 5, (1, 1, 16, 8)).astype(np.float32), label=index % 3,
        path=f'{index}.mp4', media='video', draw_seed=100 + index, num_classes=3))
        for index in range(count)])


def build(**options):
    return MODELS.build(dict(type='MixedMediaPreprocessor', **FRAMES, **options))


# sound


def test_sound_is_normalised_beside_the_frames():
    """By the formula in double precision, and as MMAction2's multi-modal preprocessor does."""
    raw = batch()['inputs']
    found = build(audios=SOUND)(batch())['inputs']
    assert set(found) == {'imgs', 'audios'} and found['audios'].shape == (4, 1, 1, 16, 8)
    mean, std = (np.reshape(FRAMES[key], (3, 1, 1, 1)) for key in ('mean', 'std'))
    np.testing.assert_allclose(
        found['imgs'], (np.stack([x.numpy() for x in raw['imgs']]) - mean) / std, atol=1e-5)
    np.testing.assert_allclose(
        found['audios'], (np.stack([x.numpy() for x in raw['audios']]).astype(float) -
                          SOUND['mean']) / SOUND['std'], atol=1e-5)
    stock = MODELS.build(dict(type='MultiModalDataPreprocessor', preprocessors=dict(
        imgs=dict(type='ActionDataPreprocessor', format_shape='NCTHW', **FRAMES),
        audios=dict(type='ActionDataPreprocessor', mean=[SOUND['mean']], std=[SOUND['std']]))))
    for key, expected in stock(batch())['inputs'].items():
        torch.testing.assert_close(found[key], expected)


def test_our_preprocessor_is_a_part_of_the_stock_one():
    parts = dict(imgs=dict(type='MixedMediaPreprocessor', **FRAMES),
                 audios=dict(type='ActionDataPreprocessor', mean=[SOUND['mean']],
                             std=[SOUND['std']]))
    stock = MODELS.build(dict(type='MultiModalDataPreprocessor', preprocessors=parts))
    for key, expected in build(audios=SOUND)(batch())['inputs'].items():
        torch.testing.assert_close(stock(batch())['inputs'][key], expected)


def test_frames_are_erased_with_sound_as_without():
    alone = build(erasing=dict(prob=1.))(batch(sound=False), training=True)['inputs']
    found = build(erasing=dict(prob=1.), audios=SOUND)(batch(), training=True)['inputs']
    assert torch.equal(found['imgs'], alone)
    assert torch.equal(found['audios'], build(audios=SOUND)(batch())['inputs']['audios'])
    assert not torch.equal(found['imgs'], build(audios=SOUND)(batch())['inputs']['imgs'])


@MODELS.register_module()
class TwoMeans(nn.Module):
    """Backbone of a stock multi-modal recognizer: means of the frames and of the sound."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4))

    def forward(self, imgs, audios):
        return self.scale * torch.cat([imgs.mean((2, 3, 4)), audios.mean((2, 3))], 1)


def test_a_stock_multi_modal_recognizer_trains_and_tests():
    model = MODELS.build(dict(
        type='MMRecognizer3D', backbone=dict(type='TwoMeans'),
        data_preprocessor=dict(type='MixedMediaPreprocessor', audios=SOUND,
                               erasing=dict(prob=0.5), **FRAMES),
        cls_head=dict(type='TimeSformerHead', num_classes=3, in_channels=4, dropout_ratio=0.,
                      average_clips='prob')))
    model.init_weights()
    optim = build_optim_wrapper(model, dict(optimizer=dict(type='SGD', lr=0.1)))
    assert model.train_step(batch(), optim)['loss_cls'] > 0
    assert (model.backbone.scale != 1).all(), 'frames and sound reach the loss'
    scores = torch.stack([sample.pred_score for sample in model.test_step(batch())])
    torch.testing.assert_close(scores.sum(1), torch.ones(4))


@pytest.mark.parametrize('options, change, message', [
    ({}, lambda inputs: inputs, r"inputs are \['audios', 'imgs'\], expected \['imgs'\].*audios="),
    (dict(audios=SOUND), lambda inputs: inputs['imgs'],
     r"inputs are \['imgs'\], expected \['audios', 'imgs'\].*collect_keys"),
    (dict(audios=SOUND), lambda inputs: dict(inputs, audios=[
        torch.zeros(1, 1, 16 + index // 3, 8) for index in range(4)]),
     r'unequal shapes: \(1, 1, 16, 8\) \(0\.mp4\) and \(1, 1, 17, 8\) \(3\.mp4\)')])
def test_inputs_that_do_not_fit(options, change, message):
    data = batch()
    data['inputs'] = change(data['inputs'])
    with pytest.raises(ValueError, match=message):
        build(**options)(data)


def test_frames_are_not_mixed_without_their_sound():
    with pytest.raises(ValueError, match='mixing.*audios'):
        build(audios=SOUND, mixing=MIXING)


# a missing modality


def lacking(sound=(), frames=()):
    """A batch of four, some of them without sound or without frames."""
    data = batch()
    for key, indices in (('audios', sound), ('imgs', frames)):
        for index in indices:
            data['inputs'][key][index] = data['inputs'][key][index][:, :, :0]
    return data


def test_who_lacks_what_is_told():
    whole = build(audios=SOUND)(batch())['inputs']
    assert set(whole) == {'imgs', 'audios'}
    found = build(audios=SOUND)(lacking(sound=[1], frames=[0, 3]))['inputs']
    assert found['has_audios'].tolist() == [[True], [False], [True], [True]]
    assert found['has_imgs'].tolist() == [[False], [True], [True], [False]]
    assert torch.equal(found['audios'][[0, 2, 3]], whole['audios'][[0, 2, 3]])
    assert torch.equal(found['imgs'][1:3], whole['imgs'][1:3])
    # what no sample has is not there at all
    found = build(audios=SOUND)(lacking(sound=range(4)))['inputs']
    assert set(found) == {'imgs'} and torch.equal(found['imgs'], whole['imgs'])
    with pytest.raises(ValueError, match=r'2\.mp4: has none of imgs, audios'):
        build(audios=SOUND)(lacking(sound=[2], frames=[2]))


def test_one_modality_for_all():
    whole = build(audios=SOUND)(batch())['inputs']
    for key in ('imgs', 'audios'):
        data = batch()
        data['inputs'] = {key: data['inputs'][key]}  # the other one need not be there
        for inputs in (data, batch()):
            found = build(audios=SOUND, modalities=[key])(inputs)['inputs']
            assert set(found) == {key} and torch.equal(found[key], whole[key])
    with pytest.raises(ValueError, match=r'2\.mp4: has none of audios'):
        build(audios=SOUND, modalities=['audios'])(lacking(sound=[2]))


def test_modality_dropout():
    """Its shares; never both of a sample; the same for the same draw seeds, whatever the batch."""
    preprocessor = build(audios=SOUND, modality_dropout=dict(imgs=0.2, audios=0.3))
    kept = {'imgs': [], 'audios': []}
    for number in range(150):
        data = batch(size=(4, 4))
        for index, sample in enumerate(data['data_samples']):
            sample.set_metainfo(dict(draw_seed=4 * number + index))
        inputs = preprocessor(data, training=True)['inputs']
        for key, found in kept.items():
            found.append(inputs.get(f'has_{key}', torch.full((4, 1), key in inputs))[:, 0])
    imgs, audios = (torch.cat(found) for found in kept.values())
    assert (imgs | audios).all()
    for found, share in ((imgs, 0.2), (audios, 0.3)):
        deviation = (share * (1 - share) / len(found))**0.5
        assert (~found).float().mean().item() == pytest.approx(share, abs=4 * deviation)
    backwards = batch(size=(4, 4))
    for index, sample in enumerate(backwards['data_samples']):
        sample.set_metainfo(dict(draw_seed=10 - index))
    again = preprocessor(backwards, training=True)['inputs']
    for key, expected in (('imgs', imgs), ('audios', audios)):
        found = again.get(f'has_{key}', torch.full((4, 1), key in again))[:, 0]
        assert torch.equal(found, expected[[10, 9, 8, 7]])
    assert set(preprocessor(batch())['inputs']) == {'imgs', 'audios'}, 'not in a test'
    # a sample that lacks one keeps the other
    certain = build(audios=SOUND, modality_dropout=dict(imgs=1.))
    found = certain(lacking(sound=[1]), training=True)['inputs']
    assert found['has_imgs'].flatten().tolist() == [False, True, False, False]


@pytest.mark.parametrize('options, message', [
    (dict(modality_dropout=dict(imgs=0.7, audios=0.4)), 'imgs=0.7 and audios=0.4'),
    (dict(modality_dropout=dict(imgs=-0.1)), 'negative'),
    (dict(modality_dropout=dict(imgs=0.1), modalities=['imgs']), 'both modalities'),
    (dict(modalities='imgs'), "found 'imgs'"), (dict(modalities=['sound']), r"found \['sound'\]")])
def test_wrong_modalities(options, message):
    with pytest.raises(ValueError, match=message):
        build(audios=SOUND, **options)


# the unmixed batch


@pytest.mark.parametrize('switch_prob', [0., 1.], ids=['mixup', 'cutmix'])
def test_the_unmixed_batch_is_the_one_that_was_mixed(switch_prob):
    mixing = dict(MIXING, switch_prob=switch_prob)
    plain = build(erasing=dict(prob=0.5), mixing=mixing)
    expected = plain(batch(sound=False), training=True)
    asked = build(erasing=dict(prob=0.5), mixing=mixing)
    asked.keep_unmixed = True
    found = asked(batch(sound=False), training=True)
    assert torch.equal(found['inputs'], expected['inputs']), 'mixed as before'
    for one, other in zip(found['data_samples'], expected['data_samples']):
        assert torch.equal(one.gt_label, other.gt_label)
    erased = build(erasing=dict(prob=0.5))(batch(sound=False), training=True)['inputs']
    assert torch.equal(found['unmixed'].inputs, erased)
    assert not torch.equal(found['unmixed'].inputs, found['inputs'])
    assert found['unmixed'].labels.tolist() == [0, 1, 2, 0]


def test_nobody_asks_nothing_is_kept():
    preprocessor = build(mixing=MIXING)
    assert set(preprocessor(batch(sound=False), training=True)) == {'inputs', 'data_samples'}
    preprocessor.keep_unmixed = True
    assert set(preprocessor(batch(sound=False))) == {'inputs', 'data_samples'}, 'not in a test'


def test_a_model_finds_the_unmixed_batch_in_its_loss():
    """And a model that does not look for it, as UniLearnRecognizer, trains the same."""
    seen = []

    class Looking(MODELS.get('UniLearnRecognizer')):

        def loss(self, inputs, data_samples, unmixed=None, **kwargs):
            seen.append(unmixed)
            return super().loss(inputs, data_samples, **kwargs)

    cfg = dict(
        backbone=dict(type='VisionTransformerMoAE', img_size=16, patch_size=8, num_frames=4,
                      embed_dims=16, depth=2, num_heads=2, moae=None),
        cls_head=dict(type='MultiTaskHead', in_channels=16, num_classes=dict(dfew=3)),
        data_preprocessor=dict(type='MixedMediaPreprocessor', mixing=MIXING, **FRAMES))
    losses = []
    for asked in (False, True):
        for kind in (Looking, MODELS.get('UniLearnRecognizer')):
            torch.manual_seed(0)
            model = kind(**cfg)
            model.data_preprocessor.keep_unmixed = asked
            model.init_weights()
            optim = build_optim_wrapper(model, dict(optimizer=dict(type='SGD', lr=0.1)))
            losses.append(model.train_step(batch(size=(16, 16), sound=False), optim)['loss'])
    assert len(set(map(float, losses))) == 1
    assert seen[0] is None and seen[1].inputs.shape == (4, 1, 3, 4, 16, 16)


def test_the_unmixed_batch_needs_class_ids():
    preprocessor = build()
    preprocessor.keep_unmixed = True
    data = batch(sound=False)
    data['data_samples'][2] = ActionDataSample(metainfo=dict(path='bare.mp4'))
    with pytest.raises(ValueError, match=r'bare\.mp4: gt_label is None'):
        preprocessor(data, training=True)
