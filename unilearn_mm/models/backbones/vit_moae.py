"""Vision transformer with a mixture of adapter experts, for clips and images alike."""

from typing import Dict, List, Optional, Sequence, Tuple, Union

import torch
from mmaction.models.backbones.vit_mae import Block, VisionTransformer
from mmaction.registry import MODELS
from mmengine.model import ModuleList
from torch import Tensor

from ..layers.attention import SDPAttention
from ..layers.moae import MoAE
from ..layers.positions import positions_for


class InputSizeError(ValueError):
    """The size of a clip does not fit the patches."""


class MoAEBlock(Block):
    """Pre-norm block: ``x + Attn(LN1 x)``, then ``x + DropPath(MLP(u) + MoAE(u))``, u = LN2 x.

    The dense MLP stays; the experts are added beside it (official code, s4d/videomae.py:327-372).
    Parameter names are those of MMAction2's Block; the experts live under ``moae``.

    Args:
        moae (dict, optional): Arguments of :class:`MoAE`; None makes a dense block.
        embed_dims (int), num_heads (int), attn_drop_rate (float), and others: see ``Block``.
    """

    def __init__(self,
                 embed_dims: int,
                 num_heads: int,
                 moae: Optional[dict] = None,
                 qkv_bias: bool = True,
                 qk_scale: Optional[float] = None,
                 attn_drop_rate: float = 0.,
                 drop_rate: float = 0.,
                 **kwargs) -> None:
        super().__init__(embed_dims, num_heads, drop_rate=drop_rate, **kwargs)
        self.attn = SDPAttention(
            embed_dims,
            num_heads,
            qkv_bias=qkv_bias,
            qk_scale=qk_scale,
            attn_drop_rate=attn_drop_rate,
            drop_rate=drop_rate)
        self.moae = MoAE(embed_dims, **moae) if moae is not None else None

    def forward(self, x: Tensor) -> Tuple[Tensor, Optional[Tensor], Optional[Tensor]]:
        """Transform tokens.

        Args:
            x (Tensor): (B, N, C).

        Returns:
            tuple: Tokens (B, N, C); balance loss (scalar) and expert load (E,), None in a dense
            block.
        """
        x = x + self.drop_path(self.attn(self.norm1(x)))
        normed = self.norm2(x)
        branch, balance_loss, load = self.mlp(normed), None, None
        if self.moae is not None:
            mixed, balance_loss, load = self.moae(normed)
            branch = branch + mixed
        return x + self.drop_path(branch), balance_loss, load


@MODELS.register_module()
class VisionTransformerMoAE(VisionTransformer):
    """UniLearn's backbone (arXiv 2409.06154): VideoMAE's ViT plus adapter experts.

    A checkpoint of MMAction2's ``VisionTransformer`` loads key for key; only the experts are new.
    An image is a clip of one frame: it is repeated to fill one tubelet and takes the positions of
    temporal slot 0.

    Args:
        img_size (int): Height and width for which the position table is made.
        patch_size (int): Height and width of a patch.
        embed_dims (int): Channels C.
        depth (int): Number of blocks.
        num_heads (int): Attention heads.
        num_frames (int): Frames for which the position table is made.
        tubelet_size (int): Frames of a patch.
        drop_path_rate (float): Stochastic depth rate of the last block, growing linearly from 0.
        moae (dict, optional): None for a dense ViT, or

            - ``blocks`` (float or Sequence[int]): blocks that have experts: a share of the depth,
              counted from the end, or indices. Default 0.5: the upper half, as in the paper.
            - ``balance_loss_weight`` (float): weight of the balance loss of a block. Default 1e-2
              (Switch Transformer).
            - ``num_experts``, ``top_k``, ``hidden_ratio``: see :class:`~..layers.moae.MoAE`.
        return_feat_map (bool): Whether ``forward`` returns the feature map.
        kwargs: Further arguments of MMAction2's ``VisionTransformer``.

    Raises:
        ValueError: If a MoAE block lies beyond the depth, or frames do not fill whole tubelets.
    """

    def __init__(self,
                 img_size: int = 160,
                 patch_size: int = 16,
                 embed_dims: int = 768,
                 depth: int = 12,
                 num_heads: int = 12,
                 num_frames: int = 16,
                 tubelet_size: int = 2,
                 drop_path_rate: float = 0.,
                 moae: Optional[dict] = dict(),
                 return_feat_map: bool = False,
                 **kwargs) -> None:
        if num_frames % tubelet_size:
            raise ValueError(f'num_frames must be a multiple of tubelet_size, found {num_frames} '
                             f'and {tubelet_size}')
        super().__init__(
            img_size=img_size,
            patch_size=patch_size,
            embed_dims=embed_dims,
            depth=0,  # our own blocks follow
            num_heads=num_heads,
            num_frames=num_frames,
            tubelet_size=tubelet_size,
            return_feat_map=return_feat_map,
            **kwargs)
        self.tubelet_size = tubelet_size
        self.table_grid = (num_frames // tubelet_size, *self.grid_size)

        moae = None if moae is None else dict(moae)
        moae_blocks: Sequence[int] = ()
        if moae is not None:
            moae_blocks = _moae_blocks(moae.pop('blocks', 0.5), depth)
            self.balance_loss_weight = moae.pop('balance_loss_weight', 1e-2)
        drop_path = torch.linspace(0, drop_path_rate, depth).tolist()
        block_args = {
            key: kwargs[key]
            for key in ('mlp_ratio', 'qkv_bias', 'qk_scale', 'drop_rate', 'attn_drop_rate',
                        'norm_cfg') if key in kwargs
        }
        self.blocks = ModuleList([
            MoAEBlock(
                embed_dims,
                num_heads,
                moae=moae if index in moae_blocks else None,
                drop_path_rate=drop_path[index],
                **block_args) for index in range(depth)
        ])

    def forward_tokens(self, x: Tensor, keep: Optional[Tensor] = None) -> Tuple[Tensor, Dict]:
        """Tokens after the last block, and what the experts report.

        Args:
            x (Tensor): (N, 3, T, H, W), T = 1 for an image; (N, 3, H, W) is taken as T = 1.
            keep (Tensor, optional): (N, K) int64, indices of the visible tokens in (t, h, w)
                order; all tokens if None.

        Returns:
            tuple: Tokens (N, L, C) with L = K or the number of patches, and a dict which, if
            there are MoAE blocks, holds ``balance_loss`` (scalar, weighted, summed over the
            blocks) and ``expert_load`` (number of MoAE blocks, E).

        Raises:
            InputSizeError: If H or W is no multiple of the patch size or T of the tubelet size.
        """
        x, grid, is_image = self._fill_tubelet(x)
        x = self.patch_embed(x)[0]
        x = x + positions_for(self.pos_embed, self.table_grid, grid, is_image)
        if keep is not None:
            x = x.gather(1, keep.unsqueeze(-1).expand(-1, -1, x.shape[-1]))
        x = self.pos_drop(x)
        losses: List[Tensor] = []
        loads: List[Tensor] = []
        for block in self.blocks:
            x, balance_loss, load = block(x)
            if balance_loss is not None:
                losses.append(balance_loss)
                loads.append(load)
        aux = {}
        if losses:
            aux['balance_loss'] = self.balance_loss_weight * torch.stack(losses).sum()
            aux['expert_load'] = torch.stack(loads)
        return self.norm(x), aux

    def pool(self, tokens: Tensor) -> Tensor:
        """Feature (N, C) of tokens (N, L, C): normalised mean, or the first token."""
        return tokens[:, 0] if self.fc_norm is None else self.fc_norm(tokens.mean(1))

    def forward(self, x: Tensor) -> Tensor:
        """Features for stock recognizers and detectors, without the balance loss.

        Args:
            x (Tensor): As in :meth:`forward_tokens`.

        Returns:
            Tensor: (N, C), or the feature map (N, C, T', H', W') with ``return_feat_map``.
        """
        tokens, _ = self.forward_tokens(x)
        if not self.return_feat_map:
            return self.pool(tokens)
        height, width = (size // self.patch_size for size in x.shape[-2:])
        return tokens.transpose(1, 2).reshape(len(x), self.embed_dims, -1, height, width)

    def _fill_tubelet(self, x: Tensor) -> Tuple[Tensor, Tuple[int, int, int], bool]:
        """Clip whose frames fill whole tubelets, its token grid, and whether it is an image."""
        if x.dim() == 4:
            x = x.unsqueeze(2)
        frames, height, width = x.shape[2:]
        if height % self.patch_size or width % self.patch_size:
            raise InputSizeError(f'frames of {height} x {width} pixels are not divisible into '
                                 f'patches of {self.patch_size}; resize or crop them in the '
                                 'pipeline')
        is_image = frames == 1
        if is_image:
            frames = self.tubelet_size
            x = x.expand(-1, -1, frames, -1, -1)
        if frames % self.tubelet_size:
            raise InputSizeError(f'a clip of {frames} frames is not divisible into tubelets of '
                                 f'{self.tubelet_size} frames; change clip_len in the pipeline')
        grid = (frames // self.tubelet_size, height // self.patch_size, width // self.patch_size)
        return x, grid, is_image


def _moae_blocks(blocks: Union[float, Sequence[int]], depth: int) -> Sequence[int]:
    """Indices of the blocks with experts, from a share of the depth or from indices."""
    if isinstance(blocks, (int, float)):
        if not 0 < blocks <= 1:
            raise ValueError(f'moae blocks as a share of the depth must be in (0, 1], found '
                             f'{blocks}; give a list for indices')
        return range(depth - round(blocks * depth), depth)
    beyond = [index for index in blocks if not 0 <= index < depth]
    if beyond:
        raise ValueError(f'moae blocks {beyond} do not exist: the backbone has blocks '
                         f'0..{depth - 1}')
    return blocks
