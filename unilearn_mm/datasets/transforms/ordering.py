"""Frames of a clip in another order, to see whether a model uses the dynamics."""

import numpy as np
from mmaction.registry import TRANSFORMS
from mmcv.transforms import BaseTransform

ORDERS = ('shuffle', 'reverse', 'repeat_middle')


@TRANSFORMS.register_module()
class FrameOrder(BaseTransform):
    """Destroy or reverse the motion of each view; stands between sampling and decoding.

    Required keys: ``frame_inds`` (num_clips * clip_len,), ``num_clips``, ``clip_len``.
    Modified key: ``frame_inds``.

    Args:
        order (str): 'shuffle' (a random permutation of each view), 'reverse', or 'repeat_middle'
            (frame ``clip_len // 2`` in the place of every frame).

    Raises:
        ValueError: If ``order`` is unknown, or a view has one frame only.
    """

    def __init__(self, order: str) -> None:
        if order not in ORDERS:
            raise ValueError(f'order must be one of {ORDERS}, found {order!r}')
        self.order = order

    def transform(self, results: dict) -> dict:
        """Rearrange the frame indices within each view."""
        clip_len = results['clip_len']
        if clip_len == 1:
            raise ValueError('FrameOrder: views of one frame have no order; sample clips with '
                             'clip_len > 1')
        views = np.reshape(results['frame_inds'], (results['num_clips'], clip_len))
        if self.order == 'shuffle':
            views = np.stack([np.random.permutation(view) for view in views])
        elif self.order == 'reverse':
            views = views[:, ::-1]
        else:
            views = np.repeat(views[:, clip_len // 2, None], clip_len, axis=1)
        results['frame_inds'] = views.ravel()
        return results
