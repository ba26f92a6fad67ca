"""Batching and normalisation of clips and images."""

from typing import List, Tuple

from mmaction.models.data_preprocessors import ActionDataPreprocessor
from mmaction.registry import MODELS
from mmaction.utils import SampleList
from torch import Tensor


@MODELS.register_module()
class MixedMediaPreprocessor(ActionDataPreprocessor):
    """ActionDataPreprocessor that refuses batches of unequal shapes.

    MMEngine would zero-pad an image to the length of a clip without a word.

    Args:
        mean (Sequence[float]): Mean of each channel, 0..255.
        std (Sequence[float]): Standard deviation of each channel, 0..255.
        kwargs: Further arguments of ActionDataPreprocessor.
    """

    def __init__(self, mean: List[float], std: List[float], **kwargs) -> None:
        super().__init__(mean=mean, std=std, format_shape='NCTHW', **kwargs)

    def preprocess(self,
                   inputs: List[Tensor],
                   data_samples: SampleList,
                   training: bool = False) -> Tuple[Tensor, SampleList]:
        """Stack and normalise.

        Args:
            inputs (list[Tensor]): N tensors (views, 3, T, H, W), uint8.
            data_samples (list[ActionDataSample]): N samples.
            training (bool): Whether batch augmentation applies.

        Returns:
            tuple: (N, views, 3, T, H, W) float32, and the samples.

        Raises:
            ValueError: If the inputs differ in shape.
        """
        first = inputs[0].shape
        for tensor, sample in zip(inputs, data_samples):
            if tensor.shape != first:
                raise ValueError(
                    f'a batch holds inputs of unequal shapes: {tuple(first)} '
                    f'({data_samples[0].get("path")}) and {tuple(tensor.shape)} '
                    f'({sample.get("path")}). Fix the size in the pipeline, and use '
                    'MixedMediaBatchSampler so that a batch has one source')
        return super().preprocess(inputs, data_samples, training)
