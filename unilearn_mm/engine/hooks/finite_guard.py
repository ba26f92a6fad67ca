"""No optimizer step on a loss or a gradient that is not finite."""

import os.path as osp
from typing import Any, Callable, List, Optional

import pandas as pd
import torch
from mmaction.registry import HOOKS
from mmengine.dist import all_gather_object, all_reduce, get_rank, is_main_process
from mmengine.hooks import Hook
from mmengine.hooks.hook import DATA_BATCH
from mmengine.optim import OptimWrapper
from mmengine.structures import BaseDataElement
from torch.distributed.tensor import DTensor
from torch.nn.utils import get_total_norm

from ..batches import samples_of

COLUMNS = ('step', 'rank', 'loss', 'grad_norm', 'source', 'sample_id', 'path', 'draw_seed')


class NonFiniteError(RuntimeError):
    """Too many training steps in a row had a loss or a gradient that is not finite."""


@HOOKS.register_module()
class FiniteGuardHook(Hook):
    """Skip steps whose loss or gradient norm is NaN or infinite, and stop after some in a row.

    Before the optimizer steps, the ranks agree by one all-reduce of a flag: if the loss of any
    rank or the norm of the (reduced) gradient is not finite, no rank steps, and weights,
    moments and step counts of the optimizer stay as they are; statistics of BatchNorm and other
    buffers are set back. Schedulers go on. With gradient accumulation, one bad batch costs the
    whole step. ``non_finite.csv`` in the log directory of the run names the samples of all ranks;
    with its ``draw_seed`` each can be drawn again. Of a batch that is no dict with
    ``data_samples``, as in MMAction2, it names the step alone.

    With fp16, NaN and infinity in a gradient are the GradScaler's business: it skips the step
    and lowers its scale, and that is no fault. There only the loss is checked.

    Cost: one pass over the gradients and, with several ranks, one all-reduce of a number for
    each step. The host waits for the verdict before the step, as a GradScaler does, except for
    optimizers with ``fused=True``: those get it as ``found_inf``, decide on the device, and the
    host reads it after the step, when MMEngine has waited for the losses already.

    Args:
        max_consecutive (int): Bad steps in a row that end the run.

    Raises:
        NonFiniteError: On all ranks, at the last of these steps.
    """

    # after RuntimeInfoHook (VERY_HIGH) has read the losses, before anything is saved
    priority = 'HIGH'

    # of the running step: tensors, once they are known
    loss: Any
    norm: Any
    bad: Any
    samples: list
    saved_buffers: Any

    def __init__(self, max_consecutive: int = 3) -> None:
        self.max_consecutive = max_consecutive
        self.consecutive = 0

    def before_train(self, runner) -> None:
        """Stand before the optimizer.

        Raises:
            TypeError: If the run has several optimizers.
        """
        optim = runner.optim_wrapper
        if not isinstance(optim, OptimWrapper):
            raise TypeError(f'FiniteGuardHook guards one OptimWrapper, found '
                            f'{type(optim).__name__}; take the hook out of this config')
        optim.backward = self._noting_loss(optim.backward)
        optim.step = self._guarded(optim, optim.step)
        self.buffers = [buffer for module in runner.model.modules()
                        for name, buffer in module.named_buffers(recurse=False)
                        if name not in module._non_persistent_buffers_set]
        self._next_step()

    def after_train(self, runner) -> None:
        """Leave the optimizer as it was."""
        del runner.optim_wrapper.backward, runner.optim_wrapper.step

    def before_train_iter(self, runner, batch_idx: int, data_batch: DATA_BATCH = None) -> None:
        """Remember the batch for the report."""
        if self.saved_buffers is None:
            self.saved_buffers = [buffer.clone() for buffer in self.buffers]
        self.samples += samples_of(data_batch)

    def after_train_iter(self,
                         runner,
                         batch_idx: int,
                         data_batch: DATA_BATCH = None,
                         outputs: Optional[dict] = None) -> None:
        """Report a bad step, and end the run if there were too many in a row."""
        if self.bad is None:  # the gradients are still being accumulated
            return
        if not self.bad.item():
            self.consecutive = 0
            self._next_step()
            return
        self.consecutive += 1
        for buffer, before in zip(self.buffers, self.saved_buffers):
            buffer.copy_(before)
        report = self._write(runner)
        grad_norm = '' if self.norm is None else f', gradient norm {self.norm.item():g}'
        found = f'loss {self.loss.item():g} on rank {get_rank()}{grad_norm}'
        self._next_step()
        if self.consecutive >= self.max_consecutive:
            raise NonFiniteError(
                f'{self.consecutive} training steps in a row had a loss or gradient that is not '
                f'finite (now {found}); none of them changed the weights. {report} names their '
                'samples. If they are different samples, the training itself has diverged: '
                'resume from an earlier checkpoint with clip_grad or bf16 instead of fp16, or '
                'start from it (load_from) with a lower learning rate')
        runner.logger.warning(
            f'step {runner.iter + 1} is skipped on all ranks: {found}. {report} names its '
            f'samples. {self.max_consecutive} such steps in a row end the run')

    def _next_step(self) -> None:
        self.loss, self.norm, self.bad = torch.zeros(()), None, None
        self.samples, self.saved_buffers = [], None

    def _noting_loss(self, backward: Callable) -> Callable:

        def run(loss: torch.Tensor, **kwargs) -> None:
            self.loss = self.loss + loss.detach()  # a sum with a NaN or infinity is not finite
            backward(loss, **kwargs)

        return run

    def _guarded(self, optim: OptimWrapper, step: Callable) -> Callable:
        scaler = getattr(optim, 'loss_scaler', None)
        scales = scaler is not None and scaler.is_enabled()
        on_device = not scales and getattr(optim.optimizer, '_step_supports_amp_scaling', False)

        def run(**kwargs) -> None:
            finite = self.loss.isfinite()
            if not scales:
                self.norm = _grad_norm(optim.optimizer)
                finite = finite & self.norm.isfinite()
            self.bad = (~finite).float()
            all_reduce(self.bad, 'max')
            if on_device:
                optim.optimizer.found_inf = self.bad
                step(**kwargs)
                del optim.optimizer.found_inf
            elif not self.bad.item():
                step(**kwargs)

        return run

    def _write(self, runner) -> str:
        norm = None if self.norm is None else self.norm.item()
        step = (runner.iter + 1, get_rank(), self.loss.item(), norm)
        rows = [(*step, *(sample.get(key) for key in COLUMNS[4:]))
                for sample in self.samples or [BaseDataElement()]]
        path = osp.join(runner.log_dir, 'non_finite.csv')
        ranks: List[List[tuple]] = all_gather_object(rows)
        if is_main_process():
            pd.DataFrame(sum(ranks, []), columns=COLUMNS).to_csv(
                path, mode='a', index=False, header=not osp.exists(path), na_rep='nan')
        return path


def _grad_norm(optimizer: torch.optim.Optimizer) -> torch.Tensor:
    """2-norm of all gradients, a scalar; of all shards where they are sharded."""
    norm = get_total_norm([
        parameter.grad for group in optimizer.param_groups for parameter in group['params']
        if parameter.grad is not None])
    return norm.full_tensor() if isinstance(norm, DTensor) else norm
