"""Train a small landmark net on the toy faces, for configs/s2d_toy.py: about a minute.

S2D is guided by the features of a net that finds landmarks. The official one has to be got from
the official repository; toy faces need one of their own. It learns 27 points, which the generator
of the faces knows, from the training images, and is scored on the test images.

    python tools/data/make_toy_faces.py
    python tools/data/train_toy_landmark_net.py            # writes data/toy/landmark_net.pth
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from toy_faces.dataset import rehearse, sample_path, settings_of
from toy_faces.landmarks import NUM_POINTS, landmarks
from toy_faces.samples import IMAGE, ToySetError, plan
from tqdm import tqdm, trange

import unilearn_mm  # noqa: F401
from unilearn_mm.files import replacing
from unilearn_mm.models.backbones.landmark_net import MobileFaceNet

# as the toy recipes of S2D have them
FRAME = 64  # pixels of a frame
INPUT = 32  # of the net's input: 8 for each of 4 x 4 patches
MEAN, STD = 127.5, 63.
SIZES = dict(channels=(16, 32), num_blocks=(1, 2))
EYES = slice(3, 7), slice(10, 14)  # of the points


class LandmarkRegressor(nn.Module):
    """The net and a layer that reads the points off its feature map."""

    def __init__(self) -> None:
        super().__init__()
        self.net = MobileFaceNet(**SIZES, frozen=False,
                                 init_cfg=dict(type='Kaiming', layer='Conv2d'))
        self.net.init_weights()
        places = (INPUT // self.net.stride)**2
        self.points = nn.Linear(places * self.net.out_channels, 2 * NUM_POINTS)

    def forward(self, images: Tensor) -> Tensor:
        """Frames (N, 3, 64, 64), normalised -> points (N, 27, 2), in shares of the frame."""
        x = F.interpolate(images, (INPUT, INPUT), mode='bilinear', align_corners=True)
        return self.points(self.net(x).flatten(1)).unflatten(1, (NUM_POINTS, 2))


def read_split(root: Path, split: str) -> tuple[Tensor, Tensor]:
    """Images of a split and their points.

    Returns:
        tuple: (N, 3, 64, 64) normalised RGB, and (N, 27, 2) in shares of the side.

    Raises:
        ToySetError: If there is no toy set, or an image of it is missing.
    """
    settings, images, points = settings_of(root), [], []
    samples = [sample for sample in plan(settings)
               if sample.source == IMAGE and sample.split == split]
    for sample in tqdm(samples, f'{split} images', leave=False):
        picture = cv2.imread(str(root / sample_path(sample)), cv2.IMREAD_COLOR)
        if picture is None:
            raise ToySetError(f'{root / sample_path(sample)} is missing or no image: make the toy '
                              'set again')
        small = cv2.resize(picture, (FRAME, FRAME), interpolation=cv2.INTER_LINEAR)
        images.append(torch.from_numpy(small[..., ::-1].copy()).permute(2, 0, 1))
        stage, performance, _ = rehearse(sample, settings)
        found = landmarks(stage.identity, performance.frames[0], performance.poses[0],
                          settings.size)
        points.append((found + 0.5) / settings.size)
    return (torch.stack(images).float() - MEAN) / STD, torch.tensor(
        np.stack(points), dtype=torch.float32)


def error(model: LandmarkRegressor, images: Tensor, points: Tensor) -> float:
    """Mean distance of the found points from the true ones, in shares of the eyes' distance."""
    model.eval()
    with torch.no_grad():
        found = torch.cat([model(part) for part in images.split(256)])
    left, right = (points[:, eye].mean(1) for eye in EYES)
    return ((found - points).norm(dim=-1).mean(-1) / (left - right).norm(dim=-1)).mean().item()


def train(model: LandmarkRegressor, images: Tensor, points: Tensor, epochs: int) -> None:
    """AdamW with a rate that falls to zero along a cosine."""
    batch = 64
    steps = epochs * (len(images) // batch)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    model.train()
    order = iter(())
    for _ in trange(steps, desc='training', unit='step'):
        chosen = next(order, None)
        if chosen is None or len(chosen) < batch:
            order = iter(torch.randperm(len(images)).split(batch))
            chosen = next(order)
        loss = F.smooth_l1_loss(model(images[chosen]), points[chosen], beta=0.02)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def main() -> int:
    """Command line; 0 on success, 2 if the toy set cannot be read."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', type=Path, default=Path('data/toy'), help='(%(default)s)')
    parser.add_argument('--out', type=Path, help='default: DATA/landmark_net.pth')
    parser.add_argument('--epochs', type=int, default=15, help='(%(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='(%(default)s)')
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    try:
        train_set, test_set = (read_split(args.data, split) for split in ('train', 'test'))
    except ToySetError as problem:
        print(f'error: {problem}', file=sys.stderr)
        return 2
    model = LandmarkRegressor()
    train(model, *train_set, args.epochs)
    out = args.out or args.data / 'landmark_net.pth'
    with replacing(out) as aside:
        torch.save(dict(state_dict=model.net.state_dict()), aside)
    print(f'{out}: points of the test images are found to within '
          f'{error(model, *test_set):.1%} of the distance of the eyes, on average')
    return 0


if __name__ == '__main__':
    sys.exit(main())
