"""A crop at a fixed place."""

from mmaction.registry import TRANSFORMS
from mmcv.transforms import BaseTransform

from .loading import name_of


@TRANSFORMS.register_module()
class FixedCrop(BaseTransform):
    """Cut the same box out of all frames.

    VoxCeleb2's frames of 224 x 224 are cut to rows 0..159, columns 32..191 before anything else
    (S4D, pretrain/omnivision/data/path_dataset.py:418-425).

    Required keys: ``imgs``. Modified keys: ``imgs``, ``img_shape`` (height, width).

    Args:
        left (int), top (int): Upper left corner in pixels.
        width (int), height (int): Size in pixels.

    Raises:
        ValueError: If the box does not lie within a frame.
    """

    def __init__(self, left: int, top: int, width: int, height: int) -> None:
        self.left, self.top, self.width, self.height = left, top, width, height

    def transform(self, results: dict) -> dict:
        """Crop all frames."""
        height, width = results['imgs'][0].shape[:2]
        right, bottom = self.left + self.width, self.top + self.height
        if min(self.left, self.top) < 0 or right > width or bottom > height:
            raise ValueError(
                f'{name_of(results)}: the box of columns {self.left}..{right - 1} and rows '
                f'{self.top}..{bottom - 1} does not lie within frames of {width} x {height}; '
                'change FixedCrop in the pipeline')
        results['imgs'] = [frame[self.top:bottom, self.left:right] for frame in results['imgs']]
        results['img_shape'] = (self.height, self.width)
        return results
