"""S2D's backbone: a ViT for images, guided by landmarks, that adapters carry over to videos."""

from typing import Optional, Tuple, Union

import torch
import torch.nn.functional as F
from mmaction.registry import MODELS
from mmpretrain.models.backbones import VisionTransformer
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..checkpoints import mae_image, s2d
from ..checkpoints.fit import init_backbone
from ..layers.class_token import class_token_of
from ..layers.positions import positions_for
from ..layers.prompts import LandmarkPrompter
from ..layers.temporal_adapters import TemporalAdapter
from .vit_moae import InputSizeError


@MODELS.register_module()
class S2DVisionTransformer(VisionTransformer):
    """S2D's backbone (arXiv 2312.05447): MMPretrain's ViT plus prompts and temporal adapters.

    Every frame goes through the ViT by itself. Before each layer, a prompt made of the patches
    and of the feature map of a frozen landmark net (:class:`LandmarkPrompter`) is added to the
    patches, and what :class:`TemporalAdapter` reads from the other frames. The feature of a clip
    is the mean of the normalised class tokens of its frames.

    One frame is an image: it has no time, so that neither adapters nor temporal positions are
    added, and the model is exactly the one that ``with_tma=False`` builds. A checkpoint of
    MMPretrain's ``VisionTransformer`` loads key for key.

    Args:
        arch (str | dict): Of MMPretrain's ``VisionTransformer``; 'base' in the paper.
        img_size (int): Height and width of the frames. Others are refused: prompts need the
            feature map of the landmark net to have a place for each patch.
        patch_size (int): Height and width of a patch.
        num_frames (int): Frames for which temporal positions are learnt; those of clips of
            another length are interpolated.
        landmark_net (dict, optional): Config of a net with the attributes ``stride`` and
            ``out_channels``. It gets the frames resized so that its feature map has a place for
            each patch (to 112 x 112 pixels for the sizes of the paper). None is a model without
            prompts, for comparison.
        prompt_dims (int): Channels inside of the prompters.
        with_tma (bool): Whether there are temporal adapters and positions. Without them, the
            frames of a clip are averaged.
        tma_ratio (float): Channels inside of the temporal adapters, as a share of the ViT's.
        tma_heads (int): Attention heads of the temporal adapters.
        zero_init_tma (bool): Whether the temporal adapters start as zero functions, so that a
            video model begins as the image model. The official code does not; see
            :class:`TemporalAdapter`.
        freeze_vit (bool): Whether patch embedding, class token, positions and layers of the ViT
            are not trained (S2D on videos: 9.7 % of the parameters are).
        drop_path_rate (float): Stochastic depth rate of the last layer, growing linearly from 0.
        with_cp (bool): Whether training keeps only the inputs of the layers and computes the rest
            again in the backward pass (activation checkpointing).
        return_feat_map (bool): Whether ``forward`` returns the feature map.
        return_tuple (bool): Whether the output is wrapped into a tuple, as the heads of
            MMPretrain want it.
        init_cfg (dict | list, optional): ``dict(type='Pretrained', checkpoint=FILE)``: a
            checkpoint of ours, or of one of the ``checkpoint_families``; what it lacks gets the
            usual initial values. Or initialisers of MMEngine.

    Raises:
        ValueError: If the patches do not fill the frames.
    """

    checkpoint_families = (s2d.S2D, mae_image.PLAIN)

    def __init__(self,
                 arch: Union[str, dict] = 'base',
                 img_size: int = 224,
                 patch_size: int = 16,
                 num_frames: int = 16,
                 landmark_net: Optional[dict] = dict(  # noqa: B006 (read only)
                     type='mmaction.MobileFaceNet'),
                 prompt_dims: int = 8,
                 with_tma: bool = True,
                 tma_ratio: float = 0.25,
                 tma_heads: int = 8,
                 zero_init_tma: bool = False,
                 freeze_vit: bool = True,
                 drop_path_rate: float = 0.,
                 with_cp: bool = False,
                 return_feat_map: bool = False,
                 return_tuple: bool = False,
                 init_cfg: Optional[Union[dict, list]] = None) -> None:
        if img_size % patch_size:
            raise ValueError(f'img_size must be a multiple of patch_size, found {img_size} and '
                             f'{patch_size}')
        super().__init__(
            arch=arch,
            img_size=img_size,
            patch_size=patch_size,
            drop_path_rate=drop_path_rate,
            init_cfg=init_cfg)
        if freeze_vit:
            for name, parameter in self.named_parameters():
                if not name.startswith('ln1.'):
                    parameter.requires_grad_(False)
        self.num_frames = num_frames
        self.with_cp = with_cp
        self.return_feat_map = return_feat_map
        self.return_tuple = return_tuple

        self.prompters = None
        if landmark_net is not None:
            self.landmark_net = MODELS.build(landmark_net)
            self.landmark_embed = nn.Linear(self.landmark_net.out_channels, self.embed_dims)
            nn.init.xavier_uniform_(self.landmark_embed.weight)
            nn.init.zeros_(self.landmark_embed.bias)
            self.prompters = nn.ModuleList(
                LandmarkPrompter(self.embed_dims, prompt_dims) for _ in range(self.num_layers))
        self.prompt_norms = nn.ModuleList(
            nn.LayerNorm(self.embed_dims, eps=1e-6) for _ in range(self.num_layers))
        self.temporal_adapters = None
        if with_tma:
            self.temporal_adapters = nn.ModuleList(
                TemporalAdapter(self.embed_dims, tma_ratio, tma_heads, zero_init_tma)
                for _ in range(self.num_layers))
            self.temporal_embedding = nn.Parameter(torch.empty(1, num_frames, self.embed_dims))
            nn.init.trunc_normal_(self.temporal_embedding, std=0.02)

    def init_weights(self) -> None:
        """Set the initial values, or load those of ``init_cfg=dict(type='Pretrained', ...)``.

        Raises:
            CheckpointMismatchError: If the checkpoint does not fit.
        """
        init_backbone(self, super().init_weights, None)

    def train(self, mode: bool = True) -> 'S2DVisionTransformer':
        """See ``nn.Module.train`` (MMPretrain's returns None)."""
        super().train(mode)
        return self

    def forward(self, x: Tensor) -> Union[Tensor, Tuple[Tensor]]:
        """Features of clips or images.

        Args:
            x (Tensor): (N, 3, T, H, W), T = 1 for an image; (N, 3, H, W) is taken as T = 1.

        Returns:
            Tensor: (N, C), or the feature map (N, C, T, H', W') with ``return_feat_map``; in a
            tuple with ``return_tuple``.

        Raises:
            InputSizeError: If the frames do not have the size of the model.
            LandmarkWeightsError: If the landmark net has no weights.
        """
        if x.dim() == 4:
            x = x.unsqueeze(2)
        num, _, frames, height, width = x.shape
        if (height, width) != self.img_size or not frames:
            raise InputSizeError(
                f'found {frames} frames of {height} x {width} pixels, expected at least one of '
                f'{self.img_size[0]} x {self.img_size[1]}; resize them in the pipeline')
        x = x.transpose(1, 2).flatten(0, 1)  # frames as images
        image, landmark = self.patch_embed(x)[0], self._landmark_tokens(x)
        image, landmark = self._prompted(0, image, landmark, frames)
        tokens = torch.cat((self.cls_token.expand(len(x), -1, -1), image), dim=1) + self.pos_embed
        if self.temporal_adapters is not None and frames > 1:
            moments = positions_for(self.temporal_embedding, (self.num_frames, 1, 1),
                                    (frames, 1, 1), is_image=False)
            tokens = tokens + moments[0, :, None].repeat(num, 1, 1)
        for index in range(self.num_layers):
            if self.with_cp and self.training:
                tokens, landmark = checkpoint(self._stage, index, tokens, landmark, frames,
                                              use_reentrant=False)
            else:
                tokens, landmark = self._stage(index, tokens, landmark, frames)
        tokens = self.ln1(tokens)
        if self.return_feat_map:
            grid = self.patch_resolution
            out = tokens[:, 1:].unflatten(1, grid).unflatten(0, (num, frames))
            out = out.permute(0, 4, 1, 2, 3)
        else:
            out = tokens[:, 0].unflatten(0, (num, frames)).mean(dim=1)
        return (out, ) if self.return_tuple else out

    def _landmark_tokens(self, x: Tensor) -> Optional[Tensor]:
        """Embedded landmark features (M, L, C) of the patches of frames (M, 3, H, W)."""
        if self.prompters is None:
            return None
        size = [length * self.landmark_net.stride for length in self.patch_resolution]
        with torch.no_grad():
            x = F.interpolate(x, size=size, mode='bilinear', align_corners=True)
            features = self.landmark_net(x)
        return self.landmark_embed(features.flatten(2).transpose(1, 2))

    def _prompted(self, index: int, image: Tensor, landmark: Optional[Tensor],
                  frames: int) -> Tuple[Tensor, Optional[Tensor]]:
        """Patches (M, L, C) with what stage ``index`` adds to them, and its prompt (M, L, C)."""
        # the norm of the stage before; the first one serves both first stages and all landmarks,
        # the last one none (official code, model_finetuning.py:502-504)
        normed = self.prompt_norms[max(index - 1, 0)](image)
        if self.temporal_adapters is not None and frames > 1:
            image = image + self.temporal_adapters[index](normed, frames)
        if self.prompters is None:
            return image, None
        prompt = self.prompters[index](normed, self.prompt_norms[0](landmark))
        return image + prompt, prompt

    def _stage(self, index: int, tokens: Tensor, landmark: Optional[Tensor],
               frames: int) -> Tuple[Tensor, Optional[Tensor]]:
        """Tokens (M, 1 + L, C), class token first, after layer ``index``; and its prompt."""
        if index:  # the prompt of the first stage precedes the class token
            image, landmark = self._prompted(index, tokens[:, 1:], landmark, frames)
            tokens = torch.cat((tokens[:, :1], image), dim=1)
        layer = self.layers[index]
        if index == self.num_layers - 1 and not self.return_feat_map:
            return class_token_of(layer, tokens), landmark
        return layer(tokens), landmark
