"""Repeated augmentation: several views of one decoded clip."""

from typing import List

from mmaction.registry import TRANSFORMS
from mmcv.transforms import BaseTransform, Compose


@TRANSFORMS.register_module()
class RepeatAugment(BaseTransform):
    """Run transforms several times on the same frames; each run is a view of the sample.

    Decoding costs more than augmenting, so the official pre-training makes four samples of each
    clip that it decodes (S4D, ``Replicate`` in the config of pretrain/omnivision; Hoffer et al.,
    arXiv 1901.09335). All views have the same frames of the clip.

    Required keys: ``imgs``, ``num_clips`` (1). Modified keys: ``imgs`` (those of all views, one
    view after the other), ``num_clips`` (the number of views), and what the transforms change.

    Args:
        times (int): Number of views R, positive; 4 in the paper.
        transforms (list[dict]): What differs between the views.

    Raises:
        ValueError: If ``times`` is not positive, or there are several views already.
    """

    def __init__(self, times: int, transforms: List[dict]) -> None:
        if times < 1:
            raise ValueError(f'RepeatAugment: times must be positive, found {times}')
        self.times = times
        self.transforms = Compose([TRANSFORMS.build(transform) for transform in transforms])

    def transform(self, results: dict) -> dict:
        """Make the views."""
        if results.get('num_clips', 1) != 1:
            raise ValueError(f'RepeatAugment starts from one view, found {results["num_clips"]}; '
                             'set num_clips=1 in the frame sampling')
        frames = results['imgs']
        views = []
        for _ in range(self.times):
            # copies: some stock transforms write into the frames
            view = self.transforms({**results, 'imgs': [frame.copy() for frame in frames]})
            views += view['imgs']
        view['imgs'], view['num_clips'] = views, self.times
        return view
