"""Expression data sets: rows of an annotation list -> sample dicts.

A sample dict carries ``source``, ``sample_id``, ``task``, ``media``, ``label`` (not in unlabelled
data), ``num_classes`` and ``class_names`` (of the task), ``groups`` (values of the group columns by
their names), ``path`` and the key stock MMAction2 transforms look for: ``filename`` (a video, an
image or a packed clip) or ``frame_dir`` (a folder of frames), and ``audio_path`` where there is
sound.
"""

import logging
import os.path as osp
from abc import abstractmethod
from typing import Dict, List, Optional, Sequence, Union

import numpy as np
from mmaction.datasets.base import BaseActionDataset
from mmaction.registry import DATASETS
from mmengine.logging import print_log

from .annotations import AUDIO, AnnotationError, AnnotationRow, class_id, read_annotations
from .label_spaces import LABEL_SPACES, class_names, label_map, own_classes, read_classes
from .locations import locate_audio, locate_clip
from .log_mel import CACHE_SUFFIX
from .manifests import FACE_CROPS, face_crops

NAMES_SHOWN = 5  # how many missing files an error lists


class MissingDataError(FileNotFoundError):
    """Annotation list or media of a data set are not where the config says."""


class ExpressionDataset(BaseActionDataset):
    """What the video and the image data set share: the task, its labels and its errors.

    The formats of annotation lists are those of :mod:`unilearn_mm.datasets.annotations`. If the
    manifest beside the list says how the faces were cut out, ``metainfo['face_crops']`` holds that
    by the name of the source.

    Args:
        ann_file (str): Annotation list; relative paths are taken from ``data_root``.
        task (str): Task name, a key of ``label_spaces.LABEL_SPACES`` or one with ``classes`` of
            its own. It selects the head of the model and the classes of the metric.
            ``'unlabelled'`` is for pre-training: its samples have no label.
        data_root (str): Folder of the data set.
        data_prefix (dict): ``dict(media=FOLDER)``, relative to ``data_root``: where the paths in
            the annotation list start. ``dict(media=FOLDER, audio=FOLDER)`` gives every sample
            its sound: the file that the list names for it in the audio folder (or that file's
            features, see tools/data/cache_sound.py), or else the one that
            ``locations.locate_audio`` finds there. Without the second folder only what the
            list names is looked up, in the first one.
        pipeline (list): Transforms.
        source (str, optional): Name of this part of the data, unique among the parts that are
            used together. Defaults to the task name.
        classes (Sequence[str] | str, optional): Class names of a task that the package does not
            have, in the order of their ids, or a text file of one name a line (relative paths
            are taken from ``data_root``). The head of the model needs as many classes.
        ann_task (str, optional): Task in whose ids the annotation list is written, if it is not
            ``task``. Labels are mapped by class name; a row whose class the task does not have
            is an error. With the task ``'unlabelled'`` they are checked and left out.
        on_missing_sound (str): What happens if a sample's sound is not there: 'raise', or 'allow'
            it, which a warning counts (MAFW has clips without sound).
        test_mode (bool): Whether the data set is used for evaluation.

    Attributes:
        num_without_sound (int): Samples whose sound is not there, but was looked for.

    Raises:
        ValueError: If ``data_prefix`` has other keys, ``classes`` are not usable, or a task with
            classes is to be read from an unlabelled list.
        KeyError: If the package does not know the task, and there are no ``classes``.
        MissingDataError: If the list or a folder is missing, or clips or their sound are.
        AnnotationError: If a row cannot be parsed or its label is no class of the task.
    """

    media: str

    def __init__(self,
                 ann_file: str,
                 task: str,
                 data_root: str,
                 pipeline: list,
                 data_prefix: dict = dict(media=''),  # noqa: B006 (read only)
                 source: Optional[str] = None,
                 classes: Union[Sequence[str], str, None] = None,
                 ann_task: Optional[str] = None,
                 on_missing_sound: str = 'raise',
                 test_mode: bool = False,
                 **kwargs) -> None:
        self.task = task
        self.source = source or task
        self.ann_task = ann_task or task
        if set(data_prefix) not in ({'media'}, {'media', AUDIO}):
            raise ValueError(f'{self.source}: data_prefix must be dict(media=FOLDER), or with '
                             f'audio=FOLDER besides, found {dict(data_prefix)}')
        if on_missing_sound not in ('raise', 'allow'):
            raise ValueError("on_missing_sound must be 'raise' or 'allow', found "
                             f'{on_missing_sound!r}')
        self.on_missing_sound = on_missing_sound
        self.num_without_sound = 0
        if isinstance(classes, str):
            classes = read_classes(osp.join(data_root, classes))
        self.classes = class_names(task) if classes is None else own_classes(task, classes)
        self.ann_classes = self.classes if ann_task is None else class_names(ann_task)
        if self.classes and not self.ann_classes:
            raise ValueError(f'{self.source}: the task {task!r} has classes, but '
                             f'ann_task={self.ann_task!r} has none')
        super().__init__(
            ann_file,
            pipeline=pipeline,
            data_root=data_root,
            data_prefix=data_prefix,
            test_mode=test_mode,
            metainfo=dict(classes=self.classes, label_spaces={task: self.classes}),
            **kwargs)
        crops = face_crops(self.ann_file)
        self._metainfo[FACE_CROPS] = {} if crops is None else {self.source: crops}

    @abstractmethod
    def locate(self, path: str) -> Optional[dict]:
        """Media keys of a sample (``path`` and ``filename`` or ``frame_dir``), None if missing.

        Args:
            path (str): Path of the annotation list, relative to ``data_prefix['media']``.
        """

    @property
    def labels(self) -> np.ndarray:
        """Class ids, (N,) int64, in the order of the samples.

        Raises:
            ValueError: If the task has no classes.
        """
        if not self.classes:
            raise ValueError(f'{self.source}: samples of the task {self.task!r} have no labels')
        return np.array([self.get_data_info(index)['label'] for index in range(len(self))],
                        dtype=np.int64)

    def get_data_info(self, idx: int) -> dict:
        """A sample of the list, with the class names of its task."""
        return dict(super().get_data_info(idx), class_names=self._metainfo['classes'])

    def load_data_list(self) -> List[dict]:
        """Parse the annotation list (called by MMEngine).

        Returns:
            list[dict]: One dict per row, in the order of the list.
        """
        for what, path, is_there in (('data root', self.data_root, osp.isdir),
                                     ('annotation list', self.ann_file, osp.isfile),
                                     ('media folder', self.data_prefix['media'], osp.isdir),
                                     ('sound folder', self._sound_folder, osp.isdir)):
            if not is_there(path):
                known = LABEL_SPACES.get(self.task)
                where = known.where_to_get if known else 'run tools/data/prepare_folder.py'
                raise MissingDataError(
                    f'{self.source}: {what} {path!r} does not exist. It is expected there for the '
                    f'task {self.task!r}: {where}, or set data_root / ann_file / data_prefix in '
                    'the config.')

        rows = read_annotations(self.ann_file, self.media)
        label_keys = self._label_keys(rows)
        samples, missing, silent = [], [], []
        for row in rows:
            sample = dict(
                source=self.source,
                sample_id=row.sample_id,
                task=self.task,
                media=self.media,
                groups=row.groups,
                **label_keys[row.label])
            location = self.locate(row.path)
            if location is None:
                missing.append(row.path)
                continue
            sample.update(location)
            if row.audio is not None or AUDIO in self.data_prefix:
                audio_path = self._locate_audio(row)
                if audio_path is None:
                    silent.append(row.audio or row.path)
                else:
                    sample['audio_path'] = audio_path
            samples.append(sample)
        if missing:
            raise MissingDataError(
                f'{self.source}: {len(missing)} of {len(rows)} samples of {self.ann_file} are '
                f'missing in {self.data_prefix["media"]!r}, e.g. '
                f'{", ".join(missing[:NAMES_SHOWN])}')
        self._report_missing_sound(silent, len(rows))
        return samples

    @property
    def _sound_folder(self) -> str:
        return self.data_prefix.get(AUDIO, self.data_prefix['media'])

    def _locate_audio(self, row: AnnotationRow) -> Optional[str]:
        if row.audio is None:
            return locate_audio(self._sound_folder, row.path)
        path = osp.join(self._sound_folder, row.audio)
        cached = osp.splitext(path)[0] + CACHE_SUFFIX
        return next((file for file in (path, cached) if osp.isfile(file)), None)

    def _report_missing_sound(self, silent: List[str], num_rows: int) -> None:
        self.num_without_sound = len(silent)
        if not silent:
            return
        message = (f'{self.source}: the sound of {len(silent)} of {num_rows} samples of '
                   f'{self.ann_file} is missing in {self._sound_folder!r}, e.g. '
                   f'{", ".join(silent[:NAMES_SHOWN])}')
        if self.on_missing_sound == 'raise':
            raise MissingDataError(f"{message}. on_missing_sound='allow' goes on without it")
        print_log(message, logger='current', level=logging.WARNING)

    def _label_keys(self, rows: List[AnnotationRow]) -> Dict[str, dict]:
        """``label`` and ``num_classes`` for each label text of the list."""
        classes = self.ann_classes
        to_task = label_map(classes, self.classes)
        num_classes = len(self.classes)
        keys: Dict[str, dict] = {}
        for row in rows:
            if row.label in keys:
                continue
            where = f'{self.ann_file}, line {row.line}'
            if not classes and row.label:
                raise AnnotationError(
                    f'{where}: label {row.label!r}, but {self.ann_task!r} has no classes; leave '
                    'the column empty, or set ann_task to the label space of the list')
            if num_classes == 0:
                if classes:
                    class_id(row.label, classes, where)
                keys[row.label] = dict(num_classes=0)
                continue
            label = class_id(row.label, classes, where)
            if to_task[label] is None:
                raise AnnotationError(
                    f'{where}: class {classes[label]!r} of {self.ann_task!r} does not exist in '
                    f'the task {self.task!r}')
            keys[row.label] = dict(label=to_task[label], num_classes=num_classes)
        return keys


@DATASETS.register_module()
class ExpressionVideoDataset(ExpressionDataset):
    """Clips: DFEW, FERV39k, MAFW, VoxCeleb2 and lists of the same format or of ours.

    A clip is a folder of frames, a video file or a packed clip below ``data_prefix['media']``;
    see ``locations.locate_clip``. All of them are looked up when the list is loaded.

    See :class:`ExpressionDataset` for the arguments and errors.
    """

    media = 'video'

    def locate(self, path: str) -> Optional[dict]:
        """Folder of frames or file of a clip; see the base class."""
        return locate_clip(osp.join(self.data_prefix['media'], path))


@DATASETS.register_module()
class ExpressionImageDataset(ExpressionDataset):
    """Images: AffectNet, RAF-DB, FERPlus and lists of the same format or of ours.

    Image files are looked up when they are read, not here: the lists are long.

    See :class:`ExpressionDataset` for the arguments and errors.
    """

    media = 'image'

    def locate(self, path: str) -> dict:
        """Image file of a row; see the base class."""
        path = osp.join(self.data_prefix['media'], path)
        return dict(path=path, filename=path)
