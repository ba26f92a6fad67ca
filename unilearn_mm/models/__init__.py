"""Model parts, registered in MMAction2's MODELS."""

from .backbones import VisionTransformerMoAE
from .data_preprocessors import MixedMediaPreprocessor
from .heads import MultiTaskHead, PixelReconstructionHead
from .necks import CrossMAEDecoder, MAEDecoder
from .pretrain import DualModalMAE
from .recognizers import UniLearnRecognizer

__all__ = [
    'CrossMAEDecoder', 'DualModalMAE', 'MAEDecoder', 'MixedMediaPreprocessor', 'MultiTaskHead',
    'PixelReconstructionHead', 'UniLearnRecognizer', 'VisionTransformerMoAE'
]
