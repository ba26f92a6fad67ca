"""What the experts do during training, per source, and balance without a loss."""

from collections import defaultdict
from typing import Dict, List, Optional

import torch
from mmaction.registry import HOOKS
from mmengine.dist import all_reduce, is_main_process
from mmengine.hooks import Hook
from mmengine.hooks.hook import DATA_BATCH
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper

from unilearn_mm.models.layers.routing import NoisyTopKRouter

from ..batches import samples_of

KEY, STEP_KEY = 'routing_sums', 'routing_step'  # in the checkpoint


@HOOKS.register_module()
class RoutingHook(Hook):
    """Log the load of the experts and move their selection biases.

    A balance over all batches can hide that images use some experts and videos the others, so
    every source has its own numbers. They are summed on the device and read only when they are
    logged. For each source the log shows, as the worst over the blocks with experts:
    ``load_max_over_mean`` (1 is uniform), ``load_entropy`` (share of the greatest possible one)
    and, with a capacity limit, ``dropped``; the visualizer gets the load of every expert.

    Selection biases (``balance='bias'``) move once for each step that the optimizer makes, against
    the mean load of its batches on all ranks; not for one that ``FiniteGuardHook`` or a GradScaler
    skips.

    Models without ``routing`` (stock recognizers) are left alone. What is summed between two logs
    and within a step is kept in the checkpoint.

    Args:
        interval (int): Steps between two logs; the logger's interval.
    """

    # after the optimizer step, before LoggerHook (BELOW_NORMAL) collects the scalars
    priority = 'NORMAL'

    def __init__(self, interval: int = 20) -> None:
        self.interval = interval
        self.sums: Dict[str, list] = defaultdict(lambda: [0., 0., 0])
        self.loads: List[torch.Tensor] = []  # (blocks, E) of the batches of the running step
        self.stepped = False
        self.found_inf: Optional[torch.Tensor] = None

    def before_train(self, runner) -> None:
        """Listen to the optimizer, if there are biases to move.

        Raises:
            TypeError: If the run has several optimizers then.
        """
        if not _biased_routers(_module(runner)):
            return
        if not isinstance(runner.optim_wrapper, OptimWrapper):
            raise TypeError("balance='bias' moves with the steps of one OptimWrapper, found "
                            f'{type(runner.optim_wrapper).__name__}')

        def note_step(optimizer: torch.optim.Optimizer, args: tuple, kwargs: dict) -> None:
            # fused optimizers are told by it, on the device, to change nothing
            self.stepped, self.found_inf = True, getattr(optimizer, 'found_inf', None)

        runner.optim_wrapper.optimizer.register_step_post_hook(note_step)

    def after_train_iter(self,
                         runner,
                         batch_idx: int,
                         data_batch: DATA_BATCH = None,
                         outputs: Optional[dict] = None) -> None:
        """Add up the batch's routing; log and move biases when it is time."""
        model = _module(runner)
        routing = getattr(model, 'routing', None)
        if not isinstance(routing, dict):
            return
        self._move_selection_biases(runner.optim_wrapper, _biased_routers(model),
                                    routing['expert_load'])
        samples = samples_of(data_batch)
        sums = self.sums[samples[0].get('source', 'all') if samples else 'all']
        sums[0] = sums[0] + routing['expert_load']
        sums[1] = sums[1] + routing['dropped']
        sums[2] += 1
        if self.every_n_train_iters(runner, self.interval):
            if is_main_process():
                self._log(runner)
            self.sums.clear()

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Add the sums of the main rank, which logs; a best checkpoint has nothing to resume."""
        if 'optimizer' in checkpoint:
            checkpoint[KEY] = {source: list(sums) for source, sums in self.sums.items()}
            checkpoint[STEP_KEY] = list(self.loads)

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Go on from the sums of a run that is resumed."""
        if runner._resume:
            device = next(runner.model.parameters()).device
            for source, (load, dropped, count) in checkpoint.pop(KEY, {}).items():
                self.sums[source] = [load.to(device), dropped.to(device), count]
            self.loads = [load.to(device) for load in checkpoint.pop(STEP_KEY, [])]

    def _log(self, runner) -> None:
        for source, (load, dropped, count) in self.sums.items():
            load, dropped = (load / count).cpu(), (dropped / count).cpu()
            numbers = load_statistics(load)
            if dropped.any():
                numbers['dropped'] = dropped.max().item()
            for name, value in numbers.items():
                runner.message_hub.update_scalar(f'train/{source}_{name}', value)
            runner.visualizer.add_scalars(
                {f'routing/{source}/moae{block}/expert{expert}': share.item()
                 for block, row in enumerate(load) for expert, share in enumerate(row)},
                step=runner.iter + 1)

    def _move_selection_biases(self, optim: OptimWrapper, routers: List[NoisyTopKRouter],
                               load: torch.Tensor) -> None:
        if not routers:
            return
        load = load.clone()
        all_reduce(load, op='mean')  # the same move on every rank
        self.loads.append(load)
        if not optim.should_update():  # the gradients are still being accumulated
            return
        if self.stepped and not (self.found_inf is not None and self.found_inf.item()):
            for router, row in zip(routers, torch.stack(self.loads).mean(0)):
                router.update_selection_bias(row)
        self.loads, self.stepped, self.found_inf = [], False, None


def _module(runner) -> torch.nn.Module:
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


def _biased_routers(model: torch.nn.Module) -> List[NoisyTopKRouter]:
    return [module for module in model.modules()
            if isinstance(module, NoisyTopKRouter) and module.bias is not None]


def load_statistics(load: torch.Tensor) -> dict:
    """How uneven the load is in the worst block.

    Args:
        load (Tensor): (blocks, E), each row sums to one.

    Returns:
        dict: ``load_max_over_mean``, in [1, E], and ``load_entropy``, in [0, 1]: the entropy of
        the load divided by log E.
    """
    num_experts = load.shape[1]
    entropy = -(load * load.clamp_min(1e-12).log()).sum(1)
    return dict(
        load_max_over_mean=(load.max(1).values * num_experts).max().item(),
        load_entropy=(entropy / torch.tensor(float(num_experts)).log()).min().item())
