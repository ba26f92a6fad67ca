"""Not speed: S2D at its full size against a restatement of the official computation, in numbers.

    python tools/benchmark/check_s2d.py
    python tools/benchmark/check_s2d.py --weights dfew_fold1.pth --landmarks mobilefacenet.pth.tar

The models of the recipes for DFEW and MAFW are built as they stand, and read files in the official
layout: drawn weights, or the published ones. Printed are the parameters, the logits, the landmark
features, the losses of two training steps, what gets a gradient, and whether a file that went
through our names is the same again. The exit code is 1 if any of it is not as it should be. Takes
minutes and 10 GB on two cores.
"""

import argparse
import logging
import sys
import tempfile
from pathlib import Path
from typing import Dict, List, Optional, Sequence

import torch
import torch.nn.functional as F
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from official_s2d import LandmarkNet, OfficialS2D, OfficialStep, Sizes, landmarks_of
from torch import Tensor, nn

import unilearn_mm  # noqa: F401
from unilearn_mm.engine.checkpoint_files import read_checkpoint
from unilearn_mm.models.checkpoints.family import unwrap
from unilearn_mm.models.checkpoints.fit import load_whole
from unilearn_mm.models.checkpoints.s2d import S2D

CONFIGS = Path(__file__).parents[2] / 'configs'
CLASSES = dict(s2d_dfew=7, s2d_mafw=11)
# of the specification, counted with the official code
TRAINED = {7: 9_258_451, 11: 9_261_527}
WHOLE, TENSORS = 95_055_571, 419  # 7 classes
LANDMARK, LANDMARK_USED = 1_007_248, 565_888  # in the file, and up to conv_4
WITHOUT_GRADIENT = ['prompt_norms.11.bias', 'prompt_norms.11.weight']
TOLERANCE = 1e-5


class Report:
    """Prints lines, and remembers whether one of them was not as it should be."""

    def __init__(self) -> None:
        self.good = True

    def equal(self, what: str, found: object, expected: object) -> None:
        """A figure that must be this one."""
        self._line(f'{what}: {_written(found)}', found == expected,
                   f'expected {_written(expected)}')

    def close(self, what: str, found: Tensor, expected: Tensor) -> None:
        """Numbers that must be the same up to rounding."""
        away = (found - expected).abs().max().item()
        self._line(f'{what}: greatest difference {away:.1e}, of numbers up to '
                   f'{expected.abs().max():.3g}', away <= TOLERANCE,
                   f'expected at most {TOLERANCE:.0e}')

    def _line(self, line: str, good: bool, otherwise: str) -> None:
        self.good &= good
        print(line if good else f'{line}  <-- WRONG, {otherwise}', flush=True)


def _written(value: object) -> str:
    return f'{value:,}' if isinstance(value, int) and not isinstance(value, bool) else str(value)


def draw(model: nn.Module, generator: torch.Generator) -> None:
    """Weights of a usual size, none of them at a value that would hide a mistake."""
    for name, value in model.named_parameters():
        noise = torch.randn(value.shape, generator=generator)
        if value.dim() == 1 or 'embed' in name or 'token' in name:  # around what they start with
            value.data += 0.05 * noise
        else:
            value.data = noise * value[0].numel()**-0.5


def draw_landmark_net(net: LandmarkNet, generator: torch.Generator) -> None:
    """The same, with the statistics of noise, so that the features keep their size."""
    draw(net, generator)
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = 1.
            layer.train()
    net(torch.randn(16, 3, 112, 112, generator=generator))
    net.eval()


def make_files(folder: Path, classes: Sequence[int], weights: Optional[Path],
               landmarks: Optional[Path]) -> Dict[object, Path]:
    """The given files, and drawn ones in the official layout for the others, by classes."""
    generator = torch.Generator().manual_seed(0)
    files: Dict[object, Path] = {}
    for number in classes:
        model = OfficialS2D(Sizes(num_classes=number))
        draw(model, generator)
        files[number] = folder / f'{number}_classes.pth'
        torch.save(dict(model=model.state_dict(), epoch=99), files[number])
    if weights:
        files[7] = weights
    net = LandmarkNet()
    draw_landmark_net(net, generator)
    files['landmarks'] = landmarks or folder / 'mobilefacenet_model_best.pth.tar'
    if not landmarks:
        torch.save(dict(state_dict=net.state_dict()), files['landmarks'])
    return files


def read(module: nn.Module, file: Path) -> nn.Module:
    """A restated module with the tensors of an official file, all of them."""
    module.load_state_dict(unwrap(read_checkpoint(file)))
    return module


def recipe_of(name: str, landmarks: Path) -> Config:
    """A recipe as it is, with the landmark net's file; random only where the seed is shared."""
    cfg = Config.fromfile(CONFIGS / f'{name}.py')
    init_default_scope(cfg.default_scope)
    cfg.model.backbone.landmark_net.init_cfg.checkpoint = str(landmarks)
    cfg.model.data_preprocessor.update(erasing=None, mixing=None)
    return cfg


def check_parameters(report: Report, model: nn.Module, classes: int) -> None:
    """Numbers of the model, without the landmark net, and of this."""
    parts = dict(model.named_parameters())
    own = {name: value for name, value in parts.items() if 'landmark_net' not in name}
    trained = [value for value in own.values() if value.requires_grad]
    report.equal(f'parameters, {classes} classes', sum(value.numel() for value in own.values()),
                 WHOLE + 769 * (classes - 7))
    report.equal('tensors', len(own), TENSORS)
    report.equal('trained', sum(value.numel() for value in trained), TRAINED[classes])
    net = [value for name, value in parts.items() if 'landmark_net' in name]
    report.equal('landmark net up to conv_4', sum(value.numel() for value in net), LANDMARK_USED)
    report.equal('of it trained', sum(value.requires_grad for value in net), 0)


def official_optimizer(model: OfficialS2D, lr: float, decay: float) -> torch.optim.Optimizer:
    """AdamW without decay for vectors, biases and temporal positions."""
    groups: List[dict] = [dict(params=[], weight_decay=decay), dict(params=[], weight_decay=0.)]
    for name, value in model.named_parameters():
        if value.requires_grad:
            kept = value.dim() == 1 or name == 'temporal_embedding'
            groups[kept]['params'].append(value)
    return torch.optim.AdamW(groups, lr=lr)


def check_steps(report: Report, cfg: Config, model: nn.Module, official: OfficialS2D,
                net: LandmarkNet, clips: Tensor, labels: Tensor) -> None:
    """Two steps of the recipe's optimizer, at its full rate, with the same dropout."""
    optimizer, rule = build_optim_wrapper(model, cfg.optim_wrapper).optimizer, cfg.optim_wrapper
    step = OfficialStep(official, net, official_optimizer(
        official, rule.optimizer.lr, rule.optimizer.weight_decay))
    official.dropout.p = cfg.model.cls_head.dropout_ratio
    soft = F.one_hot(labels, 7) * 0.9 + 0.1 / 7  # label smoothing
    samples = [ActionDataSample(metainfo=dict(task='dfew', media='video', num_classes=7,
                                              path='noise')).set_gt_label(label)
               for label in labels.tolist()]
    model.train()
    losses: List[List[float]] = []
    for number in range(2):
        torch.manual_seed(number)
        loss = model(clips[:, None], samples, mode='loss')['loss_cls_dfew']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        torch.manual_seed(number)
        losses.append([loss.item(), step(clips, soft)])
        print(f'step {number + 1}: ours {losses[-1][0]:.6f}, official {losses[-1][1]:.6f}')
    ours, theirs = torch.tensor(losses, dtype=torch.float64).T
    report.close('losses of two training steps', ours, theirs)
    without = sorted(name for name, value in official.named_parameters()
                     if value.requires_grad and value.grad is None)
    report.equal('official: trained without a gradient', without, WITHOUT_GRADIENT)
    states = {name: value.grad for name, value in official.named_parameters()
              if value.grad is not None}
    expected = S2D.convert(states, model.backbone, dict(video='dfew')).state
    found = {name: value.grad for name, value in model.named_parameters()
             if value.grad is not None}
    report.equal('ours: the same tensors get one', found.keys() == expected.keys(), True)
    report.close('gradients of the second step', *(
        torch.cat([state[name].flatten() for name in expected]) for state in (found, expected)))


@torch.no_grad()
def check_outputs(report: Report, model: nn.Module, official: OfficialS2D, net: LandmarkNet,
                  clips: Tensor) -> None:
    """Logits and landmark features, in evaluation."""
    maps = landmarks_of(net, clips)
    frames = clips.transpose(1, 2).flatten(0, 1)
    resized = F.interpolate(frames, (112, 112), mode='bilinear', align_corners=True)
    report.close(f'landmark features {tuple(maps.shape)}',
                 model.backbone.landmark_net(resized), maps)
    expected = official.eval()(clips, maps)[0]
    report.close(f'logits {tuple(expected.shape)}',
                 model.eval().cls_head(model.backbone(clips)), expected)


def check_round_trip(report: Report, model: nn.Module, file: Path, task: str) -> None:
    """Official names to ours and back."""
    before = unwrap(read_checkpoint(file))
    after = S2D.restore(dict(model.state_dict()), dict(video=task)).state
    report.equal('round trip: names, shapes and bits', after.keys() == before.keys() and all(
        torch.equal(after[name], value) for name, value in before.items()), True)


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--weights', type=Path, help='official file of 7 classes')
    parser.add_argument('--landmarks', type=Path, help='official file of the landmark net')
    parser.add_argument('--clips', type=int, default=2)
    args = parser.parse_args()
    MMLogger.get_instance('check_s2d', log_level=logging.WARNING)
    report, generator = Report(), torch.Generator().manual_seed(1)
    clips = torch.randn(args.clips, 3, 16, 224, 224, generator=generator)
    labels = torch.randint(7, (args.clips, ), generator=generator)
    with tempfile.TemporaryDirectory() as folder:
        files = make_files(Path(folder), list(CLASSES.values()), args.weights, args.landmarks)
        net = read(LandmarkNet(), files['landmarks'])
        report.equal('landmark net in the file', sum(value.numel() for value in net.parameters()),
                     LANDMARK)
        for name, classes in reversed(CLASSES.items()):
            print(f'\n{name}')
            cfg = recipe_of(name, files['landmarks'])
            model = MODELS.build(cfg.model)
            check_parameters(report, model, classes)
            load_whole(model, str(files[classes]), name)
            official = read(OfficialS2D(Sizes(num_classes=classes)), files[classes])
            check_round_trip(report, model, files[classes], next(iter(cfg.model.cls_head.
                                                                      num_classes)))
            check_outputs(report, model, official, net, clips)
        check_steps(report, cfg, model, official, net, clips, labels)
    print('\nall as it should be' if report.good else '\nNOT as it should be')
    return 0 if report.good else 1


if __name__ == '__main__':
    sys.exit(main())
