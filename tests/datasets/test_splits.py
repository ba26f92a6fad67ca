"""Held-out parts: a partition, stratified, identities kept together, the same for one seed."""

import importlib.util
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unilearn_mm.datasets.annotations import AnnotationError, AnnotationRow, read_annotations
from unilearn_mm.datasets.splits import hold_out, write_annotations, write_hold_out

ROOT = Path(__file__).parents[2]
spec = importlib.util.spec_from_file_location('hold_out', ROOT / 'tools' / 'data' / 'hold_out.py')
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)


def rows_of(labels, subjects=None):
    return [AnnotationRow(line, f'{line:04d}', f'clips/{line:04d}', str(label), None,
                          {} if subjects is None else dict(subject=subjects[line - 2]))
            for line, label in enumerate(labels, start=2)]


@given(st.lists(st.integers(20, 60), min_size=1, max_size=5), st.sampled_from([0.1, 0.2, 0.5]),
       st.integers(0, 2**32 - 1))
def test_without_identities_every_class_gives_its_share(sizes, share, seed):
    rows = rows_of([label for label, size in enumerate(sizes) for _ in range(size)])
    train, held_out = hold_out(rows, share, seed, None)
    assert sorted(train + held_out) == rows, 'each row in one part'
    assert train == sorted(train) and held_out == sorted(held_out), 'in the order of the list'
    counts = Counter(row.label for row in held_out)
    for label, size in enumerate(sizes):
        assert abs(counts[str(label)] - size * share) <= 1
    assert hold_out(rows, share, seed, None) == (train, held_out)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=20, max_size=30), st.integers(0, 2**32 - 1))
def test_no_subject_is_in_both_parts(clips, seed):
    """clips: how many each subject has."""
    subjects = [f's{number}' for number, count in enumerate(clips) for _ in range(count)]
    rows = rows_of([index % 3 for index in range(len(subjects))], subjects)
    train, held_out = hold_out(rows, 0.2, seed, 'subject')
    assert sorted(train + held_out) == rows
    assert not ({row.groups['subject'] for row in train}
                & {row.groups['subject'] for row in held_out})
    assert abs(len(held_out) - len(rows) / 5) <= 9, 'at most a subject too many or too few'


def test_seeds_differ():
    rows = rows_of([index % 3 for index in range(300)])
    assert hold_out(rows, 0.1, 0, None) != hold_out(rows, 0.1, 1, None)


@pytest.mark.parametrize('share, labels, subjects, group, message', [
    (0.6, 'ab' * 20, None, None, r'in \(0, 0\.5\], found 0\.6'),
    (0.1, 'aab', None, None, 'no class has the 10 rows'),
    (0.5, ['a', '', 'b', 'b'], None, None, 'line 3: no label'),
    (0.5, 'aabb', ['x', '', 'x', 'y'], 'subject', "line 3: no value of 'subject'"),
    (0.1, 'ab' * 20, list('xyzw') * 10, 'subject', "4 values of 'subject' cannot be split"),
    (0.5, 'aaabaa', list('uuuuvw'), 'subject', 'no row of the classes')])
def test_impossible_splits_are_refused(share, labels, subjects, group, message):
    with pytest.raises(ValueError, match=message):
        for seed in range(20):  # of the last case: whatever half the only b is in
            hold_out(rows_of(labels, subjects), share, seed, group)


TEXT = st.text(st.characters(codec='utf-8', exclude_categories=('C', 'Zl', 'Zp')), max_size=12)


@given(st.lists(st.tuples(TEXT, TEXT, st.one_of(st.none(), st.just('a/b.wav')), TEXT), min_size=1,
                max_size=5))
def test_written_lists_read_back(tmp_path_factory, fields):
    path = tmp_path_factory.mktemp('lists') / 'list.csv'
    rows = [AnnotationRow(line, f'{line} {name}', 'p/' + name.replace('\\', '').replace('.', ''),
                          label, audio, dict(subject=subject))
            for line, (name, label, audio, subject) in enumerate(fields, start=2)]
    write_annotations(path, rows)
    assert read_annotations(str(path), 'video') == rows


def test_official_and_our_lists(tmp_path, monkeypatch, capsys):
    """An official list has no identities; ours has, and subject is taken by itself."""
    official = tmp_path / 'set_1.csv'
    official.write_text('\n'.join(['video_name,label', *(f'{i:05d},{i % 7}' for i in range(140))]))
    found = write_hold_out(str(official), 'video', 0.1, 0, tmp_path / 'official')
    assert (found.group, found.sizes, found.absent_classes) == (None, (126, 14), ())
    names = {row.sample_id for path in found[:2] for row in read_annotations(str(path), 'video')}
    assert names == {f'{i:05d}' for i in range(140)}

    ours = tmp_path / 'ours.csv'
    ours.write_text('\n'.join(['sample_id,path,label,gender,subject',
                               *(f'{i},c/{i},{i % 2},{i % 2},s{i // 4}' for i in range(80))]))
    monkeypatch.setattr(sys, 'argv', ['hold_out.py', str(ours), '--out', str(tmp_path / 'ours')])
    assert tool.main() == 0
    assert 'identities: subject' in capsys.readouterr().out
    train, held_out = (read_annotations(str(tmp_path / 'ours' / name), 'video')
                       for name in ('train.csv', 'validation.csv'))
    assert len(train) + len(held_out) == 80 and train[0].groups.keys() == {'gender', 'subject'}
    first = (tmp_path / 'ours' / 'validation.csv').read_bytes()
    assert tool.main() == 0
    assert (tmp_path / 'ours' / 'validation.csv').read_bytes() == first
    with pytest.raises(AnnotationError, match=r"ours\.csv: no group column 'age'.*gender"):
        write_hold_out(str(ours), 'video', 0.1, 0, tmp_path, 'age')
