"""Fill the emotion anchors of S2D."""

from typing import Optional

import torch
from mmaction.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.hooks.hook import DATA_BATCH
from mmengine.model import is_model_wrapper

from unilearn_mm.models.data_preprocessors import MixedMediaPreprocessor
from unilearn_mm.models.heads.emotion_anchor_head import EmotionAnchorHead


@HOOKS.register_module()
class AnchorUpdateHook(Hook):
    """After a step, make anchors of its batch as it was before erasing and mixing.

    In the head's mode 'official', they are made of the batch after erasing. That costs another
    forward pass, in the epochs that the ``sdl`` of the :class:`EmotionAnchorHead` names.
    """

    def before_train(self, runner) -> None:
        """Check the head.

        Raises:
            TypeError: If it has no anchors.
        """
        head = _module(runner).cls_head
        if not isinstance(head, EmotionAnchorHead) or head.anchors is None:
            raise TypeError(f'AnchorUpdateHook fills the anchors of an EmotionAnchorHead with '
                            f'sdl=dict(...), found {type(head).__name__} without them')

    def after_train_iter(self, runner, batch_idx: int, data_batch: DATA_BATCH = None,
                         outputs: Optional[dict] = None) -> None:
        """Update the anchors, if this epoch does and the batch is of their task."""
        model = _module(runner)
        head = model.cls_head
        if not head.anchors_are_due() or head.task_of(
                data_batch['data_samples']) != head.anchor_task:
            return
        preprocessor = model.data_preprocessor
        if head.official and isinstance(preprocessor, MixedMediaPreprocessor):
            preprocessor.keep_unmixed = True  # the draws are those of the step
            inputs = preprocessor(data_batch, training=True)['unmixed'].inputs
            preprocessor.keep_unmixed = False
        else:
            inputs = preprocessor(data_batch, training=False)['inputs']
        model.train(head.official)
        with torch.no_grad(), runner.optim_wrapper.optim_context(runner.model):
            feats, _ = model.extract_feat(inputs)
            head.update_anchors(feats, data_batch['data_samples'])
        model.train()


def _module(runner) -> torch.nn.Module:
    return runner.model.module if is_model_wrapper(runner.model) else runner.model
