"""Train and test one recipe in its own work directory, resume it, and know when it is done.

Folds and seeds are many such jobs, one after the other, that an interrupted session must be able
to take up again. A job writes into its work directory, beside what MMEngine writes:

    job/recipe.py     the complete config; a job that is taken up again must have the same
    job/trained       the training has ended, with its last validation
    job/tested.json   which checkpoint the predictions belong to, with the checksums of both
"""

import contextlib
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence

from mmengine.config import Config

from .engine.hooks.preemption import EXIT_CODE, SIGNALS
from .files import sha256_of, write_atomically
from .recipes import data_parts, prediction_file
from .run import first_file, stock_scripts
from .visualization.curves import read_scalars, scalar_files

LAST_EPOCH = 'last epoch'
KEYS_SHOWN = 8  # of a changed recipe


class JobError(RuntimeError):
    """A job cannot be run, taken up again, or has failed; the message says what to do."""


class JobPreempted(JobError):
    """A training was told to end, and is saved (``PreemptionHook``)."""


class Job:
    """One training and its test.

    Tested is the checkpoint of the last epoch, or, if the recipe's ``CheckpointHook`` has a
    ``save_best``, the one with the best validation score.

    Args:
        cfg (Config): Complete recipe of an ``EpochBasedTrainLoop``; ``work_dir`` is the job's own.
        launcher (Sequence[str]): Command that starts the processes of a distributed job, up to
            the script; one process without it.
        train_args (Sequence[str]): Further arguments of MMAction2's tools/train.py.
        quiet (bool): Whether the output of the scripts goes to job/train.log and job/test.log
            instead of the terminal.
    """

    def __init__(self,
                 cfg: Config,
                 launcher: Sequence[str] = (),
                 train_args: Sequence[str] = (),
                 quiet: bool = False) -> None:
        self.cfg = cfg
        self.work_dir = Path(cfg.work_dir)
        self.launcher = list(launcher)
        self.train_args = list(train_args)
        self.quiet = quiet
        self.recipe = self.work_dir / 'job' / 'recipe.py'
        self.trained = self.work_dir / 'job' / 'trained'
        self.note = self.work_dir / 'job' / 'tested.json'

    @property
    def selected_by(self) -> str:
        """The validation score that selects the tested epoch, or 'last epoch'.

        Raises:
            JobError: If the recipe saves the best checkpoints by several scores.
        """
        best = self.cfg.default_hooks.checkpoint.get('save_best') or LAST_EPOCH
        keys = [best] if isinstance(best, str) else best
        if len(keys) > 1:
            raise JobError(f'{self.work_dir}: save_best={list(keys)} keeps several checkpoints, '
                           'but a job tests one; name one score')
        if keys[0] == 'auto':  # the first score of the validation
            return f'{data_parts(self.cfg.val_dataloader)[0].task}/WAR'
        return keys[0]

    @property
    def prediction_file(self) -> Path:
        """Where the test of the recipe writes its predictions."""
        return self.work_dir / prediction_file(self.cfg)

    def checkpoint(self) -> Optional[Path]:
        """The checkpoint to be tested, None while the training is not finished.

        Where the best one is tested, the training ends with the validation of the last epoch,
        after which the best one is saved.

        Raises:
            JobError: If the checkpoint that the work directory names is not there, or the best
                one cannot be known.
        """
        last = self._last_checkpoint()
        max_epochs = self.cfg.train_cfg.max_epochs
        if last is None or last.name != f'epoch_{max_epochs}.pth':
            return None
        if self.selected_by == LAST_EPOCH:
            return last
        if not self.trained.is_file():
            return None
        pattern = f'best_{self.selected_by.replace("/", "_")}_epoch_*.pth'
        best = sorted(self.work_dir.glob(pattern))
        if len(best) != 1:
            raise JobError(f'{self.work_dir}: expected one file {pattern}, found '
                           f'{[path.name for path in best]}; keep the newest')
        return best[0]

    def is_done(self) -> bool:
        """Whether there are predictions of the checkpoint to be tested, both unchanged."""
        checkpoint = self.checkpoint() if self.recipe.is_file() else None
        return (checkpoint is not None and self.note.is_file() and self.prediction_file.is_file()
                and json.loads(self.note.read_text(encoding='utf-8')) == self._note(checkpoint))

    def train(self) -> Path:
        """Train, or go on with it, unless it is finished.

        Returns:
            Path: The checkpoint to be tested.

        Raises:
            JobError: If the work directory belongs to another recipe, or the training fails.
        """
        self._claim()
        if self.checkpoint() is None:
            resume = ['--resume'] if self._last_checkpoint() else []
            self._run('train', *resume, *self.train_args)
            self.trained.touch()
        checkpoint = self.checkpoint()
        if checkpoint is None:
            raise JobError(
                f'{self.work_dir}: the training ended without epoch_'
                f'{self.cfg.train_cfg.max_epochs}.pth'
                '. The recipe must save its last epoch under that name (AtomicCheckpointHook)')
        return checkpoint

    def run(self) -> None:
        """Train and test, as far as it is not done.

        Raises:
            JobError: If the work directory belongs to another recipe, or a script fails.
        """
        checkpoint = self.train()
        if not self.is_done():
            self._run('test', str(checkpoint))
            write_atomically(self.note,
                             f'{json.dumps(self._note(checkpoint), indent=2)}\n'.encode())

    def _claim(self) -> None:
        """Write the recipe, or compare it with the one that is there."""
        if not self.recipe.is_file():
            self.recipe.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self.recipe, self.cfg.pretty_text.encode())
            return
        there = Config.fromfile(self.recipe)
        changed = list(_differences(there.to_dict(), self.cfg.to_dict()))
        if changed:
            raise JobError(
                f'{self.work_dir} belongs to another recipe; different are '
                f'{", ".join(changed[:KEYS_SHOWN])}{" ..." if len(changed) > KEYS_SHOWN else ""}. '
                f'Use another work directory, or remove {self.recipe} to go on there with the '
                'changed recipe')

    def _last_checkpoint(self) -> Optional[Path]:
        pointer = self.work_dir / 'last_checkpoint'
        if not pointer.is_file():
            return None
        path = self.work_dir / Path(pointer.read_text(encoding='utf-8').strip()).name
        if not path.is_file():
            raise JobError(f'{pointer} names {path.name}, which is not there; restore it, or '
                           f'remove {pointer} to train from the start')
        return path

    def _note(self, checkpoint: Path) -> Dict[str, str]:
        return dict(
            selected_by=self.selected_by,
            checkpoint=checkpoint.name,
            checkpoint_sha256=sha256_of(checkpoint),
            predictions=self.prediction_file.name,
            predictions_sha256=sha256_of(self.prediction_file))

    def _run(self, what: str, *args: str) -> None:
        script = str(first_file(stock_scripts(f'tools/{what}.py')))
        command = [*(self.launcher or [sys.executable]), '-m', 'unilearn_mm.run', script,
                   str(self.recipe), *args]
        if self.launcher:
            command += ['--launcher', 'pytorch']
        log = self.recipe.with_name(f'{what}.log') if self.quiet else None
        with open(log, 'a', encoding='utf-8') if log else contextlib.nullcontext() as file:
            code = run_and_hand_on_signals(command, stdout=file, stderr=file)
        if code == EXIT_CODE:
            raise JobPreempted(f'{self.work_dir}: {what} was told to end and is saved; the same '
                               'command goes on from here')
        if code:
            raise JobError(f'{self.work_dir}: {what} ended with exit code {code}; the reason '
                           f'stands in the output ({log or "above"}). The same command goes on '
                           'from here')


def run_and_hand_on_signals(command: Sequence[str], **options: Any) -> int:
    """Run a command to its end; SIGTERM and SIGUSR1 that come to this process go to it.

    Args:
        command (Sequence[str]): Program and arguments.
        options: Of ``subprocess.Popen``.

    Returns:
        int: Exit code.
    """
    with subprocess.Popen(command, **options) as process:
        previous = {number: signal.signal(number, lambda got, frame: process.send_signal(got))
                    for number in SIGNALS}
        try:
            return process.wait()
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


def validation_scores(work_dir: Path) -> Dict[int, Dict[str, float]]:
    """What ``WARUARMetric`` logged in the validations of a training, from all its sessions.

    Args:
        work_dir (Path): Work directory; ``*/vis_data/scalars.json`` of it are read, an epoch that
            was repeated counts as logged last.

    Returns:
        dict[int, dict[str, float]]: epoch -> ``<task>/WAR``, ``<task>/UAR``, ...; epochs ascend.

    Raises:
        JobError: If a line is no JSON object; what follows the last line end was being written
            when a run was killed, and is left out.
    """
    try:
        curves = read_scalars(scalar_files(work_dir))['val']
    except ValueError as error:
        raise JobError(str(error)) from error
    scores: Dict[int, Dict[str, float]] = {}
    for name, curve in curves.items():
        for epoch, value in curve.items():
            scores.setdefault(epoch, {})[name] = value
    return {epoch: found for epoch, found in sorted(scores.items())
            if any(name.endswith('/WAR') for name in found)}


def _differences(one: Any, two: Any, key: str = '') -> Iterator[str]:
    """Keys, with dots, at which two configs differ."""
    if isinstance(one, dict) and isinstance(two, dict):
        items: List[tuple] = [(name, one.get(name), two.get(name)) for name in {**one, **two}]
    elif isinstance(one, (list, tuple)) and isinstance(two, (list, tuple)) and (
            len(one) == len(two)):
        items = [(index, *pair) for index, pair in enumerate(zip(one, two))]
    else:
        if one != two:
            yield key.lstrip('.')
        return
    for name, first, second in items:
        yield from _differences(first, second, f'{key}.{name}')
