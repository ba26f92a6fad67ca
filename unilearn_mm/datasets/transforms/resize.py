"""Resize as PIL does: antialiased when the clip shrinks."""

from typing import Tuple

import numpy as np
import torch
import torch.nn.functional as F
from mmaction.registry import TRANSFORMS
from mmcv.transforms import BaseTransform


@TRANSFORMS.register_module()
class AntialiasResize(BaseTransform):
    """Resize all frames with the antialiased filters of ``PIL.Image.resize``.

    The official code resizes with PIL (S4D, datasets/video_transforms.py); MMAction2's ``Resize``
    reads two pixels per axis however much it shrinks, and so aliases. The values are PIL's within
    one grey level (two in one of 10^5), by torch's uint8 kernel. A clip of the right size is left
    as it is. The aspect ratio is not kept.

    Required keys: ``imgs`` (list of (H, W, 3) uint8, of one size).
    Modified keys: ``imgs``, ``img_shape`` (height, width), ``scale_factor`` ((2,) float32: the new
    width and height over the old ones, times that of resizes before).

    Args:
        scale (Tuple[int, int]): (width, height) of the result, as in MMAction2's ``Resize``.
        interpolation (str): 'bilinear', or 'bicubic' (images of the pre-training, S4D,
            pretrain/omnivision).

    Raises:
        ValueError: If the scale is not two positive whole numbers, or the interpolation unknown.
    """

    def __init__(self, scale: Tuple[int, int], interpolation: str = 'bilinear') -> None:
        if (not isinstance(scale, (tuple, list)) or len(scale) != 2
                or not all(isinstance(side, int) and side > 0 for side in scale)):
            raise ValueError('scale must be (width, height) in positive whole pixels, '
                             f'got {scale!r}')
        if interpolation not in ('bilinear', 'bicubic'):
            raise ValueError(f"interpolation must be 'bilinear' or 'bicubic', "
                             f'got {interpolation!r}')
        self.scale = tuple(scale)
        self.interpolation = interpolation

    def transform(self, results: dict) -> dict:
        """Resize the clip."""
        width, height = self.scale
        old_height, old_width = results['imgs'][0].shape[:2]
        if (old_width, old_height) != self.scale:
            # this view of the stacked frames is in channels-last format: torch's fast kernel
            clip = torch.from_numpy(np.stack(results['imgs'])).permute(0, 3, 1, 2)
            clip = F.interpolate(clip, size=(height, width), mode=self.interpolation,
                                 antialias=True)
            results['imgs'] = list(clip.permute(0, 2, 3, 1).numpy())
        factor = np.array([width / old_width, height / old_height], np.float32)
        results['scale_factor'] = results.get('scale_factor', np.float32(1)) * factor
        results['img_shape'] = (height, width)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(scale={self.scale}, interpolation={self.interpolation!r})'
