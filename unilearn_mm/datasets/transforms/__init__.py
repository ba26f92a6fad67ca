"""Transforms, registered in MMAction2's TRANSFORMS."""

from .loading import DecodeClip, OpenClip

__all__ = ['DecodeClip', 'OpenClip']
