"""Self-distillation from emotion anchors: the official bank, and the sane one."""

import pytest
import torch
import torch.nn.functional as F
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmengine.logging import MessageHub
from official_s2d import OfficialAnchors, anchors_update, sdl_weight
from s2d_models import official, ours
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

from unilearn_mm.models.layers.anchors import EmotionAnchors

CLASSES, DIM = 5, 12


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def sample(label, task='toy_video'):
    data_sample = ActionDataSample(metainfo=dict(task=task))
    data_sample.set_gt_label(label)
    return data_sample


@pytest.fixture
def at_epoch():
    """Sets the epoch of the run."""
    hub = MessageHub.get_current_instance()
    before = hub.get_info('epoch', 0)
    yield lambda epoch: hub.update_info('epoch', epoch)
    hub.update_info('epoch', before)


def build_head(**sdl):
    torch.manual_seed(0)
    return MODELS.build(dict(
        type='EmotionAnchorHead', in_channels=DIM, dropout_ratio=0.5,
        num_classes=dict(toy_video=CLASSES, toy_image=3), sdl=sdl))


def same_start(anchors: EmotionAnchors) -> OfficialAnchors:
    """The restated bank with the same random anchors."""
    bank = OfficialAnchors(*anchors.features.shape[::2], anchors.size, anchors.k)
    bank.queues = [list(zip(features.clone(), labels.clone()))
                   for features, labels in zip(anchors.features, anchors.soft_labels)]
    return bank


@pytest.mark.parametrize('k', [1, 2, 4])
def test_official_anchors_and_targets(k):
    """In float64, because a sum of votes near 0 magnifies rounding."""
    torch.manual_seed(0)
    anchors = EmotionAnchors(CLASSES, DIM, size=4, k=k, random=True).double()
    assert 0 <= anchors.features.min() and anchors.features.max() < 1
    assert anchors.soft_labels.sum(-1).mean() == pytest.approx(CLASSES / 2, abs=0.4)
    bank = same_start(anchors)
    for step in range(4):
        probes = draw(6, DIM, seed=step).double()
        targets, voted = anchors.targets(probes)
        assert voted.all()
        expected = torch.stack([bank.target(probe) for probe in probes])
        torch.testing.assert_close(targets, expected, rtol=0, atol=1e-11)
        features = draw(7, DIM, seed=10 + step).double()
        logits = draw(7, CLASSES, seed=20 + step).double()
        labels = torch.tensor([0, 3, 3, 1, 3, 3, 3])  # more of class 3 than its queue holds
        anchors.push(features, logits.softmax(-1), labels)
        for feature, scores, label in zip(features, logits, labels.tolist()):
            bank.push(feature, scores, label)
    for label, queue in enumerate(bank.queues):
        torch.testing.assert_close(anchors.features[label], torch.stack([q for q, _ in queue]))
        torch.testing.assert_close(anchors.soft_labels[label], torch.stack([p for _, p in queue]))
    assert not anchors.state_dict() and not list(anchors.buffers()), 'the ranks would share them'


def test_official_targets_at_full_size():
    torch.manual_seed(0)
    anchors = EmotionAnchors(7, 768, random=True)
    bank, probes = same_start(anchors), torch.rand(8, 768)
    torch.testing.assert_close(anchors.targets(probes)[0],
                               torch.stack([bank.target(probe) for probe in probes]),
                               rtol=0, atol=1e-6)


def test_filled_anchors_vote_only_where_there_are_some():
    anchors = EmotionAnchors(CLASSES, DIM, size=4, k=2)
    probes = draw(3, DIM)
    targets, voted = anchors.targets(probes)
    assert not voted.any() and not targets.any()
    # one anchor of class 1 like the first probe, one of class 4 half as like, one that is opposed
    towards = F.normalize(probes[0], dim=0)
    across = F.normalize(probes[1] - (probes[1] @ towards) * towards, dim=0)
    features = torch.stack([3 * towards, towards + 3**0.5 * across, -towards])
    soft = torch.tensor([[0., 1, 0, 0, 0], [0, 0, 0, .2, .8], [.5, .5, 0, 0, 0]])
    anchors.push(features, soft, torch.tensor([1, 4, 2]))
    targets, voted = anchors.targets(probes[:1])
    assert voted.all()
    torch.testing.assert_close(targets[0], (soft[0] + 0.5 * soft[1]) / 1.5, rtol=0, atol=1e-6)
    targets, voted = anchors.targets(-towards[None])
    torch.testing.assert_close(targets[0], soft[2])
    assert anchors.filled.tolist() == [0, 1, 1, 0, 1]


def test_filled_targets_are_distributions_and_are_saved():
    anchors = EmotionAnchors(CLASSES, DIM, size=4, k=2)
    for step in range(3):
        anchors.push(draw(9, DIM, seed=step), draw(9, CLASSES, seed=step).softmax(-1),
                     torch.arange(9) % CLASSES)
    targets, voted = anchors.targets(draw(40, DIM, seed=9))
    assert voted.all() and targets.min() >= 0
    torch.testing.assert_close(targets.sum(-1), torch.ones(40))
    again = EmotionAnchors(CLASSES, DIM, size=4, k=2)
    again.load_state_dict(anchors.state_dict())
    torch.testing.assert_close(again.targets(draw(4, DIM))[0], anchors.targets(draw(4, DIM))[0],
                               rtol=0, atol=0)


def test_official_schedule(at_epoch):
    """100 epochs: the weights, and when the bank is updated; with FERV39k's frequency, never."""
    for every in (40, 100):
        head = build_head(mode='official', every=every)
        updates = []
        for epoch in range(100):
            at_epoch(epoch)
            assert head.sdl_weight() == sdl_weight(epoch)
            assert head.anchors_are_due() == anchors_update(epoch, every)
            updates += [epoch] * head.anchors_are_due()
        assert updates == ([40, 80] if every == 40 else [])
    at_epoch(0)


def test_official_loss_sees_the_dropped_feature(at_epoch):
    head = build_head(mode='official').train()
    bank, feats = same_start(head.anchors), draw(4, DIM)
    labels = [0, 2, 1, 4]
    at_epoch(29)
    assert set(head.loss(feats, [sample(label) for label in labels])) == {
        'loss_cls_toy_video', 'acc_toy_video'}
    at_epoch(60)
    torch.manual_seed(5)
    losses = head.loss(feats, [sample(label) for label in labels])
    torch.manual_seed(5)
    dropped = F.dropout(feats, 0.5)
    logits = head.fc_cls['toy_video'](dropped)
    targets = torch.stack([bank.target(feature) for feature in dropped])
    expected = 0.5 * F.binary_cross_entropy_with_logits(logits, targets)
    torch.testing.assert_close(losses['loss_sdl'], expected, rtol=0, atol=1e-6)
    assert set(head.loss(feats[:2], [sample(1, 'toy_image')] * 2)) == {
        'loss_cls_toy_image', 'acc_toy_image'}, 'anchors are of one task'
    torch.manual_seed(5)
    head.update_anchors(feats, [sample(label) for label in labels])
    torch.testing.assert_close(head.anchors.features[2, -1], dropped[1])


def test_filled_loss_sees_the_whole_feature(at_epoch):
    head = build_head().train()
    feats, samples = draw(4, DIM), [sample(label) for label in (0, 2, 1, 4)]
    at_epoch(80)
    with pytest.raises(RuntimeError, match='no anchors were made.*AnchorUpdateHook'):
        head.loss(feats, samples)
    head.eval().update_anchors(feats[:2], samples[:2])
    assert head.anchors.filled.tolist() == [1, 0, 1, 0, 0]
    torch.testing.assert_close(head.anchors.features[2, -1], feats[1])
    soft = head(feats[:2]).softmax(-1)
    feats = feats.requires_grad_()
    losses = head.loss(feats, samples)
    votes = F.cosine_similarity(feats[:, None], feats[None, :2], dim=-1).clamp(min=0).detach()
    voted = votes.sum(-1) > 0
    targets = (votes @ soft) / votes.sum(-1, keepdim=True)
    expected = F.binary_cross_entropy_with_logits(head(feats)[voted], targets[voted])
    torch.testing.assert_close(losses['loss_sdl'], expected, rtol=0, atol=1e-6)
    losses['loss_sdl'].backward()
    assert not head.anchors.features.requires_grad and feats.grad.abs().sum() > 0


def test_a_sample_of_nan_makes_no_anchor():
    head, samples = build_head().eval(), [sample(label) for label in (0, 2, 2, 4)]
    feats = draw(4, DIM)
    feats[1, 3], feats[3, 0] = torch.nan, torch.inf
    head.update_anchors(feats, samples)
    assert head.anchors.filled.tolist() == [1, 0, 1, 0, 0]
    torch.testing.assert_close(head.anchors.features[2, -1], feats[2])
    assert head.anchors.targets(draw(4, DIM))[0].isfinite().all()


@pytest.mark.parametrize('sdl, message', [
    (dict(mode='x'), "sdl mode must be .*found 'x'"),
    (dict(task='dfew'), "sdl task 'dfew' is none of"),
    (dict(k=17), 'k=17 and size=16'),
    (dict(every=40), r'weight from epoch 30 on, but the first anchors are made in epoch 40')])
def test_wrong_settings_are_refused(sdl, message):
    with pytest.raises(ValueError, match=message):
        build_head(**sdl)


def two_ranks(rank: int, store: str) -> None:
    """One of two ranks: anchors of both batches; DDP trains what is not frozen."""
    dist.init_process_group('gloo', init_method=store, rank=rank, world_size=2)
    heads = {mode: build_head(mode=mode).eval() for mode in ('filled', 'official')}
    samples = [sample(1), sample(2 * rank)]
    for head in heads.values():
        head.update_anchors(draw(2, DIM, seed=rank), samples)
    both = torch.stack([draw(2, DIM, seed=other)[0] for other in range(2)])
    torch.testing.assert_close(heads['filled'].anchors.features[1, -2:], both, rtol=0, atol=0)
    assert heads['filled'].anchors.filled.tolist() == [1, 2, 1, 0, 0]
    torch.testing.assert_close(heads['official'].anchors.features[1, -1], both[rank])
    assert (heads['official'].anchors.features[1, -2] != both[0]).all()

    torch.manual_seed(rank)
    backbone = ours(*official()).train()
    ddp = DistributedDataParallel(backbone, find_unused_parameters=True)
    clips = torch.randn(2, 2, 3, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    for frames in (4, 1):  # a step of clips, a step of images: the adapters are idle
        backbone.zero_grad()
        ddp(clips[rank, :, :, :frames]).square().sum().backward()
        alone = ours(*official()).train()
        (alone(clips[:, :, :, :frames].flatten(0, 1)).square().sum() / 2).backward()
        expected = dict(alone.named_parameters())
        for name, value in backbone.named_parameters():
            if not value.requires_grad:
                assert value.grad is None, name
            elif expected[name].grad is None:
                assert value.grad is None or not value.grad.any(), name
            else:
                torch.testing.assert_close(value.grad, expected[name].grad, msg=name)
    dist.destroy_process_group()


def test_two_ranks_share_anchors_and_gradients(tmp_path):
    """Forked, because importing everything anew takes ten times as long as the test."""
    torch.multiprocessing.start_processes(
        two_ranks, ((tmp_path / 'store').as_uri(), ), nprocs=2, start_method='fork')
