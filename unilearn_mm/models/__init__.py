"""Model parts, registered in MMAction2's MODELS."""

from .backbones import AVFusionViT, MobileFaceNet, S2DVisionTransformer, VisionTransformerMoAE
from .data_preprocessors import MixedMediaPreprocessor
from .heads import EmotionAnchorHead, MultiTaskHead, PixelReconstructionHead
from .necks import CrossMAEDecoder, MAEDecoder
from .pretrain import DualModalMAE
from .recognizers import UniLearnRecognizer

__all__ = [
    'AVFusionViT', 'CrossMAEDecoder', 'DualModalMAE', 'EmotionAnchorHead', 'MAEDecoder',
    'MixedMediaPreprocessor', 'MobileFaceNet', 'MultiTaskHead', 'PixelReconstructionHead',
    'S2DVisionTransformer', 'UniLearnRecognizer', 'VisionTransformerMoAE'
]
