"""A plain restatement of the official video pipeline of fine-tuning, to measure against.

The data path of S4D's finetune/datasets (kinetics.py, video_transforms.py, rand_augment.py,
random_erasing.py), in our own words: PIL frames, PIL RandAugment with the same draws for all
frames, then per-clip float tensors that are normalised, cropped and erased in the worker.
"""

import random
from pathlib import Path
from typing import Callable, Dict, List, Sequence, Tuple

import decord
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import RandomErasing, RandomResizedCrop
from torchvision.transforms.functional import to_tensor

CLIP_LEN, FRAME_INTERVAL, SIZE = 16, 4, 160
MEAN, STD = torch.tensor((0.485, 0.456, 0.406)), torch.tensor((0.229, 0.224, 0.225))
MAGNITUDE, MAGNITUDE_STD, NUM_DRAWS, OP_PROB = 7, 0.5, 4, 0.5
FILL = (128, 128, 128)

Frames = List[Image.Image]


def frame_indices(num_frames: int) -> np.ndarray:
    """The 16 frames of a training clip: evenly spaced over a random window of 64.

    Args:
        num_frames (int): Frames of the clip.

    Returns:
        np.ndarray: (16,) integers. A clip of at most 64 frames is spread over its own length and
        filled up with its last frame.
    """
    window = CLIP_LEN * FRAME_INTERVAL
    if num_frames <= window:
        spread = num_frames // FRAME_INTERVAL
        places = np.append(np.linspace(0, num_frames, spread),
                           np.full(CLIP_LEN - spread, num_frames))
        return places.clip(0, num_frames - 1).astype(int)
    end = np.random.randint(window, num_frames)
    return np.linspace(end - window, end, CLIP_LEN).clip(0, end - 1).astype(int)


def load(path: Path) -> Frames:
    """16 frames of a folder of JPEGs, every one opened by PIL, or of a video, through decord."""
    if path.is_dir():
        files = sorted(path.glob('*.jpg'))
        return [Image.open(files[index]).convert('RGB') for index in frame_indices(len(files))]
    video = decord.VideoReader(str(path), num_threads=1)
    frames = video.get_batch(frame_indices(len(video))).asnumpy()
    return [Image.fromarray(frame) for frame in frames]


def resize(frames: Frames) -> Frames:
    """160 x 160, bilinear (PIL's is antialiased)."""
    return [frame.resize((SIZE, SIZE), Image.BILINEAR) for frame in frames]


def _affine(matrix: Sequence[float]) -> Callable:
    return lambda frame: frame.transform(frame.size, Image.AFFINE, matrix, Image.BICUBIC,
                                         fillcolor=FILL)


def _posterize(level: float) -> Callable:
    return lambda frame: ImageOps.posterize(frame, 4 - int(4 * level))


def _solarize_add(level: float) -> Callable:
    table = [min(255, value + int(110 * level)) if value < 128 else value for value in range(256)]
    return lambda frame: frame.point(table * 3)


def _enhance(kind: type) -> Callable:
    return lambda level, sign: lambda frame: kind(frame).enhance(1 + sign * 0.9 * level)


# name -> (level 0..1, random sign) -> operation on one frame
OPERATIONS: Dict[str, Callable[[float, int], Callable]] = {
    'AutoContrast': lambda level, sign: ImageOps.autocontrast,
    'Equalize': lambda level, sign: ImageOps.equalize,
    'Invert': lambda level, sign: ImageOps.invert,
    'Rotate': lambda level, sign: lambda frame: frame.rotate(
        sign * 30 * level, Image.BICUBIC, fillcolor=FILL),
    'Posterize': lambda level, sign: _posterize(level),
    'Solarize': lambda level, sign: lambda frame: ImageOps.solarize(
        frame, 256 - int(256 * level)),
    'SolarizeAdd': lambda level, sign: _solarize_add(level),
    'Color': _enhance(ImageEnhance.Color),
    'Contrast': _enhance(ImageEnhance.Contrast),
    'Brightness': _enhance(ImageEnhance.Brightness),
    'Sharpness': _enhance(ImageEnhance.Sharpness),
    'ShearX': lambda level, sign: _affine((1, sign * 0.3 * level, 0, 0, 1, 0)),
    'ShearY': lambda level, sign: _affine((1, 0, 0, sign * 0.3 * level, 1, 0)),
    'TranslateX': lambda level, sign: _affine((1, 0, sign * 0.45 * level * SIZE, 0, 1, 0)),
    'TranslateY': lambda level, sign: _affine((1, 0, 0, 0, 1, sign * 0.45 * level * SIZE)),
}


def rand_augment(frames: Frames) -> Frames:
    """rand-m7-n4-mstd0.5-inc1: four draws, each applied with probability 0.5 to all frames."""
    for name in random.choices(list(OPERATIONS), k=NUM_DRAWS):
        if random.random() < OP_PROB:
            level = min(max(random.gauss(MAGNITUDE, MAGNITUDE_STD), 0), 10) / 10
            operation = OPERATIONS[name](level, random.choice((-1, 1)))
            frames = [operation(frame) for frame in frames]
    return frames


def normalise(frames: Frames) -> Tensor:
    """(3, T, H, W) float32; strided as (T, 3, H, W), like the official tensor."""
    clip = torch.stack([to_tensor(frame) for frame in frames]).permute(0, 2, 3, 1)
    return ((clip - MEAN) / STD).permute(3, 0, 1, 2)


def crop_and_flip(clip: Tensor) -> Tensor:
    """Random resized crop, one box per clip (bilinear, no antialias), and flip."""
    top, left, height, width = RandomResizedCrop.get_params(clip, [0.08, 1.0], [0.75, 4 / 3])
    clip = F.interpolate(clip[..., top:top + height, left:left + width], (SIZE, SIZE),
                         mode='bilinear', align_corners=False)
    return clip.flip(-1) if random.random() < 0.5 else clip


_erasing = RandomErasing(p=0.25, scale=(0.02, 1 / 3), ratio=(0.3, 1 / 0.3), value='random',
                         inplace=True)


def erase(clip: Tensor) -> Tensor:
    """One box of all frames becomes noise, independent in every frame and channel."""
    return _erasing(clip.flatten(0, 1)).view_as(clip)


STAGES: Dict[str, Callable] = {
    'open + decode': load,
    'resize': resize,
    'RandAugment': rand_augment,
    'to float + normalise': normalise,
    'crop + flip': crop_and_flip,
    'erasing': erase,
}


class OfficialVideoDataset(Dataset):
    """Training clips as the official loader makes them.

    Args:
        paths (Sequence[Path]): One folder of JPEGs or video file per clip.
        stages (dict): Steps of the pipeline, in order.
    """

    def __init__(self, paths: Sequence[Path], stages: Dict[str, Callable] = STAGES) -> None:
        self.paths = paths
        self.stages = stages

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tuple[Tensor, int]:
        """Normalised clip (3, 16, 160, 160) float32 and its number."""
        data = self.paths[index]
        for stage in self.stages.values():
            data = stage(data)
        return data, index
