"""Rules for parameter groups, and bf16 training on any device."""

from contextlib import contextmanager
from typing import Any, List

import torch
from mmaction.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS
from mmengine.device import get_device
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from torch import nn

# what makes the tokens that enter block 0; not every backbone has all of them
BELOW_BLOCKS = ('backbone.patch_embed.', 'backbone.pos_embed', 'backbone.cls_token',
                'backbone.mask_token')


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayConstructor(DefaultOptimWrapperConstructor):
    """Layer-wise learning rates for a ViT under ``backbone``, with a choice for new modules.

    The rate of layer ``id`` is ``lr * decay_rate ** (num_layers + 1 - id)``: id 0 for the patch
    embedding and learnable ``pos_embed``, ``cls_token`` and ``mask_token``, i + 1 for block i,
    ``num_layers + 1`` for everything after the blocks (official code, utils/optim_factory.py;
    MMAction2's LearningRateDecayOptimizerConstructor is the same, but knows no exceptions and
    logs every parameter). Blocks are ``backbone.blocks``, or ``backbone.layers`` as MMPretrain
    calls them. What is frozen gets no group. Vectors and biases, stacked ones included, have no
    weight decay. The groups carry their ``lr`` and are scaled together by ``auto_scale_lr`` and
    the schedulers.

    ``paramwise_cfg`` holds ``decay_rate`` (float), ``num_layers`` (int, blocks of the backbone)
    and optionally two lists of str. ``full_rate``: parameters whose name contains one of these get
    the full rate, e.g. ``['.moae.']`` for experts that start untrained (the official code gives
    them the rate of their block). ``no_decay``: those whose name contains one of these have no
    weight decay.

    Raises:
        ValueError: If ``paramwise_cfg`` lacks a key or has an unknown one, or a block lies beyond
            ``num_layers``.
    """

    def add_params(self, params: List[dict], module: nn.Module, **kwargs) -> None:
        """Fill ``params`` with one group for each layer id and kind of parameter."""
        known = {'decay_rate', 'num_layers', 'full_rate', 'no_decay'}
        given = set(self.paramwise_cfg)
        if given - known or not {'decay_rate', 'num_layers'} <= given:
            raise ValueError('paramwise_cfg of LayerDecayConstructor takes decay_rate, num_layers, '
                             f'full_rate and no_decay, found {sorted(given)}')
        groups = {}
        for name, parameter in module.named_parameters():
            if not parameter.requires_grad:
                continue
            layer = self._layer_of(name)
            decays = parameter.dim() > 1 and not name.endswith('bias') and not any(
                part in name for part in self.paramwise_cfg.get('no_decay', ()))
            if (layer, decays) not in groups:
                scale = self.paramwise_cfg['decay_rate']**(
                    self.paramwise_cfg['num_layers'] + 1 - layer)
                groups[layer, decays] = dict(
                    params=[], param_names=[], lr=self.base_lr * scale, lr_scale=scale,
                    weight_decay=(self.base_wd or 0.) if decays else 0.)
            groups[layer, decays]['params'].append(parameter)
            groups[layer, decays]['param_names'].append(name)
        params.extend(groups[key] for key in sorted(groups))

    def _layer_of(self, name: str) -> int:
        last = self.paramwise_cfg['num_layers'] + 1
        if any(part in name for part in self.paramwise_cfg.get('full_rate', ())):
            return last
        if name.startswith(BELOW_BLOCKS):
            return 0
        if not name.startswith(('backbone.blocks.', 'backbone.layers.')):
            return last
        layer = int(name.split('.')[2]) + 1
        if layer >= last:
            raise ValueError(f'{name} lies beyond num_layers={last - 1}; set num_layers to the '
                             'depth of the backbone')
        return layer


@OPTIM_WRAPPERS.register_module()
class Bf16OptimWrapper(OptimWrapper):
    """Train in bf16 autocast, without loss scaling, on a GPU or the CPU.

    MMEngine's AmpOptimWrapper refuses the CPU, and bf16 needs no gradient scaler. Arguments are
    those of OptimWrapper.

    Raises:
        TypeError: If there is a ``loss_scale``, as ``--amp`` of MMAction2's script adds it.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if 'loss_scale' in kwargs:
            raise TypeError('Bf16OptimWrapper scales no loss, found '
                            f'loss_scale={kwargs["loss_scale"]!r}. It comes from the config or '
                            'from --amp, which means fp16: leave it out, bf16 is mixed precision '
                            'already')
        super().__init__(*args, **kwargs)

    @contextmanager
    def optim_context(self, model: nn.Module):
        """Forward passes inside run in bf16 where autocast says so."""
        with super().optim_context(model), torch.autocast(get_device(), torch.bfloat16):
            yield
