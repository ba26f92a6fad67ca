"""Annotation lists -> rows: parsing only, no class names and no look at the media.

Three formats are read; all are UTF-8 text with one sample a line, and empty lines between rows
are no samples:

* **ours**, recognised by its header ``sample_id,path,label``, for clips and images: a CSV whose
  further columns are ``audio`` (a path, may be empty) and group columns (subject, gender, age,
  ...). ``label`` is a class name or a 0-based class id, or empty in unlabelled data.
* **clips**: a CSV of two columns with one header row, ``clip name,class id`` (official lists of
  DFEW ``video_name,label``, FERV39k ``path,id``, MAFW ``video_name,labels``; S4D,
  finetune/data).
* **images**: no header, ``relative/path label``, separated by the last space of the line, so that
  paths may hold spaces (S4D, AffectNetdataset/test_affectnet7_2w.txt; RAF-DB,
  list_patition_label.txt).

Paths are relative to the media folder and stay inside it.
"""

import re
from pathlib import PurePosixPath
from typing import Dict, List, NamedTuple, Optional, Sequence

HEADER = ('sample_id', 'path', 'label')
AUDIO = 'audio'
MAX_LINE = 16384  # characters; a path has at most 4096, and more is a list that lost its ends
SHOWN = 80  # characters of a bad line that an error shows

_CONTROL = re.compile('[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x85\u2028\u2029\ufeff]')
_CLASS_ID = re.compile('-?[0-9]{1,9}')
# no two parts can match the same characters: bad lines are refused in linear time
_FIELD = re.compile(r'[ \t]*(?:"((?:[^"]|"")*)"[ \t]*|([^", \t][^",]*)?)(,|\Z)')
# what can make a path leave the media folder, to be looked at closely
_SUSPICIOUS = re.compile(r'^[/.]|^[A-Za-z]:|\.\.|\\', re.MULTILINE)


class AnnotationError(ValueError):
    """A row of an annotation list cannot be used."""


class AnnotationRow(NamedTuple):
    """One sample of an annotation list.

    ``line`` counts from 1; ``label`` is the text of the list; ``audio`` is None where the list
    gives none; ``groups`` maps the names of the group columns to the row's values.
    """

    line: int
    sample_id: str
    path: str
    label: str
    audio: Optional[str]
    groups: Dict[str, str]


def read_annotations(path: str, media: str) -> List[AnnotationRow]:
    """Rows of an annotation list, in its order.

    Args:
        path (str): Annotation list.
        media (str): 'video' or 'image'; it selects the official format that is read besides ours.

    Raises:
        AnnotationError: If the list or a row is not of the format; the message names the file
            and the line.
    """
    try:
        with open(path, 'rb') as file:
            data = file.read()
    except OSError as error:
        raise AnnotationError(f'{path}: cannot be read: {error.strerror}') from error
    return parse_annotations(data, str(path), media)


def parse_annotations(data: bytes, name: str, media: str) -> List[AnnotationRow]:
    """As :func:`read_annotations`, on the bytes of a list; ``name`` is what errors call it."""
    lines = _lines(data, name)
    if tuple(field.strip(' \t"') for field in lines[0].split(',')[:3]) == HEADER:
        rows = _our_rows(lines, name)
    elif media == 'video':
        rows = _clip_rows(lines, name)
    else:
        rows = _image_rows(lines, name)
    if not rows:
        raise AnnotationError(f'{name}, line {len(lines)}: no rows')
    _check(rows, name)
    return rows


def class_id(text: str, classes: Sequence[str], where: str) -> int:
    """Class id of a label.

    Args:
        text (str): Class name or 0-based class id.
        classes (Sequence[str]): Class names in the order of their ids.
        where (str): File and line, for the error.

    Raises:
        AnnotationError: If the label is neither.
    """
    if text in classes:
        return list(classes).index(text)
    if not _CLASS_ID.fullmatch(text):
        raise AnnotationError(f'{where}: label {_show(text)} is neither an integer class id nor a '
                              f'class name; expected 0..{len(classes) - 1} or one of '
                              f'{", ".join(classes)}')
    label = int(text)
    if not 0 <= label < len(classes):
        raise AnnotationError(f'{where}: label id {label} is unknown; expected '
                              f'0..{len(classes) - 1} ({", ".join(classes)})')
    return label


def _lines(data: bytes, name: str) -> List[str]:
    try:
        text = data.decode('utf-8')
    except UnicodeDecodeError as error:
        line = len(data[:error.start + 1].splitlines())
        raise AnnotationError(
            f'{name}, line {line}: byte {error.start} of the file ({data[error.start]:#04x}) is '
            'not UTF-8; save the list as UTF-8') from None
    text = text.removeprefix('\ufeff')  # the mark some editors put first
    text = text.replace('\r\n', '\n').replace('\r', '\n')
    found = _CONTROL.search(text)
    if found:
        line = text.count('\n', 0, found.start()) + 1
        raise AnnotationError(f'{name}, line {line}: control character {found.group()!r}; the '
                              'list is damaged or no text file')
    lines = text.rstrip('\n').split('\n')
    for number, line in enumerate(lines, start=1):
        if len(line) > MAX_LINE:
            raise AnnotationError(f'{name}, line {number}: {len(line)} characters in one line, '
                                  f'expected at most {MAX_LINE}: {_show(line)}')
    return lines


def _fields(line: str, where: str) -> List[str]:
    """Fields of one CSV line; unlike in Python's csv module a quote that is not closed on its
    line cannot swallow the lines after it, and a stray quote is an error."""
    if '"' not in line:
        return [field.strip(' \t') for field in line.split(',')]
    fields, place, comma = [], 0, ','
    while comma:
        found = _FIELD.match(line, place)
        if not found:
            raise AnnotationError(
                f'{where}: found {_show(line)}: a quote that is not closed on this line, or '
                'stands inside a field (write it twice, and quotes around the field)')
        quoted, plain, comma = found.groups()
        fields.append((plain or '').rstrip(' \t') if quoted is None else
                      quoted.replace('""', '"'))
        place = found.end()
    return fields


def _our_rows(lines: List[str], name: str) -> List[AnnotationRow]:
    header = _fields(lines[0], f'{name}, line 1')
    if tuple(header[:3]) != HEADER or '' in header or len(set(header)) != len(header):
        raise AnnotationError(f'{name}, line 1: found {header!r}, expected {",".join(HEADER)} and '
                              'further names, each once')
    extra = header[3:]
    audio_at = extra.index(AUDIO) if AUDIO in extra else None
    groups = [column for column in extra if column != AUDIO]
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip(' \t'):
            continue
        fields = _fields(line, f'{name}, line {number}')
        if len(fields) != len(header):
            raise AnnotationError(f'{name}, line {number}: found {len(fields)} columns in '
                                  f'{_show(line)}, expected {len(header)}: {",".join(header)}')
        values = fields[3:]
        audio = None if audio_at is None else values.pop(audio_at) or None
        rows.append(AnnotationRow(number, fields[0], fields[1], fields[2], audio,
                                  dict(zip(groups, values))))
    return rows


def _clip_rows(lines: List[str], name: str) -> List[AnnotationRow]:
    header = _fields(lines[0], f'{name}, line 1')
    # names, not values: a list without a header must not lose its first row
    if len(header) != 2 or not all(re.sub('[ -]', '_', field).isidentifier() for field in header):
        raise AnnotationError(f'{name}, line 1: found {header!r}, expected a header row of two '
                              f'names, e.g. video_name,label, or of ours, {",".join(HEADER)}')
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip(' \t'):
            continue
        fields = _fields(line, f'{name}, line {number}')
        if len(fields) != 2 or not fields[0]:
            raise AnnotationError(f'{name}, line {number}: found {_show(line)}, expected two '
                                  'columns: clip name, class id')
        if not _CLASS_ID.fullmatch(fields[1]):
            raise AnnotationError(f'{name}, line {number}: label {_show(fields[1])} is not an '
                                  'integer class id')
        rows.append(AnnotationRow(number, fields[0], fields[0], fields[1], None, {}))
    return rows


def _image_rows(lines: List[str], name: str) -> List[AnnotationRow]:
    rows = []
    for number, line in enumerate(lines, start=1):
        line = line.strip(' \t')
        if not line:
            continue
        path, _, label = line.rpartition(' ')
        path = path.rstrip(' \t')
        if not path:
            raise AnnotationError(f'{name}, line {number}: found {_show(line)}, expected '
                                  f'`relative/path label`, or the header {",".join(HEADER)}')
        rows.append(AnnotationRow(number, path, path, label, None, {}))
    return rows


def _check(rows: List[AnnotationRow], name: str) -> None:
    ids = [row.sample_id for row in rows]
    if len(set(ids)) != len(ids) or '' in ids:
        _raise_for_id(rows, name)
    paths = [row.path for row in rows] + [row.audio for row in rows if row.audio is not None]
    # one search over all of them: the lists are long
    if '' in paths or _SUSPICIOUS.search('\n'.join(paths)):
        for row in rows:
            _check_path(row.path, f'{name}, line {row.line}: path')
            if row.audio is not None:
                _check_path(row.audio, f'{name}, line {row.line}: {AUDIO}')


def _raise_for_id(rows: List[AnnotationRow], name: str) -> None:
    lines: Dict[str, int] = {}
    for row in rows:
        if not row.sample_id:
            raise AnnotationError(f'{name}, line {row.line}: sample_id is empty')
        if row.sample_id in lines:
            raise AnnotationError(f'{name}, line {row.line}: {_show(row.sample_id)} stands '
                                  f'already in line {lines[row.sample_id]}')
        lines[row.sample_id] = row.line


def _check_path(path: str, where: str) -> None:
    if path.startswith('/') or re.match('[A-Za-z]:', path):
        raise AnnotationError(f'{where} {_show(path)} is absolute; expected it relative to the '
                              'media folder')
    if '\\' in path:
        raise AnnotationError(f"{where} {_show(path)} holds a backslash; write '/' between folder "
                              'and file')
    parts = PurePosixPath(path).parts
    if '..' in parts or not parts:
        raise AnnotationError(f'{where} {_show(path)} is not inside the media folder')


def _show(text: str) -> str:
    return repr(text if len(text) <= SHOWN else text[:SHOWN] + '...')
