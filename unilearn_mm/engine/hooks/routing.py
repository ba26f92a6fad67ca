"""What the experts do during training, per source, and balance without a loss."""

from collections import defaultdict
from typing import Dict, Optional

import torch
from mmaction.registry import HOOKS
from mmengine.dist import all_reduce, is_main_process
from mmengine.hooks import Hook
from mmengine.hooks.hook import DATA_BATCH
from mmengine.model import is_model_wrapper

from unilearn_mm.models.layers.routing import NoisyTopKRouter

from ..batches import samples_of

KEY = 'routing_sums'  # in the checkpoint


@HOOKS.register_module()
class RoutingHook(Hook):
    """Log the load of the experts and move their selection biases.

    A balance over all batches can hide that images use some experts and videos the others, so
    every source has its own numbers. They are summed on the device and read only when they are
    logged. For each source the log shows, as the worst over the blocks with experts:
    ``load_max_over_mean`` (1 is uniform), ``load_entropy`` (share of the greatest possible one)
    and, with a capacity limit, ``dropped``; the visualizer gets the load of every expert.

    Models without ``routing`` (stock recognizers) are left alone. What is summed between two logs
    is kept in the checkpoint.

    Args:
        interval (int): Steps between two logs; the logger's interval.
    """

    # after the optimizer step, before LoggerHook (BELOW_NORMAL) collects the scalars
    priority = 'NORMAL'

    def __init__(self, interval: int = 20) -> None:
        self.interval = interval
        self.sums: Dict[str, list] = defaultdict(lambda: [0., 0., 0])

    def after_train_iter(self,
                         runner,
                         batch_idx: int,
                         data_batch: DATA_BATCH = None,
                         outputs: Optional[dict] = None) -> None:
        """Add up the batch's routing; log and move biases when it is time."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        routing = getattr(model, 'routing', None)
        if routing is None:
            return
        self._move_selection_biases(model, routing['expert_load'])
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

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Go on from the sums of a run that is resumed."""
        if runner._resume:
            device = next(runner.model.parameters()).device
            for source, (load, dropped, count) in checkpoint.pop(KEY, {}).items():
                self.sums[source] = [load.to(device), dropped.to(device), count]

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

    @staticmethod
    def _move_selection_biases(model, load: torch.Tensor) -> None:
        routers = [module for module in model.modules() if isinstance(module, NoisyTopKRouter)]
        if routers[0].bias is None:
            return
        load = load.clone()
        all_reduce(load, op='mean')  # the same step on every rank
        for router, row in zip(routers, load):
            router.update_selection_bias(row)


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
