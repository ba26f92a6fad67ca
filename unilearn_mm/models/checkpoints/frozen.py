"""Checkpoints without the weights that were not trained, put together again when they are loaded.

The frozen weights of a model come from files that its config names:
``init_cfg=dict(type='Pretrained', checkpoint=FILE)`` of the backbone, of S2D's landmark net, or of
any other part. A checkpoint that lacks them gets them from there.
"""

import hashlib
from logging import Logger
from typing import Dict, Iterable, List, Optional

import torch
from torch import Tensor, nn

from .family import shown, unwrap

DIGEST_KEY = 'frozen_sha256'  # in the metadata of a checkpoint that was saved without them


class FrozenWeightsError(ValueError):
    """The frozen weights at hand are not those that a checkpoint was trained with."""


def leave_out_frozen(checkpoint: dict, model: nn.Module) -> List[str]:
    """Take the frozen parameters out of a checkpoint; their SHA-256 goes into its metadata.

    Args:
        checkpoint (dict): With ``state_dict`` and ``meta``; changed in place.
        model (nn.Module): The model, not wrapped.

    Returns:
        list[str]: Names of the parameters.
    """
    names = _frozen(model)
    checkpoint['meta'][DIGEST_KEY] = _digest(names, checkpoint['state_dict'])
    for part, prefix in (('state_dict', ''), ('ema_state_dict', 'module.')):
        for name in names:
            checkpoint.get(part, {}).pop(prefix + name, None)
    return names


def put_together(checkpoint: dict, model: nn.Module, name: str, logger: Logger) -> None:
    """Give a checkpoint the frozen weights that it lacks, from the files that the config names.

    What no file is named for stays missing; a part in a part may have a file of its own. Parts that
    were not initialised yet are (``Runner`` does it before a training, and not before a test).

    Args:
        checkpoint (dict): In our names, with ``state_dict``; changed in place.
        model (nn.Module): The model, not wrapped.
        name (str): Its file, for messages.
        logger (Logger): Gets a line on what came from where.

    Raises:
        FrozenWeightsError: If the checkpoint says what its frozen weights were, and these are
            others.
    """
    state, frozen = unwrap(checkpoint), set(_frozen(model))
    if frozen <= set(state):
        return
    trained = {key for key, value in model.named_parameters() if value.requires_grad}
    lacking = [key for key in model.state_dict() if key not in state and key not in trained]
    parts = [(f'{prefix}.' if prefix else '', part, _file_of(part))
             for prefix, part in model.named_modules()]
    found: Dict[str, str] = {}  # name of a tensor -> file
    for prefix, part, file in reversed(parts):  # a part follows what it is in
        keys = [key for key in lacking if key.startswith(prefix) and key not in found]
        if file is None or not keys:
            continue
        if not getattr(part, 'is_init', False):
            part.init_weights()
        found.update(dict.fromkeys(keys, file))
    own = model.state_dict()
    checkpoint['state_dict'] = {**state, **{key: own[key] for key in found}}
    if 'ema_state_dict' in checkpoint:
        average = checkpoint['ema_state_dict']
        average.update({f'module.{key}': own[key] for key in found
                        if f'module.{key}' not in average})
    for file in sorted(set(found.values())):
        keys = [key for key in found if found[key] == file]
        logger.info(f'{name}: {len(keys)} frozen tensors that it lacks are those of {file}: '
                    f'{shown(keys)}')
    meta = checkpoint.get('meta')
    wanted = meta.get(DIGEST_KEY) if isinstance(meta, dict) else None
    if wanted and frozen <= set(checkpoint['state_dict']) and wanted != _digest(
            frozen, checkpoint['state_dict']):
        raise FrozenWeightsError(
            f'{name} was saved without its frozen weights, and was trained with others than those '
            f'of {", ".join(sorted(set(found.values())))}. Name the file that it was trained with, '
            "as init_cfg=dict(type='Pretrained', checkpoint=FILE)")


def without_a_file(names: Iterable[str], model: nn.Module) -> List[str]:
    """The frozen ones of some parameters, for which no part inside of the model names a file."""
    prefixes = tuple(f'{prefix}.' for prefix, part in model.named_modules()
                     if prefix and _file_of(part))
    frozen = set(_frozen(model))
    return [name for name in names if name in frozen and not name.startswith(prefixes)]


def _frozen(model: nn.Module) -> List[str]:
    return [name for name, value in model.named_parameters() if not value.requires_grad]


def _file_of(part: nn.Module) -> Optional[str]:
    """The file that a part of a model is initialised with."""
    init_cfg = getattr(part, 'init_cfg', None)
    if isinstance(init_cfg, dict) and init_cfg.get('type') == 'Pretrained':
        return init_cfg['checkpoint']
    return None


def _digest(names: Iterable[str], state: Dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(names):
        digest.update(name.encode())
        digest.update(state[name].detach().cpu().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
