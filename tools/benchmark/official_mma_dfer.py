"""A plain restatement of MMA-DFER's official computation, to measure against.

Written from the paper (arXiv 2404.09010) and a description of the published model, in our own
words: explicit attention, every token of the last layers computed, unused parameters carried along.
The names of the tensors are those of the published checkpoints.
"""

from typing import Iterator, NamedTuple, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Sizes(NamedTuple):
    """What the official code writes as numbers; see the fields' comments."""
    dim: int = 768  # channels of both ViTs
    depth: int = 12  # their layers
    num_heads: int = 12
    patch: int = 16  # pixels, and frames or mel bins
    image: Tuple[int, int] = (14, 14)  # patches: 224 x 224 pixels
    sound: Tuple[int, int] = (32, 8)  # patches: 512 frames of 128 mel bins
    frames: int = 16
    num_classes: int = 7
    prompts: int = 3  # of a group
    every: int = 6  # layers that share a group
    latent: int = 128  # channels of the bottlenecks
    temporal_dim: int = 512
    temporal_heads: int = 8
    temporal_hidden: int = 1024
    drop_path: float = 0.1  # of the last layer


FULL = Sizes()


class Attention(nn.Module):
    """Explicit softmax(q k^T) v."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        batch, num, dim = x.shape
        q, k, v = self.qkv(x).reshape(batch, num, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-2, -1) * (dim // self.num_heads)**-0.5).softmax(dim=-1)
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
    """Pre-norm block of timm's ViT, with stochastic depth."""

    def __init__(self, dim: int, num_heads: int, drop_path: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps=1e-6), nn.LayerNorm(dim, eps=1e-6)
        self.attn, self.mlp = Attention(dim, num_heads), MLP(dim)
        self.drop_path = drop_path

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        x = x + self.kept(self.attn(self.norm1(x)))
        return x + self.kept(self.mlp(self.norm2(x)))

    def kept(self, branch: Tensor) -> Tensor:
        """A branch (B, N, C), without some of its samples."""
        if not self.training or not self.drop_path:
            return branch
        draws = torch.rand((len(branch), 1, 1), dtype=branch.dtype, device=branch.device)
        return branch / (1 - self.drop_path) * (draws >= self.drop_path)


class Encoder(nn.Module):
    """A ViT with prompts and its part of the bottlenecks."""

    def __init__(self, sizes: Sizes, channels: int, grid: Tuple[int, int], classes: int) -> None:
        super().__init__()
        dim, depth = sizes.dim, sizes.depth
        groups = depth // sizes.every
        self.prompts, self.every = sizes.prompts, sizes.every
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        rows = 1 + grid[0] * grid[1] + groups * sizes.prompts
        self.pos_embed = nn.Parameter(torch.randn(1, rows, dim))
        self.learnable_prompts_init = nn.Parameter(
            torch.randn(groups * sizes.prompts, dim) * dim**-0.5)
        self.learnable_prompts_progr = nn.ParameterList(
            torch.randn(sizes.prompts, dim) * dim**-0.5 for _ in range(groups))
        self.patch_embed = nn.ModuleDict(dict(
            proj=nn.Conv2d(channels, dim, sizes.patch, sizes.patch)))
        self.blocks = nn.ModuleList(
            Block(dim, sizes.num_heads, sizes.drop_path * index / (depth - 1))
            for index in range(depth))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.head = nn.Linear(dim, classes)  # never used
        self.temporal_att_post = nn.ModuleList(
            nn.ModuleList([nn.Linear(sizes.latent, dim)]) for _ in range(depth))
        self.all_gate = nn.ParameterList(torch.zeros(1) for _ in range(depth))

    def embed(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) -> (B, N, C): class token, patches, prompts."""
        x = self.patch_embed['proj'](x).flatten(2).transpose(1, 2)
        x = torch.cat((self.cls_token.expand(len(x), -1, -1), x,
                       self.learnable_prompts_init.expand(len(x), -1, -1)), dim=1)
        return x + self.pos_embed

    def fuse(self, index: int, x: Tensor, z: Tensor) -> Tensor:
        """Tokens (B, N, C) after layer ``index`` and what is in its bottleneck, (B, N, d)."""
        seen = F.gelu(self.temporal_att_post[index][0](z))
        x = x + self.all_gate[index].tanh() * seen
        if index % self.every:
            return x
        group, prompts = index // self.every, len(self.learnable_prompts_init)
        own = torch.zeros_like(self.learnable_prompts_init)
        start = group * self.prompts
        offset = torch.cat((own[:start], self.learnable_prompts_progr[group],
                            own[start + self.prompts:]))
        return torch.cat((x[:, :-prompts], x[:, -prompts:] + offset), dim=1)


class Twice(nn.Module):
    """What ``layers.N.M`` is: a residual branch with a norm, and one more norm for nothing."""

    def __init__(self, dim: int, inner: nn.Module) -> None:
        super().__init__()
        self.fn = nn.ModuleDict(dict(norm=nn.LayerNorm(dim), norm2=nn.LayerNorm(dim), fn=inner))

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        return x + self.fn['fn'](self.fn['norm'](x))


class TemporalAttention(nn.Module):
    """Attention without bias but in its output."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.to_q = nn.Linear(dim, dim, bias=False)
        self.to_kv = nn.Linear(dim, 2 * dim, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(dim, dim)])

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        heads = [part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
                 for part in (self.to_q(x), *self.to_kv(x).chunk(2, dim=-1))]
        weights = (heads[0] @ heads[1].transpose(-2, -1) * heads[0].shape[-1]**-0.5).softmax(-1)
        return self.to_out[0]((weights @ heads[2]).transpose(1, 2).flatten(2))


class TemporalMLP(nn.Module):
    """Two layers and GELU by tanh; the places between them are those of layers without values."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.net = nn.ModuleDict({'0': nn.Linear(dim, hidden), '3': nn.Linear(hidden, dim)})

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        return self.net['3'](F.gelu(self.net['0'](x), approximate='tanh'))


class TemporalNet(nn.Module):
    """A layer over a class token and the frames; its output is the class token."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        dim = sizes.temporal_dim
        self.cls_token = nn.Parameter(torch.randn(1, 1, dim))
        self.pos_embedding = nn.Parameter(torch.randn(1, 1 + sizes.frames, dim))
        layer = nn.ModuleList([Twice(dim, TemporalAttention(dim, sizes.temporal_heads)),
                               Twice(dim, TemporalMLP(dim, sizes.temporal_hidden))])
        self.temporal_transformer = nn.ModuleDict(dict(layers=nn.ModuleList([layer])))

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, C)."""
        x = torch.cat((self.cls_token.expand(len(x), -1, -1), x), dim=1) + self.pos_embedding
        for attend, transform in self.temporal_transformer['layers']:
            x = transform(attend(x))
        return x[:, 0]


class OfficialMMADFER(nn.Module):
    """Both encoders, the bottlenecks, the temporal net and its classifier.

    Args:
        sizes (Sizes): Numbers of the official code, or smaller ones.
    """

    def __init__(self, sizes: Sizes = FULL) -> None:
        super().__init__()
        self.depth = sizes.depth
        self.image_encoder = Encoder(sizes, 3, sizes.image, classes=12)
        self.audio_model = Encoder(sizes, 1, sizes.sound, classes=1000)
        # the bottleneck of the sound belongs to the encoder of the images too
        image, dim, latent = self.image_encoder, sizes.dim, sizes.latent
        image.audio_proj_pre = nn.ModuleList(
            nn.Sequential(nn.Linear(dim, latent), nn.LayerNorm(latent))
            for _ in range(sizes.depth))
        image.temporal_pre = nn.ModuleList(nn.Linear(dim, latent) for _ in range(sizes.depth))
        image.temporal_pre_norm = nn.ModuleList(nn.LayerNorm(latent) for _ in range(sizes.depth))
        self.vision_proj = nn.Linear(dim, sizes.temporal_dim)
        self.temporal_net = TemporalNet(sizes)
        self.our_classifier = nn.Linear(sizes.temporal_dim, sizes.num_classes)
        for encoder in (self.image_encoder, self.audio_model):  # main.py:104-138
            for name, parameter in encoder.named_parameters():
                parameter.requires_grad_(any(part in name for part in (
                    'pos_embed', 'learnable_prompts', 'all_gate', 'temporal_', 'audio_proj_pre')))

    def forward(self, images: Tensor, sound: Tensor) -> Tensor:
        """Logits (B, classes) of clips.

        Args:
            images (Tensor): (B, T, 3, H, W) in [0, 1].
            sound (Tensor): (B, 1, frames, mel bins), normalised.
        """
        frames, see, hear = images.shape[1], self.image_encoder, self.audio_model
        xv, xa = see.embed(images.flatten(0, 1)), hear.embed(sound)
        for index in range(self.depth):
            xa = hear.blocks[index](xa)
            xv = see.blocks[index](xv)
            zv = see.temporal_pre_norm[index](see.temporal_pre[index](xv))
            za = see.audio_proj_pre[index](xa)
            heard = za.mean(dim=1).repeat_interleave(frames, dim=0)[:, None]
            seen = zv.unflatten(0, (-1, frames)).mean(dim=(1, 2))[:, None]
            xv = see.fuse(index, xv, zv + heard)
            xa = hear.fuse(index, xa, za + seen)
        faces = see.norm(xv)[:, 0].unflatten(0, (-1, frames))
        joint = self.vision_proj(faces + hear.norm(xa)[:, 0][:, None])
        return self.our_classifier(self.temporal_net(joint))


class OfficialStep:
    """One iteration: cross entropy and AdamW on everything that is trained.

    Args:
        model (OfficialMMADFER): The model.
        lr (float), weight_decay (float): Of AdamW; biases, norms and gates decay too.
    """

    def __init__(self, model: OfficialMMADFER, lr: float = 1e-4,
                 weight_decay: float = 1e-2) -> None:
        self.model = model
        self.optimizer = torch.optim.AdamW(trained(model), lr=lr, weight_decay=weight_decay)

    def __call__(self, images: Tensor, sound: Tensor, labels: Tensor) -> float:
        """Loss of a batch before the step; labels are (B,) class ids."""
        self.model.train()
        loss = F.cross_entropy(self.model(images, sound), labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()


def trained(model: nn.Module) -> Iterator[nn.Parameter]:
    """The parameters of a model that are trained."""
    return (parameter for parameter in model.parameters() if parameter.requires_grad)
