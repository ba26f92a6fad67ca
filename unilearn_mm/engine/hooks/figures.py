"""Figures of tests and trainings for the visualizer."""

from typing import Dict, Optional

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from mmaction.registry import HOOKS
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.visualization.utils import img_from_canvas

from unilearn_mm.evaluation.expression_scores import scores_from_predictions
from unilearn_mm.evaluation.prediction_table import task_score_array
from unilearn_mm.evaluation.war_uar_metric import WARUARMetric
from unilearn_mm.visualization.curves import read_scalars, scalar_files, training_curves_figure
from unilearn_mm.visualization.file_names import file_stem
from unilearn_mm.visualization.task_figures import task_figures

DOTS_PER_INCH = 110


@HOOKS.register_module()
class FigureHook(Hook):
    """Give the visualizer figures of each test and of the whole training.

    After a test, of each task: confusion matrix, recalls with intervals and, if the scores are
    probabilities, reliability diagram and risk over coverage, from the table of a
    ``WARUARMetric`` (other metrics are left alone). After a training: losses, validation scores
    and learning rate. The local backend writes them as PNG into ``vis_data/vis_image`` of the
    run; TensorBoard or Weights & Biases show them if they are among the ``vis_backends``.
    """

    def after_test_epoch(self, runner, metrics: Optional[Dict[str, float]] = None) -> None:
        """Draw the predictions."""
        for metric in runner.test_loop.evaluator.metrics:
            table = metric.table if isinstance(metric, WARUARMetric) else None
            if table is None:  # only the main process has it
                continue
            for task, scores in scores_from_predictions(table, metric.label_spaces).items():
                rows = table[table['task'] == task]
                values = task_score_array(rows, len(scores.class_names), 'the test')
                for name, figure in task_figures(task, scores, values,
                                                 rows['label'].to_numpy()).items():
                    _show(runner, f'{file_stem(task)}_{name}', figure, 0)

    def after_train(self, runner) -> None:
        """Draw what was logged, by the runs before this one too if it was resumed."""
        if is_main_process():
            curves = read_scalars(scalar_files(runner.work_dir))
            if curves['train']:
                _show(runner, 'training', training_curves_figure(curves, runner.work_dir),
                      runner.epoch)


def _show(runner, name: str, figure: Figure, step: int) -> None:
    figure.set_dpi(DOTS_PER_INCH)
    runner.visualizer.add_image(name, img_from_canvas(FigureCanvasAgg(figure)), step)
