"""Files of MAE and of timm's image ViT (2-D patches), also of MAE-Face and MAE-SFER.

Source of the names: facebookresearch/mae, models_mae.py and models_vit.py.
"""

import math
import re
from typing import Tuple

from mmpretrain.models.utils import resize_pos_embed
from torch import nn

from .family import Conversion, Family, FamilyError, State, Tasks, rename, rename_table
from .s4d import FINE_TUNED_TO_OURS

NAME = 'MAE or ViT for images'
# no other family has only these at the top
_TOP = re.compile(r'(patch_embed|blocks|cls_token|pos_embed|norm|fc_norm|head|mask_token'
                  r'|decoder_\w+)(\..*)?')
_LOST = (r'decoder_.*', r'mask_token', r'cls_token', r'pos_embed', r'head\.(weight|bias)')

# (timm and MAE, MMPretrain); the norm at the end has several names
VIT_NAMES = (
    ('cls_token', 'cls_token'),
    ('pos_embed', 'pos_embed'),
    ('patch_embed.proj.{wb}', 'patch_embed.projection.{wb}'),
    ('blocks.{i}.norm1.{wb}', 'layers.{i}.ln1.{wb}'),
    ('blocks.{i}.attn.{part}.{wb}', 'layers.{i}.attn.{part}.{wb}'),
    ('blocks.{i}.norm2.{wb}', 'layers.{i}.ln2.{wb}'),
    ('blocks.{i}.mlp.fc1.{wb}', 'layers.{i}.ffn.layers.0.0.{wb}'),
    ('blocks.{i}.mlp.fc2.{wb}', 'layers.{i}.ffn.layers.1.{wb}'))
VIT_FIELDS = dict(i=r'\d+', wb='weight|bias', part='qkv|proj')


def is_plain_vit(state: State, channels: int = 3) -> bool:
    """Whether it is a ViT with 2-D patches of images of so many channels, and nothing else."""
    patch = state.get('patch_embed.proj.weight')
    return (patch is not None and patch.dim() == 4 and patch.shape[1] == channels
            and all(_TOP.fullmatch(key) for key in state))


def inflate(state: State, backbone: nn.Module, tasks: Tasks) -> Conversion:
    """For a ViT of tubelets (``backbone.tubelet_size`` frames) without class token; see
    :class:`Family`.

    An image is repeated to fill the tubelet, so the patch weights are spread over it and divided
    by its length: the embedding of an image stays. The key bias, which cannot change a softmax
    over keys, is left out; positions are computed.
    """
    official, reshaped = {}, []
    for key, value in state.items():
        if key == 'patch_embed.proj.weight':
            frames = backbone.tubelet_size
            official[key] = value.unsqueeze(2).repeat(1, 1, frames, 1, 1) / frames
            reshaped.append(key)
        elif re.fullmatch(r'blocks\.\d+\.attn\.qkv\.bias', key):
            query, _, val = value.chunk(3)
            official[key.replace('qkv.bias', 'q_bias')] = query
            official[key.replace('qkv.bias', 'v_bias')] = val
            reshaped.append(key)
        else:
            official[key] = value
    ours, dropped = rename(official, FINE_TUNED_TO_OURS, _LOST)
    return Conversion(ours, dropped, reshaped)


def keep(state: State, backbone: nn.Module, tasks: Tasks) -> Conversion:
    """For a ViT of images that has MMPretrain's names; see :class:`Family`.

    A norm of averaged patches (``fc_norm``) is left out. Positions of an image of another size
    are interpolated.
    """
    done = rename_vit(state)
    side = math.isqrt(state['pos_embed'].shape[1]) if 'pos_embed' in state else 0
    return resized(done, (side, side), backbone)


def rename_vit(state: State) -> Conversion:
    """MMPretrain's names under ``backbone.`` of those of timm or MAE, without heads."""
    names = [(theirs, f'backbone.{ours}')
             for theirs, ours in (*VIT_NAMES, ('norm.{wb}', 'ln1.{wb}'))]
    lost = (r'decoder_.*', r'mask_token', r'head\.(weight|bias)', r'fc_norm\..*')
    ours, dropped = rename(state, rename_table(names, **VIT_FIELDS), lost)
    return Conversion(ours, dropped, [])


def resized(done: Conversion, grid: Tuple[int, int], backbone: nn.Module) -> Conversion:
    """A conversion whose positions, of a grid of patches (H, W), fit those of ``backbone``.

    Interpolated bicubically, the class token's left alone, as MMPretrain does.

    Raises:
        FamilyError: If there are not H * W positions and one of the class token.
    """
    key, wanted = 'backbone.pos_embed', tuple(backbone.patch_resolution)
    table = done.state.get(key)
    if table is None or table.shape[1] == 1 + wanted[0] * wanted[1]:
        return done
    if table.shape[1] != 1 + grid[0] * grid[1]:
        raise FamilyError(f'{table.shape[1]} positions are not those of a class token and of '
                          f'{grid[0]} x {grid[1]} patches')
    table = resize_pos_embed(table, grid, wanted, 'bicubic', 1)
    return done._replace(state={**done.state, key: table},
                         reshaped=[*done.reshaped, 'pos_embed'])


INFLATED = Family(NAME, is_plain_vit, inflate)
PLAIN = Family(NAME, is_plain_vit, keep)
