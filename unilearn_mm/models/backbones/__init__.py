"""Backbones."""

from .av_fusion_vit import AVFusionViT
from .landmark_net import MobileFaceNet
from .s2d_vit import S2DVisionTransformer
from .vit_moae import VisionTransformerMoAE

__all__ = ['AVFusionViT', 'MobileFaceNet', 'S2DVisionTransformer', 'VisionTransformerMoAE']
