"""Save and end when the machine is about to be taken away."""

import multiprocessing
import os
import os.path as osp
import signal
from multiprocessing.util import Finalize
from typing import Any, Dict, Optional

import torch
import torch.distributed as dist
from mmaction.registry import HOOKS
from mmengine.dist import barrier, get_comm_device, is_main_process
from mmengine.hooks import CheckpointHook, Hook
from mmengine.hooks.hook import DATA_BATCH
from mmengine.runner import BaseLoop

from ...files import write_atomically
from ..checkpoint_files import ATOMIC, POINTER
from ..loader_workers import end_workers

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
EXIT_CODE = 85  # HTCondor's convention for "saved, run me again"


@HOOKS.register_module()
class PreemptionHook(Hook):
    """At SIGTERM or SIGUSR1: finish the step, save ``preempted.pth``, exit with code 85.

    ``--resume`` goes on from there. It is enough if one process of one rank gets the signal, and
    no harm if all of them do, workers of the data loader included. Every step, the ranks send
    each other a flag, which is read a step later, so that nobody waits for it and all stop after
    the same step: one process stops after the running step, several at most two steps later.

    With ResumableTrainLoop and ExactResumeHook nothing is done twice or lost. A validation is
    finished first, and the run stops in the epoch after it. Before the training begins (imports,
    data sets, model), a signal ends the process as usual; nothing is lost there.
    """

    # after CheckpointHook (VERY_LOW), so that the newest checkpoint is this one
    priority = 'LOWEST'

    def __init__(self) -> None:
        self.received: Optional[str] = None
        self.exchange = None
        self.previous: Dict[int, Any] = {}  # signal -> handler, while this hook listens

    def before_run(self, runner) -> None:
        """Listen no more, and leave no worker behind, however the training ends."""
        loop = runner._train_loop
        if not isinstance(loop, BaseLoop) or 'run' in vars(loop):
            return
        run = loop.run

        def run_and_restore() -> torch.nn.Module:
            try:
                return run()
            except SystemExit:  # saved; a second signal must not change the exit code
                raise
            except BaseException:
                self._restore_handlers()
                raise
            finally:  # nobody else could end them: they have the signals blocked
                for used in (loop, runner.val_loop):
                    if used is not None:
                        end_workers(used.dataloader)

        loop.run = run_and_restore

    def before_train(self, runner) -> None:
        """Listen to the signals."""
        self.pid = os.getpid()
        self.previous = {number: signal.signal(number, self._note) for number in SIGNALS}
        # of multiprocessing, not atexit, which the ranks of torch.multiprocessing.spawn skip
        Finalize(None, _kill_workers, exitpriority=0)

    def after_train(self, runner) -> None:
        """Listen no more."""
        if self.exchange is not None:
            self.exchange.wait()
        self._restore_handlers()

    def before_train_epoch(self, runner) -> None:
        """Workers of the data loader start here, with the signals blocked.

        torchrun and SLURM signal the workers too, and a worker that dies of SIGTERM raises an
        error in the middle of the step. A validation outside of a training blocks nothing.
        """
        if self.previous:
            signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)

    def before_train_iter(self, runner, batch_idx: int, data_batch: DATA_BATCH = None) -> None:
        """The workers have started; what arrived meanwhile is handled now."""
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    before_val_epoch = before_train_epoch

    def before_val_iter(self, runner, batch_idx: int, data_batch: DATA_BATCH = None) -> None:
        """As in training."""
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def after_train_iter(self,
                         runner,
                         batch_idx: int,
                         data_batch: DATA_BATCH = None,
                         outputs: Optional[dict] = None) -> None:
        """Save and exit if a signal has come to any rank.

        Raises:
            SystemExit: With code 85, on all ranks after the same step.
        """
        if self._agreed():
            self._save_and_exit(runner)

    def _restore_handlers(self) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)
        self.previous = {}
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def _note(self, number: int, frame) -> None:
        if os.getpid() != self.pid:  # forked, for instance a pool that is told to end
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        self.received = signal.Signals(number).name

    def _agreed(self) -> bool:
        """Whether any rank had a signal at the last step; alone, whether there is one now."""
        if not dist.is_initialized():
            return self.received is not None
        if self.exchange is not None:
            self.exchange.wait()
            if self.flag.item():
                return True
        self.flag = torch.full((), float(self.received is not None), device=get_comm_device())
        self.exchange = dist.all_reduce(self.flag, dist.ReduceOp.MAX, async_op=True)
        return False

    def _save_and_exit(self, runner) -> None:
        out_dir = next((hook.out_dir for hook in runner.hooks
                        if isinstance(hook, CheckpointHook)), runner.work_dir)
        path = osp.join(out_dir, 'preempted.pth')
        runner.logger.warning(f'{self.received or "a signal on another rank"}: saving {path} '
                              f'after step {runner.iter + 1}')
        runner.save_checkpoint(out_dir, 'preempted.pth', by_epoch=False, backend_args=dict(ATOMIC))
        if is_main_process():
            write_atomically(osp.join(runner.work_dir, POINTER), path.encode())
        barrier()
        for number in SIGNALS:  # a launcher ends the others as soon as one has ended
            signal.signal(number, signal.SIG_IGN)
        runner.logger.warning(f'saved; the run goes on with --resume. Exit code {EXIT_CODE}')
        raise SystemExit(EXIT_CODE)


def _kill_workers() -> None:
    """At exit, Python sends its workers SIGTERM and waits, but they have it blocked."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler raises when a worker dies
    for child in multiprocessing.active_children():
        if child.daemon:
            child.kill()
