"""Class names and their order for every task, and the maps between them.

The order is that of the label ids in the published annotation lists (0-based). One vocabulary is
used for all tasks, so that the same emotion has the same name everywhere. The task ``unlabelled``
has no classes: data for pre-training.
"""

from typing import Optional, Tuple

LABEL_SPACES = dict(
    # DFEW, EmoLabel_DataSplit: ids 1..7 minus 1 (MAE-DFER, preprocess/dfew.py); the lists of
    # S4D, finetune/data/DFEW, have 0..6
    dfew=('happiness', 'sadness', 'neutral', 'anger', 'surprise', 'disgust', 'fear'),
    # S4D, finetune/data/FERV39K: alphabetical, as the emotion folders in the clip paths confirm
    # (the lists of the data set itself hold words, 4_setups/All_scenes/train_All.csv)
    ferv39k=('anger', 'disgust', 'fear', 'happiness', 'neutral', 'sadness', 'surprise'),
    # S4D, finetune/data/MAFW: alphabetical, 11 single classes (the lists of the data set itself
    # hold words; MMA-DFER and MAE-DFER number them in another order)
    mafw=('anger', 'anxiety', 'contempt', 'disappointment', 'disgust', 'fear', 'happiness',
          'helplessness', 'neutral', 'sadness', 'surprise'),
    # AffectNet, expression ids 0..7 of training.csv (arXiv 1708.03985); 8 none, 9 uncertain and
    # 10 no face are no classes, and 7 classes means: without contempt
    affectnet7=('neutral', 'happiness', 'sadness', 'surprise', 'fear', 'disgust', 'anger'),
    affectnet8=('neutral', 'happiness', 'sadness', 'surprise', 'fear', 'disgust', 'anger',
                'contempt'),
    # RAF-DB, EmoLabel/list_patition_label.txt: ids 1..7 minus 1
    rafdb=('surprise', 'fear', 'disgust', 'happiness', 'sadness', 'anger', 'neutral'),
    # FERPlus, column order of fer2013new.csv
    ferplus=('neutral', 'happiness', 'surprise', 'sadness', 'anger', 'disgust', 'fear',
             'contempt'),
    unlabelled=(),
    # the toy data set (tools/data/make_toy_faces.py) borrows DFEW's and AffectNet's orders
    toy_video=('happiness', 'sadness', 'neutral', 'anger', 'surprise', 'disgust', 'fear'),
    toy_image=('neutral', 'happiness', 'sadness', 'surprise', 'fear', 'disgust', 'anger'),
)

WHERE_TO_GET = dict(
    dfew='apply at https://dfew-dataset.github.io/',
    ferv39k='apply at https://wangyanckxx.github.io/Proj_CVPR2022_FERV39k.html',
    mafw='apply at https://mafw-database.github.io/MAFW/',
    affectnet7='apply at http://mohammadmahoor.com/affectnet/',
    affectnet8='apply at http://mohammadmahoor.com/affectnet/',
    rafdb='apply at http://www.whdeng.cn/RAF/model1.html',
    ferplus='labels at https://github.com/microsoft/FERPlus, images from the FER2013 challenge',
    unlabelled='VoxCeleb2: apply at https://www.robots.ox.ac.uk/~vgg/data/voxceleb/vox2.html; a '
    'list of your own files: run tools/data/prepare_folder.py',
    toy_video='run: python tools/data/make_toy_faces.py',
    toy_image='run: python tools/data/make_toy_faces.py',
)


def class_names(task: str) -> Tuple[str, ...]:
    """Class names of a task, in the order of its label ids.

    Raises:
        KeyError: If the task is unknown; the message lists the known ones.
    """
    if task not in LABEL_SPACES:
        raise KeyError(f'unknown task {task!r}; known tasks: {", ".join(sorted(LABEL_SPACES))} '
                       '(unilearn_mm/datasets/label_spaces.py)')
    return LABEL_SPACES[task]


def label_map(source_task: str, target_task: str) -> Tuple[Optional[int], ...]:
    """Ids of ``target_task`` for each id of ``source_task``, matched by class name.

    Returns:
        tuple: Entry ``i`` is the target id of source class ``i``, or None where the target task
        has no such class.
    """
    target = {name: index for index, name in enumerate(class_names(target_task))}
    return tuple(target.get(name) for name in class_names(source_task))
