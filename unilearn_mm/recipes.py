"""What a recipe says of its data, for tools that read it or change it."""

import copy
from typing import List

from mmaction.registry import DATASETS
from mmengine.config import Config, ConfigDict


def data_parts(loader: ConfigDict) -> List[ConfigDict]:
    """The data sets of a loader, those inside of wrappers (``MixedMediaDataset``, MMEngine's
    ``ConcatDataset`` and ``RepeatDataset``, ...) one by one.

    Args:
        loader (ConfigDict): ``train_dataloader``, ``val_dataloader`` or ``test_dataloader``.

    Returns:
        list[ConfigDict]: Parts of the recipe itself: what is changed in them is changed there.
    """
    found, parts = [loader.dataset], []
    while found:
        part = found.pop(0)
        inside = part.get('datasets') or ([part.dataset] if 'dataset' in part else [])
        found[:0] = inside
        parts += [] if inside else [part]
    return parts


def own_pipelines(loader: ConfigDict) -> None:
    """Give the parts of a ``MixedMediaDataset`` that use its pipeline a copy of their own."""
    if 'pipeline' in loader.dataset:
        for part in loader.dataset.get('datasets', []):
            part.setdefault('pipeline', copy.deepcopy(loader.dataset.pipeline))


def media_of(part: ConfigDict) -> str:
    """'video' or 'image': what a data set of a recipe holds.

    Stock data sets do not say it; theirs are videos.

    Raises:
        KeyError: If no data set of that type is registered.
    """
    kind = part.type if isinstance(part.type, type) else DATASETS.get(part.type)
    if kind is None:
        raise KeyError(f'{part.type!r} is no registered data set; is its package among '
                       'custom_imports?')
    return getattr(kind, 'media', 'video')


def prediction_metric(cfg: Config) -> ConfigDict:
    """The first metric of the test that writes its predictions.

    Raises:
        ValueError: If none does.
    """
    metrics = cfg.get('test_evaluator') or []
    for metric in [metrics] if isinstance(metrics, dict) else metrics:
        if metric.get('prediction_file'):
            return metric
    raise ValueError(f"{cfg.filename or 'the recipe'}: no metric of the test writes predictions; "
                     "set test_evaluator=dict(type='WARUARMetric', "
                     "prediction_file='predictions.csv')")


def prediction_file(cfg: Config) -> str:
    """Where the test of a recipe writes its predictions, relative to the work directory.

    Raises:
        ValueError: If none of its metrics does.
    """
    return prediction_metric(cfg)['prediction_file']
