"""Convert a checkpoint of another project to this package's names, or back.

    python tools/convert/convert_checkpoint.py SRC DST [--video-task dfew --image-task affectnet7]
    python tools/convert/convert_checkpoint.py SRC DST --to official --video-task dfew ...

SRC: a file of a family that one of our backbones understands (S4D and VideoMAE, fine-tuned or
pre-trained; VideoMAE in transformers; MAE image models; AudioMAE; S2D; MMA-DFER), or one with our
names, which are MMAction2's; the family is recognised. It is read like every checkpoint: compared
with its .sha256 if there is one, and refused if it would run code. SRC and DST are .safetensors, or
anything else for a torch file; DST gets a .sha256.
"""

import argparse
import io
import logging
import re
import sys
from pathlib import Path
from typing import Dict, List, Optional, Tuple

import safetensors.torch
import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import nn

import unilearn_mm  # noqa: F401  (registers the models)
from unilearn_mm.engine.checkpoint_files import (
    CorruptCheckpointError,
    UnsafeCheckpointError,
    read_checkpoint,
    write_checkpoint,
)
from unilearn_mm.models.backbones.landmark_net import LandmarkWeightsError
from unilearn_mm.models.checkpoints.family import (
    Conversion,
    FamilyError,
    State,
    Tasks,
    backbone_of,
    known_families,
    shown,
    unwrap,
)
from unilearn_mm.models.checkpoints.fit import CheckpointMismatchError, family_for
from unilearn_mm.models.checkpoints.frozen import (
    DIGEST_KEY,
    FrozenWeightsError,
    put_together,
)

LOGGER = logging.getLogger('convert_checkpoint')
OURS = re.compile(r'(backbone|neck|cls_head)\.')
REFUSALS = (FamilyError, FrozenWeightsError, LandmarkWeightsError, CheckpointMismatchError,
            CorruptCheckpointError, UnsafeCheckpointError, OSError)


def main() -> int:
    """Command line; 0 on success, 1 if the file cannot be converted."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', type=Path)
    parser.add_argument('destination', type=Path)
    parser.add_argument('--to', choices=['ours', 'official'], default='ours')
    parser.add_argument('--config', help='recipe whose backbone the file is for; needed for files '
                        'that several backbones understand. The sizes of a backbone are its '
                        'defaults without it. Frozen weights that SRC lacks are added from the '
                        'files that the recipe names')
    parser.add_argument('--video-task', help='task of the head for clips, e.g. dfew; official '
                        'files do not say it, and without it the head is left out')
    parser.add_argument('--image-task', help='task of the head for images, e.g. affectnet7')
    parser.add_argument('--norm-to-fc-norm', action='store_true',
                        help="use a pre-trained encoder's final norm as fc_norm (the official "
                        'code does not)')
    parser.add_argument('--with-decoder', action='store_true',
                        help='keep the decoder of a pre-training file, to go on pre-training')
    args = parser.parse_args()
    tasks = {media: task for media, task in (('video', args.video_task),
                                             ('image', args.image_task)) if task}
    try:
        checkpoint = read_checkpoint(args.source)
        state = unwrap(checkpoint)
        if args.to == 'official' or any(OURS.match(key) for key in state):
            kind, conversion = 'our own names', Conversion(state, [], [])
        else:
            kind, conversion = to_ours(state, tasks, args.config)
            if not args.with_decoder:
                conversion = without_decoder(conversion, args.norm_to_fc_norm)
        conversion = put_together_with(conversion, checkpoint.get('meta') or {}, args)
        if args.to == 'official':
            kind, conversion = to_official(conversion.state, tasks)
    except REFUSALS as error:
        message = str(error)
        print(message if str(args.source) in message else f'{args.source}: {message}',
              file=sys.stderr)
        return 1
    write(args.destination, conversion.state, 'state_dict' if args.to == 'ours' else 'model')
    print(f'{args.destination}: from {kind}: {conversion.summary()}')
    return 0


def to_ours(state: State, tasks: Tasks, config: Optional[str]) -> Tuple[str, Conversion]:
    """Rename a foreign state dict.

    Args:
        state (dict[str, Tensor]): State dict of a file.
        tasks (dict[str, str]): 'video' or 'image' -> task of that head.
        config (str, optional): Recipe with the backbone that it is for.

    Returns:
        tuple: What kind of file it was, and the conversion.

    Raises:
        FamilyError: If no or more than one backbone understands it, or a key is unknown.
        CheckpointMismatchError: If the backbone of the config does not understand it.
    """
    found = {family: models for family, models in known_families().items()
             if family.recognises(state)}
    if not found:
        names = sorted({family.name for family in known_families()})
        raise FamilyError(f'of no known family: its keys begin {shown(list(state))}; known are '
                          f'{"; ".join(names)}; and our own names')
    if config:
        backbone = backbone_of(_build(Config.fromfile(config)))
        family = family_for(state, backbone, 'the file')
    else:
        family, backbone = _only_one(found)
    return family.name, family.convert(state, backbone, tasks)


def _only_one(found: Dict[tuple, List[str]]) -> tuple:
    """The one family that recognises a file, and a backbone that understands it."""
    models = sorted({model for names in found.values() for model in names})
    family = next(iter(found))
    if len(models) > 1:
        raise FamilyError(f'{family.name}: {" and ".join(models)} understand it, each in its way; '
                          'say by --config CONFIG which it is for')
    return family, _build(Config(dict(model=dict(type=models[0]))))


def _build(cfg: Config) -> nn.Module:
    """The model of a config, with sizes but without values."""
    init_default_scope(cfg.get('default_scope', 'mmaction'))
    with torch.device('meta'):
        return MODELS.build(cfg.model)


def put_together_with(conversion: Conversion, meta: dict, args: argparse.Namespace) -> Conversion:
    """Add the frozen weights that are lacking, from the files that the config, if any, names.

    Args:
        conversion (Conversion): Of the source to our names.
        meta (dict): Metadata of the source.
        args (argparse.Namespace): ``source`` and ``config``.

    Raises:
        FrozenWeightsError: If these are not the weights that it was trained with, or the source was
            saved without them and no file is named.
        CheckpointMismatchError: If a file that the config names does not fit.
        LandmarkWeightsError: If it is not of the landmark net.
        FileNotFoundError: If it is not there.
    """
    lacking = ['the frozen ones'] if DIGEST_KEY in meta else []
    if args.config:
        cfg = Config.fromfile(args.config)
        frozen = [name for name, value in _build(cfg).named_parameters() if not value.requires_grad]
        checkpoint = dict(state_dict=conversion.state, meta=meta)
        if not set(frozen) <= set(conversion.state):
            put_together(checkpoint, MODELS.build(cfg.model), str(args.source), LOGGER)
        conversion = conversion._replace(state=checkpoint['state_dict'])
        lacking = [name for name in frozen if name not in conversion.state and lacking]
    if lacking:
        raise FrozenWeightsError(
            f'{args.source} was saved without its frozen weights (TrainedOnlyHook), and lacks '
            f'{shown(lacking)}; name by --config the recipe that it was trained with, and in that '
            "the files that have them: init_cfg=dict(type='Pretrained', checkpoint=FILE)")
    return conversion


def to_official(state: State, tasks: Tasks) -> Tuple[str, Conversion]:
    """Rename our state dict to the names of the project that its model comes from.

    Raises:
        FamilyError: If there is no such project, or a key has no name there.
    """
    for family in known_families():
        if family.restores is not None and family.restores(state):
            return f'our own names to those of {family.name}', family.restore(state, tasks)
    raise FamilyError(f'no model of ours that has official names: the keys begin '
                      f'{shown(list(state))}')


def without_decoder(conversion: Conversion, norm_to_fc_norm: bool) -> Conversion:
    """Leave out what only a pre-training has: the decoder, and the norm after the last block.

    Args:
        conversion (Conversion): To our names.
        norm_to_fc_norm (bool): Whether that norm becomes ``fc_norm`` instead.
    """
    state = {re.sub(r'^backbone\.norm\.', 'backbone.fc_norm.', key) if norm_to_fc_norm else key:
             value for key, value in conversion.state.items()}
    only = [key for key in state if re.match(r'neck\.|backbone\.norm\.', key)]
    return conversion._replace(
        state={key: value for key, value in state.items() if key not in only},
        dropped=[*conversion.dropped, *only])


def write(path: Path, state: State, wrapper: str) -> None:
    """Write tensors: bare to .safetensors, under ``wrapper`` to a torch file; and a checksum."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {key: value.contiguous() for key, value in state.items()}
    if path.suffix == '.safetensors':
        content = safetensors.torch.save(state, metadata=dict(format='pt'))
    else:
        buffer = io.BytesIO()
        torch.save({wrapper: state}, buffer)
        content = buffer.getvalue()
    write_checkpoint(path, content)


if __name__ == '__main__':
    sys.exit(main())
