"""Checkpoint files that are whole, or known not to be, and that cannot run code.

A file is written under another name, synchronised and renamed, so that under its own name there
is always a whole file. ``NAME.sha256`` beside it holds its checksum (``sha256sum -c`` reads it),
which everything that loads a checkpoint through MMEngine verifies, because this module replaces
MMEngine's reader of local files.
"""

import hashlib
import os
import pickle
import pickletools
import re
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable, List, Optional, Union

import torch
from mmengine.fileio import LocalBackend, register_backend
from mmengine.logging import print_log
from mmengine.runner.checkpoint import CheckpointLoader
from safetensors.torch import load_file

from ..files import sha256_of, write_atomically

ATOMIC = dict(backend='unilearn_mm_atomic')  # backend_args of MMEngine's save functions
POINTER = 'last_checkpoint'  # MMEngine's file with the path of the checkpoint to resume


class CorruptCheckpointError(RuntimeError):
    """A checkpoint is truncated, damaged, or no checkpoint."""


class UnsafeCheckpointError(pickle.UnpicklingError):
    """A checkpoint asks for more than tensors and plain data."""


def write_checkpoint(path: Union[str, Path], content: bytes) -> None:
    """Write a checkpoint atomically, together with its checksum.

    Args:
        path (str | Path): In an existing folder. If the file exists, it is replaced.
        content (bytes): A serialised checkpoint.

    Raises:
        OSError: If it cannot be written; what was there is unchanged.
    """
    path = Path(path)
    sidecar = sidecar_of(path)
    new = f'{hashlib.sha256(content).hexdigest()}  {path.name}\n'
    old = ''
    if path.is_file():
        old = (sidecar.read_text(errors='replace') if sidecar.is_file() else
               f'{sha256_of(path)}  {path.name}\n')
    # while both checksums stand there, the file is good before and after it is replaced
    write_atomically(sidecar, (new + old).encode())
    write_atomically(path, content)
    if old:
        write_atomically(sidecar, new.encode())


@register_backend(ATOMIC['backend'], force=True)
class AtomicBackend(LocalBackend):
    """MMEngine's local files, but each is replaced at once and has a checksum beside it."""

    def put(self, obj: bytes, filepath: Union[str, Path]) -> None:
        """Write a checkpoint; see :func:`write_checkpoint`."""
        Path(filepath).parent.mkdir(parents=True, exist_ok=True)
        write_checkpoint(filepath, obj)

    def remove(self, filepath: Union[str, Path]) -> None:
        """Remove a checkpoint, then its checksum."""
        super().remove(filepath)
        sidecar_of(filepath).unlink(missing_ok=True)


def sidecar_of(path: Union[str, Path]) -> Path:
    """Where the checksum of a checkpoint is."""
    return Path(f'{path}.sha256')


def verify(path: Union[str, Path]) -> bool:
    """Compare a checkpoint with its checksum.

    Returns:
        bool: False if there is no checksum to compare with.

    Raises:
        CorruptCheckpointError: If they differ.
    """
    sidecar = sidecar_of(path)
    if not sidecar.is_file():
        return False
    text, found = sidecar.read_text(errors='replace'), sha256_of(path)
    if found not in [line.split(maxsplit=1)[0] for line in text.splitlines() if line.strip()]:
        raise CorruptCheckpointError(
            f'{path}: truncated or damaged; its {os.path.getsize(path)} bytes have the SHA-256 '
            f'{found[:16]}..., {sidecar.name} says {text[:16] or "nothing"}... Take another '
            'checkpoint (--resume without a file finds the newest good one of the run); if you '
            f'changed the file yourself, remove {sidecar.name}')
    return True


def newest_good(work_dir: Union[str, Path], report: Callable[[str], None]) -> Optional[Path]:
    """The checkpoint that a run should go on from.

    It is the one that ``last_checkpoint`` names, or, if that one is bad, the latest good file
    beside it. A file without a checksum counts as bad, unless no file of the run has one (then
    MMEngine's own hook wrote them).

    Args:
        work_dir (str | Path): Work directory of the run.
        report (callable): Gets a line on every file that is passed over.

    Returns:
        Path | None: None if the run has no checkpoint yet.

    Raises:
        CorruptCheckpointError: If it has some, and all are bad.
    """
    candidates = _candidates(Path(work_dir))
    if candidates and not any(sidecar_of(path).is_file() for path in candidates):
        report(f'{candidates[0]}: taken without verification, because no checkpoint beside it '
               'has a .sha256')
        return candidates[0]
    problems: List[str] = []
    for path in candidates:
        try:
            if verify(path):
                if problems:
                    report(f'{path}: taken instead, the newest good checkpoint')
                return path
            problems.append(f'{path}: passed over, it has no .sha256 beside it')
        except (CorruptCheckpointError, OSError) as error:
            problems.append(str(error))
        report(problems[-1])
    if problems:
        raise CorruptCheckpointError(
            f'{work_dir}: no checkpoint can be resumed:\n' + '\n'.join(problems) + '\nStart anew '
            'in another work directory, or name a file that you trust with --resume FILE')
    return None


def resumable(work_dir: Union[str, Path]) -> bool:
    """Whether a run has left any checkpoint to resume from in its work directory."""
    return bool(_candidates(Path(work_dir)))


def _candidates(work_dir: Path) -> List[Path]:
    """What may be resumed, first choice first."""
    pointer = work_dir / POINTER
    last = Path(pointer.read_text(errors='replace').strip()) if pointer.is_file() else Path()
    # a work directory that was copied or moved has its own file of that name
    first = [path for path in (work_dir / last.name, last) if path.is_file()]
    folders = {work_dir, last.parent} if last.name and last.parent.is_dir() else {work_dir}
    others = sorted((path for folder in folders for path in folder.glob('*.pth')
                     if not path.name.startswith('best_')),
                    key=lambda path: path.stat().st_mtime_ns, reverse=True)
    return list(dict.fromkeys(path.absolute() for path in [*first, *others]))


def read_checkpoint(path: Union[str, Path], map_location: Any = 'cpu') -> dict:
    """Read a checkpoint that is whole and cannot run code.

    Args:
        path (str | Path): A .safetensors file, or else a file of torch.
        map_location (Any): As in ``torch.load``.

    Returns:
        dict: The checkpoint.

    Raises:
        FileNotFoundError: If there is no such file.
        CorruptCheckpointError: If it does not have its checksum, or is no checkpoint.
        UnsafeCheckpointError: If it holds more than tensors, plain data and what MMEngine
            writes; nothing of it has run.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no such checkpoint')
    if not verify(path):
        print_log(f'{path}: not verified, there is no {sidecar_of(path).name}', 'current')
    try:
        if path.suffix == '.safetensors':
            device = map_location if isinstance(map_location, (str, torch.device)) else 'cpu'
            return load_file(path, device=str(device))
        content = torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        reason = _reason(str(error))
        if 'Unsupported operand' in reason:  # of a newer pickle protocol, or of no pickle
            asked = _globals_in(path)
            if not asked:
                raise _unreadable(path, error) from None
            reason = f'It asks for {", ".join(asked)}'
        raise _refused(path, reason) from None
    except (torch.OutOfMemoryError, MemoryError):
        raise
    except Exception as error:  # damaged bytes make the readers fail in every way
        if 'TorchScript' in str(error):
            raise _refused(path, 'It is a TorchScript archive, which is a program') from None
        raise _unreadable(path, error) from error
    unnamed = [key for key in content if not isinstance(key, str)] if isinstance(
        content, dict) else []
    if unnamed or not isinstance(content, dict):
        found = f'the key {unnamed[0]!r}' if unnamed else f'a {type(content).__name__}'
        raise CorruptCheckpointError(f'{path}: holds {found}, not tensors with their names; save '
                                     'a state_dict, or a dict with a state_dict')
    return content


def _refused(path: Path, reason: str) -> UnsafeCheckpointError:
    return UnsafeCheckpointError(
        f'{path}: refused, and nothing of it was run. {reason}. A checkpoint holds tensors and '
        'plain data; anything else could run code of its author. If you trust it, convert it '
        'once, where it can do no harm: torch.load(FILE, weights_only=False) and '
        'safetensors.torch.save_file(STATE_DICT, "NAME.safetensors"); that is read everywhere '
        'here')


def _unreadable(path: Path, error: Exception) -> CorruptCheckpointError:
    return CorruptCheckpointError(
        f'{path}: {path.stat().st_size} bytes that cannot be read as a checkpoint: '
        f'{type(error).__name__}: {_reason(str(error)) or "the file ends too early"}')


def _reason(text: str) -> str:
    """What torch says is wrong, without its advice."""
    text = text.split('WeightsUnpickler error:')[-1].split('trusted source.')[-1]
    return re.split('Please use|Check the documentation', text.strip())[0].strip(' .\n')


def _globals_in(path: Path) -> List[str]:
    """What a pickle imports, without loading it; as far as it can be read."""
    names: List[str] = []
    strings: List[str] = []
    with suppress(Exception):
        content = path.read_bytes()
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                content = archive.read(next(name for name in archive.namelist()
                                            if name.endswith('data.pkl')))
        for opcode, argument, _ in pickletools.genops(content):
            if opcode.name in ('GLOBAL', 'INST'):
                names.append(str(argument).replace(' ', '.'))
            elif opcode.name == 'STACK_GLOBAL':
                names.append('.'.join(strings[-2:]))
            elif isinstance(argument, str):
                strings.append(argument)
    return list(dict.fromkeys(names))


@CheckpointLoader.register_scheme(prefixes='', force=True)
def load_from_local(filename: str, map_location: Any) -> dict:
    """MMEngine's reader of local files; see :func:`read_checkpoint`."""
    return read_checkpoint(filename, map_location)
