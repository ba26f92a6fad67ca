"""Class orders against the published annotation lists, and the maps between them."""

import csv
from collections import Counter
from pathlib import Path

import pytest

from unilearn_mm.datasets.label_spaces import LABEL_SPACES, class_names, label_map

LISTS = Path(__file__).parents[2] / '..' / 'shared' / 'data' / 'annotations'

# samples of each class in the published test lists, by class name (papers' statistics of the
# first fold / the fixed split)
PUBLISHED = {
    'dfew_test_set_1.csv': ('dfew', dict(happiness=489, sadness=379, neutral=534, anger=435,
                                         surprise=294, disgust=29, fear=181)),
    'ferv39k_test.csv': ('ferv39k', dict(anger=1487, disgust=467, fear=431, happiness=1473,
                                         neutral=1958, sadness=1393, surprise=638)),
    'mafw_set_1_test.csv': ('mafw', dict(
        anger=278, anxiety=184, contempt=48, disappointment=37, disgust=128, fear=125,
        happiness=249, helplessness=53, neutral=228, sadness=294, surprise=215)),
    'affectnet7_test.txt': ('affectnet7', dict(neutral=471, happiness=457, sadness=473,
                                               surprise=458, fear=469, disgust=469, anger=470)),
}


@pytest.mark.parametrize('name', PUBLISHED)
def test_orders_give_the_published_class_counts(name):
    if not (LISTS / name).is_file():
        pytest.skip('the published lists are not part of this repository')
    task, expected = PUBLISHED[name]
    lines = (LISTS / name).read_text().splitlines()
    if name.endswith('.csv'):
        labels = [int(row[1]) for row in list(csv.reader(lines))[1:]]
    else:
        labels = [int(line.rsplit(' ', 1)[1]) for line in lines]
    assert Counter(class_names(task)[label] for label in labels) == expected


def test_folders_of_ferv39k_name_the_class():
    """The clip paths of FERV39k hold the emotion: an independent statement of the order."""
    if not (LISTS / 'ferv39k_test.csv').is_file():
        pytest.skip('the published lists are not part of this repository')
    words = dict(Angry='anger', Disgust='disgust', Fear='fear', Happy='happiness',
                 Neutral='neutral', Sad='sadness', Surprise='surprise')
    rows = list(csv.reader((LISTS / 'ferv39k_test.csv').read_text().splitlines()))[1:]
    assert all(class_names('ferv39k')[int(label)] == words[path.split('/')[1]]
               for path, label in rows)


def test_rows_of_ferv39k():
    """Rows of the published lists whose path names the class."""
    names = class_names('ferv39k')
    assert names[3] == 'happiness', 'Interview/Happy/0118,3'
    assert names[0] == 'anger', 'DailyLife/Angry/0094,0'
    assert names[6] == 'surprise', 'Argue/Surprise/0196,6'


@pytest.mark.parametrize('task, order', [
    ('dfew', 'hap sad neu ang sur dis fea'),
    ('mafw', 'ang anx con disa disg fea hap hel neu sad sur'),
    ('affectnet8', 'neu hap sad sur fea dis ang con'), ('rafdb', 'sur fea dis hap sad ang neu'),
    ('ferplus', 'neu hap sur sad ang dis fea con')])
def test_orders_that_the_data_sets_document(task, order):
    assert all(name.startswith(short)
               for name, short in zip(class_names(task), order.split(), strict=True))


def test_every_task_is_complete():
    for names, where in LABEL_SPACES.values():
        assert len(set(names)) == len(names) and where
    assert [task for task, space in LABEL_SPACES.items() if not space.classes] == ['unlabelled']
    basic = set(class_names('dfew'))
    assert all(basic <= set(space.classes) for space in LABEL_SPACES.values() if space.classes), \
        'one vocabulary'


def test_label_map_keeps_names():
    for source in LABEL_SPACES:
        for target in LABEL_SPACES:
            for label, mapped in enumerate(label_map(class_names(source), class_names(target))):
                name = class_names(source)[label]
                if mapped is None:
                    assert name not in class_names(target)
                else:
                    assert class_names(target)[mapped] == name


def test_the_ids_of_mma_dfer_are_a_permutation_by_name():
    """MMA-DFER numbers the classes of MAFW in its own way; the map to the order of S4D, found by
    comparing the published lists, is the one by name."""
    theirs = ('happiness sadness neutral anger surprise disgust fear contempt anxiety '
              'helplessness disappointment').split()
    assert [class_names('mafw').index(name) for name in theirs] == [6, 9, 8, 0, 10, 4, 5, 2, 1, 7,
                                                                     3]


def test_nothing_maps_to_or_from_unlabelled():
    assert label_map((), class_names('dfew')) == ()
    assert label_map(class_names('dfew'), ()) == (None,) * 7


def test_unknown_task_is_named():
    with pytest.raises(KeyError, match="'dfwe'.*affectnet7.*dfew"):
        class_names('dfwe')
