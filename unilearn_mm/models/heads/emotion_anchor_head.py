"""Classifiers that also learn from what similar samples were taken for (S2D)."""

from typing import Any, Dict, Optional, Sequence, Tuple

import torch
import torch.nn.functional as F
from mmaction.registry import MODELS
from mmaction.utils import SampleList
from mmengine.dist import all_gather
from mmengine.logging import MessageHub
from torch import Tensor

from ..layers.anchors import EmotionAnchors
from .multi_task_head import MultiTaskHead, pooled

# utils/loss.py:35-57 of the official code, for 100 epochs: (first epoch, weight)
WEIGHTS = ((30, 0.01), (50, 0.1), (60, 0.5), (80, 1.0))


@MODELS.register_module()
class EmotionAnchorHead(MultiTaskHead):
    """MultiTaskHead plus S2D's emotion-anchor self-distillation (SDL, arXiv 2312.05447).

    A labelled emotion is rarely pure. The loss gets a second term: the binary cross entropy of
    the logits and a soft label, which the most similar recent samples of each class vote for
    (:class:`EmotionAnchors`). ``AnchorUpdateHook`` fills the anchors after a step, from the batch
    as it was before mixing.

    Args:
        sdl (dict, optional): None is no self-distillation, or

            - ``mode`` (str): 'filled', the default: anchors start empty, are made in evaluation
              mode before dropout, gathered over the ranks and saved in the checkpoint. Or
              'official': what the official code computes. Anchors are uniform noise until they
              are replaced, made in training mode after dropout, each rank has its own, and they
              are not saved.
            - ``task`` (str): Task with the anchors. Defaults to the head's default task.
            - ``size`` (int), ``k`` (int): See :class:`EmotionAnchors`. 16 and 2 in the official
              scripts.
            - ``first_epoch`` (int), ``every`` (int): The anchors are updated in epochs from
              ``first_epoch`` on that are multiples of ``every``. Defaults to 21 and 1; the
              official code has 21 and 40, and for FERV39k 100, so that there they stay noise.
            - ``weights`` (Sequence[tuple[int, float]]): (first epoch, weight of the loss);
              before the first one there is none. Defaults to the official table, for 100 epochs.

            Epochs are counted from 0.
        kwargs: Further arguments of :class:`MultiTaskHead`.

    Raises:
        ValueError: If ``sdl`` has an unknown mode or task, or its loss a weight before there are
            anchors.
        TypeError: If it has an unknown key.
    """

    checkpoint_optional = ('anchors', )  # a test needs none

    def __init__(self, num_classes: Dict[str, int], in_channels: int,
                 sdl: Optional[dict] = None, **kwargs) -> None:
        super().__init__(num_classes, in_channels, **kwargs)
        self.anchors: Any = None  # EmotionAnchors, if there is a term of them
        if sdl is not None:
            self._init_sdl(num_classes, **sdl)

    def _init_sdl(self, num_classes: Dict[str, int], mode: str = 'filled',
                  task: Optional[str] = None, size: int = 16, k: int = 2, first_epoch: int = 21,
                  every: int = 1, weights: Sequence[Tuple[int, float]] = WEIGHTS) -> None:
        if mode not in ('filled', 'official'):
            raise ValueError(f"sdl mode must be 'filled' or 'official', found {mode!r}")
        self.anchor_task = task or self.default_task
        if self.anchor_task not in num_classes:
            raise ValueError(f'sdl task {task!r} is none of the tasks {list(num_classes)}')
        self.official = mode == 'official'
        first_update = -(-first_epoch // every) * every  # the next multiple
        first_weight = min((first for first, weight in weights if weight), default=first_update + 1)
        if not self.official and first_weight <= first_update:
            raise ValueError(f'sdl: the loss has a weight from epoch {first_weight} on, but the '
                             f'first anchors are made in epoch {first_update} (first_epoch='
                             f'{first_epoch}, every={every}); make them at least one epoch before')
        self.first_epoch, self.every, self.weights = first_epoch, every, weights
        self.anchors = EmotionAnchors(num_classes[self.anchor_task], self.in_channels, size, k,
                                      random=self.official)

    def loss(self, feats: Tensor, data_samples: SampleList, **kwargs) -> Dict[str, Tensor]:
        """Cross entropy of the batch's task, and in due time the term of the anchors.

        Args:
            feats (Tensor): (N, C), or (N, C, T, H, W), which is averaged.
            data_samples (list[ActionDataSample]): See :meth:`MultiTaskHead.loss`.
            kwargs: Whatever stock recognizers pass on; not used.

        Returns:
            dict: As from MultiTaskHead, and ``loss_sdl`` in epochs in which it has a weight.

        Raises:
            RuntimeError: If it has a weight, and no anchor was ever made.
        """
        task = self.task_of(data_samples)
        feats = pooled(feats)
        dropped = self.dropout(feats)
        logits = self.classify(dropped, task)
        losses = self.loss_by_feat(logits, data_samples)
        weight = self.sdl_weight() if task == getattr(self, 'anchor_task', None) else 0.
        if weight:
            if not self.anchors.filled.any():
                raise RuntimeError("sdl: the loss has a weight, but no anchors were made; add "
                                   "dict(type='AnchorUpdateHook') to custom_hooks")
            targets, voted = self.anchors.targets((dropped if self.official else feats).detach())
            losses['loss_sdl'] = weight * F.binary_cross_entropy_with_logits(
                logits[voted], targets[voted]) if voted.any() else logits.sum() * 0.
        return losses

    def sdl_weight(self) -> float:
        """Weight of the anchors' loss in the current epoch of the run."""
        return max(((first, weight) for first, weight in self.weights if first <= _epoch()),
                   default=(0, 0.))[1]

    def anchors_are_due(self) -> bool:
        """Whether this epoch updates the anchors."""
        return (self.anchors is not None and _epoch() >= self.first_epoch
                and _epoch() % self.every == 0)

    @torch.no_grad()
    def update_anchors(self, feats: Tensor, data_samples: SampleList) -> None:
        """Make anchors of a batch that was not mixed.

        Samples that the model takes for NaN or infinity make none: one of them would spoil the
        targets until it is replaced, long after ``FiniteGuardHook`` has left out its step.

        Args:
            feats (Tensor): As in :meth:`loss`, as many on each rank.
            data_samples (list[ActionDataSample]): N samples with class ids.
        """
        feats = pooled(feats)
        if self.official:
            feats = self.dropout(feats)
        soft_labels = self.classify(feats, self.anchor_task).softmax(dim=-1)
        labels = torch.cat([sample.gt_label for sample in data_samples]).to(feats.device)
        found = feats.float(), soft_labels, labels
        if not self.official:
            found = [torch.cat(all_gather(values)) for values in found]
            finite = found[0].isfinite().all(dim=-1) & found[1].isfinite().all(dim=-1)
            found = [values[finite] for values in found]
        self.anchors.push(*found)


def _epoch() -> int:
    """Epoch of the run, counted from 0; 0 outside of a run."""
    return MessageHub.get_current_instance().get_info('epoch', 0)
