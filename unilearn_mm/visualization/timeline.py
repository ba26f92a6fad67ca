"""The timeline of a video: the probabilities of the classes over time, a lane for each face."""

from typing import Dict, List, NamedTuple, Sequence, Tuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# one colour per class name, the same in every picture; distinguishable with deficient colour vision
# (Okabe & Ito 2008, and greys)
CLASS_COLOURS = dict(
    neutral='#9aa0a6', happiness='#e69f00', sadness='#0072b2', anger='#c2410c', fear='#7b4fa3',
    disgust='#009e73', surprise='#56b4e9', contempt='#7a5c3e', anxiety='#b8468c',
    disappointment='#4b5563', helplessness='#94a83d')
_OTHERS = ('#cc79a7', '#117733', '#332288', '#ddcc77', '#88ccee', '#aa4499')
MAX_LANES = 12
MIN_WRITTEN = 0.08  # of the duration: shorter stretches have only a colour
THUMBNAILS = 10  # in a lane at the most


class Lane(NamedTuple):
    """One face over time.

    Attributes:
        name (str): What stands at its left.
        times (np.ndarray): (N,) seconds, the middles of its windows, increasing.
        spans (np.ndarray): (N, 2) seconds, begin and end of each window.
        probabilities (np.ndarray): (N, K); NaN where a window was not scored.
        labels (Sequence[str]): N labels, '' where the window has none.
        thumbnails (Sequence[tuple[float, np.ndarray]]): time and (S, S, 3) uint8 RGB crop.
    """
    name: str
    times: np.ndarray
    spans: np.ndarray
    probabilities: np.ndarray
    labels: Sequence[str]
    thumbnails: Sequence[Tuple[float, np.ndarray]]


def colour_of(name: str) -> str:
    """Colour of a class, by its name."""
    return CLASS_COLOURS.get(name) or _OTHERS[sum(name.encode()) % len(_OTHERS)]


def timeline_figure(lanes: Sequence[Lane], classes: Sequence[str], duration: float,
                    title: str) -> Figure:
    """Draw the lanes of a video below each other.

    Each lane has a strip of the labels, with crops of the face, above the curves of all classes.

    Args:
        lanes (Sequence[Lane]): Faces; the first 12 are drawn, and the title says so.
        classes (Sequence[str]): K class names in id order.
        duration (float): Seconds of the whole video; 0 for a picture, whose faces get bars.
        title (str): Heading.

    Returns:
        Figure: Two axes for each lane, and a legend where there are curves.
    """
    drawn = lanes[:MAX_LANES]
    if len(lanes) > MAX_LANES:
        title += f' (the first {MAX_LANES} of {len(lanes)} faces)'
    width = float(np.clip(6 + duration / 4, 8, 24))
    fig = Figure(figsize=(width, 1.2 + 2.7 * max(len(drawn), 1)), layout='constrained')
    fig.suptitle(title, fontsize=11)
    if not drawn:
        ax = fig.add_subplot()
        ax.text(0.5, 0.5, 'no face was scored', ha='center', va='center', fontsize=12,
                transform=ax.transAxes)
        ax.set(xlim=(0, duration or 1), yticks=[], xlabel='time (s)')
        return fig
    if not duration:
        for lane, (left, right) in zip(drawn, fig.subplots(len(drawn), 2, squeeze=False,
                                                           width_ratios=[1, 3])):
            _draw_still(left, right, lane, classes)
        return fig
    axes = fig.subplots(2 * len(drawn), 1, sharex=True, squeeze=False,
                        height_ratios=[1, 2] * len(drawn))[:, 0]
    handles: Dict[str, object] = {}
    for place, lane in enumerate(drawn):
        _draw_faces(axes[2 * place], lane, duration)
        handles.update(_draw_curves(axes[2 * place + 1], lane, classes))
        axes[2 * place + 1].set_ylabel(lane.name)
    axes[-1].set(xlim=(0, duration), xlabel='time (s)')
    fig.legend(handles.values(), handles.keys(), loc='outside lower center',
               ncols=min(len(classes), 8), fontsize=8, frameon=False)
    return fig


def _draw_still(left: Axes, right: Axes, lane: Lane, classes: Sequence[str]) -> None:
    """A face of a picture beside the probabilities of its classes."""
    for _, crop in lane.thumbnails[:1]:
        left.imshow(crop)
    left.axis('off')
    left.set_title(lane.name, fontsize=9)
    known = [place for place in range(len(classes)) if np.isfinite(lane.probabilities[0, place])]
    names = [classes[place] for place in known]
    right.barh(names, lane.probabilities[0, known], color=[colour_of(name) for name in names])
    right.set(xlim=(0, 1), xticks=(0, 0.5, 1))
    right.invert_yaxis()
    right.tick_params(labelsize=8)
    for side in ('right', 'top'):
        right.spines[side].set_visible(False)


def _draw_faces(ax: Axes, lane: Lane, duration: float) -> None:
    """Labels as a coloured strip below a row of crops."""
    borders = (lane.times[1:] + lane.times[:-1]) / 2
    starts = np.maximum(np.r_[lane.spans[:1, 0], borders], lane.spans[:, 0])
    ends = np.minimum(np.r_[borders, lane.spans[-1:, 1]], lane.spans[:, 1])
    for start, end, label in _runs(starts, ends, lane.labels):
        if label:
            ax.axvspan(start, end, ymax=0.16, color=colour_of(label), linewidth=0)
        if label and end - start > MIN_WRITTEN * duration:
            ax.text(start + duration / 200, 0.08, label, fontsize=7, color='white', va='center')
    ax.set(yticks=[], ylim=(0, 1))
    for side in ('left', 'right', 'top'):
        ax.spines[side].set_visible(False)
    ax.tick_params(bottom=False, labelbottom=False)
    for time, crop in _thinned(lane.thumbnails, duration):
        # in axes units across, so that the pictures keep their shape at every width
        inset = ax.inset_axes((time / duration - 0.05, 0.2, 0.1, 0.8))
        inset.imshow(crop)
        inset.axis('off')


def _runs(starts: np.ndarray, ends: np.ndarray,
          labels: Sequence[str]) -> List[Tuple[float, float, str]]:
    """Neighbours of one label as one stretch."""
    runs: List[Tuple[float, float, str]] = []
    for start, end, label in zip(starts.tolist(), ends.tolist(), labels):
        if runs and runs[-1][1:] == (start, label):
            runs[-1] = runs[-1][0], end, label
        else:
            runs.append((start, end, label))
    return runs


def _thinned(thumbnails: Sequence[Tuple[float, np.ndarray]],
             duration: float) -> List[Tuple[float, np.ndarray]]:
    """So many that they do not cover each other."""
    kept: List[Tuple[float, np.ndarray]] = []
    for time, crop in thumbnails:
        if not kept or time - kept[-1][0] >= duration / THUMBNAILS:
            kept.append((time, crop))
    return kept


def _draw_curves(ax: Axes, lane: Lane, classes: Sequence[str]) -> Dict[str, object]:
    handles = {}
    for index, name in enumerate(classes):
        (handles[name], ) = ax.plot(
            lane.times, lane.probabilities[:, index], color=colour_of(name), linewidth=1.6,
            marker='o' if len(lane.times) < 3 else None, markersize=4)
    ax.set(ylim=(-0.02, 1.02), yticks=(0, 0.5, 1))
    ax.grid(axis='y', linewidth=0.4, color='#dddddd')
    for side in ('right', 'top'):
        ax.spines[side].set_visible(False)
    return handles
