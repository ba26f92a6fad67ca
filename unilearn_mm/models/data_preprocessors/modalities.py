"""Which samples of a batch have frames and which have sound."""

from typing import Dict, List, Sequence

import torch
from mmaction.utils import SampleList
from torch import Tensor

from .draws import rng_of

FRAMES, SOUND = 'imgs', 'audios'  # MMAction2's keys of inputs that are a dict
Presence = Dict[str, List[bool]]  # key -> of each sample


class ModalityDropout:
    """Leave out the frames or the sound of some samples of a training, never both of one.

    So that one model scores both, and either one alone. A sample that lacks one anyway keeps the
    other. The draws are a function of the samples' seeds.

    Args:
        imgs (float): Share of the samples whose frames are left out.
        audios (float): The same of the sound.

    Raises:
        ValueError: If a share is negative or both are more than 1 together.
    """

    def __init__(self, imgs: float = 0., audios: float = 0.) -> None:
        if min(imgs, audios) < 0 or imgs + audios > 1:
            raise ValueError('shares of modality_dropout must not be negative nor exceed 1 '
                             f'together, found imgs={imgs} and audios={audios}')
        self.imgs = imgs
        self.audios = audios

    def __call__(self, present: Presence, seeds: Sequence[int]) -> None:
        """Change who has what, in place.

        Args:
            present (dict[str, list[bool]]): Of ``imgs`` and ``audios``, N each.
            seeds (Sequence[int]): N draw seeds.
        """
        for index, seed in enumerate(seeds):
            if present[FRAMES][index] and present[SOUND][index]:
                draw = rng_of([seed], 'modality dropout').random()
                present[FRAMES][index] = draw >= self.imgs
                present[SOUND][index] = not self.imgs <= draw < self.imgs + self.audios


def presence(inputs: Dict[str, List[Tensor]], data_samples: SampleList) -> Presence:
    """Who has what: a tensor without elements (no frames) is a missing modality.

    Raises:
        ValueError: If a sample has nothing at all.
    """
    found = {key: [bool(tensor.numel()) for tensor in tensors]
             for key, tensors in inputs.items()}
    for sample, *has in zip(data_samples, *found.values()):
        if not any(has):
            raise ValueError(f'{sample.get("path")}: has none of {", ".join(found)}, and there is '
                             'nothing to score; leave it out of the list, or use a model for what '
                             'it has (modalities of MixedMediaPreprocessor)')
    return found


def filled(tensors: List[Tensor], has: List[bool]) -> List[Tensor]:
    """N tensors with zeros in the place of those without elements; at least one has some."""
    like = tensors[has.index(True)]
    return [tensor if tensor.numel() else torch.zeros_like(like) for tensor in tensors]
