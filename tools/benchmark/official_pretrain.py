"""A plain restatement of the official pre-training step's model and loss, to measure against.

The computation of S4D's pretrain/omnivision (models/videomae_pretraining.py, losses/mae_loss.py),
in our own words: every tubelet is embedded before the masked ones are dropped, attention is
explicit, and all tokens are decoded and scored before the mask selects. The names of the tensors
are those of the official checkpoints.
"""

from typing import Tuple

import torch
from official_backbone import Attention
from torch import Tensor, nn

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet, RGB, 0..1


def sinusoid_table(num_tokens: int, dim: int) -> Tensor:
    """Positions (1, L, C), float32: sines on even channels, cosines on odd ones.

    Args:
        num_tokens (int): L; the position is the index of the flattened (t, h, w) grid.
        dim (int): C.
    """
    channel = torch.arange(dim)
    rate = 10000**(2 * (channel // 2).double() / dim)
    angle = torch.arange(num_tokens).unsqueeze(1) / rate
    return torch.where(channel % 2 == 0, angle.sin(), angle.cos()).float().unsqueeze(0)


def pixel_target(clips: Tensor, tubelet: int, patch: int) -> Tensor:
    """What is to be predicted: pixels, normalised within each tubelet and channel.

    Args:
        clips (Tensor): (B, 3, T, H, W), normalised by the mean and deviation of ImageNet.
        tubelet (int): Frames of a token.
        patch (int): Height and width of a token.

    Returns:
        Tensor: (B, L, tubelet * patch * patch * 3), values in (frame, row, column, channel) order.
    """
    mean, std = (clips.new_tensor(values).view(1, 3, 1, 1, 1) for values in (MEAN, STD))
    pixels = clips * std + mean
    tokens = pixels.unfold(2, tubelet, tubelet).unfold(3, patch, patch).unfold(4, patch, patch)
    tokens = tokens.permute(0, 2, 3, 4, 5, 6, 7, 1).flatten(4, 6).flatten(1, 3)  # (B, L, pixel, 3)
    scale = (tokens.var(dim=2, keepdim=True) + 1e-6).sqrt()
    return ((tokens - tokens.mean(dim=2, keepdim=True)) / scale).flatten(2)


class MLP(nn.Module):
    """Two layers, four times as wide inside."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        return self.fc2(nn.functional.gelu(self.fc1(x)))


class Block(nn.Module):
    """Pre-norm block."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps=1e-6), nn.LayerNorm(dim, eps=1e-6)
        self.attn, self.mlp = Attention(dim, num_heads), MLP(dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Encoder(nn.Module):
    """ViT over the visible tubelets; see :class:`OfficialPretrain` for the arguments."""

    def __init__(self, dim: int, depth: int, num_heads: int, num_tokens: int, patch: int,
                 tubelet: int) -> None:
        super().__init__()
        kernel = (tubelet, patch, patch)
        self.patch_embed = nn.ModuleDict(dict(proj=nn.Conv3d(3, dim, kernel, kernel)))
        self.positions = sinusoid_table(num_tokens, dim)
        self.blocks = nn.ModuleList(Block(dim, num_heads) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=1e-6)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Clips (B, 3, T, H, W) and masks (B, L) -> features of visible tokens (B, K, C)."""
        x = self.patch_embed['proj'](x).flatten(2).transpose(1, 2)
        x = add_positions(x, self.positions)
        x = x[~mask].reshape(len(x), -1, x.shape[-1])
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


class Decoder(nn.Module):
    """ViT over all tokens, and the layer that predicts the pixels of each."""

    def __init__(self, dim: int, depth: int, num_heads: int, num_values: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(dim, num_heads) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.head = nn.Linear(dim, num_values)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, C) -> (B, L, values)."""
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


class OfficialPretrain(nn.Module):
    """Masked autoencoder of clips and images; its output is the loss.

    Args:
        dim (int), depth (int), num_heads (int): Width, blocks and attention heads of the encoder.
        decoder_dim (int), decoder_depth (int), decoder_heads (int): Those of the decoder.
        grid (tuple[int, int, int]): Tokens of a clip along time, height and width.
        patch (int): Height and width of a token in pixels.
        tubelet (int): Frames of a token.
    """

    def __init__(self, dim: int = 768, depth: int = 12, num_heads: int = 12,
                 decoder_dim: int = 384, decoder_depth: int = 4, decoder_heads: int = 6,
                 grid: Tuple[int, int, int] = (8, 10, 10), patch: int = 16,
                 tubelet: int = 2) -> None:
        super().__init__()
        self.patch, self.tubelet = patch, tubelet
        num_tokens = grid[0] * grid[1] * grid[2]
        self.encoder = Encoder(dim, depth, num_heads, num_tokens, patch, tubelet)
        self.decoder = Decoder(decoder_dim, decoder_depth, decoder_heads, 3 * tubelet * patch**2)
        self.encoder_to_decoder = nn.Linear(dim, decoder_dim, bias=False)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, decoder_dim))
        self.positions = sinusoid_table(num_tokens, decoder_dim)

    def forward(self, clips: Tensor, mask: Tensor) -> Tensor:
        """Loss of one batch.

        Args:
            clips (Tensor): (B, 3, T, H, W), [0, 1] normalised by the mean and deviation of
                ImageNet; T = 1 for images, which take the positions of the first time slot.
            mask (Tensor): (B, L) bool, True where masked; as many in each row.

        Returns:
            Tensor: Scalar, the mean over the masked tokens of their mean squared error.
        """
        if clips.shape[2] == 1:
            clips = clips.repeat(1, 1, self.tubelet, 1, 1)
        visible = self.encoder_to_decoder(self.encoder(clips, mask))
        tokens = visible.new_empty(*mask.shape, visible.shape[-1])
        tokens[mask] = self.mask_token.to(tokens.dtype)
        tokens[~mask] = visible.flatten(0, 1)
        prediction = self.decoder(add_positions(tokens, self.positions))
        error = (prediction - pixel_target(clips, self.tubelet, self.patch))**2
        return (error.mean(dim=-1) * mask).sum() / mask.sum()


def add_positions(tokens: Tensor, table: Tensor) -> Tensor:
    """Tokens (B, L, C) plus the first L rows of a table, which is copied to them every time."""
    return tokens + table[:, :tokens.shape[1]].expand_as(tokens).to(tokens).clone().detach()
