"""Time and memory of the backbone against a restatement of the official computation.

    python tools/benchmark/bench_backbone.py --batch-sizes 1 4 --repeats 5
    python tools/benchmark/bench_backbone.py --device cuda --batch-sizes 1 4 16 --ours bf16

Both models are ViT-B with 8 experts in the upper six blocks, on clips of 16 x 160 x 160. Their
runs alternate; the medians and their ratio (official / ours: above 1 is faster than official) are
printed. ``--memory`` measures the peak memory of one training step with AdamW instead, each model
in a process of its own.
"""

import argparse
import platform
import re
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable, Dict, List

import torch
from official_backbone import OfficialBackbone
from torch import Tensor, nn
from tqdm import tqdm

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
                feature, balance = self.backbone.pool(tokens), aux['balance_loss']
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


def seconds(run: Callable, model: Classifier, clips: Tensor) -> float:
    """Wall time of one run, device work included."""
    if clips.is_cuda:
        torch.cuda.synchronize()
    start = time.perf_counter()
    run(model, clips)
    if clips.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def time_table(args: argparse.Namespace) -> None:
    """Print medians of alternating runs and their ratios."""
    models = {name: Classifier(name).to(args.device) for name in (args.official, *args.ours)}
    print(f'| pass | clips | {" | ".join(f"{name} (s)" for name in models)} | '
          f'{" | ".join(f"{args.official} / {name}" for name in args.ours)} |')
    print('|---' * (1 + len(models) + 1 + len(args.ours)) + '|')
    for name, run in (('forward', forward), ('forward + backward', forward_backward)):
        for batch in args.batch_sizes:
            clips = torch.randn(batch, 3, 16, 160, 160, device=args.device)
            taken: Dict[str, List[float]] = {model: [] for model in models}
            for repeat in tqdm(range(args.repeats + 1), f'{name}, {batch} clips', leave=False):
                for model in models:
                    models[model].train(run is forward_backward)
                    spent = seconds(run, models[model], clips)
                    if repeat:  # the first round warms up
                        taken[model].append(spent)
            median = {model: statistics.median(values) for model, values in taken.items()}
            print(f'| {name} | {batch} | '
                  + ' | '.join(f'{value:.3f}' for value in median.values()) + ' | '
                  + ' | '.join(f'{median[args.official] / median[ours]:.2f}x'
                               for ours in args.ours) + ' |', flush=True)


def peak_memory(variant: str, batch: int, device: str) -> float:
    """MiB at the peak of two training steps with AdamW, above what the imports need."""
    at_start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    model = Classifier(variant).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters())
    clips = torch.randn(batch, 3, 16, 160, 160, device=device)
    for _ in range(2):  # the optimizer's state is made in the first step
        forward_backward(model, clips)
        optimizer.step()
    if device == 'cuda':
        return torch.cuda.max_memory_allocated() / 2**20
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - at_start) / 1024


def memory_table(args: argparse.Namespace) -> None:
    """Print peak memories, each measured in a fresh process, and their ratios."""
    print('| clips | model | peak (MiB) | of the official |')
    print('|---|---|---|---|')
    for batch in args.batch_sizes:
        official = None
        for variant in (args.official, *args.ours):
            done = subprocess.run(
                [sys.executable, __file__, '--device', args.device, '--measure', variant,
                 '--batch-sizes', str(batch)], capture_output=True, text=True)
            if done.returncode:
                print(f'| {batch} | {variant} | failed with exit code {done.returncode} | - |')
                continue
            peak = float(done.stdout.split()[-1])
            official = official or peak
            print(f'| {batch} | {variant} | {peak:.0f} | {peak / official:.2f} |', flush=True)


def processor_name() -> str:
    """Name of the CPU, and whether it has bf16 products."""
    try:
        facts = Path('/proc/cpuinfo').read_text()
    except OSError:
        return platform.processor() or 'unknown processor'
    name = re.search(r'model name\s*:\s*(.*)', facts)
    extra = [flag for flag in ('avx512_bf16', 'amx_bf16') if flag in facts]
    return ', '.join([name[1] if name else 'unknown processor', *extra])


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
        print(peak_memory(args.measure, args.batch_sizes[0], args.device))
        return
    where = torch.cuda.get_device_name() if args.device == 'cuda' else processor_name()
    print(f'{args.device} ({where}), torch {torch.__version__}, '
          f'{torch.get_num_threads()} threads')
    (memory_table if args.memory else time_table)(args)


if __name__ == '__main__':
    main()
