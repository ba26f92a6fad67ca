"""Figures of what the experts do."""
from typing import Sequence

import numpy as np
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure


def routing_heat_map(shares: np.ndarray, row_names: Sequence[str], title: str) -> Figure:
    """Draw which share of its assignments each row gives to each expert.

    White is the uniform share 1 / E, red is more and blue is less; a cell shows the share in
    percent.

    Args:
        shares (np.ndarray): (R, E) in [0, 1], E > 1; each row sums to one.
        row_names (Sequence[str]): R names.
        title (str): heading.

    Returns:
        Figure: one axes with R x E texts in row-major order, and a colour bar.

    Raises:
        ValueError: ``shares`` is not (R, E) with E > 1 for the R names, or a row does not sum to
            one.
    """
    shares = np.asarray(shares, float)
    if shares.ndim != 2 or shares.shape[1] < 2 or len(shares) != len(row_names):
        raise ValueError(f'shares has shape {shares.shape}, expected ({len(row_names)}, E) with '
                         f'E > 1 for the rows {list(row_names)}')
    if (shares < 0).any() or not np.allclose(shares.sum(1), 1):
        raise ValueError(f'shares must not be negative and each row must sum to 1, found sums '
                         f'{shares.sum(1).round(4).tolist()}')
    num_rows, num_experts = shares.shape
    uniform = 1 / num_experts
    norm = TwoSlopeNorm(uniform, vmin=0, vmax=max(2 * uniform, shares.max()))
    fig = Figure(figsize=(3.6 + 0.72 * num_experts, 1.5 + 0.36 * num_rows), layout='constrained')
    ax = fig.add_subplot()
    image = ax.imshow(shares, norm=norm, cmap='RdBu_r', aspect='auto')
    brightness = image.to_rgba(shares)[..., :3] @ [0.299, 0.587, 0.114]  # ITU-R BT.601
    for (row, expert), share in np.ndenumerate(shares):
        ax.text(expert, row, f'{share * 100:.1f}', ha='center', va='center', fontsize=8.5,
                color='white' if brightness[row, expert] < 0.5 else 'black')
    ax.set_yticks(range(num_rows), row_names)
    ax.set_xticks(range(num_experts), [f'expert {index}' for index in range(num_experts)],
                  rotation=40, ha='right', rotation_mode='anchor')
    ax.set_title(title, fontsize=10)
    bar = fig.colorbar(image, ax=ax, label="share of the row's assignments (%)",
                       ticks=[0, uniform, norm.vmax])
    bar.ax.set_yticklabels(['0', f'{uniform * 100:.1f}', f'{norm.vmax * 100:.1f}'])
    return fig
