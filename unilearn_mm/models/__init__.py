"""Model parts, registered in MMAction2's MODELS."""

from .backbones import VisionTransformerMoAE
from .data_preprocessors import MixedMediaPreprocessor
from .heads import MultiTaskHead
from .recognizers import UniLearnRecognizer

__all__ = [
    'MixedMediaPreprocessor', 'MultiTaskHead', 'UniLearnRecognizer', 'VisionTransformerMoAE'
]
