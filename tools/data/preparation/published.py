"""Sizes of the official splits, and where they are published.

A list that has other counts is another version of the data set, or damaged.
"""
from __future__ import annotations

from collections import Counter
from itertools import groupby
from typing import NamedTuple

from .samples import SampleList


class Published(NamedTuple):
    """Rows of a list, and samples of each class where they are published."""

    rows: int
    classes: dict[str, int] = {}  # noqa: RUF012 (a NamedTuple; nobody writes into it)


SOURCES = dict(
    dfew='lists of S4D, finetune/data/DFEW; 11,697 single-labelled clips: arXiv 2008.05924',
    ferv39k='lists of S4D, finetune/data/FERV39K; 38,935 clips: arXiv 2203.09463',
    mafw='lists of S4D, finetune/data/MAFW; 9,172 single-labelled clips: arXiv 2208.00847',
    affectnet7='list of S4D, finetune/data/AffectNetdataset',
    affectnet8='Table 3 of arXiv 1708.03985 without the 500 images a class for validation',
    rafdb='http://www.whdeng.cn/RAF/model1.html; classes: EmoLabel/list_patition_label.txt',
    ferplus='FER2013, arXiv 1307.0414 (all rows of fer2013new.csv, those left out included)',
    unlabelled='VoxCeleb2, Table 2 of arXiv 1806.05622')

_AFFECTNET_TRAIN = dict(neutral=74874, happiness=134415, sadness=25459, surprise=14090, fear=6378,
                        disgust=3803, anger=24882, contempt=3750)

# by task and list name
PUBLISHED = {
    **{('dfew', f'{split}_set_{fold}'): Published(rows)
       for fold, pair in enumerate(((9356, 2341), (9356, 2341), (9357, 2340), (9358, 2339),
                                    (9361, 2336)), start=1)
       for split, rows in zip(('train', 'test'), pair)},
    ('dfew', 'test_set_1'): Published(2341, dict(
        happiness=489, sadness=379, neutral=534, anger=435, surprise=294, disgust=29, fear=181)),
    ('ferv39k', 'train'): Published(31088),
    ('ferv39k', 'test'): Published(7847, dict(
        anger=1487, disgust=467, fear=431, happiness=1473, neutral=1958, sadness=1393,
        surprise=638)),
    **{('mafw', f'{split}_set_{fold}'): Published(rows)
       for fold, pair in enumerate(((7333, 1839), (7335, 1837), (7339, 1833), (7340, 1832),
                                    (7341, 1831)), start=1)
       for split, rows in zip(('train', 'test'), pair)},
    ('mafw', 'test_set_1'): Published(1839, dict(
        anger=278, anxiety=184, contempt=48, disappointment=37, disgust=128, fear=125,
        happiness=249, helplessness=53, neutral=228, sadness=294, surprise=215)),
    ('affectnet7', 'test'): Published(3267, dict(
        neutral=471, happiness=457, sadness=473, surprise=458, fear=469, disgust=469, anger=470)),
    ('affectnet8', 'train'): Published(287651, _AFFECTNET_TRAIN),
    ('affectnet8', 'val'): Published(4000, dict.fromkeys(_AFFECTNET_TRAIN, 500)),
    ('rafdb', 'train'): Published(12271, dict(
        surprise=1290, fear=281, disgust=717, happiness=4772, sadness=1982, anger=705,
        neutral=2524)),
    ('rafdb', 'test'): Published(3068, dict(
        surprise=329, fear=74, disgust=160, happiness=1185, sadness=478, anger=162, neutral=680)),
    ('ferplus', 'train'): Published(28709),
    ('ferplus', 'val'): Published(3589),
    ('ferplus', 'test'): Published(3589),
    ('unlabelled', 'voxceleb2_dev'): Published(1092009),
}

# Samples of each class in train and test of a fold together: the same for every fold.
FOLD_TOTALS = dict(
    dfew=dict(happiness=2445, sadness=1894, neutral=2669, anger=2173, surprise=1469, disgust=145,
              fear=902),
    mafw=dict(anger=1390, anxiety=916, contempt=236, disappointment=182, disgust=639, fear=625,
              happiness=1242, helplessness=262, neutral=1138, sadness=1470, surprise=1072))

# data sets whose published sizes count the rows that are left out, too
COUNTED_BEFORE_LEAVING_OUT = ('ferplus',)


def class_counts(samples: list) -> dict[str, int]:
    """Samples of each class, by name."""
    return dict(sorted(Counter(sample.label for sample in samples if sample.label).items()))


def differences(lists: list[SampleList]) -> dict[str, list[str]]:
    """By list name, what is not as published; empty lists where all is."""
    found = {part.name: _counts_differ(part) for part in lists}
    for _, fold in groupby(sorted(lists, key=lambda part: part.fold or 0),
                           key=lambda part: part.fold):
        fold = list(fold)
        for part, reason in zip(fold, _fold_differs(fold)):
            found[part.name] += reason
    return found


def _counts_differ(part: SampleList) -> list[str]:
    published = PUBLISHED.get((part.task, part.name))
    if published is None:
        return []
    rows = len(part.samples)
    if part.task in COUNTED_BEFORE_LEAVING_OUT:
        rows += sum(part.left_out.values())
    found = []
    if rows != published.rows:
        found.append(f'{rows:,} rows, published are {published.rows:,}')
    counts = class_counts(part.samples)
    found += [f'{counts.get(name, 0):,} x {name}, published are {count:,}'
              for name, count in published.classes.items() if counts.get(name, 0) != count]
    return found


def _fold_differs(fold: list[SampleList]) -> list[list[str]]:
    """For each list of a fold: samples it shares with an earlier one, and wrong class totals."""
    found: list[list[str]] = []
    seen: dict[str, str] = {}
    for part in fold:
        shared = [sample.sample_id for sample in part.samples if sample.sample_id in seen]
        found.append([f'{len(shared)} samples are in {seen[shared[0]]} too, e.g. {shared[0]}']
                     if shared else [])
        seen.update((sample.sample_id, part.name) for sample in part.samples)
    totals = FOLD_TOTALS.get(fold[0].task)
    together = class_counts([sample for part in fold for sample in part.samples])
    if totals and len(fold) == 2 and together != dict(sorted(totals.items())):
        found[-1].append(f'classes of train and test together are {together}, published are '
                         f'{dict(sorted(totals.items()))}')
    return found
