"""Files of MMA-DFER, and the two files that its training starts from.

The names are those of the published checkpoints (``Generate_Model``).
"""

import re
from typing import List, Optional, Tuple

import torch
from torch import nn

from . import mae_audio, mae_image
from .family import (
    Conversion,
    Family,
    FamilyError,
    State,
    Tasks,
    only_task,
    rename,
    rename_table,
)
from .mae_image import VIT_FIELDS, VIT_NAMES

NAME = 'MMA-DFER'
_ENCODERS = (('image_encoder', 'branches.visual'), ('audio_model', 'branches.audio'))
# (MMA-DFER, ours without `backbone.`)
_NAMES = (
    *((f'{theirs}.{vit}', f'{ours}.encoder.{name}') for theirs, ours in _ENCODERS
      for vit, name in (*VIT_NAMES, ('norm.{wb}', 'ln1.{wb}'))),
    *((f'{theirs}.{name}', f'{ours}.{own}') for theirs, ours in _ENCODERS for name, own in (
        ('prompt_positions', 'prompts.positions'),  # there the last rows of pos_embed
        ('learnable_prompts_init', 'prompts.initial'),
        ('learnable_prompts_progr.{i}', 'prompts.offsets.{i}'),
        ('temporal_att_post.{i}.0.{wb}', 'fusion.{i}.up.{wb}'),
        ('all_gate.{i}', 'fusion.{i}.gate'))),
    ('image_encoder.temporal_pre.{i}.{wb}', 'branches.visual.fusion.{i}.down.{wb}'),
    ('image_encoder.temporal_pre_norm.{i}.{wb}', 'branches.visual.fusion.{i}.norm.{wb}'),
    ('image_encoder.audio_proj_pre.{i}.0.{wb}', 'branches.audio.fusion.{i}.down.{wb}'),
    ('image_encoder.audio_proj_pre.{i}.1.{wb}', 'branches.audio.fusion.{i}.norm.{wb}'),
    ('vision_proj.{wb}', 'joint_proj.{wb}'),
    ('temporal_net.cls_token', 'temporal.cls_token'),
    ('temporal_net.pos_embedding', 'temporal.pos_embed'),
    *((f'temporal_net.temporal_transformer.layers.{{i}}.{theirs}', f'temporal.layers.{{i}}.{own}')
      for theirs, own in (
        ('0.fn.norm.{wb}', 'ln1.{wb}'),
        ('0.fn.fn.to_qkv.weight', 'attn.qkv.weight'),  # there to_q and to_kv
        ('0.fn.fn.to_out.0.{wb}', 'attn.proj.{wb}'),
        ('1.fn.norm.{wb}', 'ln2.{wb}'),
        ('1.fn.fn.net.0.{wb}', 'ffn.layers.0.0.{wb}'),
        ('1.fn.fn.net.3.{wb}', 'ffn.layers.1.{wb}'))))
# our class of each of theirs, where the numbers differ
_CLASSES = dict(mafw=(6, 9, 8, 0, 10, 4, 5, 2, 1, 7, 3))
_UNUSED_NORM = r'temporal_net\.temporal_transformer\.layers\.\d+\.[01]\.fn\.norm2\.(weight|bias)'
_UNUSED_HEADS = dict(image_encoder=12, audio_model=1000)  # classes of the heads that nothing uses


def convert(state: State, backbone: nn.Module, tasks: Tasks) -> Conversion:
    """For ``AVFusionViT``; see :class:`Family`.

    Left out are the tensors that the official computation does not use: the heads of both
    encoders and a second norm in each half of the temporal layers. The classes of MAFW are put
    into the order of ``label_spaces``.
    """
    names = [(theirs, f'backbone.{ours}') for theirs, ours in _NAMES]
    lost = [r'(image_encoder|audio_model)\.head\.(weight|bias)', _UNUSED_NORM]
    if tasks:
        task = only_task(tasks.values(), NAME)
        names.append(('our_classifier.{wb}', f'cls_head.fc_cls.{task}.{{wb}}'))
    else:
        task = None
        lost.append(r'our_classifier\.(weight|bias)')
    parts, reshaped = _reordered(state, task, back=False)
    for encoder, _ in _ENCODERS:
        key, prompts = f'{encoder}.pos_embed', state[f'{encoder}.learnable_prompts_init']
        table = parts.pop(key)
        parts[key], positions = table.split((table.shape[1] - len(prompts), len(prompts)), dim=1)
        parts[f'{encoder}.prompt_positions'] = positions[0]
        reshaped.append(key)
    for key in [key for key in state if key.endswith('.to_q.weight')]:
        stem = key.removesuffix('_q.weight')
        parts[f'{stem}_qkv.weight'] = torch.cat(
            [parts.pop(f'{stem}_{part}.weight') for part in ('q', 'kv')])
        reshaped += [f'{stem}_{part}.weight' for part in ('q', 'kv')]
    ours, dropped = rename(parts, rename_table(names, **VIT_FIELDS), lost)
    return Conversion(ours, dropped, reshaped)


def restore(state: State, tasks: Tasks) -> Conversion:
    """The way back; see :class:`Family`. Without a task there must be one head.

    What the official computation does not use is there too, so that the official code loads it:
    heads of zeros, norms that do nothing.
    """
    heads = {key.split('.')[2] for key in state if key.startswith('cls_head.fc_cls.')}
    task = only_task(tasks.values() or heads, NAME)
    if task not in heads:
        raise FamilyError(f'there is no head for {task!r}, but for {", ".join(sorted(heads))}')
    names = [(f'backbone.{ours}', theirs) for theirs, ours in _NAMES]
    names.append((f'cls_head.fc_cls.{task}.{{wb}}', 'our_classifier.{wb}'))
    lost = (r'data_preprocessor\..*', rf'cls_head\.fc_cls\.(?!{re.escape(task)}\.).*')
    theirs, dropped = rename(state, rename_table(names, **VIT_FIELDS), lost)
    theirs, reshaped = _reordered(theirs, task, back=True)
    for encoder, classes in _UNUSED_HEADS.items():
        key = f'{encoder}.pos_embed'
        positions = theirs.pop(f'{encoder}.prompt_positions')
        theirs[key] = torch.cat((theirs[key], positions[None]), dim=1)
        reshaped.append(key)
        theirs[f'{encoder}.head.weight'] = positions.new_zeros(classes, positions.shape[1])
        theirs[f'{encoder}.head.bias'] = positions.new_zeros(classes)
    for key in [key for key in theirs if key.endswith('.to_qkv.weight')]:
        stem, joint = key.removesuffix('_qkv.weight'), theirs.pop(key)
        query, rest = joint.split((len(joint) // 3, 2 * len(joint) // 3))
        theirs.update({f'{stem}_q.weight': query, f'{stem}_kv.weight': rest})
        reshaped += [f'{stem}_q.weight', f'{stem}_kv.weight']
    for key in [key for key in theirs if re.search(r'layers\.\d+\.[01]\.fn\.norm\.', key)]:
        fill = torch.ones_like if key.endswith('weight') else torch.zeros_like
        theirs[key.replace('.norm.', '.norm2.')] = fill(theirs[key])
    return Conversion(theirs, dropped, reshaped)


def _reordered(state: State, task: Optional[str], back: bool) -> Tuple[State, List[str]]:
    """A copy of an official state dict whose classes are in our order (or back in theirs), and
    the keys of what was changed.

    Raises:
        FamilyError: If the classifier has another number of classes than the task.
    """
    keys = [key for key in state if key.startswith('our_classifier.')] if task in _CLASSES else []
    parts = dict(state)
    for key in keys:
        place = torch.tensor(_CLASSES[str(task)])
        if len(state[key]) != len(place):
            raise FamilyError(f'{key}: {len(state[key])} classes, expected the {len(place)} of '
                              f'{task}')
        parts[key] = state[key][place if back else place.argsort()]
    return parts, keys


def _start_of(family: Family, branch: str) -> Family:
    """A family for the encoder of one branch of ``AVFusionViT``."""
    def convert_part(state: State, backbone: nn.Module, tasks: Tasks) -> Conversion:
        done = family.convert(state, backbone.branches[branch].encoder, {})
        return done._replace(state={
            key.replace('backbone.', f'backbone.branches.{branch}.encoder.', 1): value
            for key, value in done.state.items()})
    return Family(family.name, family.recognises, convert_part)


MMA_DFER = Family(
    NAME, lambda state: 'image_encoder.all_gate.0' in state, convert,
    restores=lambda state: 'backbone.branches.visual.fusion.0.gate' in state, restore=restore)
VISUAL_START = _start_of(mae_image.PLAIN, 'visual')
AUDIO_START = _start_of(mae_audio.SPECTROGRAM, 'audio')
