"""Convert a checkpoint of another project to this package's names, or back.

    python tools/convert/convert_checkpoint.py SRC DST [--video-task dfew --image-task affectnet7]
    python tools/convert/convert_checkpoint.py SRC DST --to official --video-task dfew ...

SRC: files of S4D (fine-tuned or pre-trained), VideoMAE (original or transformers), MAE image
models, MMAction2's VideoMAE; the layout is detected. SRC and DST are .safetensors, or anything
else for a torch file (read with ``weights_only=True``).
"""

import argparse
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

import unilearn_mm  # noqa: F401  (the types that official checkpoints may hold)
from unilearn_mm.models.checkpoint_layouts import (LayoutError, pretraining_to_official,
                                                   pretraining_to_ours, to_official, to_ours,
                                                   unwrap)


def main() -> int:
    """Command line; 0 on success, 1 if the file cannot be converted."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', type=Path)
    parser.add_argument('destination', type=Path)
    parser.add_argument('--to', choices=['ours', 'official'], default='ours')
    parser.add_argument('--video-task', help='task of the head `head.video`, e.g. dfew; official '
                        'files do not say it, and without it the head is left out')
    parser.add_argument('--image-task', help='task of the head `head.image`, e.g. affectnet7')
    parser.add_argument('--norm-to-fc-norm', action='store_true',
                        help="use a pre-trained encoder's final norm as fc_norm (the official "
                        'code does not)')
    parser.add_argument('--with-decoder', action='store_true',
                        help='keep the decoder of a pre-training file, to go on pre-training')
    args = parser.parse_args()
    try:
        checkpoint = read(args.source)
        if args.to == 'ours' and args.with_decoder:
            result = pretraining_to_ours(checkpoint)
        elif args.to == 'ours':
            result = to_ours(checkpoint, args.video_task, args.image_task, args.norm_to_fc_norm)
        elif 'neck.mask_token' in unwrap(checkpoint):
            result = pretraining_to_official(unwrap(checkpoint))
        else:
            result = to_official(unwrap(checkpoint), args.video_task, args.image_task)
    except LayoutError as error:
        print(f'{args.source}: {error}', file=sys.stderr)
        return 1
    write(args.destination, result.state, 'state_dict' if args.to == 'ours' else 'model')
    print(f'{args.destination}: {result.summary()}')
    return 0


def read(path: Path) -> dict:
    """Checkpoint of a .safetensors or torch file, tensors on the CPU."""
    if path.suffix == '.safetensors':
        return load_file(path)
    return torch.load(path, map_location='cpu', weights_only=True)


def write(path: Path, state: dict, wrapper: str) -> None:
    """Write tensors: bare to .safetensors, under ``wrapper`` to a torch file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {key: value.contiguous() for key, value in state.items()}
    if path.suffix == '.safetensors':
        save_file(state, path, metadata=dict(format='pt'))
    else:
        torch.save({wrapper: state}, path)


if __name__ == '__main__':
    sys.exit(main())
