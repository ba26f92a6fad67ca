"""A train loop that can begin where a checkpoint was written."""

from typing import Iterator, Optional

import torch
from mmaction.registry import LOOPS
from mmengine.dist import get_rank
from mmengine.runner import EpochBasedTrainLoop

from .random_states import fresh_seed, random_state, set_random_state


@LOOPS.register_module()
class ResumableTrainLoop(EpochBasedTrainLoop):
    """EpochBasedTrainLoop, for ``ExactResumeHook``.

    It can start in mid-epoch, after the steps that were done before (MMEngine's begins the epoch
    anew), and between an epoch and its validation (MMEngine's leaves that validation out). A batch
    sampler with ``mark_consumed`` hears how many steps of the epoch are done.

    Validation and the start of a data loader draw random numbers. They do so on the side, so that
    neither the validation interval nor the number of workers has an influence on the training.

    Args are those of EpochBasedTrainLoop.

    Attributes:
        epoch_step (int): Steps of the running epoch that are done, the running one included; 0
            between epochs.
        validation_due (bool): Whether the validation of the last epoch, if it has one, is still
            to come.
        training_random_state (dict | None): While validating, the random state that the training
            will go on with.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.epoch_step = 0
        self.validation_due = False
        self.training_random_state: Optional[dict] = None

    def run(self) -> torch.nn.Module:
        """Train, from the begin or from where the attributes say."""
        self.runner.call_hook('before_train')
        if self.validation_due:
            self._validate()
        while self._epoch < self._max_epochs and not self.stop_training:
            self.run_epoch()
            self._validate()
        self.runner.call_hook('after_train')
        return self.runner.model

    def run_epoch(self) -> None:
        """Train the steps of an epoch that are not done yet."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        mark_consumed = getattr(self.dataloader.batch_sampler, 'mark_consumed', lambda steps: None)
        for idx, data_batch in enumerate(self._batches(), self.epoch_step):
            self.epoch_step = idx + 1  # a hook that saves in this step finds it done
            mark_consumed(idx + 1)
            self.run_iter(idx, data_batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1
        self.epoch_step = 0

    def _batches(self) -> Iterator[dict]:
        if self.epoch_step == len(self.dataloader):  # resumed after the last step
            return iter(())
        state = random_state()
        # stock samplers and workers draw from it, and must not do so alike in every epoch
        torch.manual_seed(fresh_seed(self.runner.seed, self._epoch, get_rank()))
        batches = iter(self.dataloader)
        set_random_state(state)
        return batches

    def _validate(self) -> None:
        """Validate if the epochs say so; as in EpochBasedTrainLoop.run."""
        self.validation_due = False
        self._decide_current_val_interval()
        if (self.runner.val_loop is not None and self._epoch >= self.val_begin
                and (self._epoch % self.val_interval == 0 or self._epoch == self._max_epochs)):
            state = self.training_random_state = random_state()
            self.runner.val_loop.run()
            set_random_state(state)
            self.training_random_state = None
