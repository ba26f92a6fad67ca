"""Files of S2D: models for images (SFER stage) and for videos (DFER stage).

Source of the names: MSA-LMC/S2D, model_finetuning.py.
"""

import re

from torch import nn

from .family import Conversion, Family, FamilyError, State, Tasks, only_task, rename, rename_table
from .mae_image import VIT_FIELDS, VIT_NAMES

# (S2D, ours without `backbone.`)
_CONVOLUTIONS = (  # 1 x 1 there, linear layers here
    ('patch_embed_prompt.proj.{wb}', 'landmark_embed.{wb}'),
    ('prompt_blocks.{i}.conv0_0.{wb}', 'prompters.{i}.image_down.{wb}'),
    ('prompt_blocks.{i}.conv0_1.{wb}', 'prompters.{i}.landmark_down.{wb}'),
    ('prompt_blocks.{i}.conv1x1.{wb}', 'prompters.{i}.up.{wb}'))
_NAMES = (
    *VIT_NAMES, *_CONVOLUTIONS,
    ('ln_post.{wb}', 'ln1.{wb}'),
    ('prompt_blocks.{i}.fovea.smooth', 'prompters.{i}.sharpness'),
    ('prompt_norms.{i}.{wb}', 'prompt_norms.{i}.{wb}'),
    ('temporal_embedding', 'temporal_embedding'),
    ('prompt_blocks.{i}.TMA.T_Adapter.D_fc1.{wb}', 'temporal_adapters.{i}.temporal_down.{wb}'),
    ('prompt_blocks.{i}.TMA.T_Adapter.attn.{part}.{wb}', 'temporal_adapters.{i}.attn.{part}.{wb}'),
    ('prompt_blocks.{i}.TMA.T_Adapter.D_fc2.{wb}', 'temporal_adapters.{i}.temporal_up.{wb}'),
    ('prompt_blocks.{i}.TMA.norm.{wb}', 'temporal_adapters.{i}.norm.{wb}'),
    ('prompt_blocks.{i}.TMA.S_Adapter.D_fc1.{wb}', 'temporal_adapters.{i}.spatial_down.{wb}'),
    ('prompt_blocks.{i}.TMA.S_Adapter.D_fc2.{wb}', 'temporal_adapters.{i}.spatial_up.{wb}'))
_CONVOLUTION = re.compile(r'(patch_embed_prompt\.proj|prompt_blocks\.\d+\.conv\w+)\.weight')


def convert(state: State, backbone: nn.Module, tasks: Tasks) -> Conversion:
    """For ``S2DVisionTransformer``; see :class:`Family`.

    Left out are the two heads of the image stage, whose code is not published, the landmark net,
    which has a file of its own, and the prompts or temporal parts if ``backbone`` has none. The
    norm at the end is called ``norm`` in the image stage.
    """
    names = [(theirs, f'backbone.{ours}') for theirs, ours in (*_NAMES, ('norm.{wb}', 'ln1.{wb}'))]
    lost = [r'.*landmark.*', r'head\.(weight|bias)', r'weak_head\..*']
    if backbone.temporal_adapters is None:
        lost += [r'temporal_embedding', r'prompt_blocks\.\d+\.TMA\..*']
    if backbone.prompters is None:
        lost += [r'patch_embed_prompt\..*', r'prompt_blocks\.\d+\.(conv|fovea).*']
    if tasks:
        task = only_task(tasks.values(), 'S2D')
        names.append(('head.fc_cls.{wb}', f'cls_head.fc_cls.{task}.{{wb}}'))
    else:
        lost.append(r'head\.fc_cls\..*')
    reshaped = [] if backbone.prompters is None else [
        key for key in state if _CONVOLUTION.fullmatch(key)]
    flat = {**state, **{key: state[key].flatten(1) for key in reshaped}}
    ours, dropped = rename(flat, rename_table(names, **VIT_FIELDS), lost)
    return Conversion(ours, dropped, reshaped)


def restore(state: State, tasks: Tasks) -> Conversion:
    """The way back; see :class:`Family`. Without a task there must be one head."""
    heads = {key.split('.')[2] for key in state if key.startswith('cls_head.fc_cls.')}
    task = only_task(tasks.values() or heads, 'S2D')
    if task not in heads:
        raise FamilyError(f'there is no head for {task!r}, but for {", ".join(sorted(heads))}')
    names = [(f'backbone.{ours}', theirs) for theirs, ours in _NAMES]
    names.append((f'cls_head.fc_cls.{task}.{{wb}}', 'head.fc_cls.{wb}'))
    lost = (r'backbone\.landmark_net\..*', r'data_preprocessor\..*', r'cls_head\.anchors\..*',
            rf'cls_head\.fc_cls\.(?!{re.escape(task)}\.).*')
    theirs, dropped = rename(state, rename_table(names, **VIT_FIELDS), lost)
    reshaped = [key for key in theirs if _CONVOLUTION.fullmatch(key)]
    theirs.update({key: theirs[key][..., None, None] for key in reshaped})
    return Conversion(theirs, dropped, reshaped)


S2D = Family(
    'S2D', lambda state: 'prompt_blocks.0.conv0_0.weight' in state, convert,
    restores=lambda state: 'backbone.prompters.0.sharpness' in state, restore=restore)
