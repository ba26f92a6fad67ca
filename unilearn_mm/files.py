"""Files that no reader ever sees half of, and their checksums. Standard library only."""

import errno
import functools
import hashlib
import os
import secrets
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Iterator, List, Union

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def replacing(path: Union[str, Path]) -> Iterator[Path]:
    """Write a file aside, under a name of this writer alone, and put it in place when it is whole.

    Inside of the ``with`` block, write to the path that it gives. If the block ends with an error,
    what was there is unchanged and nothing is left behind; a process that is killed leaves a file
    that :func:`interrupted_writes` finds.

    Args:
        path (str | Path): In an existing folder.

    Raises:
        OSError: If it cannot be synchronised or renamed.
    """
    path = Path(path)
    aside = path.with_name(f'.{path.name}.{secrets.token_hex(4)}.tmp')
    try:
        yield aside
        with open(aside, 'rb+') as file:
            os.fsync(file.fileno())
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
    with suppress(OSError):  # some network file systems cannot synchronise a folder
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def write_atomically(path: Union[str, Path], content: bytes) -> None:
    """Write a file so that a crash at any moment leaves the old one or the new one, whole.

    Args:
        path (str | Path): In an existing folder.
        content (bytes): What the file shall hold.

    Raises:
        OSError: If it cannot be written; what was there is unchanged.
    """
    try:
        with replacing(path) as aside:
            aside.write_bytes(content)
    except OSError as error:
        advice = '; make room and start again' if error.errno in DISK_FULL else ''
        raise OSError(
            error.errno, f'{path} ({len(content)} bytes) cannot be written: {error.strerror}. '
            f'What was there is unchanged{advice}') from error


def interrupted_writes(folder: Union[str, Path], name: str = '*') -> List[Path]:
    """What killed processes left of the files ``name`` (a pattern) in a folder."""
    return sorted(Path(folder).glob(f'.{name}.????????.tmp'))


def sha256_of(path: Union[str, Path]) -> str:
    """SHA-256 of a file, in hexadecimal digits; computed once for one state of the file."""
    status = os.stat(path)
    return _sha256(str(path), status.st_mtime_ns, status.st_size)


@functools.cache
def _sha256(path: str, mtime: int, size: int) -> str:
    with open(path, 'rb') as file:
        digest = hashlib.sha256()
        for block in iter(lambda: file.read(1 << 20), b''):
            digest.update(block)
    return digest.hexdigest()
