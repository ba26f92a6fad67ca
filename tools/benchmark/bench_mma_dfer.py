"""Time and memory of MMA-DFER against a restatement of the official computation.

    python tools/benchmark/bench_mma_dfer.py --batch-size 1 --repeats 5
    python tools/benchmark/bench_mma_dfer.py --work test
    python tools/benchmark/bench_mma_dfer.py --memory --ours fp32 bf16 fp32-checkpointed
    python tools/benchmark/bench_mma_dfer.py --device cuda --batch-size 8

What is timed (``--work``), on clips of 16 x 224 x 224 with 512 frames of 128 mel bins, two ViT-B:

- ``step``: forward and backward pass and AdamW of the trained 4.3 %; stochastic depth is active;
- ``test``: the forward pass of one view. The greatest difference of the scores is printed.

Both sides have the same weights and inputs. Steps alternate; the medians and their ratio
(official / ours: above 1 is faster than official) are printed. ``--memory`` measures the peak
memory of a step instead, each model in a process of its own.
"""

import argparse
from typing import Callable, List, Tuple

import torch
import torch.nn.functional as F
from measure import (
    VARIANTS,
    alternating_medians,
    peak_memory,
    print_memory_table,
    print_time_header,
    print_time_row,
    setting,
)
from official_mma_dfer import OfficialMMADFER, trained
from torch import Tensor, nn

import unilearn_mm  # noqa: F401
from unilearn_mm.models.backbones.av_fusion_vit import AVFusionViT
from unilearn_mm.models.heads.multi_task_head import MultiTaskHead

Inputs = Tuple[Tensor, Tensor]  # frames (N, 3, T, H, W) and sound (N, 1, F, M)


class Model(nn.Module):
    """Either side: frames and sound to logits (N, 7)."""

    def __init__(self, variant: str) -> None:
        super().__init__()
        self.ours, self.dtype, with_cp = VARIANTS[variant]
        torch.manual_seed(0)  # both sides begin with the same weights
        official = OfficialMMADFER()
        for name, parameter in official.named_parameters():
            if '_gate' in name:  # as of a trained model: open
                nn.init.constant_(parameter, 0.1)
        if not self.ours:
            self.official = official
            return
        self.backbone = AVFusionViT(with_cp=with_cp)
        self.head = MultiTaskHead(dict(dfew=7), 512)
        state = self.backbone.checkpoint_families[0].convert(
            official.state_dict(), self.backbone, dict(video='dfew')).state
        self.load_state_dict({name.replace('cls_head.', 'head.'): value
                              for name, value in state.items()})

    def forward(self, imgs: Tensor, audios: Tensor) -> Tensor:
        """Logits, float32."""
        with torch.autocast(imgs.device.type, self.dtype, enabled=self.dtype is not None):
            if self.ours:
                return self.head(self.backbone(imgs, audios))
            return self.official(imgs.transpose(1, 2), audios).float()


def draw_inputs(num: int, device: str) -> Inputs:
    """Noise in the range of frames and of sound."""
    generator = torch.Generator().manual_seed(0)
    return (torch.rand(num, 3, 16, 224, 224, generator=generator).to(device),
            torch.randn(num, 1, 512, 128, generator=generator).to(device))


def training_step(variant: str, inputs: Inputs) -> Callable[[], None]:
    """A step of a fresh model."""
    device = inputs[0].device
    model = Model(variant).to(device).train()
    optimizer = torch.optim.AdamW(trained(model), lr=1e-4, weight_decay=1e-2)
    labels = torch.arange(len(inputs[0]), device=device) % 7

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(model(*inputs), labels).backward()
        optimizer.step()

    return step


def test_of_clip(variant: str, inputs: Inputs) -> Callable[[], Tensor]:
    """Scores (N, 7) of clips of one view."""
    model = Model(variant).to(inputs[0].device).eval()

    def run() -> Tensor:
        with torch.no_grad():
            return model(*inputs).softmax(dim=-1)

    return run


def time_table(args: argparse.Namespace, variants: List[str]) -> None:
    """Print medians of alternating runs and their ratios."""
    inputs = draw_inputs(args.batch_size, args.device)
    make = dict(step=training_step, test=test_of_clip)[args.work]
    runs = {name: make(name, inputs) for name in variants}
    print_time_header(('work', 'clips'), variants)
    medians = alternating_medians(runs, args.device, args.repeats, args.work)
    print_time_row((args.work, str(args.batch_size)), medians)
    if args.work == 'test':
        scores = {name: run() for name, run in runs.items()}
        for name in variants[1:]:
            away = (scores[name] - scores[variants[0]]).abs().max().item()
            print(f'{name}: scores differ by {away:.1e} from those of {variants[0]}')


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--work', choices=['step', 'test'], default='step')
    parser.add_argument('--batch-size', type=int, default=1, help='clips')
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--official', choices=list(VARIANTS), default='official-fp32')
    parser.add_argument('--ours', choices=list(VARIANTS), nargs='+', default=['fp32', 'bf16'])
    parser.add_argument('--memory', action='store_true')
    parser.add_argument('--measure', choices=list(VARIANTS), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(peak_memory(lambda: training_step(
            args.measure, draw_inputs(args.batch_size, args.device)), args.device))
        return
    print(setting(args.device))
    variants = [args.official, *args.ours]
    if args.memory:
        print_memory_table(__file__, variants, {str(args.batch_size): (
            '--device', args.device, '--batch-size', str(args.batch_size))})
    else:
        time_table(args, variants)


if __name__ == '__main__':
    main()
