"""S2D in MMEngine's runner: the steps are the official ones, the anchors those of clean clips."""

import sys

import pytest
import torch
from mmaction.structures import ActionDataSample
from mmengine.hooks import Hook
from mmengine.runner import Runner
from official_s2d import OfficialAnchors, OfficialStep
from s2d_models import NET, PIXELS, SMALL, backbone_cfg, landmark_file, official, ours
from torch.utils.data import DataLoader, Dataset

MEAN, STD = [120., 110., 100.], [60., 50., 40.]
CLASSES, EPOCHS = SMALL.num_classes, 10


class Clips(Dataset):
    """Eight clips of noise."""

    metainfo = {}

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.pixels = torch.randint(0, 256, (8, 1, 3, SMALL.frames, PIXELS, PIXELS),
                                    dtype=torch.uint8, generator=generator)
        self.labels = torch.tensor([0, 3, 3, 6, 1, 3, 5, 0])

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> dict:
        sample = ActionDataSample(metainfo=dict(
            task='toy_video', media='video', num_classes=CLASSES, path=f'{index}',
            draw_seed=index))
        sample.set_gt_label(int(self.labels[index]))
        return dict(inputs=self.pixels[index], data_samples=sample)


class Watch(Hook):
    """Seeds every step, so that both sides draw the same dropout; notes the losses."""

    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self.losses = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        """Seed."""
        torch.manual_seed(runner.iter)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        """Note."""
        self.losses.append(outputs['loss'].item())


def run(tmp_path, monkeypatch, sdl, epochs=EPOCHS, state=None, backbone=None, hooks=(),
        checkpoint=None, resume=False, **preprocessor):
    """A runner, and when it has trained the losses of its steps."""
    monkeypatch.setattr(sys, 'argv', ['test'])
    watch, start = Watch(), None
    if state is not None:
        start = str(tmp_path / 'start.pth')
        torch.save(dict(state_dict=state), start)
    runner = Runner(
        model=dict(
            type='Recognizer3D',
            backbone=backbone or backbone_cfg(),
            cls_head=dict(type='EmotionAnchorHead', in_channels=SMALL.dim, dropout_ratio=0.5,
                          num_classes=dict(toy_video=CLASSES), sdl=sdl),
            data_preprocessor=dict(type='MixedMediaPreprocessor', mean=MEAN, std=STD,
                                   **preprocessor)),
        work_dir=str(tmp_path), default_scope='mmaction', log_level='ERROR',
        randomness=dict(seed=0), experiment_name=f'{tmp_path.name}_{epochs}_{resume}',
        train_dataloader=DataLoader(
            Clips(), batch_size=4, collate_fn=lambda batch: {
                key: [part[key] for part in batch] for key in batch[0]}),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        optim_wrapper=dict(
            optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05),
            paramwise_cfg=dict(bias_decay_mult=0., norm_decay_mult=0., flat_decay_mult=0.,
                               custom_keys=dict(temporal_embedding=dict(decay_mult=0.)))),
        custom_hooks=[watch, *(dict(type=hook) for hook in hooks)],
        load_from=start, resume=resume, default_hooks=dict(checkpoint=checkpoint, logger=None))
    yield runner
    runner.train()
    yield watch.losses


def whole_state(model, net):
    """State dict of our recognizer with the weights of the official nets."""
    state = {f'backbone.{key}': value for key, value in ours(model, net).state_dict().items()}
    state.update({f'cls_head.fc_cls.toy_video.{key}': value
                  for key, value in model.head['fc_cls'].state_dict().items()})
    return state


def test_twenty_steps_are_the_official_ones(tmp_path, monkeypatch):
    """AdamW, dropout and self-distillation with weights 0, 0.01, 0.1 and 0.5."""
    model, net = official()
    model.dropout.p = 0.5
    sdl = dict(mode='official', size=4, first_epoch=1, every=2,
               weights=((2, 0.01), (6, 0.1), (8, 0.5)))
    running = run(tmp_path, monkeypatch, sdl, state=whole_state(model, net),
                  hooks=['AnchorUpdateHook'])
    anchors = next(running).model.cls_head.anchors
    bank = OfficialAnchors(CLASSES, SMALL.dim, size=4)
    bank.queues = [list(zip(features.clone(), labels.clone()))
                   for features, labels in zip(anchors.features, anchors.soft_labels)]
    losses = next(running)

    trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
    decayed = [value for name, value in trained.items()
               if value.dim() > 1 and name != 'temporal_embedding']
    kept = [value for name, value in trained.items()
            if value.dim() == 1 or name == 'temporal_embedding']
    step = OfficialStep(
        model, net, torch.optim.AdamW([dict(params=decayed, weight_decay=0.05),
                                       dict(params=kept, weight_decay=0.)], lr=1e-3),
        bank, update_every=10, landmark_size=PIXELS)
    mean, std = (torch.tensor(values).view(3, 1, 1, 1) for values in (MEAN, STD))
    clips = Clips()
    expected = []
    for number in range(2 * EPOCHS):
        half = slice(4 * (number % 2), 4 * (number % 2) + 4)
        torch.manual_seed(number)
        # our epochs 1, 2, 6 and 8 are the official ones 25, 30, 50 and 60
        expected.append(step((clips.pixels[half, 0] - mean) / std, clips.labels[half],
                             epoch=20 + 5 * (number // 2)))
    assert losses == pytest.approx(expected, abs=1e-5)
    assert len(losses) == 20
    for label, queue in enumerate(bank.queues):
        torch.testing.assert_close(anchors.features[label], torch.stack([q for q, _ in queue]),
                                   rtol=0, atol=1e-4)


def test_anchors_are_made_of_clips_that_were_not_mixed(tmp_path, monkeypatch):
    """After the step, in evaluation mode; training goes on in training mode."""
    model, net = official()
    sdl = dict(size=4, first_epoch=0, weights=((1, 1.), ))
    running = run(tmp_path, monkeypatch, sdl, epochs=1, state=whole_state(model, net),
                  hooks=['AnchorUpdateHook'], mixing=dict(prob=1.), erasing=dict(prob=1.))
    trained = next(running).model
    next(running)
    anchors = trained.cls_head.anchors
    assert anchors.filled.tolist() == [2, 1, 0, 3, 0, 1, 1] and trained.training
    clips, mean, std = Clips(), *(torch.tensor(values).view(3, 1, 1, 1) for values in (MEAN, STD))
    with torch.no_grad():  # the last step's clips: numbers 4 to 7
        features = trained.eval().backbone((clips.pixels[4:, 0] - mean) / std)
        soft = trained.cls_head(features).softmax(-1)
    for place, (label, slot) in enumerate(((1, -1), (3, -1), (5, -1), (0, -1))):
        torch.testing.assert_close(anchors.features[label, slot], features[place])
        torch.testing.assert_close(anchors.soft_labels[label, slot], soft[place])


def test_official_anchors_are_made_of_erased_clips_that_were_not_mixed(tmp_path, monkeypatch):
    """In training mode; here without dropout, so that they can be made again."""
    model, net = official()
    sdl = dict(mode='official', size=4, first_epoch=0, weights=())
    running = run(tmp_path, monkeypatch, sdl, epochs=1, state=whole_state(model, net),
                  hooks=['AnchorUpdateHook'], mixing=dict(prob=1.), erasing=dict(prob=1.))
    trained = next(running).model
    trained.cls_head.dropout.p = 0.
    next(running)
    preprocessor = trained.data_preprocessor
    preprocessor.mixing = None
    batch = [Clips()[index] for index in range(4, 8)]
    erased = preprocessor({key: [part[key] for part in batch] for key in batch[0]}, training=True)
    with torch.no_grad():
        features = trained.eval().backbone(erased['inputs'][:, 0])
    anchors = trained.cls_head.anchors
    for place, (label, slot) in enumerate(((1, -1), (3, -1), (5, -1), (0, -1))):
        torch.testing.assert_close(anchors.features[label, slot], features[place])


def test_the_hook_without_anchors_is_refused(tmp_path, monkeypatch):
    model, net = official()
    running = run(tmp_path, monkeypatch, None, state=whole_state(model, net),
                  hooks=['AnchorUpdateHook'])
    next(running)
    with pytest.raises(TypeError, match='found EmotionAnchorHead without them'):
        next(running)


def test_a_training_without_its_frozen_weights_on_disk_goes_on(tmp_path, monkeypatch):
    """Its checkpoints hold what is trained; resumed, it ends where the uninterrupted one does."""
    model, net = official()
    torch.save(dict(model=model.state_dict()), tmp_path / 'official.pth')
    backbone = backbone_cfg(
        init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'official.pth')),
        landmark_net=dict(NET, init_cfg=dict(type='Pretrained',
                                             checkpoint=landmark_file(net, tmp_path))))
    ends = []
    for name, hooks, parts in (('whole', ['CheckpointCheckHook'], [2]),
                               ('parts', ['CheckpointCheckHook', 'TrainedOnlyHook'], [1, 2])):
        work = tmp_path / name
        for epochs in parts:
            running = run(work, monkeypatch, None, epochs=epochs, backbone=backbone, hooks=hooks,
                          checkpoint=dict(type='AtomicCheckpointHook'), resume=len(parts) == epochs)
            runner = next(running)
            next(running)
        ends.append(runner.model.state_dict())
    assert all(torch.equal(ends[1][key], value) for key, value in ends[0].items())
    sizes = [(tmp_path / name / 'epoch_2.pth').stat().st_size for name in ('whole', 'parts')]
    saved = torch.load(tmp_path / 'parts' / 'epoch_2.pth')['state_dict']
    trained = {key for key, value in runner.model.named_parameters() if value.requires_grad}
    assert {key for key in saved if key in dict(runner.model.named_parameters())} == trained
    assert sizes[1] < 0.6 * sizes[0]
