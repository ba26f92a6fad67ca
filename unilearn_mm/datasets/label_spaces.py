"""Class names and their order for every task, and the maps between them.

The order is that of the label ids in the published annotation lists (0-based). One vocabulary is
used for all tasks, so that the same emotion has the same name everywhere. The task ``unlabelled``
has no classes: data for pre-training. A recipe with classes of its own gives them to its data
sets, under a task name that is not in this table (configs/unilearn_own_classes.py).
"""

import re
from typing import Dict, NamedTuple, Optional, Sequence, Tuple


class LabelSpace(NamedTuple):
    """Classes of a task.

    Attributes:
        classes (tuple[str, ...]): Names in the order of the label ids.
        where_to_get (str): How to come by the data.
    """
    classes: Tuple[str, ...]
    where_to_get: str


LABEL_SPACES: Dict[str, LabelSpace] = dict(
    # DFEW, EmoLabel_DataSplit: ids 1..7 minus 1 (MAE-DFER, preprocess/dfew.py); the lists of
    # S4D, finetune/data/DFEW, have 0..6
    dfew=LabelSpace(
        ('happiness', 'sadness', 'neutral', 'anger', 'surprise', 'disgust', 'fear'),
        'apply at https://dfew-dataset.github.io/'),
    # S4D, finetune/data/FERV39K: alphabetical, as the emotion folders in the clip paths confirm
    # (the lists of the data set itself hold words, 4_setups/All_scenes/train_All.csv)
    ferv39k=LabelSpace(
        ('anger', 'disgust', 'fear', 'happiness', 'neutral', 'sadness', 'surprise'),
        'apply at https://wangyanckxx.github.io/Proj_CVPR2022_FERV39k.html'),
    # S4D, finetune/data/MAFW: alphabetical, 11 single classes (the lists of the data set itself
    # hold words; MMA-DFER and MAE-DFER number them in another order)
    mafw=LabelSpace(
        ('anger', 'anxiety', 'contempt', 'disappointment', 'disgust', 'fear', 'happiness',
         'helplessness', 'neutral', 'sadness', 'surprise'),
        'apply at https://mafw-database.github.io/MAFW/'),
    # AffectNet, expression ids 0..7 of training.csv (arXiv 1708.03985); 8 none, 9 uncertain and
    # 10 no face are no classes, and 7 classes means: without contempt
    affectnet7=LabelSpace(
        ('neutral', 'happiness', 'sadness', 'surprise', 'fear', 'disgust', 'anger'),
        'apply at http://mohammadmahoor.com/affectnet/'),
    affectnet8=LabelSpace(
        ('neutral', 'happiness', 'sadness', 'surprise', 'fear', 'disgust', 'anger', 'contempt'),
        'apply at http://mohammadmahoor.com/affectnet/'),
    # RAF-DB, EmoLabel/list_patition_label.txt: ids 1..7 minus 1
    rafdb=LabelSpace(
        ('surprise', 'fear', 'disgust', 'happiness', 'sadness', 'anger', 'neutral'),
        'apply at http://www.whdeng.cn/RAF/model1.html'),
    # FERPlus, column order of fer2013new.csv
    ferplus=LabelSpace(
        ('neutral', 'happiness', 'surprise', 'sadness', 'anger', 'disgust', 'fear', 'contempt'),
        'labels at https://github.com/microsoft/FERPlus, images from the FER2013 challenge'),
    unlabelled=LabelSpace(
        (), 'VoxCeleb2: apply at https://www.robots.ox.ac.uk/~vgg/data/voxceleb/vox2.html; a '
        'list of your own files: run tools/data/prepare_folder.py'),
    # the toy data set borrows DFEW's and AffectNet's orders
    toy_video=LabelSpace(
        ('happiness', 'sadness', 'neutral', 'anger', 'surprise', 'disgust', 'fear'),
        'run: python tools/data/make_toy_faces.py'),
    toy_image=LabelSpace(
        ('neutral', 'happiness', 'sadness', 'surprise', 'fear', 'disgust', 'anger'),
        'run: python tools/data/make_toy_faces.py'))

_CLASS_ID = re.compile(r'-?[0-9]+')


def class_names(task: str) -> Tuple[str, ...]:
    """Class names of a task, in the order of its label ids.

    Raises:
        KeyError: If the task is unknown; the message lists the known ones.
    """
    if task not in LABEL_SPACES:
        raise KeyError(f'unknown task {task!r}; known tasks: {", ".join(sorted(LABEL_SPACES))} '
                       '(unilearn_mm/datasets/label_spaces.py). A task of your own needs '
                       '`classes` in its data set')
    return LABEL_SPACES[task].classes


def own_classes(task: str, classes: Sequence[str]) -> Tuple[str, ...]:
    """Class names that a recipe declares for a task of its own.

    Args:
        task (str): Name of the task.
        classes (Sequence[str]): Names in the order of the label ids.

    Raises:
        ValueError: If the package has a task of that name with other classes, there are fewer
            than two names, or one is empty, stands twice or would be taken for a label id.
    """
    classes = tuple(classes)
    if task in LABEL_SPACES and classes != LABEL_SPACES[task].classes:
        raise ValueError(f'the task {task!r} has classes of its own '
                         f'({", ".join(LABEL_SPACES[task].classes)}), found '
                         f'{", ".join(map(str, classes))}; give yours another name')
    if len(classes) < 2:
        raise ValueError(f'{task}: a task has at least two classes, found {list(classes)}')
    for index, name in enumerate(classes):
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f'{task}: class {index} is {name!r}, expected a name')
        if _CLASS_ID.fullmatch(name):
            raise ValueError(f'{task}: class name {name!r} would be taken for a class id; use a '
                             'word')
        if name in classes[:index]:
            raise ValueError(f'{task}: class name {name!r} stands twice')
    return classes


def read_classes(path: str) -> Tuple[str, ...]:
    """Class names of a text file, one in each line; empty lines are none.

    Raises:
        ValueError: If the file cannot be read or is not UTF-8.
    """
    try:
        with open(path, encoding='utf-8-sig') as file:
            return tuple(line.strip() for line in file if line.strip())
    except UnicodeDecodeError as error:
        raise ValueError(f'{path}: the class names are not UTF-8: {error}') from error
    except OSError as error:
        raise ValueError(f'{path}: the class names cannot be read: {error.strerror}') from error


def label_map(source: Sequence[str], target: Sequence[str]) -> Tuple[Optional[int], ...]:
    """Target ids for the ids of a source, matched by class name.

    Args:
        source (Sequence[str]): Class names in the order of the source's ids.
        target (Sequence[str]): The same of the target.

    Returns:
        tuple: Entry ``i`` is the target id of source class ``i``, or None where the target has
        no such class.
    """
    ids = {name: index for index, name in enumerate(target)}
    return tuple(ids.get(name) for name in source)
