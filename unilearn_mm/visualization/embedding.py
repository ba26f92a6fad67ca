"""Features in the plane."""
from typing import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

PERPLEXITY = 30
COMPONENTS = 50  # principal components that t-SNE gets, as its authors suggest


def tsne_figure(features: np.ndarray,
                colourings: Mapping[str, Sequence[str]],
                title: str,
                verbose: bool = False) -> Figure:
    """Draw features by t-SNE (van der Maaten and Hinton, JMLR 2008), once for each colouring.

    t-SNE keeps neighbours together; sizes of clusters and distances between them mean nothing. The
    same features give the same picture.

    Args:
        features (np.ndarray): (N, C) float, N >= 4.
        colourings (Mapping[str, Sequence[str]]): heading -> N names, e.g. the class of each
            sample, or its source.
        title (str): heading of the figure.
        verbose (bool): whether the progress is printed.

    Returns:
        Figure: one axes per colouring, whose collections are the names in alphabetical order.

    Raises:
        ValueError: fewer than four samples, features that are not finite, or another number of
            names than samples.
    """
    features = np.asarray(features, np.float64)
    if features.ndim != 2 or len(features) < 4:
        raise ValueError(f'features have shape {features.shape}, expected (N, C) with N >= 4')
    if not np.isfinite(features).all():
        raise ValueError('features are not finite: the model has diverged or overflows')
    for heading, names in colourings.items():
        if len(names) != len(features):
            raise ValueError(f'{heading}: {len(names)} names for {len(features)} samples')
    reduced = PCA(min(COMPONENTS, *features.shape), svd_solver='full').fit_transform(features)
    points = TSNE(init='pca', perplexity=min(PERPLEXITY, (len(features) - 1) / 3),
                  random_state=0, verbose=2 * verbose).fit_transform(reduced)
    fig = Figure(figsize=(6.6 * len(colourings), 5.6), layout='constrained')
    fig.suptitle(title)
    for ax, (heading, names) in zip(fig.subplots(1, len(colourings), squeeze=False)[0],
                                    colourings.items()):
        names = np.asarray(names)
        different = np.unique(names)
        colours = colormaps['tab10' if len(different) <= 10 else 'tab20'].colors
        for index, name in enumerate(different):
            ax.scatter(*points[names == name].T, s=12, color=colours[index % len(colours)],
                       alpha=0.75, linewidths=0, label=name)
        ax.set(title=heading, xticks=[], yticks=[])
        if len(different) <= len(colours):  # else colours repeat
            ax.legend(fontsize=8, loc='center left', bbox_to_anchor=(1, 0.5), frameon=False,
                      markerscale=1.8)
    return fig
