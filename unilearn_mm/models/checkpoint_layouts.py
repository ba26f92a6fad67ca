"""State dicts of other projects, renamed to this package's names and back.

Every layout is first brought to the official names (S4D repository, finetune/s4d/videomae.py),
then to ours. What a layout must lose is declared; anything else that
does not map is an error.
"""

import re
from typing import Callable, Dict, Iterable, List, NamedTuple, Optional, Tuple

import torch
from torch import Tensor

State = Dict[str, Tensor]
KEYS_SHOWN = 6  # how many keys a message lists


class LayoutError(ValueError):
    """A state dict is of no known layout, or holds what its layout does not declare."""


class Conversion(NamedTuple):
    """A converted state dict and what happened.

    Attributes:
        state (dict[str, Tensor]): The converted tensors.
        layout (str): Name of the source layout.
        dropped (list[str]): Source keys that were left out, as the layout declares.
        reshaped (list[str]): Source keys whose tensors were split, joined or inflated.
    """
    state: State
    layout: str
    dropped: List[str]
    reshaped: List[str]

    def summary(self) -> str:
        """One line for a log."""
        return (f'{len(self.state)} tensors from the layout {self.layout!r}; left out '
                f'{len(self.dropped)} ({shown(self.dropped)}); reshaped {len(self.reshaped)} '
                f'({shown(self.reshaped)})')


def unwrap(checkpoint: dict) -> State:
    """The state dict inside a checkpoint.

    Args:
        checkpoint (dict): A state dict, or a dict that holds one under ``state_dict`` (MMEngine),
            ``model`` or ``module`` (official files, DeepSpeed).

    Returns:
        dict[str, Tensor]: Its tensors, without a leading ``module.``.
    """
    for key in ('state_dict', 'model', 'module'):
        if isinstance(checkpoint.get(key), dict):
            checkpoint = checkpoint[key]
            break
    return {key.removeprefix('module.'): value for key, value in checkpoint.items()
            if isinstance(value, Tensor)}


def detect_layout(state: State) -> str:
    """Name of the layout of a state dict.

    Returns:
        str: 'ours' (MMAction2's names too), 'official' (S4D and VideoMAE, fine-tuned),
        'official_pretrain' (S4D and VideoMAE, pre-trained), 'huggingface' (VideoMAE in
        transformers), or 'mae_image' (2-D MAE / ViT).

    Raises:
        LayoutError: If it is none of them.
    """
    if 'backbone.patch_embed.projection.weight' in state:
        return 'ours'
    if 'encoder.patch_embed.proj.weight' in state:
        return 'official_pretrain'
    if any(key.endswith('embeddings.patch_embeddings.projection.weight') for key in state):
        return 'huggingface'
    patch = state.get('patch_embed.proj.weight')
    if patch is not None:
        return 'official' if patch.dim() == 5 else 'mae_image'
    raise LayoutError(f'no known layout: the keys begin {shown(list(state))}; known are files of '
                      'S4D, VideoMAE (original and transformers), MAE, and MMAction2')


def to_ours(checkpoint: dict,
            video_task: Optional[str] = None,
            image_task: Optional[str] = None,
            norm_to_fc_norm: bool = False,
            tubelet_size: int = 2) -> Conversion:
    """Convert a checkpoint to this package's names.

    Args:
        checkpoint (dict): As :func:`unwrap` takes it.
        video_task (str, optional): Task of the head ``head.video``. The file does not say whose
            heads it holds; without a task a head is left out.
        image_task (str, optional): Task of the head ``head.image``.
        norm_to_fc_norm (bool): Whether the final norm of a pre-trained encoder becomes
            ``fc_norm``; the official code drops it.
        tubelet_size (int): Frames over which 2-D patch weights are spread.

    Returns:
        Conversion: Tensors under ``backbone.`` and ``cls_head.``.

    Raises:
        LayoutError: If the layout is unknown, or a key neither maps nor is declared as lost.
    """
    state = unwrap(checkpoint)
    layout = detect_layout(state)
    if layout == 'ours':
        return Conversion(state, layout, [], [])
    source = LAYOUTS[layout]
    state, reshaped = source.prepare(state, tubelet_size)
    drops = list(source.drops)
    if norm_to_fc_norm:
        state = {re.sub(r'^norm\.', 'fc_norm.', key): value for key, value in state.items()}
    tasks = dict(video=video_task, image=image_task)
    ours, dropped, unknown = {}, [], []
    for key, value in state.items():
        head = re.fullmatch(r'head\.(video|image)\.(weight|bias)', key)
        if head and tasks[head[1]] is None or any(re.match(drop, key) for drop in drops):
            dropped.append(key)
        elif head:
            ours[f'cls_head.fc_cls.{tasks[head[1]]}.{head[2]}'] = value
        else:
            name = _renamed(key, OFFICIAL_TO_OURS)
            if name is None:
                unknown.append(key)
            else:
                ours[f'backbone.{name}'] = value
    if unknown:
        raise LayoutError(f'{len(unknown)} keys do not belong to the layout {layout!r}: '
                          f'{shown(unknown)}')
    stacked = [key for key in ours if '.experts.' in key]
    ours = _stack_experts(ours)
    return Conversion(ours, layout, dropped, reshaped + stacked)


def pretraining_to_ours(checkpoint: dict) -> Conversion:
    """Convert an official pre-training checkpoint, decoder included, to ``DualModalMAE``.

    Args:
        checkpoint (dict): As :func:`unwrap` takes it.

    Returns:
        Conversion: Tensors under ``backbone.`` and ``neck.``.

    Raises:
        LayoutError: If it is of another layout, or has other keys.
    """
    state = unwrap(checkpoint)
    layout = detect_layout(state)
    if layout != 'official_pretrain':
        raise LayoutError(f'expected an official pre-training checkpoint, found {layout!r}')
    return Conversion(_rename_all(state, PRETRAINING_TO_OURS), layout, [], [])


def pretraining_to_official(state: State) -> Conversion:
    """Convert the state dict of ``DualModalMAE`` with ``MAEDecoder`` to the official names.

    Args:
        state (dict[str, Tensor]): Tensors under ``backbone.`` and ``neck.``.

    Raises:
        LayoutError: If it has other keys (experts, or the fast decoder, have no official name).
    """
    dropped = [key for key in state
               if key == 'backbone.pos_embed' or key.startswith('data_preprocessor.')]
    rest = {key: value for key, value in state.items() if key not in dropped}
    return Conversion(_rename_all(rest, PRETRAINING_TO_OFFICIAL), 'ours', dropped, [])


def _rename_all(state: State, table: Tuple[Tuple[str, str], ...]) -> State:
    names = {key: _renamed(key, table) for key in state}
    unknown = [key for key, name in names.items() if name is None]
    if unknown:
        raise LayoutError(f'{len(unknown)} keys have no place in the other layout: '
                          f'{shown(unknown)}')
    return {names[key]: value for key, value in state.items()}


def to_official(state: State, video_task: Optional[str] = None,
                image_task: Optional[str] = None) -> Conversion:
    """Convert our state dict to the official names of a fine-tuned model.

    Args:
        state (dict[str, Tensor]): Keys as in ``UniLearnRecognizer``.
        video_task (str, optional): Task whose head becomes ``head.video``; other heads are left
            out.
        image_task (str, optional): Task whose head becomes ``head.image``.

    Returns:
        Conversion: Tensors with official names.

    Raises:
        LayoutError: If the state dict has other keys, or not the head of a task.
    """
    tasks = {video_task: 'video', image_task: 'image'}
    reshaped = [key for key in state if '.experts.' in key]
    official, dropped, unknown, found = {}, [], [], set()
    for key, value in _unstack_experts(state).items():
        head = re.fullmatch(r'cls_head\.fc_cls\.(\w+)\.(weight|bias)', key)
        if head and head[1] in tasks:
            found.add(head[1])
            official[f'head.{tasks[head[1]]}.{head[2]}'] = value
        elif head or key == 'backbone.pos_embed' or key.startswith('data_preprocessor.'):
            dropped.append(key)
        else:
            name = _renamed(key.removeprefix('backbone.'), OURS_TO_OFFICIAL)
            if name is None or not key.startswith('backbone.'):
                unknown.append(key)
            else:
                official[name] = value
    absent = {task for task in tasks if task is not None} - found
    if unknown or absent:
        raise LayoutError(f'cannot be written with official names: keys {shown(unknown)}; tasks '
                          f'without a head: {sorted(absent)}')
    return Conversion(official, 'ours', dropped, reshaped)


# (official name, our name without `backbone.`); experts keep their number until they are stacked
_NAMES = (
    ('patch_embed.proj.{wb}', 'patch_embed.projection.{wb}'),
    ('{block}.norm1.{wb}', '{block}.norm1.{wb}'),
    ('{block}.norm2.{wb}', '{block}.norm2.{wb}'),
    ('{block}.attn.proj.{wb}', '{block}.attn.proj.{wb}'),
    ('{block}.attn.qkv.weight', '{block}.attn.qkv.weight'),
    ('{block}.attn.q_bias', '{block}.attn.q_bias'),
    ('{block}.attn.v_bias', '{block}.attn.v_bias'),
    ('{block}.mlp.fc1.{wb}', '{block}.mlp.layers.0.0.{wb}'),
    ('{block}.mlp.fc2.{wb}', '{block}.mlp.layers.1.{wb}'),
    ('{block}.moe_layer.router.topkroute_linear.{wb}', '{block}.moae.router.route.{wb}'),
    ('{block}.moe_layer.router.noise_linear.{wb}', '{block}.moae.router.noise.{wb}'),
    ('{block}.moe_layer.experts.{expert}.{wb}', '{block}.moae.experts.{expert}.{wb}'),
    ('fc_norm.{wb}', 'fc_norm.{wb}'),
)
_FIELDS = dict(block=r'blocks\.\d+', expert=r'\d+\.fc[12]', wb='weight|bias')


def _rename_table(pairs: Iterable[Tuple[str, str]]) -> Tuple[Tuple[str, str], ...]:
    """(source, target) with fields in braces -> (pattern, replacement)."""
    return tuple(
        (re.sub(r'\\{(\w+)\\}', lambda field: f'(?P<{field[1]}>{_FIELDS[field[1]]})',
                re.escape(source)),
         re.sub(r'\{(\w+)\}', r'\\g<\1>', target)) for source, target in pairs)


OFFICIAL_TO_OURS = _rename_table(_NAMES)
OURS_TO_OFFICIAL = _rename_table((ours, official) for official, ours in _NAMES)


# a whole pre-training model: the encoder without experts and head, and the decoder
_PRETRAINING_NAMES = (
    *((f'encoder.{official}', f'backbone.{ours}')
      for official, ours in _NAMES if 'moae' not in ours and 'fc_norm' not in ours),
    ('encoder.norm.{wb}', 'backbone.norm.{wb}'),
    *((f'decoder.{official}', f'neck.{ours}')
      for official, ours in _NAMES if '{block}' in ours and 'moae' not in ours),
    ('decoder.norm.{wb}', 'neck.norm.{wb}'),
    ('decoder.head.{wb}', 'neck.head.{wb}'),
    ('encoder_to_decoder.weight', 'neck.embed.weight'),
    ('mask_token', 'neck.mask_token'),
)
PRETRAINING_TO_OURS = _rename_table(_PRETRAINING_NAMES)
PRETRAINING_TO_OFFICIAL = _rename_table(
    (ours, official) for official, ours in _PRETRAINING_NAMES)


def _renamed(key: str, table: Tuple[Tuple[str, str], ...]) -> Optional[str]:
    for pattern, replacement in table:
        if re.fullmatch(pattern, key):
            return re.sub(pattern, replacement, key)
    return None


def _stack_experts(state: State) -> State:
    """``experts.<e>.fc1.weight`` of all e -> ``experts.fc1.weight`` (E, out, in)."""
    stacked: Dict[str, Dict[int, Tensor]] = {}
    rest = {}
    for key, value in state.items():
        match = re.fullmatch(r'(.*\.moae\.experts)\.(\d+)\.(.*)', key)
        if match:
            stacked.setdefault(f'{match[1]}.{match[3]}', {})[int(match[2])] = value
        else:
            rest[key] = value
    for key, parts in stacked.items():
        if sorted(parts) != list(range(len(parts))):
            raise LayoutError(f'{key}: experts {sorted(parts)} are not numbered 0, 1, 2, ...')
        rest[key] = torch.stack([parts[index] for index in range(len(parts))])
    return rest


def _unstack_experts(state: State) -> State:
    """The reverse of :func:`_stack_experts`."""
    rest = {}
    for key, value in state.items():
        match = re.fullmatch(r'(.*\.moae\.experts)\.(fc[12]\.\w+)', key)
        if match:
            rest.update({f'{match[1]}.{index}.{match[2]}': part.clone()
                         for index, part in enumerate(value)})
        else:
            rest[key] = value
    return rest


def _as_it_is(state: State, tubelet_size: int) -> Tuple[State, List[str]]:
    return state, []


def _encoder_only(state: State, tubelet_size: int) -> Tuple[State, List[str]]:
    return {key.removeprefix('encoder.'): value for key, value in state.items()}, []


def _from_huggingface(state: State, tubelet_size: int) -> Tuple[State, List[str]]:
    """Separate query, key and value weights are joined; the rest is renamed."""
    state = {key.removeprefix('videomae.'): value for key, value in state.items()}
    names = (
        (r'embeddings\.patch_embeddings\.projection\.(\w+)', r'patch_embed.proj.\1'),
        (r'encoder\.layer\.(\d+)\.attention\.attention\.(q_bias|v_bias)', r'blocks.\1.attn.\2'),
        (r'encoder\.layer\.(\d+)\.attention\.output\.dense\.(\w+)', r'blocks.\1.attn.proj.\2'),
        (r'encoder\.layer\.(\d+)\.intermediate\.dense\.(\w+)', r'blocks.\1.mlp.fc1.\2'),
        (r'encoder\.layer\.(\d+)\.output\.dense\.(\w+)', r'blocks.\1.mlp.fc2.\2'),
        (r'encoder\.layer\.(\d+)\.layernorm_before\.(\w+)', r'blocks.\1.norm1.\2'),
        (r'encoder\.layer\.(\d+)\.layernorm_after\.(\w+)', r'blocks.\1.norm2.\2'),
        (r'layernorm\.(\w+)', r'norm.\1'),
        (r'classifier\.(\w+)', r'head.\1'),
    )
    out, reshaped = {}, []
    for key, value in state.items():
        match = re.fullmatch(r'(encoder\.layer\.(\d+)\.attention\.attention\.)query\.weight', key)
        if match:
            parts = [match[1] + part + '.weight' for part in ('query', 'key', 'value')]
            out[f'blocks.{match[2]}.attn.qkv.weight'] = torch.cat([state[p] for p in parts])
            reshaped += parts
        elif not re.search(r'attention\.attention\.(key|value)\.weight$', key):
            out[_renamed(key, names) or key] = value
    return out, reshaped


def _from_mae_image(state: State, tubelet_size: int) -> Tuple[State, List[str]]:
    """2-D patch weights are spread over the tubelet; the key bias, which cannot change a softmax
    over keys, is left out."""
    out, reshaped = {}, []
    for key, value in state.items():
        if key == 'patch_embed.proj.weight':
            # an image is repeated to fill the tubelet: the mean keeps its embedding
            out[key] = value.unsqueeze(2).repeat(1, 1, tubelet_size, 1, 1) / tubelet_size
            reshaped.append(key)
        elif re.fullmatch(r'blocks\.\d+\.attn\.qkv\.bias', key):
            query, _, val = value.chunk(3)
            out[key.replace('qkv.bias', 'q_bias')] = query
            out[key.replace('qkv.bias', 'v_bias')] = val
            reshaped.append(key)
        else:
            out[key] = value
    return out, reshaped


class Layout(NamedTuple):
    """How a layout becomes official names.

    Attributes:
        prepare (Callable): (state, tubelet_size) -> (state with official names, reshaped keys).
        drops (tuple[str, ...]): Patterns of official keys that have no place in our model.
    """
    prepare: Callable[[State, int], Tuple[State, List[str]]]
    drops: Tuple[str, ...]


# `norm.` is the final norm of an encoder without mean pooling; `head.` a classifier of other data
LAYOUTS = dict(
    official=Layout(_as_it_is, (r'norm\.', r'head\.(weight|bias)$')),
    official_pretrain=Layout(
        _encoder_only, (r'norm\.', r'decoder\.', r'encoder_to_decoder\.', r'mask_token$')),
    huggingface=Layout(
        _from_huggingface,
        (r'norm\.', r'decoder\.', r'encoder_to_decoder\.', r'mask_token$', r'head\.',
         r'embeddings\.position_embeddings$', r'position_embeddings$')),
    mae_image=Layout(
        _from_mae_image,
        (r'norm\.', r'decoder_', r'mask_token$', r'cls_token$', r'pos_embed$',
         r'head\.(weight|bias)$')),
)


def shown(keys: List[str]) -> str:
    """The first few keys of a list, and how many more there are, for messages."""
    more = f', and {len(keys) - KEYS_SHOWN} more' if len(keys) > KEYS_SHOWN else ''
    return (', '.join(keys[:KEYS_SHOWN]) or 'none') + more
