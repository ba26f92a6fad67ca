"""MMA-DFER's backbone: a ViT that sees and a ViT that hears, frozen, and what joins them."""

from typing import Dict, NamedTuple, Optional, Tuple, Union

import torch
from mmaction.registry import MODELS
from mmengine.model import BaseModule, ModuleDict
from mmpretrain.models.backbones import VisionTransformer
from mmpretrain.models.utils import resize_pos_embed
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..checkpoints import mae_audio, mae_image, mma_dfer
from ..checkpoints.fit import init_backbone
from ..layers.fusion import GatedBottleneck
from ..layers.progressive_prompts import ProgressivePrompts
from ..layers.temporal_transformer import TemporalTransformer
from .vit_moae import InputSizeError

VISUAL, AUDIO = 'visual', 'audio'


class ModalityEncoder(VisionTransformer):
    """MMPretrain's ViT that can begin with a file of MAE, MAE-Face or AudioMAE.

    Args:
        freeze_vit (bool): Whether all but its positions are not trained.
        others: See MMPretrain's ``VisionTransformer``; ``init_cfg=dict(type='Pretrained',
            checkpoint=FILE)`` may name a file of the ``checkpoint_families``.
    """

    checkpoint_families = (mae_image.PLAIN, mae_audio.SPECTROGRAM)

    def __init__(self, freeze_vit: bool, **kwargs) -> None:
        super().__init__(out_type='raw', **kwargs)
        if freeze_vit:
            for name, parameter in self.named_parameters():
                parameter.requires_grad_(name == 'pos_embed')

    def init_weights(self) -> None:
        """Set the initial values, or load those of ``init_cfg``.

        Raises:
            CheckpointMismatchError: If the checkpoint does not fit.
        """
        init_backbone(self, super().init_weights, None)

    def embed(self, x: Tensor) -> Tensor:
        """Class token and patches (N, 1 + L, C) of images (N, channels, H, W), with positions."""
        patches, grid = self.patch_embed(x)
        positions = resize_pos_embed(self.pos_embed, self.patch_resolution, grid,
                                     self.interpolate_mode, self.num_extra_tokens)
        tokens = torch.cat((self.cls_token.expand(len(x), -1, -1), patches), dim=1)
        return self.drop_after_pos(tokens + positions)


class Branch(BaseModule):
    """An encoder, its prompts, and its sides of the fusion bottlenecks behind its layers.

    Args:
        encoder (ModalityEncoder): With C channels.
        num_prompts (int), prompt_every (int): See :class:`ProgressivePrompts`.
        latent_dims (int): See :class:`GatedBottleneck`.
    """

    def __init__(self, encoder: ModalityEncoder, num_prompts: int, prompt_every: int,
                 latent_dims: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.prompts = ProgressivePrompts(encoder.embed_dims, encoder.num_layers, num_prompts,
                                          prompt_every)
        self.fusion = nn.ModuleList(
            GatedBottleneck(encoder.embed_dims, latent_dims) for _ in range(encoder.num_layers))

    def embed(self, x: Tensor) -> Tensor:
        """Tokens (N, L, C) of images (N, channels, H, W), class token first, prompts last.

        Raises:
            InputSizeError: If the patches do not fill the images.
        """
        patch = self.encoder.patch_embed.projection.kernel_size
        if not x.numel() or x.shape[-2] % patch[0] or x.shape[-1] % patch[1]:
            raise InputSizeError(
                f'found frames or sound of shape {tuple(x.shape)}, expected '
                f'{self.encoder.img_size} at the end, or other multiples of {patch}; resize or '
                'cut them in the pipeline')
        return self.prompts.append(self.encoder.embed(x))

    def layer(self, index: int, tokens: Tensor) -> Tuple[Tensor, Tensor]:
        """Tokens (N, L, C) after a layer, and what they are in the bottleneck, (N, L, d)."""
        tokens = self.encoder.layers[index](tokens)
        return tokens, self.fusion[index].reduce(tokens)

    def fuse(self, index: int, tokens: Tensor, reduced: Tensor) -> Tensor:
        """Tokens (N, L, C) after the fusion that follows a layer, (N, L, C)."""
        if index < self.encoder.num_layers - 1:
            return self.prompts.renew(index, self.fusion[index].add(tokens, reduced))
        # behind the last layer only class tokens count
        return self.fusion[index].add(tokens[:, :1], reduced[:, :1])

    def class_tokens(self, tokens: Tensor) -> Tensor:
        """Normalised class tokens (N, C) of tokens (N, L, C)."""
        return self.encoder.ln1(tokens[:, 0])


class Stream(NamedTuple):
    """The tokens of one modality on their way through its encoder.

    Attributes:
        tokens (Tensor): (N' * T', L, C) of the N' clips that have the modality; T' is 1 for
            sound.
        clips (Tensor): (N',) int64, which ones of the batch these are.
    """
    tokens: Tensor
    clips: Tensor


Streams = Dict[str, Stream]


@MODELS.register_module()
class AVFusionViT(BaseModule):
    """MMA-DFER's backbone (arXiv 2404.09010) for MMAction2's ``MMRecognizer3D``.

    A ViT for each frame and one for the sound (log-mel, as an image of one channel), both frozen
    but for their positions. Learnable prompts are appended to their tokens
    (:class:`ProgressivePrompts`), and after each layer both streams learn of each other through
    a :class:`GatedBottleneck`: each token gets the mean of the other stream in the clip. The
    class tokens of a frame and of the sound are added; a :class:`TemporalTransformer` makes one
    feature of those of all frames.

    **A missing modality** is left out of the computation: no tokens of it are made, its encoder
    does not run, the other stream gets no mean of it, and only the class token of the other
    modality is passed on. (The class token of the sound stands for each of ``num_frames``
    moments, as it does when there are frames.) So nothing pretends to be silence or a black
    picture. It is missing for a batch if its argument is None, and for a clip if its entry of
    ``has_imgs`` or ``has_audios`` is false; ``MixedMediaPreprocessor`` sets both.

    Sizes other than those of the model get interpolated positions.

    Args:
        arch (str | dict): Of MMPretrain's ``VisionTransformer``, for both encoders; 'base' in the
            paper.
        visual (dict): Further arguments of the encoder for frames: ``img_size`` (224),
            ``patch_size`` (16), ``drop_path_rate`` (0.1: it is active in training although the
            encoder is frozen), ``init_cfg=dict(type='Pretrained', checkpoint=FILE)``, a file of
            MAE-Face or of another ViT for images.
        audio (dict): The same of the encoder for sound: ``img_size`` ((512, 128): frames and mel
            bins), ``init_cfg`` with a file of AudioMAE.
        num_frames (int): Frames for which temporal positions are learnt.
        num_prompts (int): Prompts of a group; see :class:`ProgressivePrompts`.
        prompt_every (int): Layers that share a group of prompts.
        latent_dims (int): Channels of the bottlenecks.
        temporal (dict): Arguments of :class:`TemporalTransformer`, whose ``embed_dims`` (512) are
            the channels of the feature.
        freeze_vit (bool): Whether patch embeddings, class tokens, layers and norms of both ViTs
            are not trained (in the paper 4.3 % of the parameters are trained).
        with_cp (bool): Whether training keeps only the inputs of the layers and computes the rest
            again in the backward pass (activation checkpointing).
        init_cfg (dict | list, optional): ``dict(type='Pretrained', checkpoint=FILE)``: a
            checkpoint of ours, or of one of the ``checkpoint_families``. Or initialisers of
            MMEngine.
    """

    checkpoint_families = (mma_dfer.MMA_DFER, mma_dfer.VISUAL_START, mma_dfer.AUDIO_START)

    def __init__(self,
                 arch: Union[str, dict] = 'base',
                 visual: dict = dict(),  # noqa: B006 (read only)
                 audio: dict = dict(),  # noqa: B006
                 num_frames: int = 16,
                 num_prompts: int = 3,
                 prompt_every: int = 6,
                 latent_dims: int = 128,
                 temporal: dict = dict(),  # noqa: B006
                 freeze_vit: bool = True,
                 with_cp: bool = False,
                 init_cfg: Optional[Union[dict, list]] = None) -> None:
        super().__init__(init_cfg)
        common = dict(arch=arch, freeze_vit=freeze_vit, drop_path_rate=0.1)
        encoders = {
            VISUAL: ModalityEncoder(**{**common, 'img_size': 224, **visual}, in_channels=3),
            AUDIO: ModalityEncoder(**{**common, 'img_size': (512, 128), **audio}, in_channels=1)}
        self.branches = ModuleDict(
            {name: Branch(encoder, num_prompts, prompt_every, latent_dims)
             for name, encoder in encoders.items()})
        self.temporal = TemporalTransformer(num_frames, **temporal)
        self.joint_proj = nn.Linear(encoders[VISUAL].embed_dims, self.temporal.embed_dims)
        self.num_layers = encoders[VISUAL].num_layers
        self.num_frames = num_frames
        self.with_cp = with_cp

    def init_weights(self) -> None:
        """Set the initial values, or load those of ``init_cfg=dict(type='Pretrained', ...)``.

        Raises:
            CheckpointMismatchError: If the checkpoint does not fit.
        """
        init_backbone(self, super().init_weights, None)

    def forward(self,
                imgs: Optional[Tensor] = None,
                audios: Optional[Tensor] = None,
                has_imgs: Optional[Tensor] = None,
                has_audios: Optional[Tensor] = None) -> Tensor:
        """Features of clips.

        Args:
            imgs (Tensor, optional): (N, 3, T, H, W), RGB in [0, 1].
            audios (Tensor, optional): (N, 1, F, M) normalised log-mel, F frames of M bins. Or
                (N / V, ...): that of V adjacent clips, which are views of one video.
            has_imgs (Tensor, optional): (N,) bool, which clips have frames; what stands in
                ``imgs`` for the others is not looked at. All, if None.
            has_audios (Tensor, optional): As many bool as there are ``audios``.

        Returns:
            Tensor: (N, C).

        Raises:
            InputSizeError: If patches do not fill the frames or the sound, or their numbers do
                not go together.
            ValueError: If a clip has neither frames nor sound.
        """
        streams: Streams = {}
        num, frames = 0 if audios is None else len(audios), self.num_frames
        if imgs is not None:
            num, frames = len(imgs), imgs.shape[2]
            if audios is not None:
                audios, has_audios = _for_views(audios, has_audios, num)
            imgs, clips = _present(imgs, has_imgs)
            if len(clips):
                images = imgs.transpose(1, 2).flatten(0, 1)
                streams[VISUAL] = Stream(self.branches[VISUAL].embed(images), clips)
        if audios is not None:
            audios, clips = _present(audios, has_audios)
            if len(clips):
                streams[AUDIO] = Stream(self.branches[AUDIO].embed(audios), clips)
        if not any(len(stream.clips) == num for stream in streams.values()):
            lacking = set(range(num)).difference(
                *(stream.clips.tolist() for stream in streams.values()))
            if lacking or not num:
                raise ValueError(f'clips {sorted(lacking)} of a batch of {num} have neither '
                                 'frames nor sound; at least one of both is needed')
        for index in range(self.num_layers):
            if self.with_cp and self.training:
                streams = checkpoint(self._stage, index, streams, num, use_reentrant=False)
            else:
                streams = self._stage(index, streams, num)
        return self.temporal(self.joint_proj(self._moments(streams, num, frames)))

    def _stage(self, index: int, streams: Streams, num: int) -> Streams:
        """The streams after layer ``index`` of both encoders and the fusion that follows it."""
        tokens, reduced, means = {}, {}, {}
        for name in (AUDIO, VISUAL):  # the official order, in which stochastic depth is drawn
            if name in streams:
                clips = streams[name].clips
                tokens[name], reduced[name] = self.branches[name].layer(
                    index, streams[name].tokens)
                mean = reduced[name].unflatten(0, (len(clips), -1)).mean((1, 2))
                means[name] = mean.new_zeros(num, mean.shape[-1]).index_copy(0, clips, mean)
        after = {}
        for name, other in ((AUDIO, VISUAL), (VISUAL, AUDIO)):
            if name in streams:
                z, clips = reduced[name], streams[name].clips
                if other in streams:
                    heard = means[other][clips].repeat_interleave(len(z) // len(clips), dim=0)
                    z = z + heard[:, None]
                after[name] = Stream(self.branches[name].fuse(index, tokens[name], z), clips)
        return after

    def _moments(self, streams: Streams, num: int, frames: int) -> Tensor:
        """Sums (N, T, C) of the class tokens of each moment."""
        moments: Union[float, Tensor] = 0.
        for name, (tokens, clips) in streams.items():
            x = self.branches[name].class_tokens(tokens).unflatten(0, (len(clips), -1))
            x = x.expand(-1, frames, -1)  # the sound is the same in each of them
            moments = moments + x.new_zeros(num, *x.shape[1:]).index_copy(0, clips, x)
        return moments


def _present(x: Tensor, has: Optional[Tensor]) -> Tuple[Tensor, Tensor]:
    """The clips that have a modality, and which ones these are, (N',) int64."""
    if has is None:
        return x, torch.arange(len(x), device=x.device)
    clips = has.nonzero().flatten()
    return x if len(clips) == len(x) else x[clips], clips


def _for_views(audios: Tensor, has: Optional[Tensor],
               num: int) -> Tuple[Tensor, Optional[Tensor]]:
    """Sound, and whether there is any, of each of ``num`` clips."""
    if not len(audios) or num % len(audios):
        raise InputSizeError(f'{num} clips of frames, but {len(audios)} of sound; each sound must '
                             'be that of one clip or of the views of one video')
    views = num // len(audios)
    if views > 1:
        audios = audios.repeat_interleave(views, dim=0)
        has = None if has is None else has.repeat_interleave(views, dim=0)
    return audios, has
