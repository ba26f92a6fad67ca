"""Several expression data sets as one, each keeping its own classes."""

from typing import Dict, Sequence, Tuple, Union

from mmaction.registry import DATASETS
from mmengine.dataset import ConcatDataset

from .expression import ExpressionDataset, MissingDataError


@DATASETS.register_module()
class MixedMediaDataset(ConcatDataset):
    """A ConcatDataset that knows its sources.

    MMEngine's ConcatDataset refuses parts of unequal classes; here every part has its own task,
    and ``metainfo['label_spaces']`` maps each task to its class names.

    Args:
        datasets (Sequence): Configs or instances of ``ExpressionVideoDataset`` and
            ``ExpressionImageDataset`` with unique ``source`` names.
        lazy_init (bool): As in MMEngine.

    Raises:
        MissingDataError: If parts are missing on disk; one message names all of them.
        ValueError: If two parts have the same source name.
        TypeError: If a part is not an expression data set.
    """

    def __init__(self,
                 datasets: Sequence[Union[ExpressionDataset, dict]],
                 lazy_init: bool = False) -> None:
        parts, missing = [], []
        for dataset in datasets:
            try:
                parts.append(DATASETS.build(dataset) if isinstance(dataset, dict) else dataset)
            except MissingDataError as error:
                missing.append(str(error))
        if missing:
            raise MissingDataError('\n'.join(missing))
        for part in parts:
            if not isinstance(part, ExpressionDataset):
                raise TypeError(f'MixedMediaDataset holds expression data sets, which know their '
                                f'source and task; found {type(part).__name__}')
        names = [part.source for part in parts]
        if len(set(names)) != len(names):
            raise ValueError(f'source names must be unique, found {names}; set `source=` in the '
                             'data sets that share a task')
        super().__init__(parts, lazy_init=lazy_init, ignore_keys=['classes', 'label_spaces'])
        self._metainfo = dict(
            label_spaces={part.task: part.metainfo['classes'] for part in parts})

    @property
    def source_ranges(self) -> Dict[str, Tuple[int, int]]:
        """First and one-past-last index of each source, in order of the data sets."""
        self.full_init()
        ends = self.cumulative_sizes
        return {
            part.source: (start, end)
            for part, start, end in zip(self.datasets, [0, *ends], ends)
        }
