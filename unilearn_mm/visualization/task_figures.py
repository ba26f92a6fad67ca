"""All figures of the predictions of one task."""
from typing import Dict

import numpy as np
from matplotlib.figure import Figure

from unilearn_mm.evaluation.calibration import reliability_bins, risk_coverage
from unilearn_mm.evaluation.expression_scores import TaskScores

from .calibration_figures import reliability_figure, risk_coverage_figure
from .figures import confusion_matrix_figure, recall_figure


def task_figures(task: str, scores: TaskScores, probabilities: np.ndarray,
                 labels: np.ndarray) -> Dict[str, Figure]:
    """Draw what the scores of a task show.

    Args:
        task (str): its name, for the headings.
        scores (TaskScores): its scores.
        probabilities (np.ndarray): (N, K) scores of the samples.
        labels (np.ndarray): (N,) class ids.

    Returns:
        dict[str, Figure]: ``confusion`` and ``recall``; ``reliability`` and ``risk_coverage`` too
        if the scores are probabilities.
    """
    figures = dict(
        confusion=confusion_matrix_figure(
            scores.confusion, scores.class_names,
            f'{task}: WAR {scores.war:.1%}, UAR {scores.uar:.1%}'),
        recall=recall_figure(scores.confusion, scores.class_names, task))
    if scores.ece is not None:
        figures['reliability'] = reliability_figure(reliability_bins(probabilities, labels), task)
        figures['risk_coverage'] = risk_coverage_figure(risk_coverage(probabilities, labels), task)
    return figures
