"""Batching, normalisation and batch augmentation of clips and images, and of their sound."""

from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple, Union

import torch
from mmaction.models.data_preprocessors import ActionDataPreprocessor
from mmaction.registry import MODELS
from mmaction.utils import SampleList
from torch import Tensor

from .draws import draw_seeds_of
from .erasing import RandomErasing
from .mixing import MixupCutmix, class_ids_of
from .modalities import FRAMES, SOUND, ModalityDropout, filled, presence


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
            ('imgs', 'audios'))`` packs them and ``MMRecognizer3D`` takes them. A sample may lack
            one of both, whose tensor then has no frames (T = 0 or F = 0): the batch gets
            ``has_imgs`` or ``has_audios`` (N, views) bool, or leaves out what no sample has.
        modalities (Sequence[str]): What of a dict the model gets, to train or test it with
            frames or sound alone.
        modality_dropout (dict, optional): Arguments of ``ModalityDropout`` for trainings, e.g.
            ``dict(imgs=0.1, audios=0.1)``; None is no dropout.

    Attributes:
        keep_unmixed (bool): Whether training batches come with the key ``unmixed``
            (:class:`Unmixed`), which ``forward`` of a recognizer hands on to its ``loss``. False;
            a model or a hook that needs it sets it, for as long as it does. It costs a copy.

    Raises:
        ValueError: If there is mixing and sound, which would not be mixed with the frames,
            modality dropout without both modalities, or a modality of another name.
    """

    def __init__(self,
                 mean: List[float],
                 std: List[float],
                 erasing: Optional[dict] = None,
                 mixing: Optional[dict] = None,
                 audios: Optional[dict] = None,
                 modalities: Sequence[str] = (FRAMES, SOUND),
                 modality_dropout: Optional[dict] = None) -> None:
        super().__init__(mean=mean, std=std, format_shape='NCTHW')
        if mixing is not None and audios is not None:
            raise ValueError('mixing mixes frames and labels, but not the sound; leave out either '
                             'mixing or audios')
        if (isinstance(modalities, str) or not modalities
                or not set(modalities) <= {FRAMES, SOUND}):
            raise ValueError(f'modalities must be a list of {FRAMES!r} or {SOUND!r} or both, found '
                             f'{modalities!r}')
        if modality_dropout is not None and (audios is None or len(modalities) < 2):
            raise ValueError('modality_dropout is for frames and sound; set audios and both '
                             'modalities, or leave it out')
        self.erasing = None if erasing is None else RandomErasing(**erasing)
        self.mixing = None if mixing is None else MixupCutmix(**mixing)
        self.audios = audios
        self.modalities = modalities
        self.modality_dropout = None if modality_dropout is None else ModalityDropout(
            **modality_dropout)
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
            tuple: (N, views, 3, T, H, W) float32, or a dict of it, of (N, views, 1, F, M) float32
            and of who lacks which (see ``audios``), and the samples.

        Raises:
            ValueError: If the inputs are not of the kinds that were declared or differ in shape,
                or a sample is empty or cannot be erased or mixed.
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
        if self.audios is None:
            _check_keys(inputs, [FRAMES], [FRAMES])
            inputs = {FRAMES: inputs}
        else:
            _check_keys(inputs, self.modalities, [SOUND, FRAMES])
            inputs = {key: inputs[key] for key in self.modalities}
        present = presence(inputs, data_samples)
        draws = training and (self.erasing or self.mixing or self.modality_dropout)
        seeds = draw_seeds_of(data_samples) if draws else ()
        if training and self.modality_dropout:
            self.modality_dropout(present, seeds)
        batch = {key: filled(inputs[key], has) for key, has in present.items() if any(has)}
        for tensors in batch.values():
            _check_shapes(tensors, data_samples)
        found: Dict[str, Tensor] = {
            f'has_{key}': torch.tensor(present[key], device=self.mean.device)[:, None].expand(
                -1, len(tensors[0])) for key, tensors in batch.items() if not all(present[key])}
        if self.audios is not None and SOUND in batch:
            sound = torch.stack(batch[SOUND]).float()
            found[SOUND] = (sound - self.audios['mean']) / self.audios['std']
        unmixed = None
        if FRAMES in batch:
            frames = self.normalise(batch[FRAMES])
            if training and self.erasing:
                self.erasing(frames, data_samples, seeds, black=(0 - self.mean) / self.std)
            found[FRAMES] = frames
        if training and self.keep_unmixed:
            kept = {**found, FRAMES: frames.clone()} if self.mixing else found
            unmixed = Unmixed(kept if self.audios else kept[FRAMES], class_ids_of(data_samples))
        if training and self.mixing:
            found[FRAMES] = self.mixing(frames, data_samples, seeds)
        return found if self.audios else found[FRAMES], unmixed


def _check_keys(inputs, needed: Sequence[str], known: Sequence[str]) -> None:
    found = sorted(inputs) if isinstance(inputs, dict) else [FRAMES]
    is_dict = len(known) > 1
    if isinstance(inputs, dict) != is_dict or not set(needed) <= set(found) <= set(known):
        raise ValueError(f'the inputs are {found}, expected {sorted(needed)}: audios=dict(mean='
                         '..., std=...) of MixedMediaPreprocessor and collect_keys of '
                         'PackActionInputs must agree')


def _check_shapes(inputs: List[Tensor], data_samples: SampleList) -> None:
    first = inputs[0].shape
    for tensor, sample in zip(inputs, data_samples):
        if tensor.shape != first:
            raise ValueError(
                f'a batch holds inputs of unequal shapes: {tuple(first)} '
                f'({data_samples[0].get("path")}) and {tuple(tensor.shape)} '
                f'({sample.get("path")}). Fix the size in the pipeline, and use '
                'MixedMediaBatchSampler so that a batch has one source')
