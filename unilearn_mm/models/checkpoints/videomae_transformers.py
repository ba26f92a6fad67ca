"""Files of VideoMAE in Hugging Face transformers (models/videomae/modeling_videomae.py)."""

import re

import torch
from torch import nn

from .family import Conversion, Family, State, Tasks, rename, rename_table
from .s4d import FINE_TUNED_TO_OURS

_NAMES = (  # (transformers' name, VideoMAE's own name)
    ('embeddings.patch_embeddings.projection.{wb}', 'patch_embed.proj.{wb}'),
    ('encoder.layer.{i}.attention.attention.qkv.weight', 'blocks.{i}.attn.qkv.weight'),
    ('encoder.layer.{i}.attention.attention.{qv}_bias', 'blocks.{i}.attn.{qv}_bias'),
    ('encoder.layer.{i}.attention.output.dense.{wb}', 'blocks.{i}.attn.proj.{wb}'),
    ('encoder.layer.{i}.intermediate.dense.{wb}', 'blocks.{i}.mlp.fc1.{wb}'),
    ('encoder.layer.{i}.output.dense.{wb}', 'blocks.{i}.mlp.fc2.{wb}'),
    ('encoder.layer.{i}.layernorm_before.{wb}', 'blocks.{i}.norm1.{wb}'),
    ('encoder.layer.{i}.layernorm_after.{wb}', 'blocks.{i}.norm2.{wb}'),
    ('layernorm.{wb}', 'norm.{wb}'),
    ('fc_norm.{wb}', 'fc_norm.{wb}'),
)
_TO_OFFICIAL = rename_table(_NAMES, i=r'\d+', wb='weight|bias', qv='[qv]')
# a classifier of other data, the decoder of a pre-training, and computed positions
_LOST = (r'classifier\..*', r'decoder\..*', r'encoder_to_decoder\..*', r'mask_token',
         r'(embeddings\.)?position_embeddings')


def convert(state: State, backbone: nn.Module, tasks: Tasks) -> Conversion:
    """Separate query, key and value weights are joined, the rest is renamed; see
    :class:`Family`."""
    state = {key.removeprefix('videomae.'): value for key, value in state.items()}
    joined, reshaped = {}, []
    for key, value in state.items():
        match = re.fullmatch(r'(encoder\.layer\.\d+\.attention\.attention\.)(query|key|value)'
                             r'\.weight', key)
        if match is None:
            joined[key] = value
            continue
        reshaped.append(key)
        if match[2] == 'query':
            joined[match[1] + 'qkv.weight'] = torch.cat(
                [state[f'{match[1]}{part}.weight'] for part in ('query', 'key', 'value')])
    official, dropped = rename(joined, _TO_OFFICIAL, _LOST)
    return Conversion(rename(official, FINE_TUNED_TO_OURS)[0], dropped, reshaped)


VIDEOMAE_TRANSFORMERS = Family(
    'VideoMAE in transformers', lambda state: any(
        key.endswith('embeddings.patch_embeddings.projection.weight') and value.dim() == 5
        for key, value in state.items()), convert)
