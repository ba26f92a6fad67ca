"""Prompts made of what two views of a face have to say to each other (S2D)."""

import torch
from torch import Tensor, nn


class LandmarkPrompter(nn.Module):
    """Multi-view complementary prompter, MCP (S2D, arXiv 2312.05447).

    Both views are reduced to a few channels. The image view is weighted by how much each place
    stands out, a softmax over the places of each channel; the sum of the two views, back at full
    width, is the prompt.

    Args:
        embed_dims (int): Channels C of the tokens.
        hidden_dims (int): Channels to which they are reduced, 8 in the paper.
    """

    def __init__(self, embed_dims: int, hidden_dims: int = 8) -> None:
        super().__init__()
        self.image_down = nn.Linear(embed_dims, hidden_dims)
        self.landmark_down = nn.Linear(embed_dims, hidden_dims)
        self.up = nn.Linear(hidden_dims, embed_dims)
        self.sharpness = nn.Parameter(torch.full((1, ), 10.))
        for layer in (self.image_down, self.landmark_down, self.up):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, image: Tensor, landmark: Tensor) -> Tensor:
        """Prompt of each place.

        Args:
            image (Tensor): (M, L, C), normalised image tokens.
            landmark (Tensor): (M, L, C), normalised landmark tokens of the same places.

        Returns:
            Tensor: (M, L, C).
        """
        seen = self.image_down(image)
        seen = (self.sharpness * seen).softmax(dim=1) * seen
        return self.up(seen + self.landmark_down(landmark))
