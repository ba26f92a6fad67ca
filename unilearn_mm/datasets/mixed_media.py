"""Several expression data sets as one, each keeping its own classes."""

from typing import Dict, List, Optional, Sequence, Tuple, Union

import numpy as np
from mmaction.registry import DATASETS
from mmengine.dataset import ConcatDataset

from ..media import MediaReadError
from .draws import Draw, draw_seed, seeded
from .expression import ExpressionDataset, MissingDataError
from .manifests import FACE_CROPS
from .reading_board import ReadingBoard

# what follows the first and the second failure: a network file system may fail once
FAILURE_OUTCOMES = ('read again', 'replaced')
MAX_REPLACEMENTS = 10  # for one sample; more in a row is no accident


@DATASETS.register_module()
class MixedMediaDataset(ConcatDataset):
    """A ConcatDataset that knows its sources.

    MMEngine's ConcatDataset refuses parts of unequal classes; here every part has its own task,
    and ``metainfo['label_spaces']`` maps each task to its class names, ``metainfo['face_crops']``
    each source to how its faces were cut out, where that is known.

    Asked for a :class:`~unilearn_mm.datasets.draws.Draw` (``MixedMediaBatchSampler`` does so), it
    runs the pipeline of the sample on random numbers that depend on nothing else; asked for a
    plain index, on the global ones. A data sample gets the metainfo ``num_classes`` (of its
    task), ``draw_seed`` (int in [0, 2**63), for random numbers that are drawn later, on the
    device) and ``read_failures``: a tuple of path, reason and 'read again' or 'replaced' for each
    time that something could not be read.

    Args:
        datasets (Sequence): Configs or instances of ``ExpressionVideoDataset`` and
            ``ExpressionImageDataset`` with unique ``source`` names.
        pipeline (list, optional): Transforms of the parts whose configs name none. In
            ``test_dataloader`` it is that of a clip: there MMAction2's inferencers look for it.
        on_unreadable (str): What happens when a file cannot be read at the second attempt either:
            'raise', or 'replace' it by another sample of its source, which ``ReadFailureHook``
            reports and bounds.
        lazy_init (bool): As in MMEngine.

    Raises:
        MissingDataError: If parts are missing on disk; one message names all of them.
        ValueError: If two parts have the same source name or differ in the classes of a task, or
            samples of a test would be replaced.
        TypeError: If a part is not an expression data set.
    """

    def __init__(self,
                 datasets: Sequence[Union[ExpressionDataset, dict]],
                 pipeline: Optional[list] = None,
                 on_unreadable: str = 'raise',
                 lazy_init: bool = False) -> None:
        parts, missing = [], []
        for dataset in datasets:
            try:
                if isinstance(dataset, dict):
                    defaults = {} if pipeline is None else dict(pipeline=pipeline)
                    dataset = DATASETS.build({**defaults, **dataset})
                parts.append(dataset)
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
        first_of: Dict[str, ExpressionDataset] = {}
        for part in parts:
            first = first_of.setdefault(part.task, part)
            if first.classes != part.classes:
                raise ValueError(f'the classes of task {part.task!r} differ between the sources '
                                 f'{first.source!r} {first.classes} and {part.source!r} '
                                 f'{part.classes}, in names or order')
        if on_unreadable not in ('raise', 'replace'):
            raise ValueError(f"on_unreadable must be 'raise' or 'replace', found {on_unreadable!r}")
        if on_unreadable == 'replace' and any(part.test_mode for part in parts):
            raise ValueError("on_unreadable='replace' is for training: a test scores every sample")
        self.on_unreadable = on_unreadable
        self.board = ReadingBoard()
        super().__init__(
            parts, lazy_init=lazy_init, ignore_keys=['classes', 'label_spaces', FACE_CROPS])
        self._metainfo = dict(
            label_spaces={part.task: part.classes for part in parts})
        self._metainfo[FACE_CROPS] = {source: crops for part in parts
                                      for source, crops in part.metainfo[FACE_CROPS].items()}

    @property
    def source_ranges(self) -> Dict[str, Tuple[int, int]]:
        """First and one-past-last index of each source, in order of the data sets."""
        self.full_init()
        ends = self.cumulative_sizes
        return {
            part.source: (start, end)
            for part, start, end in zip(self.datasets, [0, *ends], ends)
        }

    def labels(self, source: str) -> np.ndarray:
        """Class ids of a source, in the order of its samples.

        Args:
            source (str): Name of the source.

        Returns:
            np.ndarray: (N,) int64.

        Raises:
            ValueError: If the source has no labels.
        """
        return next(part.labels for part in self.datasets if part.source == source)

    def __getitem__(self, draw: Union[int, Draw]) -> dict:
        """A packed sample; see the class.

        Raises:
            MediaReadError: If its file cannot be read and is not to be replaced, or if too many
                replacements cannot be read either.
        """
        if not isinstance(draw, Draw):
            return super().__getitem__(draw)
        failures: List[Tuple[str, str, str]] = []
        packed = self._read(draw.index, draw, failures)
        if packed is not None:
            return packed
        start, end = next(span for span in self.source_ranges.values() if span[1] > draw.index)
        others = np.random.default_rng(list(draw)).choice(
            end - start, min(1 + MAX_REPLACEMENTS, end - start), replace=False) + start
        for index in others[others != draw.index].tolist():
            packed = self._read(index, draw, failures)
            if packed is not None:
                return packed
        raise MediaReadError(
            f'{len(failures) // 2} samples of a source in a row cannot be read, the last one: '
            f'{failures[-1][1]}. Check that the data are there as the config says')

    def _read(self, index: int, draw: Draw, failures: list) -> Optional[dict]:
        """A packed sample on the random numbers of the draw, None if it is to be replaced."""
        part, sample_index = self._get_ori_dataset_idx(index)
        part = self.datasets[part]
        for outcome in FAILURE_OUTCOMES:
            sample = part.get_data_info(sample_index)
            path, num_classes = sample['path'], sample['num_classes']
            seed = draw_seed(draw, part.source, sample['sample_id'])
            self.board.write(path)
            try:
                with seeded(seed):
                    packed = part.pipeline(sample)
            except MediaReadError as error:
                failures.append((path, str(error), outcome))
                if outcome == 'replaced' and self.on_unreadable == 'raise':
                    raise
                continue
            finally:
                self.board.clear()
            if 'data_samples' in packed:
                packed['data_samples'].set_metainfo(
                    dict(num_classes=num_classes, draw_seed=seed, read_failures=tuple(failures)))
            return packed
        return None
