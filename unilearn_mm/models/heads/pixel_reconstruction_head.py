"""What a masked auto-encoder must predict, and the loss."""

from mmaction.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor

from ..layers.patches import patchify, take


@MODELS.register_module()
class PixelReconstructionHead(BaseModule):
    """Normalised pixels of patches, and their mean squared error (S4D,
    pretrain/omnivision/losses/mae_loss.py).

    Args:
        patch_size (int): Height and width of a patch in pixels.
        tubelet_size (int): Frames of a patch.
        eps (float): Added to the variance of a patch (pixels in [0, 1]).
    """

    def __init__(self, patch_size: int = 16, tubelet_size: int = 2, eps: float = 1e-6) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.tubelet_size = tubelet_size
        self.eps = eps

    def targets(self, pixels: Tensor, places: Tensor) -> Tensor:
        """What to predict: each patch and channel minus its mean, over its standard deviation.

        Args:
            pixels (Tensor): (N, 3, T, H, W) float32 in [0, 1]; a single frame is repeated to
                fill the tubelet.
            places (Tensor): (N, P) int64, patches in (t, h, w) order.

        Returns:
            Tensor: (N, P, D), D = 3 * tubelet * patch * patch values in (frame, row, column,
            channel) order.
        """
        patches = self._patches(pixels, places)
        centred = patches - patches.mean(-1, keepdim=True)
        variance = patches.var(-1, unbiased=True, keepdim=True)
        return (centred / (variance + self.eps).sqrt()).transpose(-1, -2).flatten(2)

    def pixels(self, prediction: Tensor, pixels: Tensor, places: Tensor) -> Tensor:
        """Predicted patches as pixels, with the mean and deviation of the true ones.

        Args:
            prediction (Tensor): (N, P, D), in the order of :meth:`targets`.
            pixels (Tensor): (N, 3, T, H, W) float32 in [0, 1], the true ones.
            places (Tensor): (N, P) int64.

        Returns:
            Tensor: (N, P, D) in about [0, 1], values in (channel, frame, row, column) order, as
            ``layers.patches.unpatchify`` takes them.
        """
        patches = self._patches(pixels, places)
        deviation = (patches.var(-1, unbiased=True, keepdim=True) + self.eps).sqrt()
        prediction = prediction.unflatten(-1, (-1, 3)).transpose(-1, -2)
        return (prediction * deviation + patches.mean(-1, keepdim=True)).flatten(2)

    def loss(self, prediction: Tensor, pixels: Tensor, places: Tensor) -> Tensor:
        """Mean squared error of each sample.

        Args:
            prediction (Tensor): (N, P, D).
            pixels (Tensor): (N, 3, T, H, W) float32 in [0, 1].
            places (Tensor): (N, P) int64, the predicted patches.

        Returns:
            Tensor: (N,) float32, the mean over patches and values. Its mean over samples is the
            official loss, since all samples have equally many masked patches.
        """
        error = prediction.float() - self.targets(pixels, places)
        return error.square().mean((1, 2))

    def _patches(self, pixels: Tensor, places: Tensor) -> Tensor:
        """(N, P, 3, D / 3)."""
        if pixels.shape[2] == 1:
            pixels = pixels.expand(-1, -1, self.tubelet_size, -1, -1)
        patches = patchify(pixels, self.tubelet_size, self.patch_size)
        return take(patches, places).unflatten(-1, (3, -1))
