"""Batching, normalisation and batch augmentation of clips and images, and of their sound."""

from typing import Dict, List, NamedTuple, Optional, Tuple, Union

import torch
from mmaction.models.data_preprocessors import ActionDataPreprocessor
from mmaction.registry import MODELS
from mmaction.utils import SampleList
from torch import Tensor

from .draws import draw_seeds_of
from .erasing import RandomErasing
from .mixing import MixupCutmix, class_ids_of

FRAMES, SOUND = 'imgs', 'audios'  # MMAction2's keys of inputs that are a dict


class Unmixed(NamedTuple):
    """A training batch before its samples were mixed.

    Attributes:
        inputs (Tensor): (N, views, 3, T, H, W) float32, normalised and erased; a dict of it and
            the sound where there is sound.
        labels (Tensor): (N,) int64, class ids.
    """
    inputs: Union[Tensor, Dict[str, Tensor]]
    labels: Tensor


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
        audios (dict, optional): ``dict(mean=FLOAT, std=FLOAT)`` of the sound (log-mel). Inputs
            are then a dict of ``imgs`` and ``audios``, as ``PackActionInputs(collect_keys=
            ('imgs', 'audios'))`` packs them and ``MMRecognizer3D`` takes them.

    Attributes:
        keep_unmixed (bool): Whether training batches come with the key ``unmixed``
            (:class:`Unmixed`), which ``forward`` of a recognizer hands on to its ``loss``. False;
            a model or a hook that needs it sets it, for as long as it does. It costs a copy.

    Raises:
        ValueError: If there is mixing and sound, which would not be mixed with the frames.
    """

    def __init__(self,
                 mean: List[float],
                 std: List[float],
                 erasing: Optional[dict] = None,
                 mixing: Optional[dict] = None,
                 audios: Optional[dict] = None) -> None:
        super().__init__(mean=mean, std=std, format_shape='NCTHW')
        if mixing is not None and audios is not None:
            raise ValueError('mixing mixes frames and labels, but not the sound; leave out either '
                             'mixing or audios')
        self.erasing = None if erasing is None else RandomErasing(**erasing)
        self.mixing = None if mixing is None else MixupCutmix(**mixing)
        self.audios = audios
        self.keep_unmixed = False

    def forward_onesample(self, data: dict, training: bool = False) -> dict:
        """Called by ``forward``.

        Args:
            data (dict): ``inputs`` and ``data_samples`` of a collated batch.
            training (bool): Whether erasing and mixing apply.

        Returns:
            dict: The same with the outputs of :meth:`preprocess`, and ``unmixed`` if asked for.
        """
        data['inputs'], unmixed = self._batch(data['inputs'], data['data_samples'], training)
        if unmixed is not None:
            data['unmixed'] = unmixed
        return data

    def preprocess(self,
                   inputs: Union[List[Tensor], Dict[str, List[Tensor]]],
                   data_samples: SampleList,
                   training: bool = False) -> Tuple[Union[Tensor, Dict[str, Tensor]], SampleList]:
        """Stack, normalise and, in training, erase and mix.

        Args:
            inputs (list[Tensor] | dict): N tensors (views, 3, T, H, W), uint8; with sound a dict
                of them (``imgs``) and of N tensors (views, 1, F, M), F frames of M mel bins
                (``audios``).
            data_samples (list[ActionDataSample]): N samples; mixing writes soft labels into
                them.
            training (bool): Whether erasing and mixing apply.

        Returns:
            tuple: (N, views, 3, T, H, W) float32, or a dict of it and of (N, views, 1, F, M)
            float32, and the samples.

        Raises:
            ValueError: If the inputs are not of the kinds that were declared or differ in shape,
                or a sample cannot be erased or mixed.
            KeyError: If mixing finds no ``num_classes`` in a sample.
        """
        return self._batch(inputs, data_samples, training)[0], data_samples

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

    def _batch(self, inputs, data_samples: SampleList, training: bool):
        found = sorted(inputs) if isinstance(inputs, dict) else [FRAMES]
        expected = [FRAMES] if self.audios is None else [SOUND, FRAMES]
        if found != expected:
            raise ValueError(f'the inputs are {found}, expected {expected}: audios=dict(mean=..., '
                             'std=...) of MixedMediaPreprocessor and collect_keys of '
                             'PackActionInputs must agree')
        if self.audios is None:
            frames, sound = inputs, None
        else:
            frames, sound = inputs[FRAMES], inputs[SOUND]
            _check_shapes(sound, data_samples)
            sound = (torch.stack(sound).float() - self.audios['mean']) / self.audios['std']
        _check_shapes(frames, data_samples)
        frames, unmixed = self.normalise(frames), None
        seeds = draw_seeds_of(data_samples) if training and (self.erasing or self.mixing) else ()
        if training and self.erasing:
            self.erasing(frames, data_samples, seeds, black=(0 - self.mean) / self.std)
        if training and self.keep_unmixed:
            kept = frames.clone() if self.mixing else frames
            unmixed = Unmixed(kept if sound is None else {FRAMES: kept, SOUND: sound},
                              class_ids_of(data_samples))
        if training and self.mixing:
            frames = self.mixing(frames, data_samples, seeds)
        return frames if sound is None else {FRAMES: frames, SOUND: sound}, unmixed


def _check_shapes(inputs: List[Tensor], data_samples: SampleList) -> None:
    first = inputs[0].shape
    for tensor, sample in zip(inputs, data_samples):
        if tensor.shape != first:
            raise ValueError(
                f'a batch holds inputs of unequal shapes: {tuple(first)} '
                f'({data_samples[0].get("path")}) and {tuple(tensor.shape)} '
                f'({sample.get("path")}). Fix the size in the pipeline, and use '
                'MixedMediaBatchSampler so that a batch has one source')
