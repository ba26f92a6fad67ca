"""Recognizers."""

from .unilearn_recognizer import UniLearnRecognizer

__all__ = ['UniLearnRecognizer']
