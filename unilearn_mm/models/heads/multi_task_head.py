"""One linear classifier per task."""

from typing import Dict, Optional

import torch
import torch.nn.functional as F
from mmaction.models.heads.base import BaseHead
from mmaction.registry import MODELS
from mmaction.utils import SampleList
from mmengine.model.weight_init import trunc_normal_init
from torch import Tensor, nn


@MODELS.register_module()
class MultiTaskHead(BaseHead):
    """Linear classifiers over a pooled feature, chosen by the task of the batch.

    Args:
        num_classes (dict[str, int]): Classes of each task, e.g. ``dict(dfew=7, affectnet7=7)``.
        in_channels (int): Channels C of the feature.
        default_task (str, optional): Task of samples that do not say theirs, so that stock
            callers work. Defaults to the first one.
        dropout_ratio (float): Dropout before the classifiers.
        init_std (float): Standard deviation of the initial weights; 0.02 in the official code
            (its ``init_scale`` is dead).
        label_smooth_eps (float): Label smoothing, of hard and soft labels alike; 0.1 in the
            paper's recipe.
        average_clips (str): How the views of a sample are averaged at test time, see
            ``BaseHead``; 'prob' is the paper's protocol.

    Raises:
        ValueError: If ``default_task`` is not one of the tasks.
    """

    def __init__(self,
                 num_classes: Dict[str, int],
                 in_channels: int,
                 default_task: Optional[str] = None,
                 dropout_ratio: float = 0.,
                 init_std: float = 0.02,
                 label_smooth_eps: float = 0.,
                 average_clips: str = 'prob') -> None:
        self.default_task = default_task or next(iter(num_classes))
        if self.default_task not in num_classes:
            raise ValueError(f'default_task {default_task!r} is none of the tasks '
                             f'{list(num_classes)}')
        super().__init__(
            num_classes[self.default_task],
            in_channels,
            label_smooth_eps=label_smooth_eps,
            average_clips=average_clips)
        self.init_std = init_std
        self.dropout = nn.Dropout(dropout_ratio)
        self.fc_cls = nn.ModuleDict(
            {task: nn.Linear(in_channels, classes) for task, classes in num_classes.items()})

    def init_weights(self) -> None:
        """Normal weights, zero biases."""
        for classifier in self.fc_cls.values():
            trunc_normal_init(classifier, std=self.init_std)

    def forward(self, x: Tensor, task: Optional[str] = None, **kwargs) -> Tensor:
        """Logits of one task.

        Args:
            x (Tensor): (N, C), or a feature map (N, C, T, H, W), which is averaged.
            task (str, optional): Task; the default task if None.
            kwargs: Whatever stock recognizers pass on; not used.

        Returns:
            Tensor: (N, classes of the task), float32 whatever the autocast type.

        Raises:
            KeyError: If the head has no such task.
        """
        return self.classify(self.dropout(pooled(x)), task or self.default_task)

    def classify(self, x: Tensor, task: str) -> Tensor:
        """Logits (N, classes of the task), float32, of features (N, C) after dropout.

        Raises:
            KeyError: If the head has no such task.
        """
        if task not in self.fc_cls:
            raise KeyError(f'the head has no task {task!r}; it has {list(self.fc_cls)}: add it to '
                           '`num_classes` of the head')
        return self.fc_cls[task](x).float()

    def loss(self, feats: Tensor, data_samples: SampleList, **kwargs) -> Dict[str, Tensor]:
        """Cross entropy of the batch's task.

        Args:
            feats (Tensor): As in :meth:`forward`.
            data_samples (list[ActionDataSample]): N samples of one task, with ``gt_label`` as a
                class id (1,) or as a soft label (classes,).
            kwargs: Whatever stock recognizers pass on; not used.

        Returns:
            dict: ``loss_cls_<task>``, and ``acc_<task>`` (top-1, in [0, 1]) for hard labels.

        Raises:
            ValueError: If the samples have several tasks, or soft labels another number of
                classes than the head.
            KeyError: If the head does not have their task.
        """
        return self.loss_by_feat(self(feats, self.task_of(data_samples)), data_samples)

    def loss_by_feat(self, cls_scores: Tensor, data_samples: SampleList) -> Dict[str, Tensor]:
        """The losses of :meth:`loss`, from logits (N, classes of the batch's task)."""
        task, logits = self.task_of(data_samples), cls_scores
        labels = torch.stack([sample.gt_label for sample in data_samples]).to(logits.device)
        hard = not labels.is_floating_point()
        if hard:
            labels = labels.flatten()
        elif labels.shape != logits.shape:
            raise ValueError(f'soft labels of {labels.shape[1]} classes, but the head has '
                             f'{logits.shape[1]} for task {task!r}; make num_classes of the head '
                             'that of the data set')
        losses = {
            f'loss_cls_{task}':
            F.cross_entropy(logits, labels, label_smoothing=self.label_smooth_eps)
        }
        if hard:
            losses[f'acc_{task}'] = (logits.argmax(-1) == labels).float().mean()
        return losses

    def predict(self, feats: Tensor, data_samples: SampleList, **kwargs) -> SampleList:
        """Write ``pred_score`` (classes,) and ``pred_label`` (1,) into the samples.

        Args:
            feats (Tensor): As in :meth:`forward`, N * views of them, views of a sample adjacent.
            data_samples (list[ActionDataSample]): N samples of one task.
            kwargs: Whatever stock recognizers pass on; not used.

        Returns:
            list[ActionDataSample]: The same samples.

        Raises:
            ValueError: If the samples have several tasks.
            KeyError: If the head does not have their task.
        """
        return self.predict_by_feat(self(feats, self.task_of(data_samples)), data_samples)

    def task_of(self, data_samples: SampleList) -> str:
        """The one task of a batch.

        Raises:
            ValueError: If the samples have several tasks.
        """
        tasks = {sample.get('task', self.default_task) for sample in data_samples}
        if len(tasks) > 1:
            raise ValueError(f'a batch must hold samples of one task, found {sorted(tasks)}; use '
                             'MixedMediaBatchSampler as batch_sampler')
        return tasks.pop()


def pooled(x: Tensor) -> Tensor:
    """Features (N, C) of features or of a feature map (N, C, T, H, W)."""
    return x.mean((2, 3, 4)) if x.dim() == 5 else x
