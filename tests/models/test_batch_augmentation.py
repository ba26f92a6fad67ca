"""Random erasing, mixup and CutMix in the data preprocessor.

Seeds are fixed, so a test of a law passes or fails for good; 1e-3 is the level of all of them.
"""

import random

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample

from unilearn_mm.models.data_preprocessors.draws import draw_seeds_of, generator_of, rng_of
from unilearn_mm.models.data_preprocessors.erasing import RULES, draw_box
from unilearn_mm.models.data_preprocessors.mixing import MixupCutmix, cutmix, draw_cutmix_box, mixup

MEAN, STD = [120., 110., 100.], [60., 50., 40.]
ALWAYS = dict(prob=1.)
MIXING = dict(mixup_alpha=0.8, cutmix_alpha=1.0, prob=1.0, switch_prob=0.5)
TINY = dict(type='VisionTransformerMoAE', img_size=16, patch_size=8, num_frames=4, embed_dims=16,
            depth=2, num_heads=2, moae=dict(num_experts=3))


def sample(seed=None, media='video', label=0, num_classes=7, **meta):
    data_sample = ActionDataSample()
    if label is not None:
        data_sample.set_gt_label(label)
    meta.update(media=media, path=f'clip{seed}.mp4', draw_seed=seed, num_classes=num_classes)
    data_sample.set_metainfo({key: value for key, value in meta.items() if value is not None})
    return data_sample


def frames(count, length=4, size=(24, 32)):
    generator = torch.Generator().manual_seed(count)
    return list(torch.randint(0, 256, (count, 1, 3, length, *size), dtype=torch.uint8,
                              generator=generator))


def build(**options):
    return MODELS.build(dict(type='MixedMediaPreprocessor', mean=MEAN, std=STD, **options))


def run(inputs, samples, training=True, **options):
    out = build(**options)(dict(inputs=inputs, data_samples=samples), training=training)
    return out['inputs'], out['data_samples']


def normalised(inputs):
    mean, std = (torch.tensor(values).view(3, 1, 1, 1) for values in (MEAN, STD))
    return (torch.stack(inputs).float() - mean) / std


def box_of(changed):
    """(rows, columns) of a boolean (H, W) map that must be a full rectangle."""
    rows, columns = changed.any(1).nonzero().flatten(), changed.any(0).nonzero().flatten()
    assert changed[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1].all()
    assert changed.sum() == len(rows) * len(columns)
    return len(rows), len(columns)


def soft_labels(samples):
    return torch.stack([data_sample.gt_label for data_sample in samples])


# erasing


def test_a_video_gets_one_box_of_noise_in_all_frames():
    inputs = frames(3)
    found, _ = run(inputs, [sample(seed) for seed in (5, 6, 7)], erasing=ALWAYS)
    noise = []
    for clip, clean in zip(found, normalised(inputs)):
        changed = clip != clean
        box = changed.flatten(0, 2).any(0)
        box_of(box)
        # noise never equals a normalised grey level, so "the rest is untouched" is exact
        assert (changed == box).all(), 'another box in some frame or channel'
        noise.append(clip[..., box].flatten())
    assert len({tuple(values[:4].tolist()) for values in noise}) == 3


def test_noise_is_standard_normal_and_anew_in_every_frame_and_channel():
    inputs = frames(1, length=8, size=(96, 96))
    found, _ = run(inputs, [sample(12)], erasing=ALWAYS)
    box = (found != normalised(inputs)).flatten(0, 3).any(0)
    noise = found[0, 0][..., box].flatten(0, 1)  # (channels * frames, pixels)
    assert noise.shape[0] == 24 and noise.shape[1] > 180
    assert scipy.stats.kstest(noise.flatten().numpy(), 'norm').pvalue > 1e-3
    assert abs(noise.mean()) < 4 / noise.numel()**0.5
    assert abs(noise.var() - 1) < 4 * (2 / noise.numel())**0.5
    correlation = torch.corrcoef(noise) - torch.eye(24)
    assert correlation.abs().max() < 5 / noise.shape[1]**0.5


def test_an_image_gets_a_black_box():
    inputs = frames(4, length=1)
    found, _ = run(inputs, [sample(seed, 'image') for seed in range(4)], erasing=ALWAYS)
    for image, raw, clean in zip(found, inputs, normalised(inputs)):
        box = (image != clean).flatten(0, 2).any(0)
        black = raw.clone()
        black[..., box] = 0
        assert (image == normalised([black])[0]).all()
        rows, columns = box_of(box)
        assert 0.01 < rows * columns / box.numel() < 0.36


def test_without_media_one_frame_is_an_image():
    for length, media in ((1, 'image'), (4, 'video')):
        found, expected = (run(frames(2, length), [sample(3, media=name), sample(4, media=name)],
                               erasing=ALWAYS)[0] for name in (None, media))
        assert (found == expected).all()


def test_a_video_of_one_frame_is_a_video():
    video, image = (run(frames(1, 1), [sample(3, media)], erasing=ALWAYS)[0]
                    for media in ('video', 'image'))
    assert (video != image).any()


@pytest.mark.parametrize('media', RULES)
def test_boxes_follow_the_rule(media):
    rule = dict(video=((0.02, 1 / 3), (0.3, 1 / 0.3)), image=((0.02, 0.33), (0.3, 3.3)))[media]
    assert RULES[media][:2] == rule
    size = 2000  # so large that rounding does not matter
    boxes = [draw_box(RULES[media], (size, size), rng_of([seed], 'test')) for seed in range(2000)]
    rows = np.array([box.bottom - box.top for box in boxes])
    columns = np.array([box.right - box.left for box in boxes])
    assert min(box.top for box in boxes) >= 0 and max(box.bottom for box in boxes) <= size
    assert min(box.left for box in boxes) >= 0 and max(box.right for box in boxes) <= size
    area, ratio = rows * columns / size**2, rows / columns
    for values, (low, high) in ((area, rule[0]), (ratio, rule[1])):
        assert low * 0.99 < values.min() and values.max() < high * 1.01
    # boxes as large as the frame are drawn anew, so that the laws of the rule hold but for < 1 %
    (low, high), (narrow, wide) = rule
    for values, law in ((area, scipy.stats.uniform(low, high - low)),
                        (ratio, scipy.stats.loguniform(narrow, wide)),
                        (np.array([box.top for box in boxes]) / (size - rows),
                         scipy.stats.uniform()),
                        (np.array([box.left for box in boxes]) / (size - columns),
                         scipy.stats.uniform())):
        assert scipy.stats.kstest(values, law.cdf).pvalue > 1e-3


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**63 - 1), st.integers(1, 40), st.integers(1, 40), st.sampled_from(
    list(RULES)))
def test_boxes_lie_in_frames_of_any_size(seed, height, width, media):
    box = draw_box(RULES[media], (height, width), rng_of([seed], 'test'))
    if box is not None:
        assert 0 <= box.top <= box.bottom <= height and box.bottom - box.top < height
        assert 0 <= box.left <= box.right <= width and box.right - box.left < width
    else:
        assert min(height, width) < 8, 'no box, though nearly every try succeeds'


def test_no_box_fits_a_frame_of_one_pixel():
    """Boxes that round to one pixel are refused, those that round to none leave it alone."""
    boxes = [draw_box(RULES['image'], (1, 1), rng_of([seed], 'test')) for seed in range(50)]
    assert all(box is None or box.top == box.bottom or box.left == box.right for box in boxes)


def test_frequency_of_erasing():
    inputs, count = frames(1, 1, (8, 8)) * 8000, 8000
    found, _ = run(inputs, [sample(seed, 'image') for seed in range(count)],
                   erasing=dict(prob=0.25))
    erased = (found != normalised(inputs)).flatten(1).any(1).sum().item()
    # boxes of 8 x 8 pixels always hold a pixel that was not black
    assert scipy.stats.binomtest(erased, count, 0.25).pvalue > 1e-3


@pytest.mark.parametrize('media', RULES)
def test_erasing_of_a_sample_depends_on_its_own_seed_only(media):
    inputs = frames(5, 1 if media == 'image' else 4)
    samples = [sample(seed, media) for seed in (2**62 + 1, 8, 2**63 - 1, 0, 2**32)]
    batch, _ = run(inputs, samples, erasing=dict(prob=0.7))
    order = [3, 1, 4, 0, 2]
    shuffled, _ = run([inputs[i] for i in order], [samples[i] for i in order],
                      erasing=dict(prob=0.7))
    assert (shuffled == batch[order]).all()
    for index in range(5):
        alone, _ = run(inputs[index:index + 1], samples[index:index + 1], erasing=dict(prob=0.7))
        assert (alone[0] == batch[index]).all()


# mixing


def test_mixup_is_the_convex_sum_with_the_reversed_batch():
    batch = torch.randn(5, 1, 3, 2, 6, 7, dtype=torch.float64)
    before = batch.clone()
    for lam in (0., 0.3, 0.8, 1.):
        expected = torch.stack([lam * batch[i] + (1 - lam) * batch[4 - i] for i in range(5)])
        torch.testing.assert_close(mixup(batch, lam), expected, rtol=0, atol=1e-14)
        assert (mixup(batch, lam)[2] == batch[2]).all(), 'the middle sample meets itself'
    assert (batch == before).all()


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**63 - 1), st.integers(1, 6), st.integers(1, 20), st.integers(1, 20),
       st.floats(0, 1))
def test_cutmix_swaps_the_box_and_lambda_is_the_rest(seed, count, height, width, share):
    batch = torch.arange(count * 2 * height * width, dtype=torch.float64)
    batch = batch.view(count, 1, 1, 2, height, width)
    mixed = batch.clone()
    box = draw_cutmix_box(share, (height, width), rng_of([seed], 'test'))
    lam = cutmix(mixed, box)
    own = np.ones((height, width), dtype=bool)
    for row in range(height):
        for column in range(width):
            own[row, column] = not (box.top <= row < box.bottom and box.left <= column < box.right)
    assert lam == pytest.approx(own.mean(), abs=1e-12)
    for index in range(count):
        expected = np.where(own, batch[index], batch[count - 1 - index])
        assert (mixed[index].numpy() == expected).all()


def test_cutmix_box_is_centred_at_a_uniform_pixel_and_clipped():
    boxes = [draw_cutmix_box(0.75, (80, 160), rng_of([seed], 'test')) for seed in range(3000)]
    for low, high, length, half in ((0, 1, 80, 20), (2, 3, 160, 40)):  # sqrt(1 / 4) of the side
        edges = np.array(boxes)[:, [low, high]]
        inner = edges[(edges[:, 0] > 0) & (edges[:, 1] < length)]
        assert (inner[:, 1] - inner[:, 0] == 2 * half).all()
        centres = np.where(edges[:, 0] > 0, edges[:, 0] + half, edges[:, 1] - half)
        counts = np.bincount(centres, minlength=length)
        assert len(counts) == length and scipy.stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize('switch_prob', [0., 1.])
@pytest.mark.parametrize(('media', 'count'), [('video', 4), ('video', 5), ('image', 6),
                                              ('image', 1), ('video', 1)])
def test_batch_and_labels_are_mixed_alike(media, count, switch_prob):
    inputs = frames(count, 1 if media == 'image' else 4)
    samples = [sample(index + 10, media, label=index) for index in range(count)]
    found, mixed = run(inputs, samples, mixing=dict(MIXING, switch_prob=switch_prob))
    soft, clean = soft_labels(mixed), normalised(inputs)
    lam = soft[0, 0].item()
    if count == 1:
        assert lam == 1 and (found == clean).all()
    elif switch_prob:
        own = (found == clean).flatten(0, 3).all(0)  # frames, channels and samples share the box
        rows, columns = box_of(~own)
        assert lam == pytest.approx(1 - rows * columns / own.numel(), abs=1e-6)
        assert (found == torch.where(own, clean, clean.flip(0))).all()
    else:
        assert 0 < lam < 1
        expected = torch.stack([lam * clean[i] + (1 - lam) * clean[count - 1 - i]
                                for i in range(count)])
        torch.testing.assert_close(found, expected)
    onehot = np.eye(7)[:count]
    assert soft.dtype == torch.float32
    np.testing.assert_allclose(soft, lam * onehot + (1 - lam) * onehot[::-1], atol=1e-6)
    np.testing.assert_allclose(soft.sum(1), 1, atol=1e-6)


def mixing_draws(count, size=(4, 4), **options):
    """Lambdas of many batches of a black and a white sample, and the number of unmixed ones."""
    mixing, lambdas = MixupCutmix(**options), dict(mixup=[], cutmix=[], none=0)
    for seed in range(count):
        inputs = torch.tensor([0., 1.]).view(2, 1, 1, 1, 1, 1).expand(-1, 1, 1, 1, *size).clone()
        samples = [sample(seed, label=0), sample(2**40 + seed, label=1)]
        mixed = mixing(inputs, samples, [s.draw_seed for s in samples])
        label = samples[0].gt_label
        if not label.is_floating_point():
            lambdas['none'] += 1
            assert (mixed == inputs).all()
        elif mixed is inputs:  # CutMix is in place
            lambdas['cutmix'].append(label[0].item())
            assert (mixed[0] == 0).float().mean().item() == pytest.approx(label[0].item())
        else:
            lambdas['mixup'].append(label[0].item())
            np.testing.assert_allclose(1 - mixed[0], label[0], atol=1e-6)
    return lambdas


def test_choice_of_mixing_follows_its_probabilities():
    count = 2000
    found = mixing_draws(count)
    assert not found['none']
    assert scipy.stats.binomtest(len(found['cutmix']), count, 0.5).pvalue > 1e-3
    found = mixing_draws(count, prob=0.3, switch_prob=0.2)
    assert scipy.stats.binomtest(count - found['none'], count, 0.3).pvalue > 1e-3
    assert scipy.stats.binomtest(len(found['cutmix']), count - found['none'], 0.2).pvalue > 1e-3


@pytest.mark.parametrize('alpha', [0.2, 0.8, 3.])
def test_mixup_lambda_follows_its_law(alpha):
    found = mixing_draws(2000, mixup_alpha=alpha, switch_prob=0.)['mixup']
    assert scipy.stats.kstest(found, scipy.stats.beta(alpha, alpha).cdf).pvalue > 1e-3
    for other in {0.2, 0.8, 3.} - {alpha}:
        assert scipy.stats.kstest(found, scipy.stats.beta(other, other).cdf).pvalue < 1e-6


def test_defaults_are_the_official_recipe():
    for seed in range(4):
        inputs, samples = frames(4), [sample(seed + i, label=i) for i in range(4)]
        for name, official in dict(erasing=dict(prob=0.25), mixing=MIXING).items():
            (found, found_samples), (expected, expected_samples) = (
                run(inputs, samples, **{name: options}) for options in ({}, official))
            assert (found == expected).all()
            assert (soft_labels(found_samples) == soft_labels(expected_samples)).all()


def official_cutmix_lambda(alpha, size, rng):
    """Plain restatement of S4D, utils/mixup.py: rand_bbox and the correction of lambda."""
    ratio = np.sqrt(1 - rng.beta(alpha, alpha))
    area = 1
    for length in size:
        cut, centre = int(length * ratio), rng.integers(0, length)
        low, high = np.clip([centre - cut // 2, centre + cut // 2], 0, length)
        area *= high - low
    return 1 - area / (size[0] * size[1])


def test_cutmix_lambda_follows_the_official_law():
    size, rng = (40, 60), np.random.default_rng(0)
    for alpha in (1., 0.4):
        found = mixing_draws(2000, size, cutmix_alpha=alpha, switch_prob=1.)['cutmix']
        for other in (1., 0.4):
            expected = [official_cutmix_lambda(other, size, rng) for _ in range(20000)]
            pvalue = scipy.stats.ks_2samp(found, expected).pvalue
            assert pvalue > 1e-3 if other == alpha else pvalue < 1e-6


@pytest.mark.parametrize('smoothing', [0., 0.1, 0.3])
def test_smoothed_soft_labels_give_the_official_loss(smoothing):
    """Smoothing after mixing equals mixing smoothed labels: on 1 - eps + eps / K, off eps / K."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 7, dtype=torch.float64, generator=generator)
    labels, lam, classes = [0, 6, 3, 3, 1, 2], 0.37, 7
    target = np.full((6, classes), smoothing / classes)
    target[range(6), labels] = 1 - smoothing + smoothing / classes
    target = lam * target + (1 - lam) * target[::-1]
    expected = -(target * scipy.special.log_softmax(logits.numpy(), axis=1)).sum(1).mean()
    soft = mixup(F.one_hot(torch.tensor(labels), classes).double(), lam)
    found = F.cross_entropy(logits, soft, label_smoothing=smoothing)
    assert found.item() == pytest.approx(expected, abs=1e-12)

    head = MODELS.build(dict(type='MultiTaskHead', in_channels=7, num_classes=dict(dfew=7),
                             label_smooth_eps=smoothing)).double()
    with torch.no_grad():
        head.fc_cls['dfew'].weight.copy_(torch.eye(7))
        head.fc_cls['dfew'].bias.zero_()
    samples = [sample(task='dfew', label=row) for row in soft.float()]
    losses = head.loss(logits, samples)
    assert losses['loss_cls_dfew'].item() == pytest.approx(expected, abs=1e-6)


def test_head_refuses_soft_labels_of_another_number_of_classes():
    head = MODELS.build(dict(type='MultiTaskHead', in_channels=4, num_classes=dict(dfew=7)))
    with pytest.raises(ValueError, match="8 classes, but the head has 7 for task 'dfew'"):
        head.loss(torch.randn(1, 4), [sample(task='dfew', label=torch.full((8, ), 1 / 8))])


def test_unmixed_batches_keep_their_class_ids():
    _, samples = run(frames(4), [sample(seed, label=seed) for seed in range(4)],
                     mixing=dict(prob=0.))
    assert soft_labels(samples).tolist() == [[0], [1], [2], [3]]


# draws


@pytest.mark.parametrize('media', RULES)
def test_same_seeds_same_batch_whatever_the_global_generators(media):
    inputs = frames(8, 1 if media == 'image' else 4)
    results = []
    for state in (1, 2):
        random.seed(state), np.random.seed(state), torch.manual_seed(state)
        before = random.getstate(), np.random.get_state(), torch.get_rng_state()
        batch, samples = run(inputs, [sample(seed, media, seed % 7) for seed in range(40, 48)],
                             erasing=dict(prob=0.5), mixing=MIXING)
        results.append((batch, soft_labels(samples)))
        after = random.getstate(), np.random.get_state(), torch.get_rng_state()
        assert before[0] == after[0] and (before[2] == after[2]).all()
        assert before[1][2] == after[1][2] and (before[1][1] == after[1][1]).all()
    assert (results[0][0] == results[1][0]).all() and (results[0][1] == results[1][1]).all()


def test_mixing_depends_on_all_seeds_of_the_batch_and_their_order():
    def label(seeds):
        _, samples = run(frames(4), [sample(seed, label=index)
                                     for index, seed in enumerate(seeds)],
                         mixing=dict(switch_prob=0.))
        return samples[0].gt_label[0].item()

    first = label([1, 2, 3, 4])
    assert first == label([1, 2, 3, 4])
    others = [label(seeds) for seeds in ([2, 1, 3, 4], [1, 2, 4, 3], [1, 2, 3, 5], [9, 2, 3, 4])]
    assert len({first, *others}) == 5


def test_without_draw_seed_the_global_generator_decides():
    def once(state):
        torch.manual_seed(state)
        return run(frames(6), [sample(None) for _ in range(6)], erasing=ALWAYS, mixing=MIXING)[0]

    assert (once(3) == once(3)).all()
    assert (once(3) != once(4)).any()
    torch.manual_seed(0)
    seeds = draw_seeds_of([sample(None), sample(17), sample(None)])
    assert seeds[1] == 17 and len(set(seeds)) == 3


def test_streams_are_independent():
    draws = {stream: np.array([rng_of([seed], stream).random() for seed in range(2000)])
             for stream in ('erasing box', 'erasing noise', 'mixing')}
    for values in draws.values():
        assert scipy.stats.kstest(values, 'uniform').pvalue > 1e-3, 'neighbouring seeds'
    correlation = np.corrcoef(list(draws.values())) - np.eye(3)
    assert abs(correlation).max() < 4 / 2000**0.5
    # seeds that differ in the upper half only, which torch's CPU generator does not look at
    first, second = (torch.rand(4, generator=generator_of(seed, 'x', torch.device('cpu')))
                     for seed in (1, 1 + 2**40))
    assert (first != second).all()


# what the preprocessor and the recognizer make of it


@pytest.mark.parametrize('media', RULES)
def test_nothing_happens_outside_of_training(media):
    inputs = frames(4, 1 if media == 'image' else 4)
    found, samples = run(inputs, [sample(None, media, None, None) for _ in range(4)],
                         training=False, erasing=ALWAYS, mixing=MIXING)
    assert (found == normalised(inputs)).all()
    assert all('gt_label' not in data_sample for data_sample in samples)


def test_neither_is_on_by_default():
    inputs = frames(4)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    found, samples = run(inputs, [sample(None, label=3) for _ in range(4)])
    assert (found == normalised(inputs)).all() and soft_labels(samples).tolist() == [[3]] * 4
    assert (before == torch.get_rng_state()).all()


def test_samples_of_the_data_loader_are_left_alone():
    inputs, samples = frames(2), [sample(1, label=0), sample(2, label=1)]
    raw = torch.stack(inputs)
    run(inputs, samples, erasing=ALWAYS, mixing=MIXING)
    assert (torch.stack(inputs) == raw).all()
    assert soft_labels(samples).tolist() == [[0], [1]]


@pytest.mark.parametrize(('options', 'bad', 'message'), [
    (dict(mixing=MIXING), dict(num_classes=None), r'clip5\.mp4: .* no num_classes.*meta_keys'),
    (dict(mixing=MIXING), dict(num_classes=8), r'one number of classes, found \[7, 8\]'),
    (dict(mixing=MIXING), dict(label=None), r'clip5\.mp4: gt_label is None.*unlabelled'),
    (dict(mixing=MIXING), dict(label=torch.ones(7) / 7), r'clip5\.mp4: gt_label is tensor.*id'),
    (dict(erasing=ALWAYS), dict(media='audio'), r"clip5\.mp4: media is 'audio'.*'video', 'image'"),
])
def test_samples_that_cannot_be_augmented_are_named(options, bad, message):
    with pytest.raises((KeyError, ValueError), match=message):
        run(frames(2), [sample(4), sample(5, **bad)], **options)


@pytest.mark.parametrize('seed', [-1, 2**63, 0.5, 'x'])
def test_draw_seeds_out_of_range_are_named(seed):
    with pytest.raises(ValueError, match=r'clip.*mp4: draw_seed is .*expected an int in \[0, 2'):
        run(frames(1), [sample(seed)], erasing=ALWAYS)


@pytest.mark.parametrize(('options', 'message'), [
    (dict(erasing=dict(prob=1.5)), r'prob of random erasing .* found 1\.5'),
    (dict(mixing=dict(prob=-1)), 'prob of mixing .* found -1'),
    (dict(mixing=dict(switch_prob=2)), 'switch_prob of mixing .* found 2'),
    (dict(mixing=dict(cutmix_alpha=0)), 'cutmix_alpha must be positive, found 0.*switch_prob'),
])
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)


def test_recognizer_trains_on_augmented_batches_of_two_tasks():
    torch.manual_seed(0)
    preprocessor = dict(type='MixedMediaPreprocessor', mean=MEAN, std=STD, erasing=ALWAYS,
                        mixing=MIXING)
    model = MODELS.build(dict(
        type='UniLearnRecognizer', backbone=TINY, data_preprocessor=preprocessor,
        cls_head=dict(type='MultiTaskHead', in_channels=16, label_smooth_eps=0.1,
                      num_classes=dict(dfew=7, affectnet8=8))))
    model.init_weights()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for task, classes, media, length in (('dfew', 7, 'video', 4), ('affectnet8', 8, 'image', 1)):
        before = {name: value.clone() for name, value in model.named_parameters()}
        data = dict(inputs=frames(4, length, (16, 16)),
                    data_samples=[sample(seed, media, seed, classes, task=task)
                                  for seed in range(4)])
        data = model.data_preprocessor(data, training=True)
        losses = model(**data, mode='loss')
        assert f'acc_{task}' not in losses, 'the labels are soft'
        loss, _ = model.parse_losses(losses)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        moved = {name for name, value in model.named_parameters() if (value != before[name]).any()}
        assert f'cls_head.fc_cls.{task}.weight' in moved
        assert 'backbone.patch_embed.projection.weight' in moved
        assert all(value.isfinite().all() for value in model.parameters())


def test_normalisation_equals_the_stock_one_bit_for_bit():
    torch.manual_seed(0)
    inputs = [torch.randint(0, 256, (2, 3, 4, 9, 7), dtype=torch.uint8) for _ in range(3)]
    settings = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
    stock = MODELS.build(dict(type='ActionDataPreprocessor', format_shape='NCTHW', **settings))
    ours = MODELS.build(dict(type='MixedMediaPreprocessor', **settings))
    samples = [ActionDataSample() for _ in inputs]
    expected = stock(dict(inputs=inputs, data_samples=samples))['inputs']
    assert torch.equal(ours(dict(inputs=inputs, data_samples=samples))['inputs'], expected)
