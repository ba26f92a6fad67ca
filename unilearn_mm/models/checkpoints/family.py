"""What a family of checkpoints is, which ones there are, and helpers to rename."""

import re
from typing import Callable, Dict, Iterable, List, Mapping, NamedTuple, Optional, Tuple

from mmaction.registry import MODELS
from torch import Tensor, nn

State = Dict[str, Tensor]
Tasks = Mapping[str, str]  # 'video', 'image' or 'only' -> the task of that head
Table = Tuple[Tuple[str, str], ...]  # (pattern of a whole key, replacement)
KEYS_SHOWN = 6  # how many keys a message lists


class FamilyError(ValueError):
    """A state dict is of no known family, or holds what its family does not declare."""


class Conversion(NamedTuple):
    """A renamed state dict and what happened.

    Attributes:
        state (dict[str, Tensor]): The renamed tensors.
        dropped (list[str]): Keys of the source that were left out, as the family declares.
        reshaped (list[str]): Keys of the source whose tensors were split, joined or inflated.
    """
    state: State
    dropped: List[str]
    reshaped: List[str]

    def summary(self) -> str:
        """One line for a log."""
        return (f'{len(self.state)} tensors; left out {len(self.dropped)} '
                f'({shown(self.dropped)}); reshaped {len(self.reshaped)} ({shown(self.reshaped)})')


class Family(NamedTuple):
    """Files with the same foreign names, and how these become ours.

    A backbone lists the families that it understands in its class attribute
    ``checkpoint_families``; nothing else needs to know them.

    Attributes:
        name (str): For messages.
        recognises (Callable): ``(state) -> bool``, by keys and shapes. It is false for the files
            of every other family and for our own names.
        convert (Callable): ``(state, backbone, tasks) -> Conversion``: names under ``backbone.``,
            ``neck.`` and ``cls_head.``. ``backbone`` is the module that the tensors are for.
            ``tasks`` says which task the head for clips ('video') or images ('image') belongs
            to, or the only head of a file ('only'); a head without a task is dropped. Raises
            ``FamilyError`` on a key that neither maps nor is declared as lost.
        restores (Callable, optional): ``(our state) -> bool``, whether ``restore`` is for it.
        restore (Callable, optional): ``(our state, tasks) -> Conversion``, the way back to the
            foreign names. Raises ``FamilyError`` if a key has no foreign name.
    """
    name: str
    recognises: Callable[[State], bool]
    convert: Callable[[State, nn.Module, Tasks], Conversion]
    restores: Optional[Callable[[State], bool]] = None
    restore: Optional[Callable[[State, Tasks], Conversion]] = None


def families_of(model: nn.Module) -> Tuple[Family, ...]:
    """The families that a model, or its backbone, says it understands."""
    return getattr(backbone_of(model), 'checkpoint_families', ())


def backbone_of(model: nn.Module) -> nn.Module:
    """The backbone of a model, or the model itself if it has none."""
    return getattr(model, 'backbone', model)


def known_families() -> Dict[Family, List[str]]:
    """Every family that a registered model understands, and the names of these models."""
    known: Dict[Family, List[str]] = {}
    MODELS.import_from_location()
    for name, model in MODELS.module_dict.items():
        for family in getattr(model, 'checkpoint_families', ()):
            known.setdefault(family, []).append(name)
    return known


def unwrap(checkpoint: dict) -> State:
    """The state dict inside a checkpoint.

    Args:
        checkpoint (dict): A state dict, or a dict that holds one under ``state_dict`` (MMEngine),
            ``model_state_dict``, ``model`` or ``module`` (official files, DeepSpeed).

    Returns:
        dict[str, Tensor]: Its tensors, without a leading ``module.``.

    Raises:
        FamilyError: If it is no dict, or its keys are no names.
    """
    if not isinstance(checkpoint, dict):
        raise FamilyError(f'found a {type(checkpoint).__name__} instead of named tensors')
    for key in ('state_dict', 'model_state_dict', 'model', 'module'):
        if isinstance(checkpoint.get(key), dict):
            checkpoint = checkpoint[key]
            break
    else:
        if 'state_dict' in checkpoint:
            raise FamilyError(f'found a {type(checkpoint["state_dict"]).__name__} as state_dict '
                              'instead of named tensors')
    unnamed = [key for key in checkpoint if not isinstance(key, str)]
    if unnamed:
        raise FamilyError(f'found {unnamed[0]!r} instead of the name of a tensor')
    return {key.removeprefix('module.'): value for key, value in checkpoint.items()
            if isinstance(value, Tensor)}


def rename_table(pairs: Iterable[Tuple[str, str]], **fields: str) -> Table:
    """Pairs of names with fields in braces, compiled for :func:`rename`.

    Args:
        pairs (Iterable[tuple[str, str]]): ('blocks.{i}.norm1.{wb}', 'blocks.{i}.ln1.{wb}'), ...
        fields (str): Pattern of each field: ``i=r'\\d+', wb='weight|bias'``.

    Returns:
        tuple: (pattern, replacement) of each pair.
    """
    return tuple(
        (re.sub(r'\\{(\w+)\\}', lambda field: f'(?P<{field[1]}>{fields[field[1]]})',
                re.escape(source)),
         re.sub(r'\{(\w+)\}', r'\\g<\1>', target)) for source, target in pairs)


def renamed(key: str, table: Table) -> Optional[str]:
    """The other name of a key, None if the table does not know it."""
    for pattern, replacement in table:
        match = re.fullmatch(pattern, key)
        if match:
            return match.expand(replacement)
    return None


def rename(state: State, table: Table, lost: Iterable[str] = ()) -> Tuple[State, List[str]]:
    """Rename every key of a state dict.

    Args:
        state (dict[str, Tensor]): A state dict.
        table (tuple): As :func:`rename_table` makes it.
        lost (Iterable[str]): Patterns of whole keys that are left out.

    Returns:
        tuple: The renamed state dict, and the keys that were left out.

    Raises:
        FamilyError: If a key is neither in the table nor declared as lost.
    """
    lost = tuple(lost)
    dropped = [key for key in state if any(re.fullmatch(pattern, key) for pattern in lost)]
    names = {key: renamed(key, table) or '' for key in state if key not in dropped}
    unknown = [key for key, name in names.items() if not name]
    if unknown:
        raise FamilyError(f'{len(unknown)} keys have no name on the other side: {shown(unknown)}')
    return {name: state[key] for key, name in names.items()}, dropped


def only_task(tasks: Iterable[str], name: str) -> str:
    """The task of the one head that a file of a family has.

    Args:
        tasks (Iterable[str]): Tasks that are asked for.
        name (str): The family, for messages.

    Raises:
        FamilyError: If there are none or several.
    """
    found = sorted(set(tasks))
    if len(found) != 1:
        raise FamilyError(f'a file of {name} has one head; found the tasks {", ".join(found)}: '
                          'name one by --video-task')
    return found[0]


def shown(keys: List[str]) -> str:
    """The first few keys of a list, and how many more there are, for messages."""
    more = f', and {len(keys) - KEYS_SHOWN} more' if len(keys) > KEYS_SHOWN else ''
    return (', '.join(keys[:KEYS_SHOWN]) or 'none') + more
