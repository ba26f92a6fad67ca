"""Adopt checkpoints of other projects, and refuse one that does not fit the model."""

from mmaction.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import BaseLoop, find_latest_checkpoint

from unilearn_mm.models.checkpoints.family import shown
from unilearn_mm.models.checkpoints.fit import CheckpointMismatchError, adopt, compare_state


@HOOKS.register_module()
class CheckpointCheckHook(Hook):
    """Rename what other projects call otherwise, and turn what MMEngine only warns of into an
    error, before anything is loaded.

    Files of the families that the backbone understands are renamed (``models.checkpoints``),
    without their heads; tools/convert/convert_checkpoint.py keeps the heads.

    MMEngine loads what fits and logs the rest: a checkpoint with another number of classes leaves
    the head untrained, one of another model leaves everything untrained. A test and a resumed
    training need every parameter; a training that starts from a checkpoint may add some.

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
        """Convert the checkpoint in place if need be; compare keys and shapes.

        Raises:
            CheckpointMismatchError: If a tensor has another shape than the model's, too little
                of the model is covered, or a parameter is missing in a test or resumed training.
        """
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        name = runner._load_from or find_latest_checkpoint(runner.work_dir)
        adopt(checkpoint, model, name, runner.logger)
        source = checkpoint.get('state_dict', checkpoint)
        wrong, missing, share = compare_state(source, dict(model.named_parameters()))
        starts_training = isinstance(runner._train_loop, BaseLoop) and not runner._resume
        if wrong:
            shapes = shown([f'{key}: checkpoint {tuple(theirs)}, model {tuple(ours)}'
                            for key, (theirs, ours) in wrong.items()])
            raise CheckpointMismatchError(
                f'{name}: {len(wrong)} tensors do not have the shape of the model: {shapes}. Was '
                'it trained with other classes or another backbone? Use the config it was trained '
                'with, or remove these keys from the checkpoint to train them anew')
        if share < self.min_share:
            raise CheckpointMismatchError(
                f'{name}: holds only {share:.0%} of the model\'s parameters; its keys begin '
                f'{shown(list(source))}, the model\'s {shown(missing)}. Convert it to this '
                'package\'s names first')
        if missing and not starts_training:
            raise CheckpointMismatchError(
                f'{name}: {len(missing)} parameters of the model are not in the checkpoint: '
                f'{shown(missing)}. To test or resume, use the config that it was '
                'trained with; to train a changed model, start from it with load_from')
        strangers = [key for key in source
                     if key.removeprefix('module.') not in model.state_dict()]
        runner.logger.info(
            f'{name}: {share:.1%} of the model\'s parameters are loaded. Not in the file, so '
            f'trained from their initial values: {shown(missing)}. In the file, but not in the '
            f'model: {shown(strangers)}')
