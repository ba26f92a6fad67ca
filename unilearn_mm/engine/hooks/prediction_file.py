"""Where the predictions of a test go."""

import os.path as osp

from mmaction.registry import HOOKS
from mmengine.hooks import Hook


@HOOKS.register_module()
class PredictionFileHook(Hook):
    """Take a metric's relative ``prediction_file`` from the work directory of the run.

    A config cannot know the directory that ``--work-dir`` sets, and a metric does not know its
    run.
    """

    def before_test(self, runner) -> None:
        """Make the paths of all metrics that write predictions absolute."""
        for metric in runner.test_loop.evaluator.metrics:
            if getattr(metric, 'prediction_file', None):
                metric.prediction_file = osp.abspath(
                    osp.join(runner.work_dir, metric.prediction_file))
