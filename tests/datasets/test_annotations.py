"""Annotation lists: every byte sequence gives the rows its format says, or an error that names
the file and the line."""

import csv
import io
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unilearn_mm.datasets.annotations import (
    AnnotationError,
    class_id,
    parse_annotations,
    read_annotations,
)
from unilearn_mm.datasets.label_spaces import class_names

LISTS = Path(__file__).parents[2] / '..' / 'shared' / 'data' / 'annotations'
CLASSES = class_names('dfew')

OURS = ('sample_id,path,label,subject,audio,age\n'
        '00001,clips/00001,happiness,s1,wav/1.wav,30\n'
        '00002,"clips, b/00002.mp4",5,"s ""2""",,31\n'
        '00003,clips/00003,fear,,wav/3.wav,\n'
        'c/4,c/4.npy,0,s4,wav/4.wav,33\n')
BARE_OURS = 'sample_id,path,label\nid00012/a/00001,id00012/a/00001,\nid2/b/1,id2/b/1,\n'
CLIPS = 'video_name,label\n00001,1\n00002,2\nInterview/Happy/0118,3\n"00005",6\n'
IMAGES = '680/cfa0_aligned/face_det_000000.bmp 0\nperson 1/b.jpg 6\ntrain_00001.jpg 5\nd.png 2\n'
VALID = [('video', OURS), ('image', OURS), ('image', BARE_OURS), ('video', CLIPS),
         ('image', IMAGES)]


# ---- the rules of the formats, stated once more and plainly

def plain_fields(line):
    """Fields of one CSV line character by character, None if its quotes are wrong."""
    fields, place = [], 0
    while True:
        while place < len(line) and line[place] in ' \t':
            place += 1
        if place < len(line) and line[place] == '"':
            place, value = place + 1, ''
            while True:
                if place >= len(line):
                    return None
                if line[place] == '"':
                    if line[place:place + 2] != '""':
                        break
                    place += 1
                value += line[place]
                place += 1
            place += 1
            while place < len(line) and line[place] in ' \t':
                place += 1
        else:
            value = ''
            while place < len(line) and line[place] != ',':
                value += line[place]
                place += 1
            if '"' in value:
                return None
            value = value.strip(' \t')
        fields.append(value)
        if place == len(line):
            return fields
        if line[place] != ',':
            return None
        place += 1


def stays_inside(path):
    if path.startswith('/') or '\\' in path or (path[1:2] == ':' and path[0].isascii()
                                                and path[0].isalpha()):
        return False
    parts = path.split('/')
    return '..' not in parts and any(part not in ('', '.') for part in parts)


def is_integer(text):
    digits = text.removeprefix('-')
    return 0 < len(digits) < 10 and all(digit in '0123456789' for digit in digits)


def plain_rows(data, media):
    """(sample_id, path, label, audio, groups) of every sample, None if the list is wrong."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    text = text[1:] if text[:1] == '\ufeff' else text
    bad = {*range(9), *range(0x0b, 0x20), 0x7f, 0x85, 0x2028, 0x2029, 0xfeff} - {0x0d}
    if any(ord(character) in bad for character in text):
        return None
    lines = io.StringIO(text, newline=None).read().split('\n')
    if any(len(line) > 16384 for line in lines):
        return None
    header = lines[0]
    rows = []
    if [field.strip(' \t"') for field in header.split(',')[:3]] == ['sample_id', 'path', 'label']:
        names = plain_fields(header)
        if (names is None or names[:3] != ['sample_id', 'path', 'label'] or '' in names
                or len(names) != len(set(names))):
            return None
        for line in lines[1:]:
            if line.strip(' \t'):
                fields = plain_fields(line)
                if fields is None or len(fields) != len(names):
                    return None
                row = dict(zip(names, fields))
                groups = {name: row[name] for name in names[3:] if name != 'audio'}
                rows.append((row['sample_id'], row['path'], row['label'],
                             row.get('audio') or None, groups))
    elif media == 'video':
        names = plain_fields(header)
        if names is None or len(names) != 2 or not all(
                name.replace(' ', '_').replace('-', '_').isidentifier() for name in names):
            return None
        for line in lines[1:]:
            if line.strip(' \t'):
                fields = plain_fields(line)
                if fields is None or len(fields) != 2 or not is_integer(fields[1]):
                    return None
                rows.append((fields[0], fields[0], fields[1], None, {}))
    else:
        for line in lines:
            line = line.strip(' \t')
            if line:
                words = line.split(' ')
                path = ' '.join(words[:-1]).rstrip(' \t')
                rows.append((path, path, words[-1], None, {}))
    names = [row[0] for row in rows]
    if not rows or '' in names or len(set(names)) != len(names):
        return None
    paths = [row[1] for row in rows] + [row[3] for row in rows if row[3] is not None]
    return rows if all(map(stays_inside, paths)) else None


def plain_class(label):
    """Class id of a label, None if it is none."""
    if label in CLASSES:
        return CLASSES.index(label)
    return int(label) if is_integer(label) and 0 <= int(label) < len(CLASSES) else None


def check(data, media):
    """The parser gives the plain rows, or an error with file and line where there are none."""
    expected = plain_rows(data, media)
    try:
        rows = parse_annotations(data, 'the_list.csv', media)
    except AnnotationError as error:
        assert re.search(r'the_list\.csv, line [1-9]', str(error)), error
        assert expected is None, (expected, error)
        return
    assert [tuple(row)[1:] for row in rows] == expected
    lines = io.StringIO(data.decode('utf-8-sig'), newline=None).read().split('\n')
    numbers = [number for number, line in enumerate(lines, start=1) if line.strip(' \t')]
    found = [row.line for row in rows]
    assert found == numbers[1:] or (media == 'image' and found == numbers), 'a line is lost'
    for row in rows:
        number = plain_class(row.label)
        if number is None:
            with pytest.raises(AnnotationError, match='the_list.csv, line 7: label'):
                class_id(row.label, CLASSES, 'the_list.csv, line 7')
        else:
            assert class_id(row.label, CLASSES, 'here') == number


# ---- damage

PIECES = [b'"', b'""', b',', b';', b'\t', b' ', b'\n', b'\r', b'\r\n', b'\x00', b'\xff', b'\xe9',
          b'\xef\xbb\xbf', b'../', b'/', b'\\', b'C:', b'.', b'-', b'-1', b'1.0', b'7', b'9' * 40,
          b'1_0', b'+1', '\u00e9'.encode(), '\u0663'.encode(), '\u2028'.encode(), '\x85'.encode(),
          b'happiness', b'Happy']


def delete(data, at, size, piece):
    return data[:at] + data[at + 1 + size % 30:]


def insert(data, at, size, piece):
    return data[:at] + piece + data[at:]


def replace(data, at, size, piece):
    return data[:at] + piece + data[at + len(piece):]


def flip(data, at, size, piece):
    return data[:at] + bytes([data[at] ^ (1 << size % 8)]) + data[at + 1:] if data else data


def duplicate_line(data, at, size, piece):
    lines = data.split(b'\n')
    lines.insert(size % len(lines), lines[at % len(lines)])
    return b'\n'.join(lines)


def swap_lines(data, at, size, piece):
    lines = data.split(b'\n')
    one, other = at % len(lines), size % len(lines)
    lines[one], lines[other] = lines[other], lines[one]
    return b'\n'.join(lines)


def cut(data, at, size, piece):
    return data[:at]


def exchange(data, at, size, piece):
    """Another separator, in one line or in all."""
    old = (b',', b' ', b'\n')[size % 3]
    return data.replace(old, piece) if size % 2 else data[:at] + data[at:].replace(old, piece, 1)


def relabel(data, at, size, piece):
    lines = data.split(b'\n')
    line = at % len(lines)
    lines[line] = re.sub(rb'[^, ]*$', lambda found: piece, lines[line], count=1)
    return b'\n'.join(lines)


DAMAGE = [delete, insert, replace, flip, duplicate_line, swap_lines, cut, exchange, relabel]
damages = st.lists(st.tuples(st.sampled_from(DAMAGE), st.integers(0, 10**6), st.integers(0, 999),
                             st.sampled_from(PIECES)), min_size=1, max_size=4)
quickly = settings(deadline=None, suppress_health_check=list(HealthCheck))


def damaged(data, steps):
    for step, at, size, piece in steps:
        data = step(data, at % (len(data) or 1), size, piece)
    return data


@settings(quickly, max_examples=400)
@given(st.sampled_from(VALID), damages)
def test_damaged_lists(valid, steps):
    media, text = valid
    check(damaged(text.encode(), steps), media)


@pytest.mark.slow
@pytest.mark.parametrize('media, text', VALID, ids=['ours, video', 'ours, image', 'unlabelled',
                                                    'clips', 'images'])
def test_ten_thousand_damaged_lists(media, text):
    @settings(quickly, max_examples=2000)
    @given(damages)
    def damage(steps):
        check(damaged(text.encode(), steps), media)
    damage()


@settings(quickly, max_examples=300)
@given(st.binary(max_size=60), st.sampled_from(['video', 'image']),
       st.sampled_from([b'', b'sample_id,path,label\n', b'name,label\n']))
def test_arbitrary_bytes(data, media, start):
    check(start + data, media)


@settings(quickly, max_examples=60)
@given(damages, st.sampled_from(['dfew_test_set_1.csv', 'mafw_set_1_test.csv', 'ferv39k_test.csv',
                                 'affectnet7_test.txt']))
def test_damaged_published_lists(steps, name):
    if not (LISTS / name).is_file():
        pytest.skip('the published lists are not part of this repository')
    start = b''.join((LISTS / name).read_bytes().splitlines(keepends=True)[:20])
    check(damaged(start, steps), 'image' if name.endswith('.txt') else 'video')


# ---- what is right

@pytest.mark.parametrize('name, rows', [
    ('dfew_train_set_1.csv', 9356), ('dfew_test_set_1.csv', 2341), ('mafw_set_1_train.csv', 7333),
    ('mafw_set_1_test.csv', 1839), ('ferv39k_test.csv', 7847), ('affectnet7_test.txt', 3267)])
def test_published_lists(name, rows):
    if not (LISTS / name).is_file():
        pytest.skip('the published lists are not part of this repository')
    image = name.endswith('.txt')
    found = read_annotations(str(LISTS / name), 'image' if image else 'video')
    lines = (LISTS / name).read_text().splitlines()
    expected = ([line.rsplit(' ', 1) for line in lines] if image
                else list(csv.reader(lines))[1:])
    assert [[row.path, row.label] for row in found] == expected
    assert len(found) == rows


@pytest.mark.parametrize('media, text', VALID)
def test_marks_line_ends_and_spaces_do_not_matter(media, text):
    def values(data):
        return [tuple(row)[1:] for row in parse_annotations(data, 'x', media)]
    plain = values(text.encode())
    assert plain == plain_rows(text.encode(), media)
    assert values(text.encode('utf-8-sig')) == plain
    assert values(text.replace('\n', '\r\n').encode()) == plain
    assert values(text.replace('\n', '\r').encode()) == plain
    assert values(text.replace('\n', ' \t\n\n \n').encode()) == plain
    assert values(text.rstrip('\n').encode()) == plain


names = st.text(st.characters(codec='utf-8', exclude_categories=['Cc', 'Zl', 'Zp'],
                              exclude_characters='/\\\ufeff'),
                min_size=1, max_size=12).filter(lambda text: text not in ('.', '..')
                                                and text[1:2] != ':')


@settings(quickly, max_examples=200)
@given(st.lists(st.tuples(names, names, st.sampled_from(CLASSES), names), min_size=1, max_size=5,
                unique_by=lambda row: row[0]))
def test_what_python_writes_is_read_back(rows):
    text = io.StringIO(newline='')
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows(
        [('sample_id', 'path', 'label', 'group'), *rows])
    found = parse_annotations(text.getvalue().encode(), 'x.csv', 'video')
    assert [(row.sample_id, row.path, row.label, row.groups['group']) for row in found] == rows
    assert [row.line for row in found] == list(range(2, 2 + len(rows)))


# ---- what is wrong, and what the error says

@pytest.mark.parametrize('data, message', [
    (b'', 'line 1: found'),
    (b'video_name,label\n', 'line 1: no rows'),
    (b'video_name,label\n00001,1\n00002,\xff\n', 'line 3: byte 31 .*0xff.* not UTF-8'),
    (b'\xff\xfev\x00', 'line 1: byte 0 .*not UTF-8'),
    (b'video_name,label\n00001,1\n0000\x002,1\n', r"line 3: control character '\\x00'"),
    (b'a,b\n"x,1\ny,2\nz",3\n', 'line 2: .*a quote that is not closed on this line'),
    (b'a,b\nx"y,1\n', 'line 2: .*stands inside a field'),
    (b'a,b\nx,1\n"x",2\n', "line 3: 'x' stands already in line 2"),
    (b'a,b\nx;1\n', 'line 2: found .*expected two columns'),
    (b'a,b\nx,1.0\n', "line 2: label '1.0' is not an integer"),
    (b'a,b\nx,\n', "line 2: label '' is not an integer"),
    (b'a,b\n' + b'x' * 20000 + b',1\n', 'line 2: 2000. characters in one line'),
    (b'a,b\n../x,1\n', 'line 2: .*not inside the media folder'),
    (b'a,b\nx/../../y,1\n', 'line 2: .*not inside the media folder'),
    (b'a,b\n/etc/passwd,1\n', 'line 2: .*is absolute'),
    (b'a,b\nC:/x,1\n', 'line 2: .*is absolute'),
    (b'a,b\nx\\y,1\n', 'line 2: .*backslash'),
    (b'a,b\n.,1\n', 'line 2: .*not inside the media folder'),
    (b'sample_id,path,label\n1,a\n', 'line 2: found 2 columns .* expected 3'),
    (b'sample_id,path,label\n1,a,0,x\n', 'line 2: found 4 columns .* expected 3'),
    (b'sample_id,path,label,age,age\n1,a,0,x,y\n', 'line 1: .*each once'),
    (b'sample_id,path,label,\n1,a,0,x\n', 'line 1: .*each once'),
    (b'sample_id,path,label\n,a,0\n', 'line 2: sample_id is empty'),
    (b'sample_id,path,label\n1,,0\n', "line 2: path '' is not inside"),
    (b'sample_id,path,label,audio\n1,a,0,../a.wav\n', 'line 2: audio .*not inside'),
    (b'sample_id,label,path\n1,0,a\n', 'line 1: .*expected a header row'),
])
def test_errors_name_file_line_and_cause(tmp_path, data, message):
    (tmp_path / 'list.csv').write_bytes(data)
    with pytest.raises(AnnotationError, match=r'list\.csv, ' + message):
        read_annotations(str(tmp_path / 'list.csv'), 'video')


@pytest.mark.parametrize('line', [' ' * 16000 + 'x"y,1', '"x"' + ' ' * 16000 + 'y,1',
                                  '"' * 16001 + ',1', '"x" ' * 4000, '" ' * 8000])
def test_bad_quotes_are_refused_at_once(line):
    """Where the search for the fields went back and forth, this would take hours."""
    with pytest.raises(AnnotationError, match='line 2: '):
        parse_annotations(f'a,b\n{line}\n'.encode(), 'x', 'video')


def test_names_with_dots_are_no_way_out():
    rows = parse_annotations(b'a..b/c...jpg 0\n./d.jpg 1\n...e 2\n', 'x', 'image')
    assert [row.path for row in rows] == ['a..b/c...jpg', './d.jpg', '...e']


def test_a_list_that_cannot_be_opened(tmp_path):
    with pytest.raises(AnnotationError, match='cannot be read: Is a directory'):
        read_annotations(str(tmp_path), 'video')


@pytest.mark.parametrize('label, message', [
    ('7', r'id 7 is unknown; expected 0\.\.6 \(happiness'), ('-1', 'id -1 is unknown'),
    ('joy', "'joy' is neither .* nor .* 0..6 or one of happiness"), ('', "'' is neither"),
    ('1.0', '.*neither'), ('1e0', '.*neither'), ('9' * 5000, '.*neither'),
    ('\u0663', '.*neither')])
def test_labels_that_are_none(label, message):
    with pytest.raises(AnnotationError, match='list.csv, line 3: label ' + message):
        class_id(label, CLASSES, 'list.csv, line 3')


def test_labels_are_names_or_ids():
    for number, name in enumerate(CLASSES):
        assert class_id(name, CLASSES, '') == class_id(str(number), CLASSES, '') == number
