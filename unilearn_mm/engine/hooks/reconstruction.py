"""Pictures of what a pre-training model makes of masked data."""

from typing import Optional, Sequence, Set

import numpy as np
import torch
from mmaction.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.hooks.hook import DATA_BATCH
from mmengine.model import is_model_wrapper

from unilearn_mm.visualization.file_names import file_stem

from ..batches import samples_of


@HOOKS.register_module()
class ReconstructionHook(Hook):
    """Write a picture of the first validation samples of each source to the visualizer.

    A row is a sample: the original, its visible patches, and the predicted ones among them (of a
    clip, the frame in the middle). The pictures of all epochs show the same samples and masks.

    Args:
        samples (int): Samples of each source.
    """

    def __init__(self, samples: int = 4) -> None:
        self.samples = samples

    def before_val_epoch(self, runner) -> None:
        """Start with no source."""
        self.shown: Set[str] = set()

    def after_val_iter(self,
                       runner,
                       batch_idx: int,
                       data_batch: DATA_BATCH = None,
                       outputs: Optional[Sequence] = None) -> None:
        """Draw the first batch of each source."""
        samples = samples_of(data_batch)
        source = samples[0].get('source') if samples else None
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        if source is None or source in self.shown or not hasattr(model, 'pictures'):
            return
        self.shown.add(source)
        data = model.data_preprocessor(data_batch)
        runner.visualizer.add_image(f'reconstruction_{file_stem(source)}',
                                    self._picture(model, data), step=runner.epoch)

    def _picture(self, model, data: dict) -> np.ndarray:
        """(samples * H, 3 * W, 3) uint8."""
        pictures = model.pictures(data['inputs'][:self.samples],
                                  data['data_samples'][:self.samples])
        middle = pictures[:, :, :, pictures.shape[3] // 2]  # (3, N, 3, H, W)
        grid = middle.permute(1, 3, 0, 4, 2).flatten(2, 3).flatten(0, 1)
        return (grid * 255).round().to(torch.uint8).cpu().numpy()
