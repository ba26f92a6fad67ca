"""Run a function on many jobs in processes that are killed when one takes too long."""
from __future__ import annotations

import multiprocessing
import os
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures import TimeoutError as TooLong
from typing import Any, Callable, Iterable, Iterator

import cv2

JOBS_AHEAD = 32  # of each worker, so that none waits for the others


class Stopped(str):
    """Why a job has no result: it took too long, or its process died."""


def run_bounded(function: Callable, jobs: Iterable[tuple], workers: int, time_limit: float,
                start_worker: Callable[[], None] | None = None) -> Iterator[tuple[int, Any]]:
    """Results of ``function(*job)``, each as soon as it is there.

    A decoder can hang without letting go of the interpreter, or crash; only another process
    outlives that. The worker is then replaced.

    Args:
        function (Callable): Of a module, so that processes can find it.
        jobs (Iterable[tuple]): Arguments of each call.
        workers (int): Number of processes.
        time_limit (float): Seconds for one job.
        start_worker (Callable, optional): Called once in each process, before its first job.

    Yields:
        Place of the job among the jobs, and its result or a :class:`Stopped` that says why there
        is none.
    """
    try:
        from pebble import ProcessPool
    except ImportError as error:
        raise ImportError('worker processes need the package pebble: '
                          "pip install 'unilearn_mm[predict]'") from error
    # forked workers start at once: importing the decoders takes seconds
    context = multiprocessing.get_context('fork')
    pool = ProcessPool(workers, initializer=_begin, initargs=(os.getpid(), start_worker),
                       context=context)
    waiting: dict[Future, int] = {}
    try:
        for place, job in enumerate(jobs):
            waiting[pool.schedule(function, args=job, timeout=time_limit)] = place
            if len(waiting) > JOBS_AHEAD * workers:
                yield from _finished(waiting, time_limit)
        while waiting:
            yield from _finished(waiting, time_limit)
    finally:
        pool.stop()
        pool.join()


def _finished(waiting: dict[Future, int], time_limit: float) -> Iterator[tuple[int, Any]]:
    """Wait for at least one job, and take what is finished out of ``waiting``."""
    for future in wait(waiting, return_when=FIRST_COMPLETED).done:
        yield waiting.pop(future), _outcome(future, time_limit)


def _outcome(future: Future, time_limit: float) -> Any:
    from pebble import ProcessExpired
    try:
        return future.result()
    except TooLong:
        return Stopped(f'no result within {time_limit:g} s')
    except ProcessExpired as error:
        return Stopped(f'the decoder crashed (exit code {error.exitcode})')


def _begin(parent: int, start_worker: Callable[[], None] | None) -> None:
    """What a process does first: one thread, silence, and it ends when its parent does.

    Decoders write their complaints to the terminal; here they are in the results. Without a parent
    there is nobody who wants the result of the job that is under way.
    """
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    cv2.setNumThreads(0)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    if start_worker is not None:
        start_worker()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
