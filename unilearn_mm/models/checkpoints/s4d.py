"""Files of UniLearn / S4D, and of VideoMAE, whose names S4D extends.

Source: S4D repository, finetune/s4d/videomae.py (fine-tuned) and
pretrain/omnivision/models/videomae_pretraining.py (pre-trained).
"""

import re
from typing import Dict

import torch
from torch import Tensor, nn

from .family import Conversion, Family, FamilyError, State, Tasks, rename, rename_table

_VIT = (  # (official name, our name in the backbone)
    ('patch_embed.proj.{wb}', 'patch_embed.projection.{wb}'),
    ('{block}.norm1.{wb}', '{block}.norm1.{wb}'),
    ('{block}.norm2.{wb}', '{block}.norm2.{wb}'),
    ('{block}.attn.proj.{wb}', '{block}.attn.proj.{wb}'),
    ('{block}.attn.qkv.weight', '{block}.attn.qkv.weight'),
    ('{block}.attn.q_bias', '{block}.attn.q_bias'),
    ('{block}.attn.v_bias', '{block}.attn.v_bias'),
    ('{block}.mlp.fc1.{wb}', '{block}.mlp.layers.0.0.{wb}'),
    ('{block}.mlp.fc2.{wb}', '{block}.mlp.layers.1.{wb}'),
    ('norm.{wb}', 'norm.{wb}'),
)
_FINE_TUNED = (
    *((official, f'backbone.{ours}') for official, ours in (
        *_VIT,
        ('{block}.moe_layer.router.topkroute_linear.{wb}', '{block}.moae.router.route.{wb}'),
        ('{block}.moe_layer.router.noise_linear.{wb}', '{block}.moae.router.noise.{wb}'),
        # experts keep their number until they are stacked
        ('{block}.moe_layer.experts.{expert}.{wb}', '{block}.moae.experts.{expert}.{wb}'),
        ('fc_norm.{wb}', 'fc_norm.{wb}'))),
    ('head.{media}.{wb}', 'cls_head.fc_cls.{media}.{wb}'),
)
_PRETRAINED = (
    *((f'encoder.{official}', f'backbone.{ours}') for official, ours in _VIT),
    *((f'decoder.{official}', f'neck.{ours}')
      for official, ours in _VIT if 'patch_embed' not in official),
    ('decoder.head.{wb}', 'neck.head.{wb}'),
    ('encoder_to_decoder.weight', 'neck.embed.weight'),
    ('mask_token', 'neck.mask_token'),
)
_FIELDS = dict(block=r'blocks\.\d+', expert=r'\d+\.fc[12]', wb='weight|bias', media='video|image')


def _both_ways(pairs: tuple) -> tuple:
    return (rename_table(pairs, **_FIELDS),
            rename_table([(ours, official) for official, ours in pairs], **_FIELDS))


FINE_TUNED_TO_OURS, OURS_TO_FINE_TUNED = _both_ways(_FINE_TUNED)
PRETRAINED_TO_OURS, OURS_TO_PRETRAINED = _both_ways(_PRETRAINED)
# what our models compute themselves
_COMPUTED = (r'backbone\.pos_embed', r'data_preprocessor\..*')


def convert_fine_tuned(state: State, backbone: nn.Module, tasks: Tasks) -> Conversion:
    """Names of the fine-tuning code -> ours; see :class:`Family`.

    ``head.weight`` of VideoMAE, a classifier of other data, is left out.
    """
    lost = [r'head\.(weight|bias)',
            *(rf'head\.{media}\..*' for media in ('video', 'image') if media not in tasks)]
    ours, dropped = rename(state, FINE_TUNED_TO_OURS, lost)
    ours = {re.sub(r'(?<=^cls_head\.fc_cls\.)\w+', lambda media: tasks[media[0]], key): value
            for key, value in ours.items()}
    return Conversion(_stack_experts(ours), dropped,
                      [key for key in state if '.moe_layer.experts.' in key])


def restore_fine_tuned(state: State, tasks: Tasks) -> Conversion:
    """Our names -> those of the fine-tuning code; heads of other tasks are left out.

    Raises:
        FamilyError: If the state dict has other keys, or not the head of a task.
    """
    absent = sorted(task for task in tasks.values()
                    if f'cls_head.fc_cls.{task}.weight' not in state)
    if absent:
        raise FamilyError(f'tasks without a head: {absent}')
    media_of = {task: media for media, task in tasks.items()}
    named, others = {}, []
    for key, value in _unstack_experts(state).items():
        head = re.fullmatch(r'cls_head\.fc_cls\.(\w+)\.(weight|bias)', key)
        if head is None:
            named[key] = value
        elif head[1] in media_of:
            named[f'cls_head.fc_cls.{media_of[head[1]]}.{head[2]}'] = value
        else:
            others.append(key)
    official, dropped = rename(named, OURS_TO_FINE_TUNED, _COMPUTED)
    return Conversion(official, others + dropped, [key for key in state if '.experts.' in key])


def convert_pretrained(state: State, backbone: nn.Module, tasks: Tasks) -> Conversion:
    """Names of the pre-training code, decoder included -> ours; see :class:`Family`."""
    return Conversion(*rename(state, PRETRAINED_TO_OURS), [])


def restore_pretrained(state: State, tasks: Tasks) -> Conversion:
    """Our ``DualModalMAE`` with ``MAEDecoder`` -> names of the pre-training code.

    Raises:
        FamilyError: If it has other keys (experts, or the fast decoder, have no official name).
    """
    return Conversion(*rename(state, OURS_TO_PRETRAINED, _COMPUTED), [])


def _stack_experts(state: State) -> State:
    """``experts.<e>.fc1.weight`` of all e -> ``experts.fc1.weight`` (E, out, in)."""
    stacked: Dict[str, Dict[int, Tensor]] = {}
    rest = {}
    for key, value in state.items():
        match = re.fullmatch(r'(.*\.moae\.experts)\.(\d+)\.(.*)', key)
        if match:
            stacked.setdefault(f'{match[1]}.{match[3]}', {})[int(match[2])] = value
        else:
            rest[key] = value
    for key, parts in stacked.items():
        if sorted(parts) != list(range(len(parts))):
            raise FamilyError(f'{key}: experts {sorted(parts)} are not numbered 0, 1, 2, ...')
        rest[key] = torch.stack([parts[index] for index in range(len(parts))])
    return rest


def _unstack_experts(state: State) -> State:
    """The reverse of :func:`_stack_experts`."""
    rest = {}
    for key, value in state.items():
        match = re.fullmatch(r'(.*\.moae\.experts)\.(fc[12]\.\w+)', key)
        if match:
            rest.update({f'{match[1]}.{index}.{match[2]}': part.clone()
                         for index, part in enumerate(value)})
        else:
            rest[key] = value
    return rest


def _has_tubelets(state: State, key: str) -> bool:
    return key in state and state[key].dim() == 5


FINE_TUNED = Family(
    'S4D or VideoMAE, fine-tuned',
    lambda state: _has_tubelets(state, 'patch_embed.proj.weight'), convert_fine_tuned,
    restores=lambda state: (_has_tubelets(state, 'backbone.patch_embed.projection.weight')
                            and 'neck.mask_token' not in state),
    restore=restore_fine_tuned)
PRETRAINED = Family(
    'S4D or VideoMAE, pre-trained',
    lambda state: 'encoder.patch_embed.proj.weight' in state, convert_pretrained,
    restores=lambda state: 'neck.mask_token' in state, restore=restore_pretrained)
