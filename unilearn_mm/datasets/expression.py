"""Expression data sets: rows of a published annotation list -> sample dicts.

A sample dict carries ``source``, ``sample_id``, ``task``, ``media``, ``label``, ``path`` and the
key stock MMAction2 transforms look for: ``filename`` (a video or an image file) or ``frame_dir``
(a folder of frames).
"""

import csv
import os.path as osp
from abc import abstractmethod
from typing import Iterator, List, Optional, Tuple

from mmaction.datasets.base import BaseActionDataset
from mmaction.registry import DATASETS

from .label_spaces import WHERE_TO_GET, class_names, label_map

VIDEO_SUFFIXES = ('.mp4', '.avi', '.mov', '.mkv', '.webm')
NAMES_SHOWN = 5  # how many missing files an error lists


class MissingDataError(FileNotFoundError):
    """Annotation list or media of a data set are not where the config says."""


class AnnotationError(ValueError):
    """A row of an annotation list cannot be used."""


class ExpressionDataset(BaseActionDataset):
    """What the video and the image data set share: the task, its labels and its errors.

    Args:
        ann_file (str): Annotation list; relative paths are taken from ``data_root``.
        task (str): Task name, a key of ``label_spaces.LABEL_SPACES``. It selects the head of the
            model and the classes of the metric.
        data_root (str): Folder of the data set.
        data_prefix (dict): ``dict(media=FOLDER)``, relative to ``data_root``: where the names in
            the annotation list start.
        pipeline (list): Transforms.
        source (str, optional): Name of this part of the data, unique among the parts that are
            used together. Defaults to the task name.
        ann_task (str, optional): Label space in which the annotation list is written, if it is
            not that of ``task``. Labels are mapped by class name; a row whose class the task does
            not have is an error.
        test_mode (bool): Whether the data set is used for evaluation.

    Raises:
        ValueError: If ``data_prefix`` has other keys.
        MissingDataError: If the list or the media folder is missing.
        AnnotationError: If a row cannot be parsed or its label is not a class id.
    """

    media: str

    def __init__(self,
                 ann_file: str,
                 task: str,
                 data_root: str,
                 pipeline: list,
                 data_prefix: dict = dict(media=''),
                 source: Optional[str] = None,
                 ann_task: Optional[str] = None,
                 test_mode: bool = False,
                 **kwargs) -> None:
        self.task = task
        self.source = source or task
        self.ann_task = ann_task or task
        if set(data_prefix) != {'media'}:
            raise ValueError(f'{self.source}: data_prefix must be dict(media=FOLDER), found '
                             f'{dict(data_prefix)}')
        classes = class_names(task)
        super().__init__(
            ann_file,
            pipeline=pipeline,
            data_root=data_root,
            data_prefix=data_prefix,
            test_mode=test_mode,
            metainfo=dict(classes=classes, label_spaces={task: classes}),
            **kwargs)

    @abstractmethod
    def read_rows(self) -> Iterator[Tuple[int, str, str]]:
        """Yield (line number, sample name, label text) for every row of the annotation list."""

    @abstractmethod
    def locate(self, name: str) -> Optional[dict]:
        """Media keys of a sample (``path`` and ``filename`` or ``frame_dir``), None if missing."""

    def load_data_list(self) -> List[dict]:
        """Parse the annotation list (called by MMEngine).

        Returns:
            list[dict]: One dict per row, in the order of the list.
        """
        for what, path, there in (
                ('data root', self.data_root, osp.isdir(self.data_root)),
                ('annotation list', self.ann_file, osp.isfile(self.ann_file)),
                ('media folder', self.data_prefix['media'], osp.isdir(self.data_prefix['media']))):
            if not there:
                raise MissingDataError(
                    f'{self.source}: {what} {path!r} does not exist. It is expected there for the '
                    f'task {self.task!r}: {WHERE_TO_GET[self.task]}, or set data_root / ann_file '
                    '/ data_prefix in the config.')

        classes = class_names(self.ann_task)
        to_task = label_map(self.ann_task, self.task)
        samples, missing, lines = [], [], {}
        for line, name, label_text in self.read_rows():
            where = f'{self.ann_file}, line {line}'
            if name in lines:
                raise AnnotationError(f'{where}: {name!r} stands already in line {lines[name]}')
            lines[name] = line
            label = self._parse_label(label_text, classes, where)
            if to_task[label] is None:
                raise AnnotationError(
                    f'{where}: class {classes[label]!r} of {self.ann_task!r} does not exist in '
                    f'the task {self.task!r}')
            location = self.locate(name)
            if location is None:
                missing.append(name)
                continue
            samples.append(
                dict(
                    source=self.source,
                    sample_id=name,
                    task=self.task,
                    media=self.media,
                    label=to_task[label],
                    **location))
        if missing:
            raise MissingDataError(
                f'{self.source}: {len(missing)} of {len(lines)} samples of {self.ann_file} are '
                f'missing in {self.data_prefix["media"]!r}, e.g. '
                f'{", ".join(missing[:NAMES_SHOWN])}')
        if not samples:
            raise AnnotationError(f'{self.ann_file}: no rows')
        return samples

    @staticmethod
    def _parse_label(text: str, classes: Tuple[str, ...], where: str) -> int:
        try:
            label = int(text)
        except ValueError:
            raise AnnotationError(
                f'{where}: label {text!r} is not an integer class id') from None
        if not 0 <= label < len(classes):
            raise AnnotationError(
                f'{where}: label id {label} is unknown; expected 0..{len(classes) - 1} '
                f'({", ".join(classes)})')
        return label


@DATASETS.register_module()
class ExpressionVideoDataset(ExpressionDataset):
    """Clips with one expression label: DFEW, FERV39k, MAFW and lists of the same format.

    The annotation list is a CSV with one header row; column 0 is the clip name, column 1 the
    0-based label id (official lists of DFEW ``video_name,label``, FERV39k ``path,id``, MAFW
    ``video_name,labels``). A clip is a folder of frames of that name, a file of that name, or a
    file of that name plus a video suffix, below ``data_prefix['media']``.

    See :class:`ExpressionDataset` for the arguments and errors.
    """

    media = 'video'

    def read_rows(self) -> Iterator[Tuple[int, str, str]]:
        """Rows of the CSV list; see the base class."""
        with open(self.ann_file, newline='', encoding='utf-8') as file:
            reader = csv.reader(file)
            header = next(reader, [])
            if len(header) != 2 or header[1].strip().lstrip('-').isdigit():
                raise AnnotationError(f'{self.ann_file}, line 1: found {header!r}, expected a '
                                      'header row of two names, e.g. video_name,label')
            for row in reader:
                if not row:
                    continue  # an empty line
                if len(row) != 2 or not row[0].strip():
                    raise AnnotationError(
                        f'{self.ann_file}, line {reader.line_num}: found {row!r}, expected two '
                        'columns: clip name, label id')
                yield reader.line_num, row[0].strip(), row[1].strip()

    def locate(self, name: str) -> Optional[dict]:
        """Folder of frames or video file of a clip; see the base class."""
        path = osp.join(self.data_prefix['media'], name)
        if osp.isdir(path):
            return dict(path=path, frame_dir=path)
        for candidate in (path, *(path + suffix for suffix in VIDEO_SUFFIXES)):
            if osp.isfile(candidate):
                return dict(path=candidate, filename=candidate)
        return None


@DATASETS.register_module()
class ExpressionImageDataset(ExpressionDataset):
    """Images with one expression label: AffectNet and lists of the same format.

    The annotation list has no header; a row is ``relative/path label``, separated by the last
    space of the line, so that paths may contain spaces. The label id is 0-based.

    Image files are looked up when they are read, not here: the lists are long.

    See :class:`ExpressionDataset` for the arguments and errors.
    """

    media = 'image'

    def read_rows(self) -> Iterator[Tuple[int, str, str]]:
        """Rows of the space separated list; see the base class."""
        with open(self.ann_file, encoding='utf-8') as file:
            for line, text in enumerate(file, start=1):
                if not text.strip():
                    continue  # an empty line
                row = text.rstrip().rsplit(' ', 1)
                if len(row) != 2 or not row[0].strip():
                    raise AnnotationError(
                        f'{self.ann_file}, line {line}: found {text.rstrip()!r}, expected '
                        '`relative/path label`')
                yield line, row[0], row[1]

    def locate(self, name: str) -> dict:
        """Image file of a row; see the base class."""
        path = osp.join(self.data_prefix['media'], name)
        return dict(path=path, filename=path)
