"""Vision transformer with a mixture of adapter experts, for clips and images alike."""

import inspect
from contextlib import contextmanager
from typing import Any, Dict, Iterator, Optional, Sequence, Tuple, Union

import torch
import torch.nn.functional as F
from mmaction.models.backbones.vit_mae import VisionTransformer
from mmaction.registry import MODELS
from mmaction.utils import OptSampleList
from mmengine.model import ModuleList
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..checkpoints import mae_image, s4d, videomae_transformers
from ..checkpoints.fit import init_backbone
from ..layers.blocks import MoAEBlock
from ..layers.moae import PRESETS, MoAEReport
from ..layers.patches import patchify, take
from ..layers.positions import positions_for

# official code, s4d/videomae.py:741-763
ARCHS = dict(
    small=dict(embed_dims=384, depth=12, num_heads=6),
    base=dict(embed_dims=768, depth=12, num_heads=12),
    large=dict(embed_dims=1024, depth=24, num_heads=16))


# `pretrained` is among MMAction2's arguments, but nothing is loaded there
STOCK_ARGUMENTS = set(inspect.signature(VisionTransformer.__init__).parameters) - {
    'self', 'kwargs', 'pretrained'}


class InputSizeError(ValueError):
    """The size of a clip does not fit the patches."""


@MODELS.register_module()
class VisionTransformerMoAE(VisionTransformer):
    """UniLearn's backbone (arXiv 2409.06154): VideoMAE's ViT plus adapter experts.

    A checkpoint of MMAction2's ``VisionTransformer`` loads key for key; only the experts are new.
    An image is a clip of one frame: it is repeated to fill one tubelet and takes the positions of
    temporal slot 0.

    Args:
        arch (str, optional): 'small', 'base' or 'large': sets ``embed_dims``, ``depth`` and
            ``num_heads``, which must then not be given. 'base' if none of the four is given.
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
            - ``preset`` (str): 'default' (corrected) or 'official' (literal); see
              ``layers.moae.PRESETS``. Other keys go before it.
            - further keys: arguments of :class:`~..layers.moae.MoAE`.
        with_cp (bool): Whether training keeps only the blocks' inputs and computes the rest
            again in the backward pass (activation checkpointing).
        compile_blocks (bool): Whether each block is compiled by ``torch.compile``. MMEngine's
            ``compile`` takes the whole training step, which costs minutes.
        return_feat_map (bool): Whether ``forward`` returns the feature map.
        kwargs: Further arguments of MMAction2's ``VisionTransformer``. ``init_cfg`` may be
            ``dict(type='Pretrained', checkpoint=FILE)``: a checkpoint of a recognizer or a
            pre-training, ours or of one of the ``checkpoint_families``; what it lacks gets the
            usual initial values.

    Raises:
        TypeError: If an argument is unknown.
        ValueError: If a MoAE block lies beyond the depth, frames do not fill whole tubelets, a
            preset or arch is unknown, or sizes are given beside an arch.
    """

    checkpoint_families = (s4d.FINE_TUNED, s4d.PRETRAINED,
                           videomae_transformers.VIDEOMAE_TRANSFORMERS, mae_image.INFLATED)

    def __init__(self,
                 arch: Optional[str] = None,
                 img_size: int = 160,
                 patch_size: int = 16,
                 embed_dims: Optional[int] = None,
                 depth: Optional[int] = None,
                 num_heads: Optional[int] = None,
                 num_frames: int = 16,
                 tubelet_size: int = 2,
                 drop_path_rate: float = 0.,
                 moae: Optional[dict] = dict(),  # noqa: B006 (read only)
                 with_cp: bool = False,
                 compile_blocks: bool = False,
                 return_feat_map: bool = False,
                 **kwargs) -> None:
        unknown = set(kwargs) - STOCK_ARGUMENTS
        if unknown:
            raise TypeError(f'VisionTransformerMoAE has no arguments {sorted(unknown)}; weights '
                            'are loaded by load_from or init_cfg')
        if num_frames % tubelet_size:
            raise ValueError(f'num_frames must be a multiple of tubelet_size, found {num_frames} '
                             f'and {tubelet_size}')
        sizes: Dict[str, Any] = dict(embed_dims=embed_dims, depth=depth, num_heads=num_heads)
        if arch is None and all(size is None for size in sizes.values()):
            arch = 'base'
        if arch is not None:
            if any(size is not None for size in sizes.values()):
                raise ValueError(f'arch={arch!r} sets embed_dims, depth and num_heads; found '
                                 f'{sizes} beside it')
            if arch not in ARCHS:
                raise ValueError(f'arch must be one of {list(ARCHS)}, found {arch!r}')
            sizes = ARCHS[arch]
        elif any(size is None for size in sizes.values()):
            raise ValueError('give all of embed_dims, depth and num_heads, or only an arch '
                             f'({", ".join(ARCHS)}); found {sizes}')
        embed_dims, depth, num_heads = (sizes[key] for key in ('embed_dims', 'depth', 'num_heads'))
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
        self.with_cp = with_cp

        moae_blocks: Sequence[int] = ()
        if moae is not None:
            moae_blocks, moae = _moae_settings(moae, depth)
        drop_path = [drop_path_rate * index / max(depth - 1, 1) for index in range(depth)]
        block_args = {
            key: kwargs[key]
            for key in ('mlp_ratio', 'qkv_bias', 'qk_scale', 'drop_rate', 'attn_drop_rate',
                        'norm_cfg', 'init_values') if key in kwargs
        }
        self.blocks = ModuleList([
            MoAEBlock(
                embed_dims,
                num_heads,
                moae=moae if index in moae_blocks else None,
                drop_path_rate=drop_path[index],
                **block_args) for index in range(depth)
        ])
        if compile_blocks:
            for block in self.blocks:
                block.compile()

    def init_weights(self) -> None:
        """Set the initial values, or load those of ``init_cfg=dict(type='Pretrained', ...)``.

        Raises:
            CheckpointMismatchError: If the checkpoint does not fit.
        """
        usual = inspect.signature(VisionTransformer.__init__).parameters['init_cfg'].default
        init_backbone(self, super().init_weights, usual)

    def forward_tokens(self, x: Tensor, keep: Optional[Tensor] = None) -> Tuple[Tensor, Dict]:
        """Tokens after the last block, and what the experts report.

        Args:
            x (Tensor): (N, 3, T, H, W), T = 1 for an image; (N, 3, H, W) is taken as T = 1.
            keep (Tensor, optional): (N, K) int64, indices of the visible tokens in (t, h, w)
                order; all tokens if None. Only visible patches are embedded.

        Returns:
            tuple: Tokens (N, L, C) with L = K or the number of patches, and a dict which, if
            there are MoAE blocks, holds ``expert_load`` (MoAE blocks, E) and ``dropped``
            (MoAE blocks,) as in ``MoAEReport``, and, if there is a balance loss,
            ``loss_balance`` (scalar, weighted, summed over the blocks).

        Raises:
            InputSizeError: If H or W is no multiple of the patch size or T of the tubelet size.
        """
        grid, is_image = self.token_grid(x)
        x = self._fill_tubelet(x)
        positions = positions_for(self.pos_embed, self.table_grid, grid, is_image)
        patches = patchify(x, self.tubelet_size, self.patch_size)
        if keep is not None:
            patches = take(patches, keep)
            positions = take(positions.expand(len(x), -1, -1), keep)
        projection = self.patch_embed.projection  # a Conv3d whose stride is its kernel
        x = F.linear(patches, projection.weight.flatten(1), projection.bias)
        x = self.pos_drop(x + positions)
        reports = []
        for block in self.blocks:
            if self.with_cp and self.training:
                x, report = checkpoint(block, x, use_reentrant=False)
            else:
                x, report = block(x)
            if report is not None:
                reports.append(report)
        return self.norm(x), _summary(reports)

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
        return self.forward_with_aux(x)[0]

    def forward_with_aux(self, x: Tensor) -> Tuple[Tensor, Dict]:
        """Features of :meth:`forward`, and what the experts report.

        Args:
            x (Tensor): As in :meth:`forward_tokens`.

        Returns:
            tuple: Features, and the dict of :meth:`forward_tokens`.
        """
        tokens, aux = self.forward_tokens(x)
        if not self.return_feat_map:
            return self.pool(tokens), aux
        height, width = (size // self.patch_size for size in x.shape[-2:])
        return tokens.transpose(1, 2).reshape(len(x), self.embed_dims, -1, height, width), aux

    def token_grid(self, x: Tensor) -> Tuple[Tuple[int, int, int], bool]:
        """Grid (T', H', W') of the tokens of an input, and whether it is an image.

        Args:
            x (Tensor): As in :meth:`forward_tokens`.

        Raises:
            InputSizeError: If H or W is no multiple of the patch size or T of the tubelet size.
        """
        frames = 1 if x.dim() == 4 else x.shape[2]
        height, width = x.shape[-2:]
        if height % self.patch_size or width % self.patch_size:
            raise InputSizeError(f'frames of {height} x {width} pixels are not divisible into '
                                 f'patches of {self.patch_size}; resize or crop them in the '
                                 'pipeline')
        is_image = frames == 1
        if not is_image and frames % self.tubelet_size:
            raise InputSizeError(f'a clip of {frames} frames is not divisible into tubelets of '
                                 f'{self.tubelet_size} frames; change clip_len in the pipeline')
        slots = 1 if is_image else frames // self.tubelet_size
        return (slots, height // self.patch_size, width // self.patch_size), is_image

    def _fill_tubelet(self, x: Tensor) -> Tensor:
        """(N, 3, T, H, W) of an input, a single frame repeated to fill the tubelet."""
        if x.dim() == 4:
            x = x.unsqueeze(2)
        return x.expand(-1, -1, self.tubelet_size, -1, -1) if x.shape[2] == 1 else x


@contextmanager
def naming_files(data_samples: OptSampleList) -> Iterator[None]:
    """Within the block, an ``InputSizeError`` gets the files of the samples.

    Args:
        data_samples (list[ActionDataSample], optional): Samples with the metainfo ``path``.
    """
    try:
        yield
    except InputSizeError as error:
        paths = [sample.get('path') for sample in data_samples or []]
        files = f' (batch: {", ".join(map(str, paths))})' if any(paths) else ''
        raise InputSizeError(f'{error}{files}') from None


def _summary(reports: Sequence[MoAEReport]) -> Dict[str, Tensor]:
    if not reports:
        return {}
    aux = dict(
        expert_load=torch.stack([report.load for report in reports]),
        dropped=torch.stack([report.dropped for report in reports]))
    losses = [report.balance_loss for report in reports if report.balance_loss is not None]
    if losses:
        aux['loss_balance'] = torch.stack(losses).sum()
    return aux


def _moae_settings(moae: dict, depth: int) -> Tuple[Sequence[int], dict]:
    """Indices of the blocks with experts, and the arguments of their MoAE."""
    moae = dict(moae)
    preset = moae.pop('preset', 'default')
    if preset not in PRESETS:
        raise ValueError(f'moae preset must be one of {list(PRESETS)}, found {preset!r}')
    blocks: Union[float, Sequence[int]] = moae.pop('blocks', 0.5)
    moae = {**PRESETS[preset], **moae}
    if isinstance(blocks, (int, float)):
        if not 0 < blocks <= 1:
            raise ValueError(f'moae blocks as a share of the depth must be in (0, 1], found '
                             f'{blocks}; give a list for indices')
        first = depth - round(blocks * depth)
        if first == depth:
            raise ValueError(f'moae blocks={blocks} of a depth of {depth} is no block at all; use '
                             'moae=None for a dense backbone')
        return range(first, depth), moae
    beyond = [index for index in blocks if not 0 <= index < depth]
    if beyond:
        raise ValueError(f'moae blocks {beyond} do not exist: the backbone has blocks '
                         f'0..{depth - 1}')
    return blocks, moae
