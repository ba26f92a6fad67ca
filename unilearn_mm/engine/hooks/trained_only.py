"""Checkpoints of what is trained."""

from mmaction.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper

from unilearn_mm.models.checkpoints.frozen import leave_out_frozen


@HOOKS.register_module()
class TrainedOnlyHook(Hook):
    """Save checkpoints without the frozen weights: 9 of 95 million parameters for S2D.

    They come from a file that the config names (``init_cfg=dict(type='Pretrained',
    checkpoint=FILE)`` of the backbone), and from there again when a test or a resumed training
    loads such a checkpoint; ``CheckpointCheckHook`` puts both together and compares a checksum.
    ``tools/convert/convert_checkpoint.py CHECKPOINT WHOLE --config CONFIG`` writes a file that
    needs no other.
    """

    priority = 'LOW'  # after EMAHook, which exchanges the weights

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Take the frozen weights out."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        leave_out_frozen(checkpoint, model)
