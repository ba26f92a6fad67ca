"""Figures of confidence: the reliability diagram, and what abstention gains."""
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from unilearn_mm.evaluation.calibration import (
    ReliabilityBins,
    RiskCoverage,
    expected_calibration_error,
)

BAR_COLOUR, GAP_COLOUR, LINE_COLOUR = '#4878a8', '#e07b39', '#6b7280'


def reliability_figure(bins: ReliabilityBins, title: str) -> Figure:
    """Draw accuracy against confidence, and how many predictions each bin holds.

    A bar is the accuracy of a bin; the hatched part is the gap to its mean confidence. It stands
    above the bar where the model is too sure of itself, inside where it is not sure enough.

    Args:
        bins (ReliabilityBins): from ``reliability_bins``.
        title (str): heading; the ECE is added.

    Returns:
        Figure: two axes, the diagram and the histogram.
    """
    fig = Figure(figsize=(5.2, 6.2), layout='constrained')
    top, bottom = fig.subplots(2, 1, height_ratios=[3, 1], sharex=True)
    filled = bins.counts > 0
    left, width = bins.edges[:-1][filled], np.diff(bins.edges)[filled]
    accuracy, confidence = bins.accuracy[filled], bins.confidence[filled]
    style = dict(width=width, align='edge', linewidth=0.8)
    top.bar(left, accuracy, color=BAR_COLOUR, edgecolor='white', label='accuracy', **style)
    top.bar(left, confidence - accuracy, bottom=accuracy, color='none', edgecolor=GAP_COLOUR,
            hatch='///', label='gap to the mean confidence', **style)
    top.plot([0, 1], [0, 1], '--', color='black', linewidth=1, label='perfect calibration')
    top.set(xlim=(0, 1), ylim=(0, 1), ylabel='accuracy',
            title=f'{title}: ECE {expected_calibration_error(bins):.1%}')
    top.yaxis.set_major_formatter(PercentFormatter(1))
    top.legend(loc='upper left', fontsize=8)
    bottom.bar(left, bins.counts[filled], color=BAR_COLOUR, edgecolor='white', **style)
    bottom.set(xlabel='confidence of the predicted class', ylabel='predictions')
    bottom.xaxis.set_major_formatter(PercentFormatter(1))
    for ax in (top, bottom):
        ax.spines[['top', 'right']].set_visible(False)
    return fig


def risk_coverage_figure(curve: RiskCoverage, title: str) -> Figure:
    """Draw the error rate among the most confident predictions for every share of them.

    Beside it stand the error rate of all predictions, which abstaining at random keeps, and the
    curve of an ideal confidence, which ranks all errors last.

    Args:
        curve (RiskCoverage): from ``risk_coverage``.
        title (str): heading; the area under the curve is added.

    Returns:
        Figure: one axes with three lines: the curve, ideal, random.
    """
    fig = Figure(figsize=(5.6, 4.2), layout='constrained')
    ax = fig.add_subplot()
    error = curve.risk[-1]
    ideal = np.linspace(0.002, 1, 500)
    ax.plot(curve.coverage, curve.risk, color=BAR_COLOUR, linewidth=2, label='by confidence',
            drawstyle='steps-post' if len(curve.coverage) > 1 else 'default', marker='.',
            markersize=3 if len(curve.coverage) > 50 else 7)
    ax.plot(ideal, np.maximum(0, 1 - (1 - error) / ideal), ':', color=LINE_COLOUR,
            label='ideal: all errors withheld first')
    ax.plot([0, 1], [error, error], '--', color=LINE_COLOUR, linewidth=1,
            label=f'at random: {error:.1%}')
    ax.set(xlim=(0, 1), ylim=(0, max(0.05, 1.4 * curve.risk.max())),
           xlabel='coverage: share of the samples that is answered',
           ylabel='risk: errors among them', title=f'{title}: AURC {curve.area:.3f}')
    ax.xaxis.set_major_formatter(PercentFormatter(1))
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.legend(fontsize=8, loc='upper left')
    ax.spines[['top', 'right']].set_visible(False)
    return fig
