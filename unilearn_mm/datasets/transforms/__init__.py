"""Transforms, registered in MMAction2's TRANSFORMS."""

from .cropping import FixedCrop
from .loading import DecodeClip, OpenClip
from .ordering import FrameOrder
from .rand_augment import ClipRandAugment
from .repeat import RepeatAugment
from .resize import AntialiasResize
from .sampling import LinspaceFrames, SegmentFrames, WindowFrames
from .sound import DecodeSound, SoundFbank

__all__ = [
    'AntialiasResize', 'ClipRandAugment', 'DecodeClip', 'DecodeSound', 'FixedCrop', 'FrameOrder',
    'LinspaceFrames', 'OpenClip', 'RepeatAugment', 'SegmentFrames', 'SoundFbank', 'WindowFrames'
]
