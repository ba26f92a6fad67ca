"""Time and memory of a pre-training step against a restatement of the official computation.

    python tools/benchmark/bench_pretrain.py --batch-size 8 --repeats 5
    python tools/benchmark/bench_pretrain.py --media image --ours fp32 fast-fp32
    python tools/benchmark/bench_pretrain.py --device cuda --official official-fp16 --ours bf16

A step is forward and backward pass and AdamW, on the same normalised clips of 16 x 160 x 160 (or
images) and the same masks for all. Ours is the model of configs/unilearn_pretrain.py, and of
configs/unilearn_pretrain_fast.py where the name begins with "fast": that one does other work (its
decoder predicts a part of the masked patches), so its ratio is no ratio of equal computations.
Steps alternate; the medians and their ratio (official / ours: above 1 is faster than official)
are printed. ``--memory`` measures the peak memory of a step instead, each model in a process of
its own.
"""

import argparse
from pathlib import Path
from typing import Callable, NamedTuple

import torch
from measure import (
    alternating_medians,
    peak_memory,
    print_memory_table,
    print_time_header,
    print_time_row,
    setting,
)
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import DefaultScope
from official_pretrain import OfficialPretrain
from torch import Tensor, nn

import unilearn_mm  # noqa: F401
from unilearn_mm.models.layers.masking import random_masks
from unilearn_mm.models.pretrain import DualModalMAE

CONFIGS = Path(__file__).parents[2] / 'configs'
FAITHFUL, FAST = 'unilearn_pretrain.py', 'unilearn_pretrain_fast.py'
# name -> (our config or None for the official model, autocast type, options of our blocks)
VARIANTS = {
    'official-fp32': (None, None, {}),
    'official-fp16': (None, torch.float16, {}),
    'fp32': (FAITHFUL, None, {}),
    'fp32-checkpointed': (FAITHFUL, None, dict(with_cp=True)),
    'bf16': (FAITHFUL, torch.bfloat16, {}),
    'bf16-compiled': (FAITHFUL, torch.bfloat16, dict(compile_blocks=True)),
    'fast-fp32': (FAST, None, {}),
    'fast-bf16': (FAST, torch.bfloat16, {}),
    'fast-bf16-checkpointed': (FAST, torch.bfloat16, dict(with_cp=True)),
    'fast-bf16-compiled': (FAST, torch.bfloat16, dict(compile_blocks=True)),
}
MASK_RATIOS = dict(video=0.95, image=0.90)  # those of the paper


class Batch(NamedTuple):
    """Clips and which of their L tokens are masked, in the words of both sides.

    Attributes:
        clips (Tensor): (B, 3, T, H, W), normalised; T = 1 for images.
        keep (Tensor): (B, K) int64, visible tokens.
        masked (Tensor): (B, L - K) int64, masked tokens.
        mask (Tensor): (B, L) bool, True where masked.
    """
    clips: Tensor
    keep: Tensor
    masked: Tensor
    mask: Tensor


def draw_batch(args: argparse.Namespace) -> Batch:
    """A batch of noise with random masks."""
    frames, slots = (16, 8) if args.media == 'video' else (1, 1)
    clips = torch.randn(args.batch_size, 3, frames, 160, 160)
    keep, masked = random_masks(torch.rand(args.batch_size, slots * 100), args.mask_ratio)
    mask = torch.zeros(args.batch_size, slots * 100, dtype=torch.bool).scatter(1, masked, True)
    return Batch(*(tensor.to(args.device) for tensor in (clips, keep, masked, mask)))


def our_model(config: str, options: dict) -> DualModalMAE:
    """The model of a recipe, with options of its backbone and its decoder."""
    model = Config.fromfile(CONFIGS / config).model
    for part in ('backbone', 'neck'):
        model[part].update(options)
    with DefaultScope.overwrite_default_scope('mmaction'):
        return MODELS.build(model)


def loss_of(model: nn.Module, batch: Batch) -> Tensor:
    """Scalar loss of either side."""
    if isinstance(model, OfficialPretrain):
        return model(batch.clips, batch.mask)
    prediction, places, _ = model.reconstruct(batch.clips, batch.keep, batch.masked)
    return model.head.loss(prediction, model.unnormalise(batch.clips), places).mean()


def training_step(variant: str, batch: Batch) -> Callable[[], None]:
    """A step of a fresh model; fp16 with loss scaling, as the official trainer does."""
    config, dtype, options = VARIANTS[variant]
    device = batch.clips.device.type
    model = OfficialPretrain() if config is None else our_model(config, options)
    model.to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.95), weight_decay=0.05)
    scaler = torch.amp.GradScaler(device, enabled=dtype is torch.float16)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device, dtype, enabled=dtype is not None):
            loss = loss_of(model, batch)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

    return step


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--media', choices=list(MASK_RATIOS), default='video')
    parser.add_argument('--batch-size', type=int, default=8)
    parser.add_argument('--mask-ratio', type=float,
                        help='default: 0.95 for videos, 0.90 for images')
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--official', choices=list(VARIANTS), default='official-fp32')
    parser.add_argument('--ours', choices=list(VARIANTS), nargs='+',
                        default=['fp32', 'bf16', 'fast-fp32', 'fast-bf16'])
    parser.add_argument('--memory', action='store_true')
    parser.add_argument('--measure', choices=list(VARIANTS), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.mask_ratio is None:
        args.mask_ratio = MASK_RATIOS[args.media]
    torch.manual_seed(0)
    if args.measure:
        print(peak_memory(lambda: training_step(args.measure, draw_batch(args)), args.device))
        return
    print(setting(args.device))
    variants = (args.official, *args.ours)
    if args.memory:
        print(f'a step on {args.media}s, mask ratio {args.mask_ratio}')
        print_memory_table(__file__, variants, {str(args.batch_size): (
            '--device', args.device, '--media', args.media, '--batch-size', str(args.batch_size),
            '--mask-ratio', str(args.mask_ratio))})
        return
    batch = draw_batch(args)
    print_time_header(('media', 'mask ratio', 'clips'), variants)
    medians = alternating_medians({name: training_step(name, batch) for name in variants},
                                  args.device, args.repeats, 'training steps')
    print_time_row((args.media, str(args.mask_ratio), str(args.batch_size)), medians)


if __name__ == '__main__':
    main()
