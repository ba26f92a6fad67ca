"""MMA-DFER's backbone computes what the official model does, and leaves out what is missing."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mma_dfer_models import SMALL, backbone_cfg, inputs, official, ours, recognizer_cfg
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmengine.optim import build_optim_wrapper
from official_mma_dfer import OfficialMMADFER, OfficialStep, Sizes, trained

from unilearn_mm.models.backbones.vit_moae import InputSizeError


def logits_of(model, imgs=None, audios=None, **has):
    """Of our recognizer, for frames (B, T, 3, H, W)."""
    imgs = None if imgs is None else imgs.transpose(1, 2)
    feats = model.backbone(imgs, audios, **has)
    return model.cls_head.fc_cls['dfew'](feats)


def test_logits_and_gradients_are_the_official_ones():
    model = official().double()
    recognizer = ours(model).double()
    imgs, audios = inputs(dtype=torch.float64)
    expected, found = model(imgs, audios), logits_of(recognizer, imgs, audios)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
    assert (expected[0] - expected[1]).abs().max() > 0.1, 'weights that tell clips apart'

    weights = torch.randn(found.shape, dtype=found.dtype)
    (expected * weights).sum().backward()
    (found * weights).sum().backward()
    theirs = {name: value.grad for name, value in model.named_parameters()}
    unused = {name for name, value in model.named_parameters()
              if value.requires_grad and value.grad is None}
    assert len(unused) == 4 and all('norm2' in name for name in unused)
    state = {name: torch.zeros_like(value) if theirs[name] is None else theirs[name]
             for name, value in model.named_parameters()}
    converted = recognizer.backbone.checkpoint_families[0].convert(
        state, recognizer.backbone, dict(video='dfew')).state
    for name, value in recognizer.named_parameters():
        if value.requires_grad:
            torch.testing.assert_close(value.grad, converted[name], rtol=0, atol=1e-10, msg=name)
        else:
            assert value.grad is None, name


def test_numbers_of_parameters_are_the_published_ones():
    """Of the paper's model; on the meta device, which holds shapes only."""
    def count(parameters):
        return sum(value.numel() for value in parameters)

    for options, classes, whole, moving in (
            ({}, 7, 179_312_147, 7_632_415), ({}, 11, 179_312_147 + 2_052, 7_634_467),
            (dict(image=(10, 10)), 7, 179_238_419, 7_558_687)):  # 160 pixels
        sizes = Sizes(num_classes=classes, **options)
        with torch.device('meta'):
            theirs, mine = OfficialMMADFER(sizes), MODELS.build(recognizer_cfg(sizes))
        assert len(theirs.state_dict()) == 500
        assert count(theirs.parameters()) == whole and count(trained(theirs)) == moving
        # heads of 12 and 1000 classes, and two norms
        assert count(mine.parameters()) == whole - 778_228 - 2_048
        assert count(trained(mine)) == moving - 2_048
        # what is saved has the official names and shapes
        restored = mine.backbone.checkpoint_families[0].restore(mine.state_dict(), {}).state
        assert {name: value.shape for name, value in restored.items()} == {
            name: value.shape for name, value in theirs.state_dict().items()}
    with torch.device('meta'):
        default = MODELS.build(dict(type='AVFusionViT'))
    assert count(default.parameters()) + 513 * 7 == 178_531_871, 'these are the defaults'
    assert count(trained(default)) + 513 * 7 == 7_630_367


def test_at_first_the_output_does_not_depend_on_the_fusion():
    """Its gates are closed; they are what moves first."""
    torch.manual_seed(0)
    recognizer = MODELS.build(recognizer_cfg()).eval()
    recognizer.init_weights()
    imgs, audios = inputs()
    before = logits_of(recognizer, imgs, audios)
    before.square().sum().backward()
    fusion = {name: value for name, value in recognizer.named_parameters() if '.fusion.' in name}
    gates = {name for name in fusion if name.endswith('gate')}
    assert len(fusion) == (12 + 2) * SMALL.depth and len(gates) == 2 * SMALL.depth
    for name, value in fusion.items():
        assert (name in gates) == bool(value.grad.abs().sum() > 0), name
    with torch.no_grad():
        for name in set(fusion) - gates:
            fusion[name].normal_()
        assert torch.equal(logits_of(recognizer, imgs, audios), before)
        fusion['backbone.branches.visual.fusion.0.gate'].fill_(0.1)
        assert not torch.allclose(logits_of(recognizer, imgs, audios), before)


def test_frames_their_order_and_the_sound_count():
    recognizer = ours(official())
    (imgs, audios), (other_imgs, other_audios) = inputs(num=1), inputs(num=1, seed=4)
    scores = logits_of(recognizer, imgs, audios)
    for changed in (logits_of(recognizer, imgs, other_audios),
                    logits_of(recognizer, other_imgs, audios),
                    logits_of(recognizer, imgs.flip(1), audios)):
        assert (changed - scores).abs().max() > 1e-2


# a missing modality


def alone(model, x, name):
    """Logits of one stream of the official model, without all that comes from the other one."""
    image = model.image_encoder
    encoder = dict(imgs=image, audios=model.audio_model)[name]
    tokens = encoder.embed(x.flatten(0, 1) if name == 'imgs' else x)
    for index in range(SMALL.depth):
        tokens = encoder.blocks[index](tokens)
        z = (image.temporal_pre_norm[index](image.temporal_pre[index](tokens))
             if name == 'imgs' else image.audio_proj_pre[index](tokens))
        tokens = encoder.fuse(index, tokens, z)
    moments = encoder.norm(tokens)[:, 0].view(len(x), -1, SMALL.dim).expand(-1, SMALL.frames, -1)
    return model.our_classifier(model.temporal_net(model.vision_proj(moments)))


def test_a_missing_modality_is_left_out():
    """For a batch or for some of its clips; nothing runs, and its values are not looked at."""
    model = official()
    recognizer = ours(model)
    imgs, audios = inputs(num=4)
    both = logits_of(recognizer, imgs, audios)
    seen, heard = alone(model, imgs, 'imgs'), alone(model, audios, 'audios')
    for part in (seen, heard):
        assert (part - both).abs().max() > 1e-2
    torch.testing.assert_close(logits_of(recognizer, imgs), seen, rtol=0, atol=1e-5)
    torch.testing.assert_close(logits_of(recognizer, None, audios), heard, rtol=0, atol=1e-5)

    nothing = torch.full_like(audios, float('nan'))
    has_audios = torch.tensor([True, False, True, False])
    has_imgs = torch.tensor([True, True, False, True])
    mixed = logits_of(recognizer, imgs.where(has_imgs[:, None, None, None, None], torch.nan),
                      audios.where(has_audios[:, None, None, None], nothing),
                      has_imgs=has_imgs, has_audios=has_audios)
    expected = torch.stack((both[0], seen[1], heard[2], seen[3]))
    torch.testing.assert_close(mixed, expected, rtol=0, atol=1e-5)
    none = torch.zeros(4, dtype=torch.bool)
    torch.testing.assert_close(logits_of(recognizer, imgs, nothing, has_audios=none), seen,
                               rtol=0, atol=1e-5)
    torch.testing.assert_close(
        logits_of(recognizer, imgs, audios, has_imgs=~none, has_audios=~none), both)


def test_a_clip_with_nothing_is_refused():
    backbone = ours(official()).backbone
    imgs, audios = inputs(num=3)
    has = torch.tensor([True, False, True])
    with pytest.raises(ValueError, match=r'clips \[1\] of a batch of 3 have neither'):
        backbone(imgs.transpose(1, 2), audios, has_imgs=has, has_audios=has)
    with pytest.raises(ValueError, match='have neither'):
        backbone()


def test_views_of_a_video_share_its_sound():
    recognizer = ours(official())
    imgs, audios = inputs(num=4)
    has = torch.tensor([True, False])
    found = logits_of(recognizer, imgs, audios[:2], has_audios=has)
    twice = audios[:2].repeat_interleave(2, dim=0)
    torch.testing.assert_close(found[:2], logits_of(recognizer, imgs[:2], twice[:2]))
    torch.testing.assert_close(found[2:], logits_of(recognizer, imgs[2:]))


# sizes


def test_other_frame_counts_and_sizes_take_interpolated_positions():
    model = official()
    recognizer = ours(model)
    sizes = SMALL._replace(image=(4, 3), sound=(5, 2), frames=7)
    state = model.state_dict()
    for name, source, target in (('image_encoder', SMALL.image, sizes.image),
                                 ('audio_model', SMALL.sound, sizes.sound)):
        prompts = len(state[f'{name}.learnable_prompts_init'])
        cls, patches, rest = state[f'{name}.pos_embed'].tensor_split(
            (1, 1 + source[0] * source[1]), dim=1)
        assert rest.shape[1] == prompts
        patches = F.interpolate(patches.transpose(1, 2).unflatten(2, source), target,
                                mode='bicubic').flatten(2).transpose(1, 2)
        state[f'{name}.pos_embed'] = torch.cat((cls, patches, rest), dim=1)
    table = state['temporal_net.pos_embedding'][0].numpy()
    # centres of equal parts of the learnt time
    places = (np.arange(sizes.frames) + 0.5) * SMALL.frames / sizes.frames - 0.5
    rows = [np.interp(places, np.arange(SMALL.frames), column) for column in table[1:].T]
    state['temporal_net.pos_embedding'] = torch.tensor(
        np.concatenate((table[:1], np.stack(rows, 1)))[None], dtype=torch.float32)
    exact = OfficialMMADFER(sizes).eval()
    exact.load_state_dict(state)
    imgs, audios = inputs(sizes=sizes)
    torch.testing.assert_close(logits_of(recognizer, imgs, audios), exact(imgs, audios),
                               rtol=0, atol=1e-5)


def test_wrong_sizes_are_refused():
    backbone = ours(official()).backbone
    imgs, audios = inputs()
    imgs = imgs.transpose(1, 2)
    for frames, sound, message in (
            (imgs[..., :10], audios, r'shape \(8, 3, 16, 10\), expected \(16, 16\) at the end, or '
                                     r'other multiples of \(8, 8\)'),
            (imgs[:, :, :0], audios, r'shape \(0, 3, 16, 16\)'),
            (imgs, audios[:, :, :12], r'shape \(2, 1, 12, 16\)'),
            (imgs, torch.cat((audios, audios[:1])), '2 clips of frames, but 3 of sound'),
            (imgs, audios[:0], '2 clips of frames, but 0 of sound')):
        with pytest.raises(InputSizeError, match=message):
            backbone(frames, sound)
    with pytest.raises(ValueError, match='must be positive, found 0 and 2'):
        MODELS.build(backbone_cfg(num_prompts=0))


# training


def batch(seed=0, num=3):
    """A collated batch of packed samples of noise, and its labels."""
    rng = np.random.default_rng(seed)
    image, sound = ([SMALL.patch * length for length in grid]
                    for grid in (SMALL.image, SMALL.sound))
    pixels = rng.integers(0, 256, (num, 1, 3, SMALL.frames, *image), np.uint8)
    log_mel = rng.normal(-4, 9, (num, 1, 1, *sound)).astype(np.float32)
    labels, samples = rng.integers(0, SMALL.num_classes, num), []
    for label in labels:
        sample = ActionDataSample(metainfo=dict(task='dfew', path='x'))
        sample.set_gt_label(int(label))
        samples.append(sample)
    return dict(inputs=dict(imgs=list(map(torch.from_numpy, pixels)),
                            audios=list(map(torch.from_numpy, log_mel))), data_samples=samples)


def test_twenty_steps_are_the_official_ones():
    """From pixels, with stochastic depth in the frozen layers; weight decay on everything."""
    model = official()
    recognizer = ours(model).train()
    optim = build_optim_wrapper(recognizer, dict(optimizer=dict(
        type='AdamW', lr=1e-4, weight_decay=1e-2)))
    step = OfficialStep(model)
    start = {name: value.clone() for name, value in recognizer.state_dict().items()}
    losses, expected = [], []
    for seed in range(20):
        data = batch(seed % 2)
        labels = torch.cat([sample.gt_label for sample in data['data_samples']])
        imgs, audios = (torch.cat(data['inputs'][key]) for key in ('imgs', 'audios'))
        last = (imgs.transpose(1, 2) / 255, (audios + 4.2677393) / (2 * 4.5689974), labels)
        torch.manual_seed(seed)
        expected.append(step(*last))
        torch.manual_seed(seed)
        losses.append(recognizer.train_step(data, optim)['loss_cls_dfew'].item())
    assert losses == pytest.approx(expected, abs=1e-5)
    torch.manual_seed(19)
    assert abs(OfficialStep(official())(*last) - losses[19]) > 1e-2, 'the steps change the loss'
    moved = {name for name, value in recognizer.state_dict().items()
             if not torch.equal(value, start[name])}
    assert moved == {name for name, value in recognizer.named_parameters() if value.requires_grad}
    whole = MODELS.build(backbone_cfg(freeze_vit=False))
    assert all(value.requires_grad for value in whole.parameters())


def test_checkpointing_computes_the_same():
    """With stochastic depth, whose draws are repeated."""
    model, (imgs, audios) = official(), inputs()
    losses, gradients = [], []
    for with_cp in (False, True):
        recognizer = ours(model, with_cp=with_cp).train()
        torch.manual_seed(0)
        loss = logits_of(recognizer, imgs, audios).square().sum()
        loss.backward()
        losses.append(loss.item())
        gradients.append({name: value.grad for name, value in recognizer.named_parameters()
                          if value.requires_grad})
    assert losses[0] == losses[1]
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, msg=name)


def test_bf16_is_close():
    recognizer, (imgs, audios) = ours(official()), inputs()
    losses, gradients = [], []
    for enabled in (False, True):
        recognizer.zero_grad()
        with torch.autocast('cpu', torch.bfloat16, enabled=enabled):
            loss = logits_of(recognizer, imgs, audios).float().square().sum()
        loss.backward()
        losses.append(loss.item())
        gradients.append([  # through all layers
            recognizer.backbone.branches[name].prompts.initial.grad.flatten().clone()
            for name in ('visual', 'audio')])
    assert losses[1] == pytest.approx(losses[0], rel=0.05)
    for exact, found in zip(*gradients):
        assert torch.cosine_similarity(found, exact, dim=0) > 0.98
