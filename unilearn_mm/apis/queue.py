"""Thousands of files, one after the other, whatever happens to one of them.

An input is done when its sidecar ``<stem>.json`` says so for the same file, model and settings:
it is written last, after everything else of this input, each file atomically. So a job that is
killed goes on where it was, and no output is ever half there.
"""

import glob
import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Callable, List, NamedTuple, Optional, Sequence, Tuple

from tqdm import tqdm

from ..files import interrupted_writes, write_atomically
from ..processes import Stopped, run_bounded
from .inputs import Input
from .tables import FAILED

SIDECAR_SUFFIX = '.json'


class Task(NamedTuple):
    """An input that is to be predicted.

    Attributes:
        source (str | int): The input.
        stem (Path): Path of its outputs without suffix.
        fingerprint (str): See :func:`fingerprint`.
    """
    source: object
    stem: Path
    fingerprint: str


class Outcome(NamedTuple):
    """What became of one input.

    Attributes:
        source (str): The input.
        status (str): 'ok', 'no face' or 'failed'.
        reason (str): Why, where it is not 'ok'.
        seconds (float): That it took.
    """
    source: str
    status: str
    reason: str
    seconds: float


def rank_and_size() -> Tuple[int, int]:
    """This rank and how many there are.

    Ranks are those of torchrun and tools/launch.sh (``RANK``, ``WORLD_SIZE``), else SLURM's
    (``SLURM_PROCID``, ``SLURM_NTASKS``), else there is one.
    """
    for rank, size in (('RANK', 'WORLD_SIZE'), ('SLURM_PROCID', 'SLURM_NTASKS')):
        if rank in os.environ and size in os.environ:
            return int(os.environ[rank]), int(os.environ[size])
    return 0, 1


def own_share(inputs: Sequence[Input]) -> List[Input]:
    """The inputs of this rank: every one belongs to exactly one."""
    rank, size = rank_and_size()
    return list(inputs[rank::size])


def fingerprint(source: object, settings: dict) -> str:
    """What an output depends on, in one number: the file's size and time, and the settings.

    Args:
        source (str | int): The input; only a file has a size and a time.
        settings (dict): Whatever changes an output; JSON.

    Returns:
        str: SHA-256 in hexadecimal digits.
    """
    state = None
    if isinstance(source, str) and os.path.exists(source):
        status = os.stat(source)
        state = [status.st_size, status.st_mtime_ns]
    text = json.dumps([str(source), state, settings], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def is_done(sidecar: Path, expected: str) -> bool:
    """Whether a sidecar says that its input was predicted, from this file with these settings,
    and the outputs that it names are there."""
    try:
        content = json.loads(sidecar.read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return False
    return (isinstance(content, dict) and content.get('fingerprint') == expected
            and content.get('status') != FAILED
            and all((sidecar.parent / name).is_file() for name in content.get('files', ())))


def run_queue(inputs: Sequence[Input], out: Path, work: Callable[[List[Task]], List[Outcome]],
              settings: dict, workers: int, time_limit: float,
              start_worker: Optional[Callable[[], None]] = None, together: int = 1,
              overwrite: bool = False) -> Tuple[List[Outcome], int]:
    """Predict what is not done yet, in processes that may crash or hang without harm.

    Args:
        inputs (Sequence[Input]): The share of this rank.
        out (Path): Output folder.
        work (Callable): ``(tasks) -> outcomes``, one for each; writes all their outputs. It runs
            in a worker process.
        settings (dict): What the outputs depend on; see :func:`fingerprint`.
        workers (int): Processes.
        time_limit (float): Seconds for one input.
        start_worker (Callable, optional): Called once in each process.
        together (int): Inputs that a process gets at once, so that they can share batches. If it
            dies of one of them, they are done again, one by one.
        overwrite (bool): Do what is done again.

    Returns:
        tuple: What became of each input that was not skipped, and how many were.
    """
    tasks = []
    for item in inputs:
        stem, expected = out / item.stem, fingerprint(item.source, settings)
        for rest in interrupted_writes(stem.parent, f'{glob.escape(stem.name)}.*'):
            rest.unlink()
        if overwrite or not is_done(sidecar_of(stem), expected):
            tasks.append(Task(item.source, stem, expected))
            stem.parent.mkdir(parents=True, exist_ok=True)
    groups = [tasks[place:place + together] for place in range(0, len(tasks), together)]
    alone: List[List[Task]] = []
    outcomes: List[Outcome] = []
    skipped = len(inputs) - len(tasks)
    with tqdm(total=len(inputs), initial=skipped, unit='file', smoothing=0.1,
              desc='predicting') as bar:
        for todo in (groups, alone):
            limit = time_limit * (together if todo is groups else 1)
            for place, result in run_bounded(work, [(group, ) for group in todo], workers, limit,
                                             start_worker):
                group = todo[place]
                if isinstance(result, Stopped) and len(group) > 1:
                    alone += [[task] for task in group]
                    continue
                if isinstance(result, Stopped):
                    result = [failed_outcome(group[0], str(result))]
                for outcome in result:
                    if outcome.status == FAILED:
                        named = outcome.source in outcome.reason
                        bar.write(outcome.reason if named else
                                  f'{outcome.source}: {outcome.reason}', file=sys.stderr)
                outcomes += result
                bar.update(len(result))
    return outcomes, skipped


def failed_outcome(task: Task, reason: str) -> Outcome:
    """Note in the sidecar of an input that, and why, it failed."""
    write_sidecar(task.stem, dict(input=str(task.source), status=FAILED, reason=reason,
                                  fingerprint=task.fingerprint))
    return Outcome(str(task.source), FAILED, reason, 0.)


def sidecar_of(stem: Path) -> Path:
    """The file beside the outputs of an input that says what they were made with."""
    return stem.with_name(f'{stem.name}{SIDECAR_SUFFIX}')


def write_sidecar(stem: Path, content: dict) -> None:
    """Write a sidecar; from then on the input is done."""
    write_atomically(sidecar_of(stem),
                     (json.dumps(content, indent=2, ensure_ascii=False) + '\n').encode())
