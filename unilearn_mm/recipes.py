"""What a recipe says of its data, for tools that read it or change it."""

from typing import List

from mmaction.registry import DATASETS
from mmengine.config import ConfigDict


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
