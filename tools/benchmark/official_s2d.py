"""A plain restatement of S2D's official computation, to measure against.

The computation of the official repository (MSA-LMC/S2D: model_finetuning.py, SDL.py, utils/loss.py,
engine_for_finetuning.py, landmark/), in our own words: prompts on feature maps by 1 x 1
convolutions, explicit attention, every token of the last block computed, one anchor after the
other. The names of the tensors are those of the official files.
"""

from collections import OrderedDict
from typing import List, NamedTuple, Optional, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Sizes(NamedTuple):
    """What the official code writes as numbers; see the fields' comments."""
    dim: int = 768  # channels of the ViT
    depth: int = 12  # its blocks
    num_heads: int = 12
    patch: int = 16  # pixels
    grid: int = 14  # patches along a side: 224 pixels
    frames: int = 16
    num_classes: int = 7
    narrow: int = 64  # channels of the landmark net at stride 4
    wide: int = 128  # and at stride 8
    narrow_blocks: int = 4
    wide_blocks: int = 6


class Attention(nn.Module):
    """Explicit softmax(q k^T) v."""

    def __init__(self, dim: int, num_heads: int, bias: bool = True) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv, self.proj = nn.Linear(dim, 3 * dim, bias=bias), nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        batch, num, dim = x.shape
        q, k, v = self.qkv(x).reshape(batch, num, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        weights = (q * (dim // self.num_heads)**-0.5 @ k.transpose(-2, -1)).softmax(dim=-1)
        return self.proj((weights @ v).transpose(1, 2).reshape(batch, num, dim))


class MLP(nn.Module):
    """Two layers, four times as wide inside."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """Pre-norm block of timm's ViT."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps=1e-6), nn.LayerNorm(dim, eps=1e-6)
        self.attn, self.mlp = Attention(dim, num_heads), MLP(dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Adapter(nn.Module):
    """Bottleneck of a quarter of the channels, with attention inside or without."""

    def __init__(self, dim: int, attention: bool) -> None:
        super().__init__()
        self.D_fc1, self.D_fc2 = nn.Linear(dim, dim // 4), nn.Linear(dim // 4, dim)
        self.attn = Attention(dim // 4, 8, bias=False) if attention else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        x = F.gelu(self.D_fc1(x))
        if self.attn is not None:
            x = self.attn(x)
        return self.D_fc2(x)


class TMA(nn.Module):
    """Over the frames at each place, layer norm, then over each token alone."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.frames, self.places = sizes.frames, sizes.grid**2
        self.T_Adapter, self.S_Adapter = Adapter(sizes.dim, True), Adapter(sizes.dim, False)
        self.norm = nn.LayerNorm(sizes.dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B * T, L, C) -> (B * T, L, C)."""
        dim = x.shape[-1]
        x = x.reshape(-1, self.frames, self.places, dim).transpose(1, 2)
        x = self.T_Adapter(x.reshape(-1, self.frames, dim))
        x = x.reshape(-1, self.places, self.frames, dim).transpose(1, 2)
        return self.S_Adapter(self.norm(x.reshape(-1, self.places, dim)))


class Prompter(nn.Module):
    """MCP on maps, and the TMA that goes with it."""

    def __init__(self, sizes: Sizes, temporal: bool) -> None:
        super().__init__()
        self.grid = sizes.grid
        self.conv0_0, self.conv0_1 = nn.Conv2d(sizes.dim, 8, 1), nn.Conv2d(sizes.dim, 8, 1)
        self.conv1x1 = nn.Conv2d(8, sizes.dim, 1)
        self.fovea = nn.ParameterDict(dict(smooth=torch.full((1, ), 10.)))
        self.TMA = TMA(sizes) if temporal else None

    def forward(self, image: Tensor, landmark: Tensor) -> Tuple[Tensor, Tensor]:
        """Two times (B * T, L, C) -> prompt and temporal part, each (B * T, L, C)."""
        maps = [tokens.transpose(1, 2).reshape(len(tokens), -1, self.grid, self.grid)
                for tokens in (image, landmark)]
        seen, known = self.conv0_0(maps[0]), self.conv0_1(maps[1])
        weights = (self.fovea['smooth'] * seen.flatten(2)).softmax(dim=-1).view_as(seen)
        prompt = self.conv1x1(weights * seen + known).flatten(2).transpose(1, 2)
        return prompt, torch.zeros_like(image) if self.TMA is None else self.TMA(image)


FULL = Sizes()


class LandmarkNet(nn.Module):
    """MobileFaceNet for 68 points, whole; its output is the map after ``conv_4``."""

    def __init__(self, sizes: Sizes = FULL) -> None:
        super().__init__()
        narrow, wide = sizes.narrow, sizes.wide
        self.conv1 = convolution(3, narrow, 3, stride=2)
        self.conv2_dw = convolution(narrow, narrow, 3, groups=narrow)
        self.conv_23 = depth_wise(narrow, 2 * narrow, narrow, 2)
        self.conv_3 = residuals(narrow, 2 * narrow, sizes.narrow_blocks)
        self.conv_34 = depth_wise(narrow, 2 * wide, wide, 2)
        self.conv_4 = residuals(wide, 2 * wide, sizes.wide_blocks)
        self.conv_45 = depth_wise(wide, 4 * wide, wide, 2)
        self.conv_5 = residuals(wide, 2 * wide, 2)
        self.conv_6_sep = convolution(wide, 512, 1)
        self.output_layer = nn.ModuleDict(dict(
            conv_6_dw=convolution(512, 512, 7, groups=512, padding=0, activated=False),
            linear=nn.Linear(512, 136, bias=False), bn=nn.BatchNorm1d(136)))
        self.requires_grad_(False)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 112, 112) -> (B, 128, 14, 14). What follows is not used, and not computed."""
        x = depth_wise_forward(self.conv_23, self.conv2_dw(self.conv1(x)))
        for block in self.conv_3['model']:
            x = x + depth_wise_forward(block, x)
        x = depth_wise_forward(self.conv_34, x)
        for block in self.conv_4['model']:
            x = x + depth_wise_forward(block, x)
        return x


def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1,
                padding: Optional[int] = None, activated: bool = True) -> nn.Sequential:
    """Convolution without bias, batch norm and, if wanted, a PReLU for each channel."""
    padding = kernel // 2 if padding is None else padding
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
    layers = [('conv', conv), ('bn', nn.BatchNorm2d(outputs)), ('prelu', nn.PReLU(outputs))]
    return nn.Sequential(OrderedDict(layers[:3 if activated else 2]))


def depth_wise(inputs: int, hidden: int, outputs: int, stride: int) -> nn.ModuleDict:
    """Wider by 1 x 1, 3 x 3 in each channel, narrower by 1 x 1 without activation."""
    return nn.ModuleDict(dict(
        conv=convolution(inputs, hidden, 1),
        conv_dw=convolution(hidden, hidden, 3, stride=stride, groups=hidden),
        project=convolution(hidden, outputs, 1, activated=False)))


def depth_wise_forward(block: nn.ModuleDict, x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, C', H / stride, W / stride)."""
    return block['project'](block['conv_dw'](block['conv'](x)))


def residuals(channels: int, hidden: int, number: int) -> nn.ModuleDict:
    """Blocks to whose output their input is added."""
    return nn.ModuleDict(dict(model=nn.ModuleList(
        depth_wise(channels, hidden, channels, 1) for _ in range(number))))


class OfficialS2D(nn.Module):
    """ViT with prompts and temporal adapters, and its classifier.

    Args:
        sizes (Sizes): Numbers of the official code, or smaller ones.
        temporal (bool): Whether it is the video model; the image model has neither adapters nor
            temporal positions.
        dropout (float): Before the classifier.
    """

    def __init__(self, sizes: Sizes = FULL, temporal: bool = True, dropout: float = 0.) -> None:
        super().__init__()
        dim = sizes.dim
        self.frames = sizes.frames if temporal else 1
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + sizes.grid**2, dim))
        if temporal:
            self.temporal_embedding = nn.Parameter(torch.zeros(1, sizes.frames, dim))
        self.patch_embed = nn.ModuleDict(dict(
            proj=nn.Conv2d(3, dim, sizes.patch, sizes.patch)))
        self.patch_embed_prompt = nn.ModuleDict(dict(proj=nn.Conv2d(sizes.wide, dim, 1)))
        self.prompt_blocks = nn.ModuleList(
            Prompter(sizes, temporal) for _ in range(sizes.depth))
        self.prompt_norms = nn.ModuleList(
            nn.LayerNorm(dim, eps=1e-6) for _ in range(sizes.depth))
        self.blocks = nn.ModuleList(Block(dim, sizes.num_heads) for _ in range(sizes.depth))
        self.ln_post = nn.LayerNorm(dim, eps=1e-6)
        self.head = nn.ModuleDict(dict(fc_cls=nn.Linear(dim, sizes.num_classes)))
        self.dropout = nn.Dropout(dropout)
        for name, parameter in self.named_parameters():  # run_class_finetuning.py:377-381
            parameter.requires_grad_(any(part in name for part in (
                'temporal_embedding', 'ln_post', 'Adapter', 'head', 'prompt')))

    def forward(self, clips: Tensor, landmarks: Tensor) -> Tuple[Tensor, Tensor]:
        """Logits of clips and the features that the classifier gets, after dropout.

        Args:
            clips (Tensor): (B, 3, T, H, W), normalised; T = 1 for the image model.
            landmarks (Tensor): (B * T, 128, H', W'), from :func:`landmarks_of`.

        Returns:
            tuple: (B, classes) and (B, C).
        """
        frames = clips.transpose(1, 2).reshape(-1, *clips.shape[1:2], *clips.shape[3:])
        x = self.patch_embed['proj'](frames).flatten(2).transpose(1, 2)
        a = self.patch_embed_prompt['proj'](landmarks).flatten(2).transpose(1, 2)
        a, moved = self.prompt_blocks[0](self.prompt_norms[0](x), self.prompt_norms[0](a))
        x = x + moved + a
        x = torch.cat((self.cls_token.expand(len(x), -1, -1), x), dim=1) + self.pos_embed
        if self.frames > 1:
            x = x.view(len(clips), self.frames, *x.shape[1:])
            x = (x + self.temporal_embedding[:, :, None]).flatten(0, 1)
        x = self.blocks[0](x)
        for index in range(1, len(self.blocks)):
            n = self.prompt_norms[index - 1](x)[:, 1:]
            a, moved = self.prompt_blocks[index](n, self.prompt_norms[0](a))
            x = torch.cat((x[:, :1], x[:, 1:] + moved + a), dim=1)
            x = self.blocks[index](x)
        feature = self.ln_post(x)[:, 0].view(len(clips), -1, x.shape[-1]).mean(dim=1)
        feature = self.dropout(feature)
        return self.head['fc_cls'](feature), feature


def landmarks_of(net: LandmarkNet, clips: Tensor, size: int = 112) -> Tensor:
    """Feature maps of all frames of clips (B, 3, T, H, W), resized to the net's input."""
    frames = clips.transpose(1, 2).reshape(-1, *clips.shape[1:2], *clips.shape[3:])
    with torch.no_grad():
        return net(F.interpolate(frames, (size, size), mode='bilinear', align_corners=True))


class OfficialAnchors:
    """Emotion-anchor bank of SDL.py: a queue of features and soft labels for each class.

    Args:
        num_classes (int), dim (int): C classes, features of D channels.
        size (int): Anchors S of a class.
        k (int): Anchors of each class that vote.
        generator (torch.Generator, optional): Of the random anchors that it starts with.
    """

    def __init__(self, num_classes: int, dim: int, size: int = 16, k: int = 2,
                 generator: Optional[torch.Generator] = None) -> None:
        self.k = k
        self.queues: List[List[Tuple[Tensor, Tensor]]] = [
            [(torch.rand(dim, generator=generator), torch.rand(num_classes, generator=generator))
             for _ in range(size)] for _ in range(num_classes)]

    def target(self, feature: Tensor) -> Tensor:
        """Soft label (C,) of one feature (D,)."""
        votes, weights = [], []
        for queue in self.queues:
            likeness = [F.cosine_similarity(feature, anchor, dim=0).item() for anchor, _ in queue]
            best = sorted(range(len(queue)), key=lambda j: likeness[j], reverse=True)[:self.k]
            votes += [likeness[j] * queue[j][1] for j in best]
            weights += [likeness[j] for j in best]
        return sum(votes) / sum(weights)

    def push(self, feature: Tensor, logits: Tensor, label: int) -> None:
        """Take a sample in, and the oldest one of its class out."""
        self.queues[label] = self.queues[label][1:] + [(feature, logits.softmax(dim=0))]


SCHEDULE = ((30, 0.01), (50, 0.1), (60, 0.5), (80, 1.))  # first epoch, weight; before: 0


def sdl_weight(epoch: int) -> float:
    """Weight of the anchors' loss in an epoch, counted from 0."""
    return max([weight for first, weight in SCHEDULE if epoch >= first], default=0.)


def anchors_update(epoch: int, every: int) -> bool:
    """Whether the bank is updated in an epoch, counted from 0."""
    return epoch > 20 and epoch % every == 0


class OfficialStep:
    """One iteration: loss, AdamW, and in some epochs the update of the bank.

    Args:
        model (OfficialS2D), landmark_net (LandmarkNet): The nets.
        optimizer (torch.optim.Optimizer): Over the model's trainable parameters.
        anchors (OfficialAnchors, optional): None is training without SDL.
        update_every (int): Epochs between two that update the bank.
        landmark_size (int): Pixels of the landmark net's input.
    """

    def __init__(self, model: OfficialS2D, landmark_net: LandmarkNet,
                 optimizer: torch.optim.Optimizer, anchors: Optional[OfficialAnchors] = None,
                 update_every: int = 40, landmark_size: int = 112) -> None:
        self.model, self.landmark_net, self.optimizer = model, landmark_net, optimizer
        self.anchors, self.update_every = anchors, update_every
        self.landmark_size = landmark_size

    def __call__(self, clips: Tensor, labels: Tensor, epoch: int = 0) -> float:
        """Loss of a batch before the step.

        Args:
            clips (Tensor): (B, 3, T, H, W), normalised.
            labels (Tensor): (B,) class ids.
            epoch (int): Counted from 0.
        """
        self.model.train()
        landmarks = landmarks_of(self.landmark_net, clips, self.landmark_size)
        logits, features = self.model(clips, landmarks)
        loss = F.cross_entropy(logits, labels)
        if self.anchors is not None and epoch > 20:
            targets = torch.stack([self.anchors.target(feature.detach())
                                   for feature in features])
            loss = loss + sdl_weight(epoch) * F.binary_cross_entropy_with_logits(logits, targets)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        if self.anchors is not None and anchors_update(epoch, self.update_every):
            with torch.no_grad():
                logits, features = self.model(clips, landmarks)
                for feature, scores, label in zip(features, logits, labels.tolist()):
                    self.anchors.push(feature, scores, label)
        return loss.item()
