"""What made the checkpoints of a work directory."""

import hashlib
import json
import os.path as osp
import platform
import subprocess
import sys
import time
from collections import Counter
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Iterator, List, Optional

import torch
from mmaction.registry import HOOKS
from mmengine.device import is_cuda_available
from mmengine.dist import all_gather_object, is_main_process
from mmengine.hooks import CheckpointHook, Hook

import unilearn_mm

from ...datasets.manifests import manifest_path
from ...files import sha256_of, write_atomically

PACKAGES = ('torch', 'torchvision', 'mmengine', 'mmaction2', 'numpy')


@HOOKS.register_module()
class RunRecordHook(Hook):
    """Keep ``run_record.json`` in the work directory, for every start of the run.

    Each entry of ``starts`` holds the config and its SHA-256, the command line, versions, the
    git commit of this package, the SHA-256 of every annotation list and of the manifest beside
    it, seed, number of ranks, hardware, and how far this start has come: ``epoch``, ``step`` and
    ``wall_time`` (seconds) at the last checkpoint. A resumed run adds an entry, because code,
    data and hardware may have changed; ``wall_time`` at the top is the sum. Host and user are
    not recorded: the home directory is written as ``~``. A run without a CheckpointHook, as
    MMAction2's vis_scheduler.py makes one in the work directory of a config, has no record.
    """

    priority = 'NORMAL'

    def before_train(self, runner) -> None:
        """Write the entry of this start.

        Raises:
            ValueError: If the record of the run that is resumed cannot be read.
        """
        self.records = any(isinstance(hook, CheckpointHook) for hook in runner.hooks)
        if not self.records:
            return
        self.begin = time.monotonic()
        self.hardware = dict(Counter(all_gather_object(_device_name())))
        if not is_main_process():
            return
        self.path = osp.join(runner.work_dir, 'run_record.json')
        self.starts = _earlier_starts(self.path) if runner._resume else []
        config = runner.cfg.pretty_text
        self.starts.append(dict(
            started=datetime.now(timezone.utc).isoformat(timespec='seconds'),
            config=_public(runner.cfg.filename),
            config_sha256=hashlib.sha256(config.encode('utf-8')).hexdigest(),
            command=[_public(word) for word in sys.argv],
            versions=dict(unilearn_mm=unilearn_mm.__version__, python=platform.python_version(),
                          **{package: version(package) for package in PACKAGES}),
            git=_git_state(Path(unilearn_mm.__file__)),
            data=[_checksums(path)
                  for path in sorted(set(_annotation_lists(runner.cfg.to_dict())))],
            seed=runner.seed,
            world_size=runner.world_size,
            hardware=dict(cpu=_cpu_name(), ranks=self.hardware)))
        self._write(runner.epoch, runner.iter)

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Bring the entry up to date; called on the main rank only."""
        if self.records:
            self._write(checkpoint['meta']['epoch'], checkpoint['meta']['iter'])

    def _write(self, epoch: int, step: int) -> None:
        self.starts[-1].update(epoch=epoch, step=step,
                               wall_time=round(time.monotonic() - self.begin, 1))
        record = dict(wall_time=round(sum(start['wall_time'] for start in self.starts), 1),
                      starts=self.starts)
        write_atomically(self.path, json.dumps(record, indent=2, ensure_ascii=False).encode())


def _earlier_starts(path: str) -> List[dict]:
    if not osp.isfile(path):
        return []
    try:
        with open(path, encoding='utf-8') as file:
            return json.load(file)['starts']
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f'{path}: not a run record ({error!r}); move it away to resume without '
                         'the history of the run') from error


def _annotation_lists(node) -> Iterator[str]:
    """Paths of all ``ann_file`` in a config, joined with the ``data_root`` beside them."""
    if isinstance(node, dict):
        if isinstance(node.get('ann_file'), str) and 'type' in node:
            yield osp.join(node.get('data_root') or '', node['ann_file'])
        node = list(node.values())
    if isinstance(node, (list, tuple)):
        for child in node:
            yield from _annotation_lists(child)


def _checksums(path: str) -> dict:
    """SHA-256 of a list and of ``NAME.manifest.json`` beside it; None for what is not there."""
    manifest = manifest_path(path)
    return dict(ann_file=_public(path),
                sha256=sha256_of(path) if osp.isfile(path) else None,
                manifest_sha256=sha256_of(manifest) if osp.isfile(manifest) else None)


def _git_state(file: Path) -> Optional[dict]:
    """Commit of the repository that tracks this file, and whether tracked files differ from it."""

    def git(*words: str) -> str:
        return subprocess.run(['git', '-C', str(file.parent), *words], check=True, text=True,
                              capture_output=True, timeout=30).stdout.strip()

    try:
        git('ls-files', '--error-unmatch', file.name)  # a package in some project's .venv is not
        return dict(commit=git('rev-parse', 'HEAD'),
                    dirty=bool(git('status', '--porcelain', '--untracked-files=no')))
    except (OSError, subprocess.SubprocessError):
        return None


def _device_name() -> str:
    return torch.cuda.get_device_name() if is_cuda_available() else 'CPU'


def _cpu_name() -> str:
    info = Path('/proc/cpuinfo')
    lines = info.read_text(encoding='utf-8').splitlines() if info.is_file() else []
    names = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
    return f'{len(names)} x {names[0]}' if names else platform.processor()


def _public(text: Optional[str]) -> Optional[str]:
    home = str(Path.home())
    return text.replace(home, '~') if text and home != '/' else text
