"""Files of MMA-DFER: both ways bit for bit, tested as they are; what its training starts from."""

import logging
import sys
from collections import OrderedDict

import numpy as np
import pytest
import torch
from mma_dfer_models import SMALL, inputs, official, ours, recognizer_cfg
from mmaction.registry import MODELS
from safetensors.torch import save_file

from unilearn_mm.datasets.label_spaces import class_names
from unilearn_mm.engine.checkpoint_files import UnsafeCheckpointError, read_checkpoint
from unilearn_mm.models.checkpoints.family import FamilyError, known_families
from unilearn_mm.models.checkpoints.fit import CheckpointMismatchError, adopt, load_whole
from unilearn_mm.models.checkpoints.frozen import leave_out_frozen
from unilearn_mm.models.checkpoints.mma_dfer import MMA_DFER

LOGGER = logging.getLogger('test')
UNUSED = ('.head.', '.norm2.')  # of 492 + 8 tensors


class RecorderMeter:
    """Scores of the epochs, as a script that is run keeps them in its checkpoints."""

    def __init__(self):
        self.total_epoch = 25
        self.epoch_losses = np.zeros((25, 2), np.float32)


def save_official(model, path, recorder=None):
    """As the official script does: wrapped by DataParallel, its own class in it."""
    state = OrderedDict((f'module.{key}', value) for key, value in model.state_dict().items())
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    torch.save(dict(epoch=25, state_dict=state, best_acc=torch.tensor(77.5),
                    optimizer=optimizer.state_dict(), recorder=recorder), path)
    return str(path)


@pytest.fixture
def as_script(monkeypatch):
    """The class as that of a script, which is not there when the file is read."""
    monkeypatch.setattr(RecorderMeter, '__module__', '__main__')
    monkeypatch.setattr(sys.modules['__main__'], 'RecorderMeter', RecorderMeter, raising=False)
    return monkeypatch


def build(**options):
    return MODELS.build(recognizer_cfg(**options)).eval()


def logits_of(model, imgs, audios):
    return model.cls_head(model.backbone(imgs.transpose(1, 2), audios))


def test_an_official_file_is_tested_as_it_is(tmp_path, as_script):
    """With its recorder, of which nothing is run: the class is not even there."""
    model = official()
    path = save_official(model, tmp_path / 'model.pth', RecorderMeter())
    as_script.delattr(sys.modules['__main__'], 'RecorderMeter')
    recognizer = build()
    load_whole(recognizer, path, 'a config')
    imgs, audios = inputs()
    torch.testing.assert_close(logits_of(recognizer, imgs, audios), model(imgs, audios),
                               rtol=0, atol=1e-5)
    recorder = read_checkpoint(path)['recorder']
    assert type(recorder) is not RecorderMeter and recorder.total_epoch == 25
    assert not [name for name in dir(recorder) if callable(getattr(recorder, name))
                and not name.startswith('__')], 'no code in it'


def test_a_recorder_of_another_name_is_refused_with_the_way_to_convert(tmp_path, as_script):
    model = official()
    as_script.setattr(RecorderMeter, '__module__', __name__)
    path = save_official(model, tmp_path / 'model.pth', RecorderMeter())
    with pytest.raises(UnsafeCheckpointError, match='RecorderMeter.*safetensors.torch.save_file'):
        load_whole(build(), path, 'a config')
    converted = str(tmp_path / 'model.safetensors')
    save_file(torch.load(path, weights_only=False)['state_dict'], converted)
    recognizer = build()
    load_whole(recognizer, converted, 'a config')
    imgs, audios = inputs()
    torch.testing.assert_close(logits_of(recognizer, imgs, audios), model(imgs, audios),
                               rtol=0, atol=1e-5)


def test_round_trip_is_bitwise():
    state = official().state_dict()
    recognizer = ours(official())
    whole = recognizer.state_dict()
    assert MMA_DFER.restores(whole) and not MMA_DFER.recognises(whole)
    back = MMA_DFER.restore(whole, {}).state
    assert back.keys() == state.keys()
    for key, value in back.items():
        if not any(part in key for part in UNUSED):
            assert torch.equal(value, state[key]), key
    # what the official computation does not use is there for its loader
    strict = official()
    strict.load_state_dict(back)
    imgs, audios = inputs()
    assert torch.equal(strict(imgs, audios), official()(imgs, audios))
    conversion = MMA_DFER.convert(state, recognizer.backbone, {})
    assert set(conversion.dropped) == {
        key for key in state if any(part in key and 'blocks' not in key for part in UNUSED)} | {
            'our_classifier.weight', 'our_classifier.bias'}
    with pytest.raises(FamilyError, match="no head for 'mafw', but for dfew"):
        MMA_DFER.restore(whole, dict(video='mafw'))
    with pytest.raises(FamilyError, match='a file of MMA-DFER has one head; found the tasks a, b'):
        MMA_DFER.convert(state, recognizer.backbone, dict(video='a', image='b'))


def test_classes_of_mafw_are_put_into_our_order():
    theirs = ('happiness', 'sadness', 'neutral', 'anger', 'surprise', 'disgust', 'fear',
              'contempt', 'anxiety', 'helplessness', 'disappointment')
    sizes = SMALL._replace(num_classes=11)
    model = official(sizes)
    recognizer = MODELS.build(recognizer_cfg(sizes, task='mafw')).eval()
    state = model.state_dict()
    recognizer.load_state_dict(
        MMA_DFER.convert(state, recognizer.backbone, dict(only='mafw')).state)
    imgs, audios = inputs()
    scores = dict(zip(theirs, model(imgs, audios).T))
    found = logits_of(recognizer, imgs, audios)
    for column, name in zip(found.T, class_names('mafw')):
        torch.testing.assert_close(column, scores[name], rtol=0, atol=1e-5)
    back = MMA_DFER.restore(recognizer.state_dict(), {}).state
    for part in ('weight', 'bias'):
        assert torch.equal(back[f'our_classifier.{part}'], state[f'our_classifier.{part}'])
    with pytest.raises(FamilyError, match='7 classes, expected the 11 of mafw'):
        MMA_DFER.convert(official().state_dict(), recognizer.backbone, dict(only='mafw'))


def test_wrong_files_are_refused(tmp_path):
    state = official().state_dict()
    assert [family.name for family in known_families() if family.recognises(state)] == ['MMA-DFER']
    strange = {**state, 'image_encoder.blocks.0.extra': torch.zeros(1)}
    with pytest.raises(CheckpointMismatchError, match=r'x.pth \(MMA-DFER\).*blocks.0.extra'):
        adopt(dict(model=strange), build(), 'x.pth', LOGGER)
    path = save_official(official(SMALL._replace(num_classes=11)), tmp_path / 'mafw.pth')
    with pytest.raises(CheckpointMismatchError, match=r'fc_cls.dfew.weight: checkpoint \(11, 24\)'):
        load_whole(build(), path, 'a config')
    path = save_official(official(SMALL._replace(image=(3, 3))), tmp_path / 'large.pth')
    with pytest.raises(CheckpointMismatchError, match=r'encoder.pos_embed: checkpoint \(1, 10, 32\)'
                                                      r', model \(1, 5, 32\)'):
        load_whole(build(), path, 'a config')


# the files that a training starts from


def vit_state(encoder, table):
    """State dict of one encoder as MAE names it, with a decoder and another table of positions."""
    state = {key: value for key, value in encoder.state_dict().items()
             if key.split('.')[0] in ('cls_token', 'patch_embed', 'blocks', 'norm')}
    return {**state, 'pos_embed': table, 'mask_token': torch.zeros(1, 1, 8),
            'decoder_blocks.0.norm1.weight': torch.zeros(8), 'decoder_pos_embed': torch.zeros(1)}


def cubic_half(table):
    """Rows (R, ...) at half the rate, between two each: cubic convolution with a = -0.75."""
    rows = torch.arange(0, len(table), 2)
    taps = {-1: -0.09375, 0: 0.59375, 1: 0.59375, 2: -0.09375}
    return sum(weight * table[(rows + offset).clamp(0, len(table) - 1)]
               for offset, weight in taps.items())


def start_files(folder):
    """Of a MAE-Face and of an AudioMAE that heard twice as long sounds; their tables to come."""
    model, dim = official(), SMALL.dim
    generator = torch.Generator().manual_seed(5)
    rows, columns = SMALL.sound
    tables = [torch.randn(1, 1 + 4, dim, generator=generator),
              torch.randn(1, 1 + 2 * rows * columns, dim, generator=generator)]
    names = ('mae_face_pretrain_vit_base.pth', 'audiomae_pretrained.pth')
    encoders = (model.image_encoder, model.audio_model)
    for name, encoder, table in zip(names, encoders, tables):
        torch.save(dict(model=vit_state(encoder, table)), folder / name)
    cls, patches = tables[1].split((1, 2 * rows * columns), dim=1)
    patches = cubic_half(patches[0].view(2 * rows, columns, dim)).reshape(1, -1, dim)
    return model, [folder / name for name in names], [tables[0], torch.cat((cls, patches), 1)]


def test_training_starts_from_mae_face_and_audio_mae(tmp_path):
    model, files, tables = start_files(tmp_path)
    cfg = recognizer_cfg()
    for part, file in zip(('visual', 'audio'), files):
        cfg['backbone'][part]['init_cfg'] = dict(type='Pretrained', checkpoint=str(file))
    recognizer = MODELS.build(cfg)
    recognizer.init_weights()
    converted = MMA_DFER.convert(model.state_dict(), recognizer.backbone, {}).state
    for part, table in zip(('visual', 'audio'), tables):
        prefix = f'backbone.branches.{part}.encoder.'
        found = {key: value for key, value in recognizer.state_dict().items()
                 if key.startswith(prefix)}
        assert len(found) == 2 + 2 + 12 * SMALL.depth + 2
        torch.testing.assert_close(found.pop(f'{prefix}pos_embed'), table)
        for key, value in found.items():
            assert torch.equal(value, converted[key]), key
    # a checkpoint of what was trained gets the frozen weights from these two
    checkpoint = dict(state_dict=dict(recognizer.state_dict()), meta={})
    left_out = leave_out_frozen(checkpoint, recognizer)
    assert not any('pos_embed' in name for name in left_out)
    torch.save(checkpoint, tmp_path / 'trained.pth')
    again = MODELS.build(cfg)
    load_whole(again, str(tmp_path / 'trained.pth'), 'a config')
    for key, value in recognizer.state_dict().items():
        assert torch.equal(again.state_dict()[key], value), key


def test_a_table_of_other_mel_bins_is_refused(tmp_path):
    model, files, _ = start_files(tmp_path)
    odd = vit_state(model.audio_model, torch.zeros(1, 1 + 7, SMALL.dim))
    with pytest.raises(CheckpointMismatchError, match='8 positions are not those of a class token '
                                                      'and of 3 x 2 patches'):
        adopt(dict(model=odd), build().backbone.branches['audio'].encoder, 'x.pth', LOGGER)
    with pytest.raises(CheckpointMismatchError, match='of the model are not in the checkpoint'):
        load_whole(build(), str(files[1]), 'a config')
