"""Emotion anchors: recent samples of each class, that vote on what a sample looks like (S2D)."""

from typing import Callable, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class EmotionAnchors(nn.Module):
    """A queue of features and soft labels for each class (S2D, arXiv 2312.05447).

    Args:
        num_classes (int): Classes C.
        embed_dims (int): Channels D of a feature.
        size (int): Anchors S of a class.
        k (int): How many anchors of each class vote: those most like the sample.
        random (bool): Whether the queues start full of uniform noise and votes may be negative,
            as in the official code (SDL.py); these anchors are not saved in checkpoints either.
            Else they start empty, and neither empty places nor anchors that point away from a
            sample vote.

    Raises:
        ValueError: If ``k`` is not in 1..S.
    """

    def __init__(self, num_classes: int, embed_dims: int, size: int = 16, k: int = 2,
                 random: bool = False) -> None:
        super().__init__()
        if not 1 <= k <= size:
            raise ValueError(f'k must be in 1..size, found k={k} and size={size}')
        self.size, self.k, self.random = size, k, random
        values = torch.rand if random else torch.zeros
        self._hold('features', values(num_classes, size, embed_dims))
        self._hold('soft_labels', values(num_classes, size, num_classes))
        self._hold('filled', torch.full((num_classes, ), size if random else 0))

    def _hold(self, name: str, values: Tensor) -> None:
        if self.random:  # no buffer, because buffers are shared among the ranks
            setattr(self, name, values)
        else:
            self.register_buffer(name, values)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> 'EmotionAnchors':
        super()._apply(fn, recurse)
        if self.random:
            for name in ('features', 'soft_labels', 'filled'):
                setattr(self, name, fn(getattr(self, name)))
        return self

    def targets(self, features: Tensor) -> Tuple[Tensor, Tensor]:
        r"""Soft labels from the anchors: their mean, weighted by cosine similarity.

        .. math:: y_i = \frac{\sum_c \sum_{j \in J_c} s_{cj} P_{cj}}{\sum_c \sum_{j \in J_c} s_{cj}}

        with the similarities s of the sample to the anchors, the ``k`` greatest of each class J_c
        and the anchors' soft labels P.

        Args:
            features (Tensor): (N, D).

        Returns:
            tuple: Soft labels (N, C), and a mask (N,) of the samples that got any vote; the
            labels of the others are zero.
        """
        votes = torch.einsum('nd,csd->ncs', F.normalize(features.to(self.features), dim=-1),
                             F.normalize(self.features, dim=-1))
        if not self.random:
            places = torch.arange(self.size, device=votes.device)
            empty = places < self.size - self.filled[:, None]  # the newest one is the last
            votes = votes.clamp(min=0).masked_fill(empty, 0)
        votes, index = votes.topk(self.k, dim=-1)  # (N, C, k)
        labels = self.soft_labels.expand(len(votes), -1, -1, -1).gather(
            2, index.unsqueeze(-1).expand(-1, -1, -1, self.soft_labels.shape[-1]))
        total = votes.sum(dim=(1, 2))
        voted = torch.ones_like(total, dtype=torch.bool) if self.random else total > 0
        mean = (votes.unsqueeze(-1) * labels).sum(dim=(1, 2)) / total.unsqueeze(-1)
        return mean.where(voted.unsqueeze(-1), 0.), voted

    def push(self, features: Tensor, soft_labels: Tensor, labels: Tensor) -> None:
        """Take samples in, each at the end of its class's queue, and the oldest ones out.

        Args:
            features (Tensor): (N, D).
            soft_labels (Tensor): (N, C), what the model takes them for.
            labels (Tensor): (N,) int64, their classes.
        """
        for label in labels.unique().tolist():
            new = labels == label
            for queue, values in ((self.features, features), (self.soft_labels, soft_labels)):
                queue[label] = torch.cat((queue[label], values[new].to(queue)))[-self.size:]
            self.filled[label] = (self.filled[label] + new.sum()).clamp(max=self.size)
