"""Decoders of a masked auto-encoder: the faithful one and a fast one."""

from abc import abstractmethod
from typing import Tuple

import torch
from mmaction.models.backbones.vit_mae import get_sinusoid_encoding
from mmaction.registry import MODELS
from mmengine.model import BaseModule
from mmengine.model.weight_init import constant_init, xavier_init
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..layers.blocks import MoAEBlock
from ..layers.patches import take
from ..layers.positions import positions_for


class PatchDecoder(BaseModule):
    """What the decoders share: layers, positions and initial values.

    Args:
        in_channels (int): Channels C of the encoder's tokens.
        embed_dims (int): Channels of the decoder.
        depth (int): Number of blocks.
        num_heads (int): Attention heads.
        patch_values (int): Values of a patch to predict, 3 * tubelet * height * width.
        table_grid (tuple[int, int, int]): (T, H, W) of the position table, in tokens; an image
            takes temporal slot 0, another grid is interpolated.
        with_cp (bool): Whether training keeps only the blocks' inputs (activation
            checkpointing).
        compile_blocks (bool): Whether each block is compiled by ``torch.compile``.
    """

    checkpoint_settings = ('table_grid', )

    def __init__(self,
                 in_channels: int = 768,
                 embed_dims: int = 384,
                 depth: int = 4,
                 num_heads: int = 6,
                 patch_values: int = 1536,
                 table_grid: Tuple[int, int, int] = (8, 10, 10),
                 with_cp: bool = False,
                 compile_blocks: bool = False) -> None:
        super().__init__()
        self.embed = nn.Linear(in_channels, embed_dims, bias=False)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, embed_dims))
        self.blocks = nn.ModuleList(MoAEBlock(embed_dims, num_heads) for _ in range(depth))
        self.norm = nn.LayerNorm(embed_dims, eps=1e-6)
        self.head = nn.Linear(embed_dims, patch_values)
        frames, height, width = table_grid
        self.table_grid = frames, height, width
        self.register_buffer(
            'pos_embed', get_sinusoid_encoding(frames * height * width, embed_dims),
            persistent=False)
        self.with_cp = with_cp
        if compile_blocks:
            for block in self.blocks:
                block.compile()

    def init_weights(self) -> None:
        """Xavier for the blocks and the head; the embedding keeps PyTorch's values, as the
        official code does (pretrain/omnivision/models/videomae_pretraining.py)."""
        for module in (*self.blocks.modules(), self.norm, self.head):
            if isinstance(module, nn.Linear):
                xavier_init(module, distribution='uniform')
            elif isinstance(module, nn.LayerNorm):
                constant_init(module, 1)
        nn.init.trunc_normal_(self.mask_token, std=0.02, a=-0.02, b=0.02)

    @abstractmethod
    def forward(self, tokens: Tensor, keep: Tensor, masked: Tensor, grid: Tuple[int, int, int],
                is_image: bool) -> Tuple[Tensor, Tensor]:
        """Predict patches.

        Args:
            tokens (Tensor): (N, K, C), the encoder's output.
            keep (Tensor): (N, K) int64, their places in the full sequence.
            masked (Tensor): (N, M) int64, the other places.
            grid (tuple[int, int, int]): (T, H, W) of the full sequence, in tokens.
            is_image (bool): Whether the input is a single frame.

        Returns:
            tuple: Predictions (N, P, patch_values), and their places (N, P), a part of
            ``masked``.
        """

    def _positions(self, num: int, grid: Tuple[int, int, int], is_image: bool) -> Tensor:
        return positions_for(self.pos_embed, self.table_grid, grid, is_image).expand(num, -1, -1)

    def _run(self, block: MoAEBlock, *args: Tensor) -> Tensor:
        if self.with_cp and self.training:
            return checkpoint(block, *args, use_reentrant=False)[0]
        return block(*args)[0]


@MODELS.register_module()
class MAEDecoder(PatchDecoder):
    """The decoder of the paper: the full sequence in its original order (S4D,
    pretrain/omnivision/models/videomae_pretraining.py).

    The official decoder predicts visible patches too, and does not score them. Here the last
    block, the norm and the head compute the masked tokens only; the predictions are the same.
    """

    def forward(self, tokens: Tensor, keep: Tensor, masked: Tensor, grid: Tuple[int, int, int],
                is_image: bool) -> Tuple[Tensor, Tensor]:
        """Predict all masked patches; see the base class."""
        x = self.embed(tokens)
        positions = self._positions(len(x), grid, is_image)
        index = keep.unsqueeze(-1).expand_as(x)
        x = self.mask_token.to(x.dtype).expand_as(positions).scatter(1, index, x) + positions
        for block in self.blocks[:-1]:
            x = self._run(block, x)
        last = self.blocks[-1]
        x = self._run(last, take(x, masked), last.norm1(x))
        return self.head(self.norm(x)), masked


@MODELS.register_module()
class CrossMAEDecoder(PatchDecoder):
    """A fast decoder: some of the masked tokens, which attend to the encoder's tokens only.

    The idea of CrossMAE (arXiv 2401.14391): masked tokens need not see each other, so each can be
    predicted alone, and a random part of them suffices for training. Evaluation predicts all.

    Args:
        predict_ratio (float): Share of the masked tokens that training predicts, in (0, 1].
        kwargs: Arguments of :class:`PatchDecoder`.

    Raises:
        ValueError: If ``predict_ratio`` is not in (0, 1].
    """

    def __init__(self, predict_ratio: float = 0.25, **kwargs) -> None:
        super().__init__(**kwargs)
        if not 0 < predict_ratio <= 1:
            raise ValueError(f'predict_ratio must be in (0, 1], found {predict_ratio}')
        self.predict_ratio = predict_ratio
        self.context_norm = nn.LayerNorm(self.embed.out_features, eps=1e-6)

    def forward(self, tokens: Tensor, keep: Tensor, masked: Tensor, grid: Tuple[int, int, int],
                is_image: bool) -> Tuple[Tensor, Tensor]:
        """Predict some masked patches; see the base class."""
        if self.training and self.predict_ratio < 1:
            count = max(1, int(self.predict_ratio * masked.shape[1]))
            chosen = torch.rand(masked.shape, device=masked.device).topk(count, dim=1).indices
            masked = masked.gather(1, chosen.sort(dim=1).values)
        context = self.context_norm(self.embed(tokens))
        x = self.mask_token + take(self._positions(len(tokens), grid, is_image), masked)
        for block in self.blocks:
            x = self._run(block, x, context)
        return self.head(self.norm(x)), masked
