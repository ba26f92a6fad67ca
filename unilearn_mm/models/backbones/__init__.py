"""Backbones."""

from .vit_moae import VisionTransformerMoAE

__all__ = ['VisionTransformerMoAE']
