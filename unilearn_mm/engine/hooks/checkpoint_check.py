"""Refuse a checkpoint that does not fit the model."""

from typing import Dict, Tuple

from mmaction.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import find_latest_checkpoint
from torch import Tensor

KEYS_SHOWN = 6  # how many keys an error lists of each kind


class CheckpointMismatchError(RuntimeError):
    """A checkpoint and the model do not belong together."""


@HOOKS.register_module()
class CheckpointCheckHook(Hook):
    """Turn what MMEngine only warns of into an error, before anything is loaded.

    MMEngine loads what fits and logs the rest: a checkpoint with another number of classes leaves
    the head untrained, one of another model leaves everything untrained.

    Args:
        min_share (float): Least share of the model's parameters (counted in elements) that a
            checkpoint must hold. 0.5: a pre-trained encoder with new heads and experts passes.
    """

    # before EMAHook (NORMAL), which swaps the weights of the checkpoint
    priority = 'HIGH'

    def __init__(self, min_share: float = 0.5) -> None:
        self.min_share = min_share

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Compare keys and shapes.

        Raises:
            CheckpointMismatchError: If a tensor has another shape than the model's, or too little
                of the model is covered.
        """
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        source = checkpoint.get('state_dict', checkpoint)
        wrong, covered, total = compare_state(source, dict(model.named_parameters()))
        name = runner._load_from or find_latest_checkpoint(runner.work_dir)
        if wrong:
            shown = '; '.join(f'{key}: checkpoint {tuple(theirs)}, model {tuple(ours)}'
                              for key, (theirs, ours) in list(wrong.items())[:KEYS_SHOWN])
            raise CheckpointMismatchError(
                f'{name}: {len(wrong)} tensors do not have the shape of the model: {shown}. Was it '
                'trained with other classes or another backbone? Use the config it was trained '
                'with, or remove these keys from the checkpoint to train them anew')
        if covered < self.min_share * total:
            raise CheckpointMismatchError(
                f'{name}: holds only {covered / total:.0%} of the model\'s parameters; its keys '
                f'begin {list(source)[:KEYS_SHOWN]}, the model\'s '
                f'{[key for key, _ in model.named_parameters()][:KEYS_SHOWN]}. Convert it to this '
                'package\'s names first')


def compare_state(source: Dict[str, Tensor],
                  parameters: Dict[str, Tensor]) -> Tuple[Dict[str, tuple], int, int]:
    """How well a state dict fits parameters.

    Args:
        source (dict[str, Tensor]): State dict of a checkpoint; a prefix ``module.`` is ignored.
        parameters (dict[str, Tensor]): Named parameters of a model.

    Returns:
        tuple: Keys of unequal shape with (checkpoint shape, model shape), number of elements
        covered by equal shapes, number of elements in all.
    """
    source = {key.removeprefix('module.'): value for key, value in source.items()}
    wrong, covered = {}, 0
    for key, parameter in parameters.items():
        if key not in source:
            continue
        if source[key].shape != parameter.shape:
            wrong[key] = (source[key].shape, parameter.shape)
        else:
            covered += parameter.numel()
    return wrong, covered, sum(parameter.numel() for parameter in parameters.values())
