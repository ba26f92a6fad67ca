"""Time and memory of the backbone against a restatement of the official computation.

    python tools/benchmark/bench_backbone.py --batch-sizes 1 4 --repeats 5
    python tools/benchmark/bench_backbone.py --device cuda --batch-sizes 1 4 16 --ours bf16

Both models are ViT-B with 8 experts in the upper six blocks, on clips of 16 x 160 x 160. Their
runs alternate; the medians and their ratio (official / ours: above 1 is faster than official) are
printed. ``--memory`` measures the peak memory of one training step with AdamW instead, each model
in a process of its own.
"""

import argparse
from functools import partial
from typing import Callable

import torch
from measure import (
    alternating_medians,
    peak_memory,
    print_memory_table,
    print_time_header,
    print_time_row,
    setting,
)
from official_backbone import OfficialBackbone
from torch import Tensor, nn

import unilearn_mm  # noqa: F401
from unilearn_mm.models.backbones.vit_moae import VisionTransformerMoAE

# name -> (our backbone or the official one, autocast type, activation checkpointing)
VARIANTS = {
    'official-fp32': ('official', None, False),
    'official-fp16': ('official', torch.float16, False),
    'fp32': ('ours', None, False),
    'bf16': ('ours', torch.bfloat16, False),
    'fp32-checkpointed': ('ours', None, True),
    'bf16-compiled': ('ours-compiled', torch.bfloat16, False),
}


class Classifier(nn.Module):
    """A backbone and 7 classes; the loss is cross entropy plus the balance loss, if any."""

    def __init__(self, variant: str) -> None:
        super().__init__()
        kind, self.dtype, with_cp = VARIANTS[variant]
        if kind == 'official':
            self.backbone = OfficialBackbone()
        else:
            self.backbone = VisionTransformerMoAE(with_cp=with_cp,
                                                  compile_blocks=kind.endswith('compiled'))
        self.head = nn.Linear(768, 7)

    def forward(self, clips: Tensor) -> Tensor:
        """Scalar loss of clips (B, 3, 16, 160, 160)."""
        with torch.autocast(clips.device.type, self.dtype, enabled=self.dtype is not None):
            if isinstance(self.backbone, OfficialBackbone):
                feature, balance = self.backbone(clips), 0.
            else:
                tokens, aux = self.backbone.forward_tokens(clips)
                feature, balance = self.backbone.pool(tokens), aux['loss_balance']
            logits = self.head(feature).float()
        labels = torch.arange(len(clips), device=clips.device) % 7
        return nn.functional.cross_entropy(logits, labels) + balance


def forward(model: Classifier, clips: Tensor) -> None:
    """Forward pass in evaluation."""
    with torch.no_grad():
        model(clips)


def forward_backward(model: Classifier, clips: Tensor) -> None:
    """Forward and backward pass."""
    model.zero_grad(set_to_none=True)
    model(clips).backward()


def training_step(variant: str, batch: int, device: str) -> Callable[[], None]:
    """Forward and backward pass and AdamW of a fresh model."""
    model = Classifier(variant).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters())
    clips = torch.randn(batch, 3, 16, 160, 160, device=device)

    def step() -> None:
        forward_backward(model, clips)
        optimizer.step()

    return step


def time_table(args: argparse.Namespace) -> None:
    """Print medians of alternating runs and their ratios."""
    models = {name: Classifier(name).to(args.device) for name in (args.official, *args.ours)}
    print_time_header(('pass', 'clips'), list(models))
    for name, run in (('forward', forward), ('forward + backward', forward_backward)):
        for model in models.values():
            model.train(run is forward_backward)
        for batch in args.batch_sizes:
            clips = torch.randn(batch, 3, 16, 160, 160, device=args.device)
            medians = alternating_medians(
                {variant: partial(run, model, clips) for variant, model in models.items()},
                args.device, args.repeats, f'{name}, {batch} clips')
            print_time_row((name, str(batch)), medians)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--batch-sizes', type=int, nargs='+', default=[1, 4, 16])
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--official', choices=list(VARIANTS), default='official-fp32')
    parser.add_argument('--ours', choices=list(VARIANTS), nargs='+', default=['fp32', 'bf16'])
    parser.add_argument('--memory', action='store_true')
    parser.add_argument('--measure', choices=list(VARIANTS), help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.manual_seed(0)
    if args.measure:
        make_step = partial(training_step, args.measure, args.batch_sizes[0], args.device)
        print(peak_memory(make_step, args.device))
        return
    print(setting(args.device))
    if args.memory:
        print_memory_table(__file__, (args.official, *args.ours), {
            str(batch): ('--device', args.device, '--batch-sizes', str(batch))
            for batch in args.batch_sizes})
    else:
        time_table(args)


if __name__ == '__main__':
    main()
