"""Whether a checkpoint fits a model, in our names or in those of a family it understands."""

import re
from logging import Logger
from typing import Callable, Dict, List, NamedTuple, Optional

from mmengine.logging import MMLogger
from mmengine.model import BaseModule
from mmengine.runner.checkpoint import CheckpointLoader
from torch import nn

from .family import (
    Family,
    FamilyError,
    State,
    backbone_of,
    families_of,
    known_families,
    shown,
    unwrap,
)
from .frozen import FrozenWeightsError, put_together, without_a_file
from .settings import differences, settings_of

SETTINGS_KEY = 'layer_settings'  # in the metadata of a checkpoint
# A file may lack or have these beside the model: the config or the sizes say what they are.
COMPUTED = re.compile(r'(.*\.)?(pos_embed|num_batches_tracked|relative_position_index)|'
                      r'data_preprocessor\.(mean|std)')


class CheckpointMismatchError(RuntimeError):
    """A checkpoint and the model do not belong together."""


def adopt(checkpoint: dict, model: nn.Module, name: str, logger: Logger,
          for_test: bool = False) -> None:
    """Give the tensors of a foreign file our names, in place; leave files in our names alone.

    Heads are left out, because foreign files do not say whose they are, and so are the parts
    that the model does not have (the decoder of a pre-training). But a test of a model with one
    task takes the head of a file with one head. Frozen weights that the file lacks are taken from
    the files that the config names (:mod:`frozen`).

    Args:
        checkpoint (dict): A loaded checkpoint.
        model (nn.Module): What it is for: a model with a ``backbone``, or a backbone.
        name (str): Its file, for messages.
        logger (Logger): Gets a line on what was renamed.
        for_test (bool): Whether the model is tested with it, and not trained from it.

    Raises:
        CheckpointMismatchError: If it is of a family that the model does not understand, or
            holds what its family does not declare, or was trained with other frozen weights.
    """
    try:
        state = unwrap(checkpoint)
    except FamilyError as error:
        raise CheckpointMismatchError(f'{name}: no checkpoint: {error}') from error
    if not state:
        raise CheckpointMismatchError(f'{name}: holds no tensors; expected a state_dict, bare or '
                                      'under state_dict, model_state_dict, model or module, found '
                                      f'the keys {shown(list(checkpoint))}')
    family = family_for(state, model, name)
    if family is None:
        checkpoint.setdefault('state_dict', state)
    else:
        try:
            conversion = family.convert(state, backbone_of(model),
                                        _only_task(model) if for_test else {})
        except FamilyError as error:
            raise CheckpointMismatchError(f'{name} ({family.name}): {error}') from error
        parts = {child for child, _ in model.named_children()} if hasattr(model, 'backbone') else {
            'backbone'}
        checkpoint['state_dict'] = {key: value for key, value in conversion.state.items()
                                    if key.split('.')[0] in parts}
        logger.info(f'{name}, a file of {family.name}, is renamed: {conversion.summary()}')
    if hasattr(model, 'backbone'):
        try:
            put_together(checkpoint, model, name, logger)
        except FrozenWeightsError as error:
            raise CheckpointMismatchError(str(error)) from error


def _only_task(model: nn.Module) -> Dict[str, str]:
    """The task of a model whose head has one classifier."""
    classifiers = getattr(getattr(model, 'cls_head', None), 'fc_cls', None)
    tasks = list(classifiers) if isinstance(classifiers, nn.ModuleDict) else []
    return dict(only=tasks[0]) if len(tasks) == 1 else {}


def family_for(state: State, model: nn.Module, name: str) -> Optional[Family]:
    """The family of a state dict, among those that a model understands.

    Returns:
        Family | None: None if no known family recognises it, or the model has these very names.

    Raises:
        CheckpointMismatchError: If only other models understand it; the message says which.
    """
    if all(name in state for name, _ in model.named_parameters()):
        return None
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


class Fit(NamedTuple):
    """How a checkpoint fits a model.

    Attributes:
        name (str): The file, for messages.
        keys (list[str]): Names of its tensors.
        wrong (list[str]): Tensors of unequal shape, with both shapes.
        missing (list[str]): Names of the model that the file lacks.
        frozen (list[str]): Of these, parameters that nothing will train and no other file has.
        strangers (list[str]): Names of the file that the model lacks.
        changed (list[str]): Settings of layers that are not alike, with both values.
        share (float): Share of the model's elements that the file holds in equal shape.
    """
    name: str
    keys: List[str]
    wrong: List[str]
    missing: List[str]
    frozen: List[str]
    strangers: List[str]
    changed: List[str]
    share: float

    def require_whole(self) -> None:
        """For a test, or a training that is resumed: it must be a checkpoint of this very model.

        Raises:
            CheckpointMismatchError: If it is not.
        """
        self._require_shapes()
        for found, what in (
                (self.missing, 'tensors of the model are not in the checkpoint'),
                (self.strangers, 'tensors of the checkpoint are not in the model'),
                (self.changed, 'settings are not those that it was trained with')):
            if found:
                raise CheckpointMismatchError(
                    f'{self.name}: {len(found)} {what}: {shown(found)}. To test or resume, use '
                    'the config that it was trained with; to train a changed model, start from it '
                    'with load_from' + ('. tools/convert/convert_checkpoint.py copies the weights '
                                        'without the settings, for a test of other settings'
                                        if found is self.changed else ''))

    def require_start(self, min_share: float) -> None:
        """For a training that starts from it.

        Args:
            min_share (float): Least ``share``.

        Raises:
            CheckpointMismatchError: If a shape or a number of attention heads differs, or too
                little of the model is there, or something frozen is not.
        """
        self._require_shapes()
        if self.share < min_share:
            raise CheckpointMismatchError(
                f'{self.name}: holds only {self.share:.0%} of the model\'s parameters; its keys '
                f'begin {shown(self.keys)}, the model\'s {shown(self.missing)}. Convert it to '
                'this package\'s names first')
        if self.frozen:
            raise CheckpointMismatchError(
                f'{self.name}: {len(self.frozen)} frozen tensors of the model are in no file, and '
                f'would keep random values: {shown(self.frozen)}. Use a complete file, name one '
                'for their part (init_cfg), or train them too')

    def _require_shapes(self) -> None:
        if self.wrong:
            raise CheckpointMismatchError(
                f'{self.name}: {len(self.wrong)} tensors do not have the shape of the model: '
                f'{shown(self.wrong)}. Was it trained with other classes or another backbone? Use '
                'the config it was trained with, or remove these keys from the checkpoint to '
                'train them anew')
        heads = [line for line in self.changed if '.num_heads: ' in line]
        if heads:  # the same weights, cut into other heads, mean nothing
            raise CheckpointMismatchError(
                f'{self.name}: {len(heads)} layers have another number of attention heads: '
                f'{shown(heads)}. Build the model with the heads it was trained with')

    def summary(self) -> str:
        """One line for a log."""
        return (f'{self.name}: {self.share:.1%} of the model\'s parameters are loaded. Not in the '
                f'file, so trained from their initial values: {shown(self.missing)}. In the file, '
                f'but not in the model: {shown(self.strangers)}. Other settings than the file was '
                f'trained with: {shown(self.changed)}')


def compare(checkpoint: dict, model: nn.Module, name: str, with_buffers: bool) -> Fit:
    """Compare a checkpoint with a model.

    Args:
        checkpoint (dict): A loaded checkpoint, in our names.
        model (nn.Module): The model, not wrapped.
        name (str): Its file, for messages.
        with_buffers (bool): Whether persistent buffers count, as they do in a test; a training
            may start with other ones.

    Returns:
        Fit: What a layer names in a class attribute ``checkpoint_optional`` is neither missing
        nor a stranger: a buffer or layer of its own that only training uses.
    """
    def is_optional(key: str) -> bool:
        computed = key not in parameters and COMPUTED.fullmatch(key) is not None
        return computed or _declared_optional(key, model)

    source = unwrap(checkpoint)
    state, parameters = model.state_dict(), dict(model.named_parameters())
    wanted = state if with_buffers else parameters
    wrong = [key for key, tensor in wanted.items()
             if key in source and source[key].shape != tensor.shape]
    covered = sum(parameter.numel() for key, parameter in parameters.items()
                  if key in source and key not in wrong)
    missing = [key for key in wanted if key not in source and not is_optional(key)]
    return Fit(
        name, list(source),
        wrong=[f'{key}: checkpoint {tuple(source[key].shape)}, model {tuple(wanted[key].shape)}'
               for key in wrong],
        missing=missing, frozen=without_a_file(missing, model),
        strangers=[key for key in source if key not in state and not is_optional(key)],
        changed=differences(saved_settings(checkpoint), settings_of(model)),
        share=covered / max(1, sum(parameter.numel() for parameter in parameters.values())))


def load_whole(model: nn.Module, path: str, config: str) -> dict:
    """Load a checkpoint that must hold everything of a model.

    Args:
        model (nn.Module): Model of the config.
        path (str): Checkpoint file, in our names or of a family that the model understands.
        config (str): What the model was built from, for messages.

    Returns:
        dict: The metadata of the checkpoint.

    Raises:
        CheckpointMismatchError: If it is not a checkpoint of this very model.
    """
    checkpoint = CheckpointLoader.load_checkpoint(path, map_location='cpu')
    name = f'{path} with {config}'
    adopt(checkpoint, model, name, MMLogger.get_current_instance(), for_test=True)
    compare(checkpoint, model, name, with_buffers=True).require_whole()
    model.load_state_dict(unwrap(checkpoint), strict=False)
    return checkpoint.get('meta') or {}


def load_backbone(backbone: nn.Module, checkpoint: dict, name: str, logger: Logger) -> None:
    """Load the backbone of a checkpoint into a backbone, and say what was loaded.

    Args:
        backbone (nn.Module): A backbone, with the ``checkpoint_families`` that it understands.
        checkpoint (dict): A loaded checkpoint of a recognizer or a pre-training, in our names or
            of one of these families.
        name (str): Its file, for messages.
        logger (Logger): Gets a line on what was loaded.

    Raises:
        CheckpointMismatchError: If shapes or attention heads differ, or less than half of the
            backbone is there.
    """
    adopt(checkpoint, backbone, name, logger)
    state = unwrap(checkpoint)
    part = dict(state_dict=_within('backbone.', state),
                meta={SETTINGS_KEY: _within('backbone.', saved_settings(checkpoint))})
    if not part['state_dict']:
        understood = ', '.join(family.name for family in families_of(backbone))
        raise CheckpointMismatchError(
            f'{name}: has no backbone, and is no file of {understood}; its keys begin '
            f'{shown(list(state))}')
    fit = compare(part, backbone, f'{name} for the backbone', with_buffers=False)
    fit.require_start(min_share=0.5)
    own = backbone.state_dict()
    backbone.load_state_dict(
        {key: value for key, value in part['state_dict'].items()
         if key in own and own[key].shape == value.shape}, strict=False)
    logger.info(fit.summary())


def init_backbone(backbone: BaseModule, init_weights: Callable[[], None],
                  usual_cfg: Optional[list]) -> None:
    """Initial values, then those of ``init_cfg=dict(type='Pretrained', checkpoint=FILE)``, if set.

    Args:
        backbone (BaseModule): A backbone, with the ``checkpoint_families`` that it understands.
        init_weights (Callable): The method of its base class.
        usual_cfg (list, optional): ``init_cfg`` for what the file lacks.

    Raises:
        CheckpointMismatchError: If the file does not fit.
    """
    given = backbone.init_cfg
    pretrained = isinstance(given, dict) and given.get('type') == 'Pretrained'
    if pretrained:
        backbone.init_cfg = usual_cfg
    init_weights()
    if pretrained:
        backbone.init_cfg, file = given, given['checkpoint']
        load_backbone(backbone, CheckpointLoader.load_checkpoint(file, map_location='cpu'), file,
                      MMLogger.get_current_instance())


def _declared_optional(key: str, model: nn.Module) -> bool:
    layer: Optional[nn.Module] = model
    for name in key.split('.'):
        if name in getattr(layer, 'checkpoint_optional', ()):
            return True
        layer = getattr(layer, name, None)
    return False


def saved_settings(checkpoint: dict) -> dict:
    """The settings of the layers that a checkpoint was saved with; empty if it does not say."""
    meta = checkpoint.get('meta')
    found = meta.get(SETTINGS_KEY) if isinstance(meta, dict) else None
    return found if isinstance(found, dict) else {}


def _within(prefix: str, named: dict) -> dict:
    """What a prefix begins, without it."""
    return {key[len(prefix):]: value for key, value in named.items() if key.startswith(prefix)}
