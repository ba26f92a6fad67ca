"""Weights, gradients and optimizer state divided among the ranks (torch's FSDP2)."""

from typing import Dict, List, Optional, Sequence, Union

import torch
from mmaction.registry import HOOKS
from mmengine.device import get_device
from mmengine.dist import get_world_size, is_main_process
from mmengine.hooks import EMAHook, Hook
from mmengine.optim import OptimWrapper
from mmengine.registry import MODEL_WRAPPERS  # where Runner.wrap_model looks
from mmengine.utils import apply_to
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor


@MODEL_WRAPPERS.register_module()
class FullyShardedModel(nn.Module):
    """A model whose parameters ``FullyShardHook`` divides among the ranks.

    To be named in ``model_wrapper_cfg``, where MMEngine would take DistributedDataParallel; a
    run on one process does without. A step gathers the parameters of one unit at a time, and
    computes what DistributedDataParallel computes. While a run validates, every rank holds the
    whole model, because the ranks may have unequal numbers of batches.

    Args:
        module (BaseModel): The model, whole and with the same parameters on every rank.
        units (Sequence[str]): Names of the module lists whose items are gathered as one, such as
            ``['backbone.blocks']``. What is in none of them is gathered for the whole step.

    Raises:
        ValueError: If a name is no module list of the model.
    """

    def __init__(self, module: nn.Module, units: Sequence[str]) -> None:
        super().__init__()
        self.module = module
        self.units: List[nn.Module] = []
        self.is_sharded = False
        modules = dict(module.named_modules())
        lists = [name for name, child in modules.items() if isinstance(child, nn.ModuleList)]
        for name in units:
            if name not in lists:
                raise ValueError(f'units names {name!r}; the module lists of '
                                 f'{type(module).__name__} are {lists}')
            self.units += modules[name]

    def shard(self, optimizer: torch.optim.Optimizer) -> None:
        """Keep this rank's part of the parameters, and of the optimizer's state of them.

        Args:
            optimizer (Optimizer): Of the model's parameters; its groups and its state are
                changed in place.
        """
        whole = dict(self.module.named_parameters())
        mesh = init_device_mesh(get_device(), (get_world_size(), ))
        for unit in self.units:
            fully_shard(unit, mesh=mesh)
        fully_shard(self.module, mesh=mesh)
        self.is_sharded = True
        parts = {whole[name]: part for name, part in self.module.named_parameters()}
        for group in optimizer.param_groups:
            group['params'] = [parts[parameter] for parameter in group['params']]
        for parameter in list(optimizer.state):
            part, state = parts[parameter], optimizer.state.pop(parameter)
            optimizer.state[part] = {
                key: distribute_tensor(value, part.device_mesh, part.placements)
                if torch.is_tensor(value) and value.shape == parameter.shape else value
                for key, value in state.items()}

    def train(self, mode: bool = True) -> 'FullyShardedModel':
        """Switch the mode; every rank holds the whole model while it is in evaluation."""
        super().train(mode)
        if self.is_sharded:
            for unit in self.units:
                unit.set_reshard_after_forward(mode, recurse=False)
            for unit in (*self.units, self.module):
                unit.reshard() if mode else unit.unshard()
        return self

    def train_step(self, data: Union[dict, tuple, list],
                   optim_wrapper: OptimWrapper) -> Dict[str, torch.Tensor]:
        """See ``BaseModel.train_step``.

        Raises:
            RuntimeError: If the model is not sharded: nobody would exchange the gradients.
        """
        if not self.is_sharded:
            raise RuntimeError('FullyShardedModel is not sharded: add dict(type='
                               "'FullyShardHook') to custom_hooks")
        return self.module.train_step(data, optim_wrapper)

    def val_step(self, data: Union[dict, tuple, list]) -> list:
        """See ``BaseModel.val_step``."""
        return self.module.val_step(data)

    def test_step(self, data: Union[dict, tuple, list]) -> list:
        """See ``BaseModel.test_step``."""
        return self.module.test_step(data)


@HOOKS.register_module()
class FullyShardHook(Hook):
    """Shard a ``FullyShardedModel`` before training, and save its checkpoints whole.

    It shards when everything is loaded, so initial values, checkpoints and resuming are
    MMEngine's own, and each device must hold the whole model once (and, in a resumed run, the
    optimizer's state). A checkpoint is gathered on the main rank and is the one that a run on
    one process or with DistributedDataParallel writes: any number of ranks, sharded or not,
    tests and resumes it.

    Without a ``FullyShardedModel``, as in a run on one process, it does nothing.
    """

    # the other hooks shall find the model as it will be
    priority = 'VERY_HIGH'

    def before_train(self, runner) -> None:
        """Shard, and let every save of this runner begin with gathering.

        Raises:
            TypeError: If the run averages weights, which MMEngine cannot do in parts.
        """
        if not isinstance(runner.model, FullyShardedModel):
            return
        if any(isinstance(hook, EMAHook) for hook in runner.hooks):
            raise TypeError('EMAHook cannot average the weights of a FullyShardedModel; take one '
                            'of them out of the config')
        runner.model.shard(runner.optim_wrapper.optimizer)
        save = runner.save_checkpoint

        def save_whole(*args, save_optimizer: bool = True, **kwargs) -> None:
            # MMEngine saves on the main rank only
            self.weights = whole(runner.model.module.state_dict())
            self.moments = whole(runner.optim_wrapper.state_dict()) if save_optimizer else None
            save(*args, save_optimizer=save_optimizer, **kwargs)
            self.weights = self.moments = None

        runner.save_checkpoint = save_whole

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Put the gathered tensors in the place of this rank's parts."""
        if isinstance(runner.model, FullyShardedModel) and runner.model.is_sharded:
            checkpoint['state_dict'] = self.weights
            if self.moments is not None:
                checkpoint['optimizer'] = self.moments


def whole(state: dict) -> Optional[dict]:
    """Gather all shards in a state; to be called on all ranks.

    Args:
        state (dict): Nested, with tensors sharded in the same way on every rank.

    Returns:
        dict: The same with whole tensors in main memory; on the other ranks they are None.
    """

    def gather(part: torch.Tensor) -> Optional[torch.Tensor]:
        tensor = part.full_tensor() if isinstance(part, DTensor) else part
        return tensor.detach().cpu() if is_main_process() else None

    return apply_to(state, torch.is_tensor, gather)
