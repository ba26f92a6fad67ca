"""Time and memory of S2D against a restatement of the official computation.

    python tools/benchmark/bench_s2d.py --batch-size 1 --repeats 5
    python tools/benchmark/bench_s2d.py --work test
    python tools/benchmark/bench_s2d.py --memory --batch-size 2 --ours fp32 bf16 fp32-checkpointed
    python tools/benchmark/bench_s2d.py --device cuda --official official-fp16 --ours bf16

What is timed (``--work``), on clips of 16 x 224 x 224, ViT-B, landmark net included:

- ``step``: forward and backward pass and AdamW of the trained 9.7 %, on soft labels;
- ``image``: the forward pass of the image model;
- ``test``: the views of a clip. The official code tests two windows in time and two crops; frames
  of 224 x 224 have one crop, so that its views are the same pixels in pairs. Ours leave the second
  ones out. The greatest difference of the scores is printed, and seconds for a clip and a view.

Both sides have the same weights and inputs. Steps alternate; the medians and their ratio
(official / ours: above 1 is faster than official) are printed. ``--memory`` measures the peak
memory of a step instead, each model in a process of its own.
"""

import argparse
from functools import partial
from typing import Callable, List

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
from official_s2d import LandmarkNet, OfficialS2D, landmarks_of
from torch import Tensor, nn

import unilearn_mm  # noqa: F401
from unilearn_mm.models.backbones.s2d_vit import S2DVisionTransformer
from unilearn_mm.models.heads.multi_task_head import MultiTaskHead

VIEWS = dict(official=(0, 0, 1, 1), ours=(0, 1))  # the window that each view shows


class Model(nn.Module):
    """Either side: clips (N, 3, T, 224, 224) to logits (N, 7)."""

    def __init__(self, variant: str, temporal: bool) -> None:
        super().__init__()
        self.ours, self.dtype, with_cp = VARIANTS[variant]
        torch.manual_seed(0)  # both sides begin with the same weights
        official, net = OfficialS2D(temporal=temporal), LandmarkNet()
        for parameter in official.parameters():
            nn.init.trunc_normal_(parameter, std=0.02)
        for name, buffer in net.named_buffers():
            if name.endswith('running_var'):  # as of a trained net: no features out of range
                buffer.fill_(2.)
        if not self.ours:
            self.official, self.landmark_net = official, net
            return
        self.backbone = S2DVisionTransformer(with_tma=temporal, with_cp=with_cp)
        self.head = MultiTaskHead(dict(dfew=7), 768)
        state = self.backbone.checkpoint_families[0].convert(
            official.state_dict(), self.backbone, dict(video='dfew')).state
        state.update({f'backbone.landmark_net.{name}': value
                      for name, value in net.state_dict().items()
                      if name in self.backbone.landmark_net.state_dict()})
        self.load_state_dict({name.replace('cls_head.', 'head.'): value
                              for name, value in state.items()})

    def forward(self, clips: Tensor) -> Tensor:
        """Logits, float32."""
        with torch.autocast(clips.device.type, self.dtype, enabled=self.dtype is not None):
            if self.ours:
                return self.head(self.backbone(clips))
            return self.official(clips, landmarks_of(self.landmark_net, clips))[0].float()


def training_step(variant: str, clips: Tensor) -> Callable[[], None]:
    """A step of a fresh model; fp16 with loss scaling, as the official trainer does."""
    device = clips.device.type
    model = Model(variant, temporal=True).to(device).train()
    optimizer = torch.optim.AdamW([parameter for parameter in model.parameters()
                                   if parameter.requires_grad], lr=2e-5, weight_decay=0.05)
    scaler = torch.amp.GradScaler(device, enabled=model.dtype is torch.float16)
    labels = torch.rand(len(clips), 7, generator=torch.Generator().manual_seed(1))
    labels = labels.softmax(dim=-1).to(device)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(F.cross_entropy(model(clips), labels)).backward()
        scaler.step(optimizer)
        scaler.update()

    return step


def forward(variant: str, clips: Tensor, temporal: bool) -> Callable[[], Tensor]:
    """The forward pass of a model in evaluation."""
    return torch.no_grad()(partial(
        Model(variant, temporal).to(clips.device.type).eval(), clips))


def test_of_clip(variant: str, windows: Tensor) -> Callable[[], Tensor]:
    """Scores (7,) of a clip from its windows (2, 3, T, 224, 224): the mean over its views."""
    model = Model(variant, temporal=True).to(windows.device.type).eval()
    views = VIEWS['ours' if model.ours else 'official']

    def run() -> Tensor:
        with torch.no_grad():
            return model(windows[list(views)]).softmax(dim=-1).mean(dim=0)

    return run


def time_table(args: argparse.Namespace, variants: List[str]) -> None:
    """Print medians of alternating runs and their ratios."""
    generator = torch.Generator().manual_seed(0)
    num, frames = dict(step=(args.batch_size, 16), image=(args.batch_size, 1),
                       test=(2, 16))[args.work]
    clips = torch.randn(num, 3, frames, 224, 224, generator=generator).to(args.device)
    make = dict(step=training_step, image=partial(forward, temporal=False),
                test=test_of_clip)[args.work]
    runs = {name: make(name, clips) for name in variants}
    print_time_header(('work', 'clips'), variants)
    medians = alternating_medians(runs, args.device, args.repeats, args.work)
    print_time_row((args.work, str(1 if args.work == 'test' else num)), medians)
    if args.work == 'test':
        scores = {name: run() for name, run in runs.items()}
        for name, seconds in medians.items():
            views = len(VIEWS['ours' if VARIANTS[name][0] else 'official'])
            away = (scores[name] - scores[variants[0]]).abs().max().item()
            print(f'{name}: {views} views, {seconds / views:.3f} s each; scores differ by '
                  f'{away:.1e} from those of {variants[0]}')


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--work', choices=['step', 'image', 'test'], default='step')
    parser.add_argument('--batch-size', type=int, default=1, help='clips, or images')
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--official', choices=list(VARIANTS), default='official-fp32')
    parser.add_argument('--ours', choices=list(VARIANTS), nargs='+', default=['fp32', 'bf16'])
    parser.add_argument('--memory', action='store_true')
    parser.add_argument('--measure', choices=list(VARIANTS), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(peak_memory(lambda: training_step(
            args.measure, torch.randn(args.batch_size, 3, 16, 224, 224, device=args.device)),
            args.device))
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
