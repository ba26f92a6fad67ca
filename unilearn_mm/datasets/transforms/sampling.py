"""Which frames of a clip the model sees, by the formulas of the official code.

The plain random window at a fixed stride (VoxCeleb2 pre-training, S4D,
pretrain/omnivision/data/path_dataset.py) is MMAction2's
``SampleFrames(clip_len, frame_interval, out_of_bound_opt='repeat_last')``.
"""

from typing import Optional

import numpy as np
from mmaction.registry import TRANSFORMS
from mmcv.transforms import BaseTransform

from .loading import name_of


def linspace_indices(total_frames: int, clip_len: int, frame_interval: int,
                     end: int) -> np.ndarray:
    """Training indices of the official fine-tuning (S4D, datasets/kinetics.py:582-597).

    Let W be ``clip_len * frame_interval``. A clip of more than W frames gives ``clip_len`` evenly
    spaced points over [end - W, end]: the step is W / (clip_len - 1), not ``frame_interval``. A
    shorter one gives every ``frame_interval``-th frame or so, and then its last frame.

    Args:
        total_frames (int): Frames of the clip L, positive.
        clip_len (int): Frames to return.
        frame_interval (int): Frames between two of them, roughly.
        end (int): One past the last frame that may be used, in [W, L); only for L > W.

    Returns:
        np.ndarray: (clip_len,) int64, non-decreasing, in [0, L).
    """
    window = clip_len * frame_interval
    if total_frames <= window:
        points = np.linspace(0, total_frames, total_frames // frame_interval)
        points = np.pad(points, (0, clip_len - len(points)), constant_values=total_frames)
        return points.clip(0, total_frames - 1).astype(np.int64)
    points = np.linspace(end - window, end, clip_len)
    return points.clip(end - window, end - 1).astype(np.int64)


def window_indices(total_frames: int, clip_len: int, frame_interval: int,
                   num_clips: int) -> np.ndarray:
    """Test indices of the official fine-tuning (S4D, datasets/kinetics.py:543-580, 453-464).

    Every ``frame_interval``-th frame is listed, the last of them repeated up to ``clip_len``; the
    windows of ``clip_len`` entries are spread evenly from the begin of that list to its end. One
    window lies in the middle (the official code divides by zero there).

    Args:
        total_frames (int): Frames of the clip L, positive.
        clip_len (int): Frames of a window.
        frame_interval (int): Frames between two of a window.
        num_clips (int): Windows.

    Returns:
        np.ndarray: (num_clips, clip_len) int64, in [0, L).
    """
    strided = np.arange(0, total_frames, frame_interval)
    strided = np.pad(strided, (0, max(clip_len - len(strided), 0)), mode='edge')
    last_start = len(strided) - clip_len
    starts = ([last_start // 2] if num_clips == 1 else
              [window * last_start // (num_clips - 1) for window in range(num_clips)])
    return np.stack([strided[start:start + clip_len] for start in starts])


def segment_indices(total_frames: int, clip_len: int,
                    offsets: Optional[np.ndarray] = None) -> np.ndarray:
    """One frame of each of ``clip_len`` equal parts of a clip (TSN, arXiv 1608.00859), as MMA-DFER
    takes them (arXiv 2404.09010); a shorter clip is taken whole, its last frame repeated.

    Args:
        total_frames (int): Frames of the clip L, positive.
        clip_len (int): Parts.
        offsets (np.ndarray, optional): (clip_len,) integers in [0, max(1, L // clip_len)): which
            frame of each part, where all parts have ``L // clip_len`` frames and what is left of
            the clip is not used (training). None: the middle of each part of L / clip_len frames
            (test).

    Returns:
        np.ndarray: (clip_len,) int64, non-decreasing, in [0, L).
    """
    places = np.arange(clip_len)
    if total_frames <= clip_len:
        return places.clip(max=total_frames - 1)
    if offsets is None:
        part = total_frames / clip_len
        return (part / 2 + part * places).astype(np.int64)
    return places * (total_frames // clip_len) + offsets


@TRANSFORMS.register_module()
class LinspaceFrames(BaseTransform):
    """A random window of a clip for training; see :func:`linspace_indices`.

    Required keys: ``total_frames``, ``start_index``.
    Added keys: ``frame_inds`` (clip_len,), ``clip_len``, ``frame_interval``, ``num_clips`` (1).

    Args:
        clip_len (int): Frames of the clip; 16 in the paper.
        frame_interval (int): 4 for DFEW and MAFW, 1 for FERV39k.
    """

    def __init__(self, clip_len: int, frame_interval: int) -> None:
        self.clip_len = clip_len
        self.frame_interval = frame_interval

    def transform(self, results: dict) -> dict:
        """Add the frame indices to the sample dict."""
        total_frames, window = _total_frames(results), self.clip_len * self.frame_interval
        end = np.random.randint(window, total_frames) if total_frames > window else total_frames
        indices = linspace_indices(total_frames, self.clip_len, self.frame_interval, end)
        return _sampled(results, indices[None], self.frame_interval)


@TRANSFORMS.register_module()
class WindowFrames(BaseTransform):
    """Fixed windows of a clip for validation and test; see :func:`window_indices`.

    Required keys: ``total_frames``, ``start_index``.
    Added keys: ``frame_inds`` (num_clips * clip_len,), ``clip_len``, ``frame_interval``,
    ``num_clips``.

    Args:
        clip_len (int): Frames of a window; 16 in the paper.
        frame_interval (int): 4 for DFEW and MAFW, 1 for FERV39k.
        num_clips (int): Windows; 2 in the official test, 1 takes the one in the middle.
    """

    def __init__(self, clip_len: int, frame_interval: int, num_clips: int = 1) -> None:
        self.clip_len = clip_len
        self.frame_interval = frame_interval
        self.num_clips = num_clips

    def transform(self, results: dict) -> dict:
        """Add the frame indices to the sample dict."""
        indices = window_indices(_total_frames(results), self.clip_len, self.frame_interval,
                                 self.num_clips)
        return _sampled(results, indices, self.frame_interval)


@TRANSFORMS.register_module()
class SegmentFrames(BaseTransform):
    """A frame of each of equal parts of a clip, as one clip; see :func:`segment_indices`.

    MMAction2's ``SampleFrames(clip_len=1, num_clips=16)`` takes the same frames of clips of more
    than 16, but as 16 views of one frame.

    Required keys: ``total_frames``, ``start_index``.
    Added keys: ``frame_inds`` (clip_len,), ``clip_len``, ``frame_interval``, ``num_clips`` (1).

    Args:
        clip_len (int): Parts; 16 in the paper.
        test_mode (bool): The middle of each part instead of a random frame.
    """

    def __init__(self, clip_len: int, test_mode: bool = False) -> None:
        self.clip_len = clip_len
        self.test_mode = test_mode

    def transform(self, results: dict) -> dict:
        """Add the frame indices to the sample dict."""
        total_frames = _total_frames(results)
        step = max(1, total_frames // self.clip_len)
        offsets = None if self.test_mode else np.random.randint(step, size=self.clip_len)
        return _sampled(results, segment_indices(total_frames, self.clip_len, offsets)[None], step)


def _total_frames(results: dict) -> int:
    if results['total_frames'] < 1:
        raise ValueError(f'{name_of(results)}: total_frames is {results["total_frames"]}, '
                         'expected at least 1')
    return results['total_frames']


def _sampled(results: dict, indices: np.ndarray, frame_interval: int) -> dict:
    results['frame_inds'] = indices.ravel() + results['start_index']
    results['num_clips'], results['clip_len'] = indices.shape
    results['frame_interval'] = frame_interval
    return results
