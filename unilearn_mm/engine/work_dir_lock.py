"""One training at a time in a work directory.

The lock is the kernel's, on an open file: it is gone as soon as its process is, however that
ended, so a run that was killed can be resumed at once. It is a POSIX lock and not ``flock``,
because workers of data loaders are forked, live a few seconds longer than a process that is
killed, and would keep the latter. Network file systems hand POSIX locks from machine to machine.
"""

import errno
import fcntl
import json
import logging
import os
import socket
import sys
import weakref
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, List, Optional, Union

from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.logging import print_log

NAME = 'run.lock'
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)

_held: 'weakref.WeakValueDictionary[str, WorkDirLock]' = weakref.WeakValueDictionary()


class WorkDirInUseError(RuntimeError):
    """Another process trains in this work directory."""


class WorkDirLock:
    """The lock of a folder, for this process, as long as the object or the process lives.

    The file ``run.lock`` in the folder names the process. It is removed with the lock; one that a
    killed process has left locks nothing.

    Args:
        folder (str | Path): An existing folder.

    Raises:
        WorkDirInUseError: If another process has the lock.
    """

    def __init__(self, folder: Union[str, Path]) -> None:
        path = Path(folder, NAME)
        file = _locked(path)
        file.seek(0)
        earlier = file.read()
        if earlier:
            print_log(f'{path}: taken over from {_shown(earlier)}, which was killed', 'current')
        file.truncate(0)
        json.dump(dict(pid=os.getpid(), host=socket.gethostname(),
                       started=datetime.now(timezone.utc).isoformat(timespec='seconds'),
                       command=sys.argv), file)
        file.flush()
        weakref.finalize(self, _release, path, file, os.getpid())


def lock_work_dir(folder: Union[str, Path]) -> Optional[WorkDirLock]:
    """Take the lock of a work directory for this run; to be called on all ranks.

    Args:
        folder (str | Path): Created if it is not there.

    Returns:
        WorkDirLock | None: The lock, which the main rank holds for all; None on the others. If
        this process has it already, it is the same one.

    Raises:
        WorkDirInUseError: On all ranks, if another run has it.
    """
    lock, refusal = None, ['']
    if is_main_process():
        Path(folder).mkdir(parents=True, exist_ok=True)
        key = f'{os.getpid()} {os.path.realpath(folder)}'  # a forked process inherits no lock
        try:
            lock = _held.get(key) or WorkDirLock(folder)
            _held[key] = lock
        except WorkDirInUseError as error:
            refusal = [str(error)]
    broadcast_object_list(refusal)
    if refusal[0]:
        raise WorkDirInUseError(refusal[0])
    return lock


def _locked(path: Path) -> IO[str]:
    while True:
        file = open(path, 'a+', encoding='utf-8')  # noqa: SIM115 (stays open as long as the lock)
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            with file:
                file.seek(0)
                holder = file.read()
            raise WorkDirInUseError(
                f'{path.parent}: in use by {_shown(holder)}. Two trainings would overwrite each '
                'other\'s checkpoints. Wait for it, end it, or use another --work-dir. If it runs '
                f'on another machine, and that has crashed, remove {path}') from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            print_log(f'{path}: this file system has no locks ({error.strerror}): a second '
                      'training in this work directory would not be noticed', 'current',
                      logging.WARNING)
            return file
        if _is_at(path, file):
            return file
        file.close()  # whoever had it has just removed it


def _release(path: Path, file: IO[str], pid: int) -> None:
    if os.getpid() == pid:
        if _is_at(path, file):
            path.unlink()  # before it is unlocked, so that it is nobody else's
        file.close()


def _is_at(path: Path, file: IO[str]) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _shown(holder: str) -> str:
    try:
        found = json.loads(holder)
        command: List[str] = found['command']
        return (f'process {found["pid"]} on {found["host"]}, which began at {found["started"]} '
                f'({" ".join(command)})')
    except (ValueError, KeyError, TypeError):
        return 'another process'
