"""Training curves from the scalars that MMEngine writes."""
import json
from os import PathLike
from pathlib import Path
from typing import Callable, Dict, List, Sequence, Tuple, Union

from matplotlib.axes import Axes
from matplotlib.figure import Figure

Curve = Dict[int, float]  # step -> value

# title, axis, kind of record, which names
PANELS: Sequence[Tuple[str, str, str, Callable[[str], bool]]] = (
    ('losses in training', 'step', 'train', lambda name: name.startswith('loss')),
    ('WAR and UAR in validation', 'epoch', 'val', lambda name: name.endswith(('/WAR', '/UAR'))),
    ('losses in validation', 'epoch', 'val', lambda name: name.endswith(('/NLL', '/rec_loss'))),
    ('learning rate', 'step', 'train', lambda name: name == 'lr'))


def scalar_files(work_dir: Union[str, PathLike]) -> List[Path]:
    """The files of scalars of all runs in a work directory, oldest first."""
    return sorted(Path(work_dir).glob('*/vis_data/scalars.json'))


def read_scalars(paths: Sequence[Union[str, PathLike]]) -> Dict[str, Dict[str, Curve]]:
    """Read ``vis_data/scalars.json`` of one or, after resuming, several runs.

    From its first step on, a later file takes the place of those before it.

    Args:
        paths (Sequence[str | PathLike]): oldest first.

    Returns:
        dict[str, dict[str, Curve]]: 'train' (by step) and 'val' (by epoch) -> name -> curve.

    Raises:
        ValueError: a line is no JSON object with a step.
    """
    curves: Dict[str, Dict[str, Curve]] = dict(train={}, val={})
    for path in paths:
        found: Dict[str, Dict[str, Curve]] = dict(train={}, val={})
        # what follows the last line end was being written when the run was stopped
        lines = Path(path).read_text(encoding='utf-8').split('\n')[:-1]
        for number, line in enumerate(lines, 1):
            try:
                record = json.loads(line)
                step = record.pop('step')
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise ValueError(f'{path}, line {number}: expected a JSON object with a step, '
                                 f'found {line[:80]!r}') from error
            # LoggerHook names the epoch of training steps only
            kind = 'train' if 'epoch' in record else 'val'
            if any(name.startswith('routing/') for name in record):
                continue  # RoutingHook's, by step, and not drawn here
            for name, value in record.items():
                found[kind].setdefault(name, {})[step] = value
        for kind, names in found.items():
            steps = [step for curve in names.values() for step in curve]
            for curve in curves[kind].values() if steps else ():
                for step in [step for step in curve if step >= min(steps)]:
                    del curve[step]
            for name, curve in names.items():
                curves[kind].setdefault(name, {}).update(curve)
    return curves


def training_curves_figure(curves: Dict[str, Dict[str, Curve]], title: str) -> Figure:
    """Draw losses, validation scores and the learning rate of a training.

    Args:
        curves (dict): from :func:`read_scalars`.
        title (str): heading.

    Returns:
        Figure: one axes for each of these of which there are values.

    Raises:
        ValueError: there are none at all.
    """
    panels = []
    for heading, axis, kind, wanted in PANELS:
        names = {name: curve for name, curve in curves[kind].items() if wanted(name) and curve}
        if names:
            panels.append((heading, axis, names))
    if not panels:
        raise ValueError('there is no loss, score or learning rate to draw; found '
                         f'{ {kind: sorted(names) for kind, names in curves.items()} }')
    rows = -(-len(panels) // 2)
    fig = Figure(figsize=(11 if len(panels) > 1 else 6, 3.6 * rows), layout='constrained')
    fig.suptitle(title)
    axes = fig.subplots(rows, min(2, len(panels)), squeeze=False).ravel()
    for ax, (heading, axis, names) in zip(axes, panels):
        _draw(ax, names)
        ax.set(title=heading, xlabel=axis)
    for ax in axes[len(panels):]:
        ax.remove()
    return fig


def _draw(ax: Axes, names: Dict[str, Curve]) -> None:
    colours: Dict[str, str] = {}  # WAR and UAR of a task share one
    for name, curve in names.items():
        steps = sorted(curve)
        task, _, what = name.rpartition('/')
        colour = colours.setdefault(task or name, f'C{len(colours)}')
        ax.plot(steps, [curve[step] for step in steps], '--' if what == 'UAR' else '-', label=name,
                color=colour, linewidth=1.4, marker='o' if len(steps) < 20 else None, markersize=4,
                markerfacecolor='white' if what == 'UAR' else colour)
    if len(names) > 1:
        ax.legend(fontsize=8)
    ax.grid(alpha=0.3)
    ax.spines[['top', 'right']].set_visible(False)
