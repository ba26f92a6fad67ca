"""Data preprocessors."""

from .mixed_media_preprocessor import MixedMediaPreprocessor

__all__ = ['MixedMediaPreprocessor']
