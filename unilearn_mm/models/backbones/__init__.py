"""Backbones."""

from .landmark_net import MobileFaceNet
from .s2d_vit import S2DVisionTransformer
from .vit_moae import VisionTransformerMoAE

__all__ = ['MobileFaceNet', 'S2DVisionTransformer', 'VisionTransformerMoAE']
