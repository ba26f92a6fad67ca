"""RandAugment with one draw for all frames of a clip."""

from typing import Callable, Dict, List, NamedTuple

import numpy as np
from mmaction.registry import TRANSFORMS
from mmcv.transforms import BaseTransform

from . import rand_augment_ops as ops

MAX_MAGNITUDE = 10
INTERPOLATIONS = dict(
    bilinear=('bilinear', ), bicubic=('bicubic', ), random=('bilinear', 'bicubic'))


class Layer(NamedTuple):
    """One operation as it was drawn.

    Attributes:
        op (str): Key of :data:`OPS`.
        magnitude (float): Strength, 0 to 10.
        sign (int): Direction, -1 or 1, of the operations that have one.
        interpolation (str): 'bilinear' or 'bicubic', for the geometric operations.
    """
    op: str
    magnitude: float
    sign: int
    interpolation: str

    @property
    def level(self) -> float:
        """Strength, 0 to 1."""
        return self.magnitude / MAX_MAGNITUDE

    @property
    def signed(self) -> float:
        """Strength with direction, -1 to 1."""
        return self.sign * self.level


# the set in which all operations grow stronger with the magnitude ("inc1" in the official code)
OPS: Dict[str, Callable[[np.ndarray, Layer], np.ndarray]] = dict(
    AutoContrast=lambda clip, _: ops.autocontrast(clip),
    Equalize=lambda clip, _: ops.equalize(clip),
    Invert=lambda clip, _: ops.invert(clip),
    Rotate=lambda clip, layer: ops.rotate(clip, 30 * layer.signed, layer.interpolation),
    Posterize=lambda clip, layer: ops.posterize(clip, 4 - int(4 * layer.level)),
    Solarize=lambda clip, layer: ops.solarize(clip, 256 - int(256 * layer.level)),
    SolarizeAdd=lambda clip, layer: ops.solarize_add(clip, int(110 * layer.level)),
    Color=lambda clip, layer: ops.color(clip, 1 + 0.9 * layer.signed),
    Contrast=lambda clip, layer: ops.contrast(clip, 1 + 0.9 * layer.signed),
    Brightness=lambda clip, layer: ops.brightness(clip, 1 + 0.9 * layer.signed),
    Sharpness=lambda clip, layer: ops.sharpness(clip, 1 + 0.9 * layer.signed),
    ShearX=lambda clip, layer: ops.shear_x(clip, 0.3 * layer.signed, layer.interpolation),
    ShearY=lambda clip, layer: ops.shear_y(clip, 0.3 * layer.signed, layer.interpolation),
    TranslateX=lambda clip, layer: ops.translate_x(clip, 0.45 * layer.signed, layer.interpolation),
    TranslateY=lambda clip, layer: ops.translate_y(clip, 0.45 * layer.signed, layer.interpolation),
)


@TRANSFORMS.register_module()
class ClipRandAugment(BaseTransform):
    """A few random operations, the same ones with the same parameters on all frames of a clip.

    The defaults are those of the official code for videos, ``rand-m7-n4-mstd0.5-inc1`` (S4D,
    datasets/rand_augment.py); for images it is magnitude 9, 2 layers and random interpolation
    (S4D, sfer/__init__.py). Each layer is one of the 15 :data:`OPS`, drawn uniformly and with
    replacement, and it is left out with probability ``1 - prob``. All draws are from NumPy's
    global generator, and their number does not depend on what is drawn.

    Required keys: ``imgs`` (list of (H, W, 3) uint8 RGB, of one size).
    Modified keys: ``imgs`` (same shapes and type; the given frames are not written into).

    Args:
        magnitude (float): Mean strength, 0 to 10.
        num_layers (int): Number of operations drawn, positive.
        magnitude_std (float): Standard deviation of the strength, which is clipped to [0, 10].
        prob (float): Probability that a drawn operation is applied.
        interpolation (str): 'bicubic', 'bilinear' or 'random' (drawn for each operation).

    Raises:
        ValueError: If an argument is out of its range, or frames have another shape or type.
    """

    def __init__(self,
                 magnitude: float = 7,
                 num_layers: int = 4,
                 magnitude_std: float = 0.5,
                 prob: float = 0.5,
                 interpolation: str = 'bicubic') -> None:
        if not 0 <= magnitude <= MAX_MAGNITUDE:
            raise ValueError(f'magnitude must lie in [0, {MAX_MAGNITUDE}], got {magnitude}')
        if not isinstance(num_layers, int) or num_layers < 1:
            raise ValueError(f'num_layers must be a positive whole number, got {num_layers!r}')
        if not 0 <= magnitude_std < np.inf:
            raise ValueError(f'magnitude_std must be finite and not negative, got {magnitude_std}')
        if not 0 <= prob <= 1:
            raise ValueError(f'prob must lie in [0, 1], got {prob}')
        if interpolation not in INTERPOLATIONS:
            raise ValueError(f'interpolation must be one of {sorted(INTERPOLATIONS)}, '
                             f'got {interpolation!r}')
        self.magnitude = magnitude
        self.num_layers = num_layers
        self.magnitude_std = magnitude_std
        self.prob = prob
        self.interpolation = interpolation

    def draw(self) -> List[Layer]:
        """Draw the operations to apply, in order; at most ``num_layers``."""
        count = self.num_layers
        layers = map(
            Layer,
            np.random.choice(list(OPS), count).tolist(),
            np.random.normal(self.magnitude, self.magnitude_std,
                             count).clip(0, MAX_MAGNITUDE).tolist(),
            np.random.choice((-1, 1), count).tolist(),
            np.random.choice(INTERPOLATIONS[self.interpolation], count).tolist())
        applied = np.random.random(count) < self.prob
        return [layer for layer, keep in zip(layers, applied) if keep]

    def transform(self, results: dict) -> dict:
        """Apply one draw to all frames."""
        clip = np.stack(results['imgs'])
        if clip.dtype != np.uint8 or clip.ndim != 4 or clip.shape[3] != 3:
            raise ValueError(f'imgs must be (H, W, 3) uint8 RGB frames, got {clip.shape[1:]} '
                             f'{clip.dtype}; put ClipRandAugment before normalisation and '
                             'FormatShape')
        for layer in self.draw():
            clip = OPS[layer.op](clip, layer)
        results['imgs'] = list(clip)
        return results

    def __repr__(self) -> str:
        return (f'{type(self).__name__}(magnitude={self.magnitude}, num_layers={self.num_layers}, '
                f'magnitude_std={self.magnitude_std}, prob={self.prob}, '
                f'interpolation={self.interpolation!r})')
