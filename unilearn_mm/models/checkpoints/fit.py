"""Whether a checkpoint fits a model, in our names or in those of a family it understands."""

from logging import Logger
from typing import Dict, List, Optional, Tuple

from mmengine.runner.checkpoint import load_checkpoint
from torch import Tensor, nn

from .family import (Family, FamilyError, State, backbone_of, families_of, known_families, shown,
                     unwrap)


class CheckpointMismatchError(RuntimeError):
    """A checkpoint and the model do not belong together."""


def adopt(checkpoint: dict, model: nn.Module, name: str, logger: Logger) -> None:
    """Give the tensors of a foreign file our names, in place; leave files in our names alone.

    Heads are left out, because foreign files do not say whose they are, and so are the parts
    that the model does not have (the decoder of a pre-training).

    Args:
        checkpoint (dict): A loaded checkpoint.
        model (nn.Module): What it is for: a model with a ``backbone``, or a backbone.
        name (str): Its file, for messages.
        logger (Logger): Gets a line on what was renamed.

    Raises:
        CheckpointMismatchError: If it is of a family that the model does not understand, or
            holds what its family does not declare.
    """
    state = unwrap(checkpoint)
    family = family_for(state, model, name)
    if family is None:
        return
    try:
        conversion = family.convert(state, backbone_of(model), {})
    except FamilyError as error:
        raise CheckpointMismatchError(f'{name} ({family.name}): {error}') from error
    parts = {child for child, _ in model.named_children()} if hasattr(model, 'backbone') else {
        'backbone'}
    checkpoint['state_dict'] = {key: value for key, value in conversion.state.items()
                                if key.split('.')[0] in parts}
    logger.info(f'{name}, a file of {family.name}, is renamed: {conversion.summary()}')


def family_for(state: State, model: nn.Module, name: str) -> Optional[Family]:
    """The family of a state dict, among those that a model understands.

    Returns:
        Family | None: None if no known family recognises it.

    Raises:
        CheckpointMismatchError: If only other models understand it; the message says which.
    """
    understood = families_of(model)
    for family in understood:
        if family.recognises(state):
            return family
    others = {family: models for family, models in known_families().items()
              if family.recognises(state)}
    if not others:
        return None
    models = sorted({model for found in others.values() for model in found})
    raise CheckpointMismatchError(
        f'{name}: a file of {next(iter(others)).name}, for the backbone {" or ".join(models)}. '
        f'This model has the backbone {type(backbone_of(model)).__name__}, which understands '
        f'{", ".join(family.name for family in understood) or "only our own names"}. Use a config '
        'with the backbone that the file is for, or another file')


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
        backbone (nn.Module): A backbone, with the ``checkpoint_families`` that it understands.
        checkpoint (dict): A loaded checkpoint of a recognizer or a pre-training, in our names or
            of one of these families.
        name (str): Its file, for messages.
        logger (Logger): Gets a line on what was loaded.

    Raises:
        CheckpointMismatchError: If shapes differ or less than half of the backbone is there.
    """
    adopt(checkpoint, backbone, name, logger)
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
