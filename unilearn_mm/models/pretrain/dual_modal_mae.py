"""Masked auto-encoding of images and clips with one encoder."""

from typing import Dict, List, Optional, Tuple, Union

import torch
from mmaction.registry import MODELS
from mmaction.utils import OptSampleList, SampleList
from mmengine.model import BaseModel
from torch import Tensor

from ..backbones.vit_moae import naming_files
from ..layers.masking import random_masks, tube_masks
from ..layers.patches import patchify, unpatchify


@MODELS.register_module()
class DualModalMAE(BaseModel):
    """UniLearn's pre-training (arXiv 2409.06154; S4D, pretrain/omnivision): the encoder sees a few
    patches of an image or a clip, the decoder predicts the others.

    A batch holds images or clips; ``MixedMediaBatchSampler`` alternates them. Several views of a
    sample (repeated augmentation) are samples of their own, each with its own mask.

    Args:
        backbone (dict): ``VisionTransformerMoAE`` with ``use_mean_pooling=False`` (a norm after
            the last block) and, in the paper, ``moae=None``.
        neck (dict): ``MAEDecoder`` or ``CrossMAEDecoder``.
        head (dict): ``PixelReconstructionHead``.
        data_preprocessor (dict): With the ``mean`` and ``std`` of the normalisation.
        mask_ratio (dict[str, float]): Share of masked patches of an 'image' and a 'video'.
        tube_masking (bool): Whether the mask of a clip is the same in all its temporal slots; the
            paper masks at random over space and time.
        init_cfg (dict, optional): See ``BaseModule``.

    Raises:
        ValueError: If ``mask_ratio`` has other keys.
    """

    def __init__(self,
                 backbone: dict,
                 neck: dict,
                 head: dict,
                 data_preprocessor: dict,
                 mask_ratio: Dict[str, float] = dict(image=0.9, video=0.95),  # noqa: B006 (read only)
                 tube_masking: bool = False,
                 init_cfg: Optional[dict] = None) -> None:
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        if set(mask_ratio) != {'image', 'video'}:
            raise ValueError('mask_ratio must be dict(image=..., video=...), found '
                             f'{dict(mask_ratio)}')
        self.backbone = MODELS.build(backbone)
        self.neck = MODELS.build(neck)
        self.head = MODELS.build(head)
        self.mask_ratio = mask_ratio
        self.tube_masking = tube_masking

    def forward(self,
                inputs: Tensor,
                data_samples: OptSampleList = None,
                mode: str = 'tensor') -> Union[Dict[str, Tensor], SampleList, Tensor]:
        """Losses, held-out losses, or predictions.

        Args:
            inputs (Tensor): (N, views, 3, T, H, W), normalised.
            data_samples (list[ActionDataSample], optional): N samples.
            mode (str): 'loss', 'predict' (each sample gets ``rec_loss``, the mean of its views;
                masks depend on the samples only) or 'tensor'.

        Returns:
            dict, list or Tensor: ``loss_rec_<source>`` and, if there are experts with a balance
            loss, ``loss_balance``; the samples; or predictions (N * views, P, patch_values).

        Raises:
            ValueError: If the mask ratio leaves no patch visible, or the mode is unknown.
            InputSizeError: If frames or pixels do not fill whole patches.
        """
        clips = inputs.flatten(0, 1)
        with naming_files(data_samples):
            grid, is_image = self.backbone.token_grid(clips)
        if mode == 'predict':
            scores = self._fixed_scores(data_samples, inputs.shape[1], grid)
        else:
            scores = torch.rand(len(clips), self._num_scores(grid), device=clips.device)
        keep, masked = self.masks(scores.to(clips.device), grid, is_image)
        prediction, places, aux = self.reconstruct(clips, keep, masked)
        if mode == 'tensor':
            return prediction
        losses = self.head.loss(prediction, self.unnormalise(clips), places)
        if mode == 'predict':
            for sample, loss in zip(data_samples, losses.view(len(inputs), -1).mean(1)):
                sample.rec_loss = loss
            return data_samples
        if mode != 'loss':
            raise ValueError(f"mode must be 'loss', 'predict' or 'tensor', found {mode!r}")
        found = {f'loss_rec_{_source(data_samples)}': losses.mean()}
        found.update({key: value for key, value in aux.items() if key.startswith('loss')})
        return found

    def masks(self, scores: Tensor, grid: Tuple[int, int, int],
              is_image: bool) -> Tuple[Tensor, Tensor]:
        """Visible and masked places from random scores.

        Args:
            scores (Tensor): (N, T * H * W), or (N, H * W) with tube masking.
            grid (tuple[int, int, int]): (T, H, W), in tokens.
            is_image (bool): Which of the mask ratios applies.

        Returns:
            tuple: (N, K) and (N, M), int64; see ``layers.masking``.
        """
        ratio = self.mask_ratio['image' if is_image else 'video']
        if self.tube_masking:
            return tube_masks(scores, grid[0], ratio)
        return random_masks(scores, ratio)

    def reconstruct(self, clips: Tensor, keep: Tensor,
                    masked: Tensor) -> Tuple[Tensor, Tensor, dict]:
        """Encode what is visible and predict what is masked.

        Args:
            clips (Tensor): (N, 3, T, H, W), normalised; T = 1 for images.
            keep (Tensor): (N, K) int64, visible patches.
            masked (Tensor): (N, M) int64, masked patches.

        Returns:
            tuple: Predictions (N, P, patch_values), their places (N, P), and what the backbone
            reports.
        """
        grid, is_image = self.backbone.token_grid(clips)
        tokens, aux = self.backbone.forward_tokens(clips, keep)
        prediction, places = self.neck(tokens, keep, masked, grid, is_image)
        return prediction, places, aux

    @torch.no_grad()
    def pictures(self, inputs: Tensor, data_samples: SampleList) -> Tensor:
        """What goes in, what is seen, and what is made of it.

        Args:
            inputs (Tensor): (N, views, 3, T, H, W), normalised; the first view is shown.
            data_samples (list[ActionDataSample]): N samples, which choose the masks.

        Returns:
            Tensor: (3, N, 3, T, H, W) in [0, 1]: the original, masked patches in grey, and the
            predicted patches among the visible ones. Predicted patches have the brightness and
            contrast of the true ones, since the model predicts normalised patches.
        """
        clips = inputs[:, 0]
        grid, is_image = self.backbone.token_grid(clips)
        scores = self._fixed_scores(data_samples, 1, grid).to(clips.device)
        keep, masked = self.masks(scores, grid, is_image)
        prediction, places, _ = self.reconstruct(clips, keep, masked)
        original = self.unnormalise(clips)
        tubelet, patch = self.head.tubelet_size, self.head.patch_size
        filled = original.expand(-1, -1, tubelet if is_image else -1, -1, -1)
        patches = patchify(filled, tubelet, patch)
        index = places.unsqueeze(-1).expand(-1, -1, patches.shape[-1])
        predicted = self.head.pixels(prediction.float(), original, places)
        hidden = unpatchify(patches.scatter(1, index, 0.5), grid, tubelet, patch)
        made = unpatchify(patches.scatter(1, index, predicted), grid, tubelet, patch)
        frames = clips.shape[2]
        return torch.stack([original, hidden[:, :, :frames], made[:, :, :frames]]).clamp(0, 1)

    def unnormalise(self, clips: Tensor) -> Tensor:
        """Pixels in [0, 1] of normalised clips (N, 3, T, H, W)."""
        preprocessor = self.data_preprocessor
        return (clips * preprocessor.std + preprocessor.mean) / 255

    def _num_scores(self, grid: Tuple[int, int, int]) -> int:
        frames, height, width = grid
        return height * width * (1 if self.tube_masking else frames)

    def _fixed_scores(self, data_samples: SampleList, views: int,
                      grid: Tuple[int, int, int]) -> Tensor:
        """Scores that depend on each sample's draw alone, so that evaluations can be compared."""
        scores: List[Tensor] = []
        for sample in data_samples:
            generator = torch.Generator().manual_seed(sample.get('draw_seed', 0))
            scores.append(torch.rand(views, self._num_scores(grid), generator=generator))
        return torch.cat(scores)


def _source(data_samples: SampleList) -> str:
    """The one source of a batch.

    Raises:
        ValueError: If the samples have several sources.
    """
    sources = {sample.get('source', 'all') for sample in data_samples}
    if len(sources) > 1:
        raise ValueError(f'a batch must hold samples of one source, found {sorted(sources)}; use '
                         'MixedMediaBatchSampler as batch_sampler')
    return sources.pop()
