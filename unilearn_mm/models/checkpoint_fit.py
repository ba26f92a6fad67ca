"""Whether a checkpoint fits a model, after it was renamed to our layout."""

from logging import Logger
from typing import Dict, List, Tuple

from mmengine.runner.checkpoint import load_checkpoint
from torch import Tensor, nn

from .checkpoint_layouts import (LayoutError, detect_layout, pretraining_to_ours, shown, to_ours,
                                 unwrap)


class CheckpointMismatchError(RuntimeError):
    """A checkpoint and the model do not belong together."""


def adopt(checkpoint: dict, name: str, with_decoder: bool, logger: Logger) -> None:
    """Replace the tensors of a known foreign layout by ours, in place; leave others alone.

    Args:
        checkpoint (dict): A loaded checkpoint.
        name (str): Its file, for messages.
        with_decoder (bool): Whether the decoder of a pre-training checkpoint is wanted too.
        logger (Logger): Gets a line on what was converted.

    Raises:
        CheckpointMismatchError: If it holds what its layout does not declare.
    """
    try:
        layout = detect_layout(unwrap(checkpoint))
    except LayoutError:
        return  # the state dict of another model, which the comparison judges
    if layout != 'ours':
        try:
            conversion = (pretraining_to_ours(checkpoint)
                          if with_decoder and layout == 'official_pretrain' else
                          to_ours(checkpoint))
        except LayoutError as error:
            raise CheckpointMismatchError(f'{name}: {error}') from error
        checkpoint['state_dict'] = conversion.state
        logger.info(f'{name} converted: {conversion.summary()}')


def compare_state(source: Dict[str, Tensor],
                  parameters: Dict[str, Tensor]) -> Tuple[Dict[str, tuple], List[str], float]:
    """How well a state dict fits parameters.

    Args:
        source (dict[str, Tensor]): State dict of a checkpoint; a prefix ``module.`` is ignored.
        parameters (dict[str, Tensor]): Named parameters of a model.

    Returns:
        tuple: Keys of unequal shape with (checkpoint shape, model shape); keys of the model that
        the state dict lacks; share of the model's elements that it holds in equal shape.
    """
    source = {key.removeprefix('module.'): value for key, value in source.items()}
    missing = [key for key in parameters if key not in source]
    wrong = {key: (source[key].shape, parameter.shape) for key, parameter in parameters.items()
             if key in source and source[key].shape != parameter.shape}
    covered = sum(parameter.numel() for key, parameter in parameters.items()
                  if key in source and key not in wrong)
    return wrong, missing, covered / sum(p.numel() for p in parameters.values())


def load_whole(model: nn.Module, path: str, config: str) -> None:
    """Load a checkpoint that must hold every parameter of a model.

    Args:
        model (nn.Module): Model of the config.
        path (str): Checkpoint file with the names of the model.
        config (str): What the model was built from, for messages.

    Raises:
        CheckpointMismatchError: If a parameter is missing or has another shape.
    """
    checkpoint = load_checkpoint(model, path, map_location='cpu')
    wrong, missing, _ = compare_state(checkpoint.get('state_dict', checkpoint),
                                      dict(model.named_parameters()))
    if wrong or missing:
        raise CheckpointMismatchError(f'{path} does not fit {config}: missing are '
                                      f'{shown(missing)}; of other shape {shown(list(wrong))}')


def load_backbone(backbone: nn.Module, checkpoint: dict, name: str, logger: Logger) -> None:
    """Load the backbone of a checkpoint into a backbone, and say what was loaded.

    Args:
        backbone (nn.Module): ``VisionTransformerMoAE``.
        checkpoint (dict): A loaded checkpoint of a recognizer or a pre-training, ours or of a
            known foreign layout.
        name (str): Its file, for messages.
        logger (Logger): Gets a line on what was loaded.

    Raises:
        CheckpointMismatchError: If shapes differ or less than half of the backbone is there.
    """
    adopt(checkpoint, name, with_decoder=False, logger=logger)
    state = {key.removeprefix('backbone.'): value for key, value in unwrap(checkpoint).items()
             if key.startswith('backbone.')}
    wrong, missing, share = compare_state(state, dict(backbone.named_parameters()))
    if wrong:
        raise CheckpointMismatchError(
            f'{name}: {len(wrong)} tensors do not have the shape of the backbone: '
            + shown([f'{key}: checkpoint {tuple(theirs)}, model {tuple(ours)}'
                     for key, (theirs, ours) in wrong.items()])
            + '. Build the backbone with the sizes it was trained with')
    if share < 0.5:
        raise CheckpointMismatchError(f'{name}: holds only {share:.0%} of the backbone\'s '
                                      f'parameters; missing are {shown(missing)}')
    strangers = [key for key in state if key not in backbone.state_dict()]
    backbone.load_state_dict(
        {key: value for key, value in state.items()
         if key not in strangers and key != 'pos_embed'}, strict=False)
    logger.info(f'{name}: {share:.1%} of the backbone\'s parameters are loaded. Not in the file: '
                f'{shown(missing)}. In the file, but not in the backbone: {shown(strangers)}')
