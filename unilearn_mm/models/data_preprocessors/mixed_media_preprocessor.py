"""Batching, normalisation and batch augmentation of clips and images."""

from typing import List, Optional, Tuple

from mmaction.models.data_preprocessors import ActionDataPreprocessor
from mmaction.registry import MODELS
from mmaction.utils import SampleList
from torch import Tensor

from .draws import draw_seeds_of
from .erasing import RandomErasing
from .mixing import MixupCutmix


@MODELS.register_module()
class MixedMediaPreprocessor(ActionDataPreprocessor):
    """ActionDataPreprocessor that refuses batches of unequal shapes.

    MMEngine would zero-pad an image to the length of a clip without a word.

    In training, random erasing and then mixup or CutMix follow normalisation, on the device of
    the model. Their draws are a function of the samples' ``draw_seed``: no global generator is
    touched, unless a sample has no seed (stock data sets).

    Args:
        mean (Sequence[float]): Mean of each channel, 0..255.
        std (Sequence[float]): Standard deviation of each channel, 0..255.
        erasing (dict, optional): Arguments of ``RandomErasing``, e.g. ``dict(prob=0.25)``; None
            is no erasing.
        mixing (dict, optional): Arguments of ``MixupCutmix``, e.g. ``dict(mixup_alpha=0.8,
            cutmix_alpha=1.0, prob=1.0, switch_prob=0.5)``; None is no mixing.
    """

    def __init__(self,
                 mean: List[float],
                 std: List[float],
                 erasing: Optional[dict] = None,
                 mixing: Optional[dict] = None) -> None:
        super().__init__(mean=mean, std=std, format_shape='NCTHW')
        self.erasing = None if erasing is None else RandomErasing(**erasing)
        self.mixing = None if mixing is None else MixupCutmix(**mixing)

    def preprocess(self,
                   inputs: List[Tensor],
                   data_samples: SampleList,
                   training: bool = False) -> Tuple[Tensor, SampleList]:
        """Stack, normalise and, in training, erase and mix.

        Args:
            inputs (list[Tensor]): N tensors (views, 3, T, H, W), uint8.
            data_samples (list[ActionDataSample]): N samples; mixing writes soft labels into
                them.
            training (bool): Whether erasing and mixing apply.

        Returns:
            tuple: (N, views, 3, T, H, W) float32, and the samples.

        Raises:
            ValueError: If the inputs differ in shape, or a sample cannot be erased or mixed.
            KeyError: If mixing finds no ``num_classes`` in a sample.
        """
        first = inputs[0].shape
        for tensor, sample in zip(inputs, data_samples):
            if tensor.shape != first:
                raise ValueError(
                    f'a batch holds inputs of unequal shapes: {tuple(first)} '
                    f'({data_samples[0].get("path")}) and {tuple(tensor.shape)} '
                    f'({sample.get("path")}). Fix the size in the pipeline, and use '
                    'MixedMediaBatchSampler so that a batch has one source')
        batch = self.normalise(inputs)
        if training and (self.erasing or self.mixing):
            seeds = draw_seeds_of(data_samples)
            if self.erasing:
                self.erasing(batch, data_samples, seeds, black=(0 - self.mean) / self.std)
            if self.mixing:
                batch = self.mixing(batch, data_samples, seeds)
        return batch, data_samples

    def normalise(self, inputs: List[Tensor]) -> Tensor:
        """Stack and normalise: the stock values, but sample by sample in the result's memory, so
        that a CPU works in its caches (a third of the stock time).

        Args:
            inputs (list[Tensor]): N tensors (views, 3, T, H, W), uint8, of one shape.

        Returns:
            Tensor: (N, views, 3, T, H, W) float32.
        """
        batch = self.mean.new_empty(len(inputs), *inputs[0].shape)
        for normalised, pixels in zip(batch, inputs):
            normalised.copy_(pixels).sub_(self.mean).div_(self.std)
        return batch
