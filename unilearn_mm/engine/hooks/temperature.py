"""Calibrated probabilities in a test, on request."""

from typing import Dict

from mmaction.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from unilearn_mm.evaluation.temperature import read_temperatures, temperature_file
from unilearn_mm.models.heads.multi_task_head import MultiTaskHead


def divide_logits(head: MultiTaskHead, temperatures: Dict[str, float]) -> RemovableHandle:
    """Divide all that a head returns by the temperature of its task.

    Args:
        head (MultiTaskHead): The head.
        temperatures (dict[str, float]): Task -> T.

    Returns:
        RemovableHandle: ``remove()`` ends it.
    """

    def scale(head: MultiTaskHead, args: tuple, kwargs: dict, logits: Tensor) -> Tensor:
        task = kwargs.get('task', args[1] if len(args) > 1 else None)
        return logits / temperatures[task or head.default_task]

    return head.register_forward_hook(scale, with_kwargs=True)


@HOOKS.register_module()
class TemperatureHook(Hook):
    r"""Divide the logits of a test by the temperatures that lie beside its checkpoint.

    A test is calibrated when it has this hook::

        python tools/test.py CONFIG CHECKPOINT \
            --cfg-options default_hooks.temperature.type=TemperatureHook

    ``CHECKPOINT``'s ``<stem>.temperature.json`` is made by tools/analysis/fit_temperature.py. With
    several views the logits of each are divided, before its softmax and the mean over views.
    Training and validation are left alone.
    """

    def before_test(self, runner) -> None:
        """Scale what the head returns.

        Raises:
            FileNotFoundError: If there is no file of temperatures.
            TemperatureFileError: If it is damaged or made for another checkpoint.
            TypeError: If the model's head is no ``MultiTaskHead``.
            ValueError: If the run has no checkpoint, or a task of the test no temperature.
        """
        if runner._load_from is None:
            raise ValueError('TemperatureHook reads a file beside the checkpoint of a test, but '
                             'this run has none; set load_from')
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        head = getattr(model, 'cls_head', None)
        if not isinstance(head, MultiTaskHead):
            raise TypeError('TemperatureHook scales the logits of a MultiTaskHead, found '
                            f'{type(head).__name__}')
        temperatures = read_temperatures(runner._load_from)
        tasks = runner.test_dataloader.dataset.metainfo['label_spaces']
        missing = sorted(set(tasks) - set(temperatures))
        if missing:
            raise ValueError(f'{temperature_file(runner._load_from)} has no temperature for '
                             f'{missing}, only for {sorted(temperatures)}; fit it on predictions '
                             'that hold these tasks')

        self.handle = divide_logits(model.cls_head, temperatures)
        runner.logger.info('logits are divided by ' + ', '.join(
            f'{temperatures[task]:.4f} ({task})' for task in sorted(tasks)))

    def after_test(self, runner) -> None:
        """Leave the head as it was."""
        self.handle.remove()
