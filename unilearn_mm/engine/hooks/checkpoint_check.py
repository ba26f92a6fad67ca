"""Adopt checkpoints of other projects, and refuse one that does not fit the model."""

from mmaction.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import BaseLoop, find_latest_checkpoint
from torch import nn

from unilearn_mm.models.checkpoints.fit import SETTINGS_KEY, CheckpointMismatchError, adopt, compare
from unilearn_mm.models.checkpoints.settings import settings_of

TRAINING_STATE = ('meta', 'message_hub', 'optimizer')  # what Runner.resume takes up


@HOOKS.register_module()
class CheckpointCheckHook(Hook):
    """Rename what other projects call otherwise, and turn what MMEngine only warns of into an
    error, before anything is loaded.

    Files of the families that the backbone understands are renamed (``models.checkpoints``),
    without their heads unless a test needs the only one; tools/convert/convert_checkpoint.py
    keeps the heads. Frozen weights that a file lacks come from those that the config names.

    MMEngine loads what fits and logs the rest: a checkpoint with another number of classes leaves
    the head untrained, one of another model leaves everything untrained or drops what the model
    does not have. A test and a resumed training need a checkpoint of the very model; a training
    that starts from a checkpoint may add and leave out some. What the weights do not show, as the
    number of attention heads, is saved in the checkpoint and compared too.

    Args:
        min_share (float): Least share of the model's parameters (counted in elements) that a
            checkpoint to start from must hold. 0.5: a pre-trained encoder with new heads and
            experts passes.
    """

    # before EMAHook (NORMAL), which swaps the weights of the checkpoint
    priority = 'HIGH'

    def __init__(self, min_share: float = 0.5) -> None:
        self.min_share = min_share

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Convert the checkpoint in place if need be, and compare it with the model.

        Raises:
            CheckpointMismatchError: If it does not fit, or cannot be resumed.
        """
        model = _model_of(runner)
        name = runner._load_from or find_latest_checkpoint(runner.work_dir)
        starts_training = isinstance(runner._train_loop, BaseLoop) and not runner._resume
        adopt(checkpoint, model, name, runner.logger, for_test=not starts_training)
        fit = compare(checkpoint, model, name, with_buffers=not starts_training)
        if starts_training:
            fit.require_start(self.min_share)
        else:
            fit.require_whole()
        absent = [key for key in TRAINING_STATE if not isinstance(checkpoint.get(key), dict)]
        if runner._resume and absent:
            raise CheckpointMismatchError(
                f'{name}: cannot be resumed, it has no {", ".join(absent)}; start from it with '
                'load_from')
        (runner.logger.warning if fit.changed else runner.logger.info)(fit.summary())

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Add the settings of the layers."""
        checkpoint['meta'][SETTINGS_KEY] = settings_of(_model_of(runner))


def _model_of(runner) -> nn.Module:
    return runner.model.module if is_model_wrapper(runner.model) else runner.model
