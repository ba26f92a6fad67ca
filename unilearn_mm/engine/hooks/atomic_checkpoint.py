"""Checkpoints that a crash cannot damage."""

import os.path as osp
from collections import deque
from pathlib import Path
from typing import Dict, Optional, Union

from mmaction.registry import HOOKS
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.runner import BaseLoop

from ...files import interrupted_writes, write_atomically
from ..checkpoint_files import ATOMIC, POINTER, AtomicBackend, newest_good
from ..work_dir_lock import lock_work_dir


class LateRemovals(AtomicBackend):
    """Files that are removed when told, not before what replaces them is on the disk.

    Args:
        folder (str): Where the files are.

    Attributes:
        superseded (dict[str, float]): Files to remove, and when they were written (seconds).
    """

    def __init__(self, folder: str) -> None:
        self.folder = osp.abspath(folder)
        self.superseded: Dict[str, float] = {}

    def remove(self, filepath: Union[str, Path]) -> None:
        """Note a file; one of another folder, which a copied run or a checkpoint names, stays."""
        if osp.isfile(filepath) and osp.dirname(osp.abspath(filepath)) == self.folder:
            self.superseded[str(filepath)] = osp.getmtime(filepath)

    def flush(self) -> None:
        """Remove what was noted and has not been written again."""
        for path, written in self.superseded.items():
            if osp.isfile(path) and osp.getmtime(path) == written:
                super().remove(path)
        self.superseded.clear()


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """CheckpointHook whose files are whole, whenever the run is killed or the disk is full.

    Every file is written aside, synchronised, renamed, and has its SHA-256 beside it; only then
    does ``last_checkpoint`` name it, and only then are the files removed that it replaces (the
    oldest of ``max_keep_ckpts``, the previous best one; MMEngine removes them first).

    ``--resume`` without a file takes what ``last_checkpoint`` names or, if that file is damaged,
    the newest good one, and says so. The files go to a local or mounted folder, which is locked
    against a second training.

    Args are those of CheckpointHook, but for ``backend_args`` and ``file_client_args``.

    Raises:
        TypeError: If one of these says where the files go.
    """

    def __init__(self, interval: int = -1, by_epoch: bool = True, *,
                 backend_args: Optional[dict] = None, file_client_args: Optional[dict] = None,
                 **kwargs) -> None:
        if backend_args or file_client_args:
            raise TypeError(
                'AtomicCheckpointHook writes to a local or mounted folder, found backend_args='
                f'{backend_args} and file_client_args={file_client_args}; leave them out, or take '
                'CheckpointHook, whose files a kill or a full disk can damage')
        super().__init__(interval, by_epoch, backend_args=dict(ATOMIC), **kwargs)

    def before_run(self, runner) -> None:
        """Lock the work directory for a training; choose the file to resume from.

        Raises:
            CorruptCheckpointError: If the run has checkpoints, but no good one.
            WorkDirInUseError: If another run trains in the work directory.
        """
        if isinstance(runner._train_loop, BaseLoop) and not runner._has_loaded:
            self.locks = [lock_work_dir(runner.work_dir)]
        if runner._resume and runner._load_from is None and not runner._has_loaded:
            found = [None]
            if is_main_process():
                path = newest_good(runner.work_dir, runner.logger.warning)
                found = [path and str(path)]
            broadcast_object_list(found)
            runner._load_from = found[0]

    def before_train(self, runner) -> None:
        """Take up the list of files that are kept; clean up after a run that was killed."""
        super().before_train(runner)
        self.locks = [lock_work_dir(folder) for folder in (runner.work_dir, self.out_dir)]
        hub = runner.message_hub
        # not CheckpointHook's key, which hooks for epochs and for steps would share
        self.kept_key = f'kept_{self.filename_tmpl}'
        self.kept = deque(hub.get_info(self.kept_key, getattr(self, 'keep_ckpt_ids', ())))
        self.last_ckpt = hub.get_info('last_ckpt')
        self.file_backend = LateRemovals(self.out_dir)
        self._adopt_best(hub)
        self.superseded_key = f'superseded_{self.filename_tmpl}'
        if not is_main_process():
            return
        for path in hub.get_info(self.superseded_key, ()):
            self.file_backend.remove(path)
        self.file_backend.flush()
        for folder in {self.out_dir, runner.work_dir}:
            for name in ('*.pth', '*.sha256', POINTER):
                for rest in interrupted_writes(folder, name):
                    runner.logger.info(f'{rest}: removed, a write that was interrupted')
                    rest.unlink()

    def after_train(self, runner) -> None:
        """Unlock the work directory."""
        super().after_train(runner)
        self.locks = []

    def _adopt_best(self, hub) -> None:
        """The best checkpoint of a copied work directory is the copy, not the original."""

        def own(path: Optional[str]) -> Optional[str]:
            return path and osp.join(self.out_dir, osp.basename(path))

        if hasattr(self, 'best_ckpt_path'):
            self.best_ckpt_path: Optional[str] = own(self.best_ckpt_path)
        if hasattr(self, 'best_ckpt_path_dict'):
            self.best_ckpt_path_dict: Dict[str, Optional[str]] = {
                name: own(path) for name, path in self.best_ckpt_path_dict.items()}

    def _save_checkpoint_with_step(self, runner, step: int, meta: dict) -> None:
        if self.max_keep_ckpts > 0:
            if step in self.kept:
                self.kept.remove(step)
            self.kept.append(step)
            while len(self.kept) > self.max_keep_ckpts:
                oldest = self.filename_tmpl.format(self.kept.popleft())
                if is_main_process():
                    self.file_backend.remove(osp.join(self.out_dir, oldest))
            runner.message_hub.update_info(self.kept_key, list(self.kept))
        name = self.filename_tmpl.format(step)
        self.last_ckpt = osp.join(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        runner.message_hub.update_info(self.superseded_key, list(self.file_backend.superseded))
        runner.save_checkpoint(
            self.out_dir, name, save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler, meta=meta, by_epoch=self.by_epoch,
            backend_args=self.backend_args, **self.args)
        if is_main_process():
            write_atomically(osp.join(runner.work_dir, POINTER), self.last_ckpt.encode())
            self.file_backend.flush()

    def _save_best_checkpoint(self, runner, metrics: dict) -> None:
        super()._save_best_checkpoint(runner, metrics)
        if self.save_best and is_main_process():
            self.file_backend.flush()
