"""Figures of results. Each function returns a matplotlib Figure; ``fig.savefig(path)`` writes it.

Figures are made without pyplot: they need no display, and nothing has to be closed.
"""
from typing import NamedTuple, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from unilearn_mm.evaluation.bootstrap import proportion_interval
from unilearn_mm.evaluation.expression_scores import per_class_recall, uar

CORRECT_COLOUR, WRONG_COLOUR, OTHER_COLOUR = '#1b7837', '#c2410c', '#b8bec8'
BAR_COLOUR = '#4878a8'
MAX_FRAMES = 6


class PredictionSample(NamedTuple):
    """One clip or image with its label and prediction.

    Attributes:
        frames (np.ndarray): (T, H, W, 3) uint8 RGB, T >= 1.
        label (str): name of the true class, one of ``class_names``.
        prediction (str): name of the predicted class, one of ``class_names``.
        probabilities (np.ndarray): (K,) in [0, 1].
        class_names (Sequence[str]): K names in id order.
    """
    frames: np.ndarray
    label: str
    prediction: str
    probabilities: np.ndarray
    class_names: Sequence[str]


def confusion_matrix_figure(confusion: np.ndarray, class_names: Sequence[str],
                            title: str) -> Figure:
    """Draw a confusion matrix, coloured by the share of each row.

    A cell shows the percentage of its row and the count below. The row of a class that does not
    occur as a label is grey and has no percentages.

    Args:
        confusion (np.ndarray): (K, K) non-negative integer counts, row = label, column =
            prediction.
        class_names (Sequence[str]): K names in id order.
        title (str): heading.

    Returns:
        Figure: one axes with K x K texts in row-major order, and a colour bar.

    Raises:
        ValueError: ``confusion`` is not (K, K) for the K class names, or has a negative count.
    """
    confusion = np.asarray(confusion)
    num_classes = len(class_names)
    if confusion.shape != (num_classes, num_classes):
        raise ValueError(f'confusion has shape {confusion.shape}, expected '
                         f'({num_classes}, {num_classes}) for the classes {list(class_names)}')
    if (confusion < 0).any():
        raise ValueError(f'confusion holds a negative count: {confusion.min()}')
    totals = confusion.sum(axis=1)
    shares = np.divide(confusion, totals[:, None], where=totals[:, None] > 0,
                       out=np.full(confusion.shape, np.nan))
    fig = Figure(figsize=(3.4 + 0.72 * num_classes, 1.6 + 0.72 * num_classes),
                 layout='constrained')
    ax = fig.add_subplot()
    image = ax.imshow(shares * 100, vmin=0, vmax=100,
                      cmap=colormaps['Blues'].with_extremes(bad='#e5e5e5'))
    for (row, column), count in np.ndenumerate(confusion):
        share = shares[row, column]
        text = str(count) if np.isnan(share) else f'{share * 100:.1f}%\n{count}'
        ax.text(column, row, text, ha='center', va='center', fontsize=8.5,
                color='white' if share > 0.6 else 'black')
    rows = [f'{name} (n={total})' for name, total in zip(class_names, totals)]
    ax.set_yticks(range(num_classes), rows)
    ax.set_xticks(range(num_classes), class_names, rotation=40, ha='right', rotation_mode='anchor')
    ax.set(xlabel='prediction', ylabel='label', title=title)
    fig.colorbar(image, ax=ax, label="share of the label's samples (%)")
    return fig


def recall_figure(confusion: np.ndarray, class_names: Sequence[str], title: str) -> Figure:
    """Draw the recall of each class with its 95 % Wilson interval, and UAR as a line.

    A class that does not occur as a label has no bar.

    Args:
        confusion (np.ndarray): (K, K) counts, row = label, column = prediction.
        class_names (Sequence[str]): K names in id order.
        title (str): heading.

    Returns:
        Figure: one axes, classes from top to bottom.

    Raises:
        ValueError: ``confusion`` is not square or holds no sample.
    """
    recall = per_class_recall(confusion)
    totals = np.asarray(confusion).sum(axis=1)
    bounds = np.array([proportion_interval(correct, total)
                       for correct, total in zip(np.diag(confusion), totals)])
    places = np.arange(len(class_names))
    fig = Figure(figsize=(6.2, 1.5 + 0.4 * len(class_names)), layout='constrained')
    ax = fig.add_subplot()
    ax.barh(places, np.nan_to_num(recall * 100), color=BAR_COLOUR, height=0.7)
    known = totals > 0
    arms = np.abs(bounds.T - recall)[:, known] * 100
    ax.errorbar(recall[known] * 100, places[known], xerr=arms, fmt='none', ecolor='black',
                capsize=3, linewidth=1)
    for place, value in zip(places, recall):
        ax.text(104, place, 'no sample' if np.isnan(value) else f'{value:.1%}', va='center',
                fontsize=8.5)
    mean = float(uar(confusion)) * 100
    ax.axvline(mean, linestyle='--', color=WRONG_COLOUR, linewidth=1)
    ax.text(mean, -0.62, f'UAR {mean:.1f}%', color=WRONG_COLOUR, fontsize=8, ha='center',
            va='bottom')
    ax.set_yticks(places, [f'{name} (n={total})' for name, total in zip(class_names, totals)])
    ax.set(xlim=(0, 118), ylim=(len(places) - 0.4, -0.6), xticks=range(0, 101, 20),
           xlabel='recall (%) with 95 % interval')
    ax.set_title(title, pad=16)
    ax.spines[['top', 'right']].set_visible(False)
    return fig


def prediction_strip_figure(samples: Sequence[PredictionSample]) -> Figure:
    """Draw frames and probabilities of some samples, one row each.

    A row shows up to six evenly spaced frames and a bar of each class's probability; an arrow
    marks the true class. A heading says in words and colour whether the prediction is correct.

    Args:
        samples (Sequence[PredictionSample]): at least one; plain tuples of the same five items
            serve too.

    Returns:
        Figure: one subfigure per sample, whose axes are the frames and then the bars.

    Raises:
        ValueError: no sample, or a sample with frames that are not (T, H, W, 3) uint8, other
            than K probabilities in [0, 1], or a label or prediction that is no class name.
    """
    samples = [PredictionSample(*sample) for sample in samples]
    if not samples:
        raise ValueError('samples is empty: there is nothing to draw')
    for index, sample in enumerate(samples):
        _check_sample(index, sample)
    heights = [max(1.9, 0.75 + 0.17 * len(sample.class_names)) for sample in samples]
    fig = Figure(figsize=(11.5, sum(heights)), layout='constrained')
    rows = fig.subfigures(len(samples), 1, height_ratios=heights, squeeze=False)
    for sample, (row, ) in zip(samples, rows):
        _draw_sample(row, sample)
    return fig


def _draw_sample(row: SubFigure, sample: PredictionSample) -> None:
    correct = sample.label == sample.prediction
    verdict = '\u2713 correct' if correct else '\u2717 wrong'
    colour = CORRECT_COLOUR if correct else WRONG_COLOUR
    row.suptitle(f'{verdict}    label: {sample.label}    prediction: {sample.prediction}',
                 x=0.01, ha='left', color=colour, fontsize=10, fontweight='bold')
    grid = row.add_gridspec(1, MAX_FRAMES + 1, width_ratios=[1] * MAX_FRAMES + [2.2])
    num_frames = min(MAX_FRAMES, len(sample.frames))
    chosen = np.linspace(0, len(sample.frames) - 1, num_frames).round().astype(int)
    for column, index in enumerate(chosen):
        ax = row.add_subplot(grid[column])
        ax.imshow(sample.frames[index])
        ax.set(xticks=[], yticks=[])
        ax.set_xlabel(f'frame {index}', fontsize=7, labelpad=2)
        ax.spines[:].set(color=colour, linewidth=2)
    _draw_probabilities(row.add_subplot(grid[MAX_FRAMES]), sample, colour)


def _draw_probabilities(ax: Axes, sample: PredictionSample, colour: str) -> None:
    names = list(sample.class_names)
    colours = [colour if name == sample.prediction else OTHER_COLOUR for name in names]
    bars = ax.barh(range(len(names)), sample.probabilities, color=colours)
    ax.bar_label(bars, fmt='%.2f', fontsize=7, padding=2)
    ticks = [f'label \u25b6 {name}' if name == sample.label else name for name in names]
    ax.set_yticks(range(len(names)), ticks, fontsize=7.5)
    ax.get_yticklabels()[names.index(sample.label)].set_fontweight('bold')
    ax.set(xlim=(0, 1.18), xticks=[])
    ax.invert_yaxis()
    ax.spines[['top', 'right', 'bottom']].set_visible(False)


def _check_sample(index: int, sample: PredictionSample) -> None:
    frames, probabilities = np.asarray(sample.frames), np.asarray(sample.probabilities)
    if frames.ndim != 4 or frames.shape[-1] != 3 or not len(frames) or frames.dtype != np.uint8:
        raise ValueError(f'sample {index}: frames are {frames.dtype} of shape {frames.shape}, '
                         'expected uint8 RGB of shape (T, H, W, 3) with T >= 1')
    num_classes = len(sample.class_names)
    if probabilities.shape != (num_classes, ):
        raise ValueError(f'sample {index}: probabilities have shape {probabilities.shape}, '
                         f'expected ({num_classes},) for the classes {list(sample.class_names)}')
    if not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise ValueError(f'sample {index}: probabilities must lie in [0, 1], found '
                         f'{probabilities.tolist()}')
    for what, name in (('label', sample.label), ('prediction', sample.prediction)):
        if name not in sample.class_names:
            raise ValueError(f'sample {index}: {what} {name!r} is none of the classes '
                             f'{list(sample.class_names)}')
