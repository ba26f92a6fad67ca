"""Functions in several real processes, connected by gloo."""

import datetime
import faulthandler
import os
import tempfile
from pathlib import Path
from typing import Callable

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from unilearn_mm.run import leave_process_group

TIMEOUT = 300  # seconds; a rank that hangs then prints where, and the test fails


def run_ranks(function: Callable, *args) -> None:
    """Run ``function(rank, *args)`` in two processes.

    Raises:
        ProcessException: If it fails in one of them; the other is ended.
    """
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(_one_rank, (Path(folder, 'store').as_uri(), function, args), nprocs=2)


def _one_rank(rank: int, store: str, function: Callable, args: tuple) -> None:
    faulthandler.dump_traceback_later(TIMEOUT, exit=True)
    torch.set_num_threads(1)
    os.environ['LOCAL_RANK'] = str(rank)
    dist.init_process_group('gloo', init_method=store, rank=rank, world_size=2,
                            timeout=datetime.timedelta(seconds=TIMEOUT // 2))
    function(rank, *args)
    leave_process_group()
    faulthandler.cancel_dump_traceback_later()
