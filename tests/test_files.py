import errno
import hashlib
import os
import subprocess
import sys
from multiprocessing import get_context

import pytest

from unilearn_mm.files import interrupted_writes, replacing, sha256_of, write_atomically

CONTENTS = [bytes([number]) * 200_000 for number in range(8)]


def write_often(path, content):
    for _ in range(30):
        write_atomically(path, content)


def test_writers_of_one_file_do_not_collide(tmp_path):
    """Each writes to a name of its own: all end well, and the file is one of theirs, whole."""
    path = tmp_path / 'one.bin'
    workers = [get_context('spawn').Process(target=write_often, args=(path, content))
               for content in CONTENTS[:4]]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert path.read_bytes() in CONTENTS[:4] and os.listdir(tmp_path) == ['one.bin']


def test_an_error_leaves_what_was_there(tmp_path):
    path = tmp_path / 'table.csv'
    path.write_text('old')
    with pytest.raises(ZeroDivisionError), replacing(path) as aside:
        aside.write_text('half')
        raise ZeroDivisionError
    assert path.read_text() == 'old' and os.listdir(tmp_path) == ['table.csv']


def test_what_a_killed_writer_left_is_found_by_name(tmp_path):
    code = ('import os, sys; from unilearn_mm.files import replacing\n'
            f'with replacing({str(tmp_path / "a.pth")!r}) as aside:\n'
            '    aside.write_text("half"); os.kill(os.getpid(), 9)')
    assert subprocess.run([sys.executable, '-c', code]).returncode == -9
    (rest, ) = interrupted_writes(tmp_path, '*.pth')
    assert rest.read_text() == 'half'
    assert not interrupted_writes(tmp_path, '*.csv') and not list(tmp_path.glob('*.pth'))


def test_the_checksum_follows_the_content(tmp_path):
    path = tmp_path / 'file'
    for content in CONTENTS[:2]:
        write_atomically(path, content)
        assert sha256_of(path) == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize('error, advises', [('ENOSPC', True), ('EACCES', False)])
def test_room_is_asked_for_where_room_is_missing(error, advises, tmp_path, monkeypatch):
    def refuse(*args):
        raise OSError(getattr(errno, error), os.strerror(getattr(errno, error)))

    monkeypatch.setattr(os, 'fsync', refuse)
    with pytest.raises(OSError, match=r'one\.bin \(3 bytes\) cannot be written') as caught:
        write_atomically(tmp_path / 'one.bin', b'abc')
    assert ('make room' in str(caught.value)) == advises
    assert not list(tmp_path.iterdir())
