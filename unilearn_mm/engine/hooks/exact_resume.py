"""A resumed run computes what the uninterrupted one would have computed."""

from typing import Dict, Optional

import torch
from mmaction.registry import HOOKS
from mmengine.device import is_cuda_available
from mmengine.dist import all_gather_object, all_reduce, get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import set_random_seed
from torch.distributed.tensor import DTensor

from ..random_states import fresh_seed, random_state, set_random_state
from ..train_loop import ResumableTrainLoop

KEY = 'exact_resume'  # in a checkpoint


@HOOKS.register_module()
class ExactResumeHook(Hook):
    """Save and restore what MMEngine forgets; ``train_cfg.type`` must be ResumableTrainLoop.

    MMEngine saves weights, optimizer (with the GradScaler), schedulers, EMA and message hub (with
    the best score). A checkpoint gets in addition:

    - the random states of all ranks (Python, NumPy, torch, CUDA);
    - the steps of the epoch that are done, the state of the batch sampler and the sampler's seed,
      so that a run goes on in mid-epoch without reading the samples before;
    - whether the epoch's validation is still to come;
    - gradients that are being accumulated, as their mean over the ranks. With several ranks this
      is the one thing that is right only up to rounding; it is avoided if
      ``accumulative_counts`` divides the steps of an epoch and the interval of the checkpoints.

    Resumed with another number of ranks, each rank gets fresh random numbers, and the log says so.

    What it does not cover:

    - data that do not depend on the sampler's draw alone, as those of ``MixedMediaDataset`` do:
      the random states of worker processes are not saved (``num_workers=0`` has none);
    - attributes of other hooks: what RoutingHook, ReadFailureHook and FiniteGuardHook have
      counted since the last log or the begin of the epoch, the patience of EarlyStoppingHook;
    - buffers that differ between ranks in mid-epoch (BatchNorm): they are those of rank 0;
    - kernels that are not deterministic: on a GPU, set ``randomness.deterministic=True``.
    """

    # restores last, so that no other hook draws in between
    priority = 'LOWEST'

    def __init__(self) -> None:
        self.saved: Optional[dict] = None

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Keep the state until everything else is restored."""
        if runner._resume:
            self.saved = checkpoint.pop(KEY, {})

    def before_train(self, runner) -> None:
        """Restore, and let every save of this runner begin with a look at all ranks.

        Raises:
            TypeError: If the train loop cannot resume.
            ValueError: If the sampler of a run that stopped in mid-epoch would make other steps.
        """
        if not isinstance(runner.train_loop, ResumableTrainLoop):
            raise TypeError('ExactResumeHook needs train_cfg.type="ResumableTrainLoop", '
                            f'found {type(runner.train_loop).__name__}')
        save = runner.save_checkpoint

        def save_all_ranks(*args, **kwargs) -> None:
            # MMEngine calls the hooks of a save on the main rank only
            self.ranks = all_gather_object(
                runner.train_loop.training_random_state or random_state())
            self.gradients = accumulated_gradients(runner)
            save(*args, **kwargs)

        runner.save_checkpoint = save_all_ranks
        if self.saved:
            self._restore(runner, self.saved)
        elif self.saved is not None:
            runner.logger.warning(
                'the checkpoint has no random states and no position in an epoch, because it was '
                'written without ExactResumeHook: the run goes on, but not as it would have')
        self.saved = None

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Add the state; to what cannot be resumed, such as a best checkpoint, nothing."""
        if 'optimizer' not in checkpoint:
            return
        loop, loader = runner.train_loop, runner.train_loop.dataloader
        # CheckpointHook saves before the loop counts the epoch
        epoch_ends = checkpoint['meta']['epoch'] > loop.epoch
        sampler = loader.batch_sampler
        checkpoint[KEY] = dict(
            random_states=self.ranks,
            epoch_step=0 if epoch_ends else loop.epoch_step,
            validation_due=epoch_ends,
            seed=getattr(_seeded_sampler(loader), 'seed', None),
            sampler=sampler.state_dict() if hasattr(sampler, 'state_dict') else None,
            gradients=self.gradients)

    def _restore(self, runner, saved: dict) -> None:
        self._restore_position(runner, saved)
        if saved['gradients']:
            for name, parameter in _whole_parameters(runner).items():
                if name in saved['gradients']:
                    parameter.grad = saved['gradients'][name].to(parameter.device)
            if get_world_size() > 1:
                runner.logger.warning('resumed while gradients are accumulated: bit-exact on one '
                                      'rank only, here equal up to rounding')
        states = saved['random_states']
        if len(states) == get_world_size():
            set_random_state(states[get_rank()])
            if (states[0]['cuda'] is None) == is_cuda_available():
                runner.logger.warning('the checkpoint was written on another kind of device: the '
                                      'run goes on, but not bit for bit')
            return
        seeds = [fresh_seed(runner.seed, runner.iter, rank) for rank in range(get_world_size())]
        set_random_seed(seeds[get_rank()])
        runner.logger.warning(
            f'resumed on {get_world_size()} ranks, the checkpoint was written on {len(states)}: '
            f'the run goes on, but not bit for bit. Seeds of the ranks: {seeds}')

    @staticmethod
    def _restore_position(runner, saved: dict) -> None:
        loop, loader = runner.train_loop, runner.train_loop.dataloader
        sampler, inner, step = loader.batch_sampler, _seeded_sampler(loader), saved['epoch_step']
        if saved['seed'] is not None and getattr(inner, 'seed', None) != saved['seed']:
            runner.logger.info(f'the seed of the sampler is that of the checkpoint, '
                               f'{saved["seed"]}')
            inner.seed = saved['seed']
        loop.validation_due = saved['validation_due']
        if step and saved['sampler'] and hasattr(sampler, 'load_state_dict'):
            sampler.load_state_dict(saved['sampler'])
        elif step not in (0, len(loader)):
            runner.logger.warning(
                f'{type(sampler).__name__} has no state_dict: the epoch, of which {step} steps '
                'were done, begins anew')
            step = 0
        loop.epoch_step = step


def accumulated_gradients(runner) -> Dict[str, torch.Tensor]:
    """Gradients by parameter name, mean over the ranks, while a step accumulates them.

    To be called on all ranks. Sharded parameters are left out; MMEngine warns on resume.
    """
    optim = runner.optim_wrapper
    counts = getattr(optim, '_accumulative_counts', 1)
    if counts == 1 or optim.should_update():
        return {}
    parameters = _whole_parameters(runner)
    names = [name for name, parameter in parameters.items() if parameter.grad is not None]
    names = set().union(*all_gather_object(names))
    found = {}
    for name, parameter in parameters.items():  # the same order on all ranks
        if name in names:
            gradient = (torch.zeros_like(parameter.data) if parameter.grad is None else
                        parameter.grad.clone())
            all_reduce(gradient, 'mean')
            found[name] = gradient.cpu()
    return found


def _whole_parameters(runner) -> Dict[str, torch.nn.Parameter]:
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    return {name: parameter for name, parameter in model.named_parameters()
            if not isinstance(parameter, DTensor)}


def _seeded_sampler(loader):
    """The sampler that MMEngine's DistSamplerSeedHook tells the epoch."""
    return loader.sampler if hasattr(loader.sampler, 'set_epoch') else getattr(
        loader.batch_sampler, 'sampler', None)
