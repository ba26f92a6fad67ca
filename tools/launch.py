"""torchrun whose workers may save and end by themselves when the run is preempted.

    python tools/launch.py [options of torchrun] SCRIPT [ARGS ...]

At SIGTERM, torchrun signals the whole process group of each worker, kills what is left after 30
seconds, and exits with 1; SIGUSR1 ends it at once and leaves the workers behind. Here both are
handed to the training processes alone, which then have the time that the machine gives them; a
SIGTERM that comes 5 seconds after the first is torchrun's (sooner, it is the same one, sent to a
process group and handed on by a parent). If they end with code 85 (see PreemptionHook), so does
the launcher.
"""

import contextlib
import os
import signal
import sys
import time

from torch.distributed import run
from torch.distributed.elastic.multiprocessing.api import PContext
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

SAME_SIGNAL = 5  # seconds
PREEMPTED = 85  # unilearn_mm.engine.hooks.preemption.EXIT_CODE, which takes long to import


def hand_signals_to_workers() -> None:
    """Replace torchrun's handlers as soon as it has started its workers and set them."""
    start = PContext.start

    def start_and_listen(self: PContext) -> None:
        start(self)
        kill_after_30_seconds = signal.getsignal(signal.SIGTERM)

        received = []

        def hand_over(number: int, frame) -> None:
            if number == signal.SIGTERM:
                received.append(time.monotonic())
                if received[-1] - received[0] > SAME_SIGNAL:
                    kill_after_30_seconds(number, frame)
            for pid in self.pids().values():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)

        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, hand_over)

    PContext.start = start_and_listen


def main() -> int:
    """Command line; see above."""
    hand_signals_to_workers()
    try:
        run.main()
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode == PREEMPTED:
            print('launch.py: the run was preempted and is saved; start it again with --resume',
                  file=sys.stderr)
            return PREEMPTED
        cause = failure.signal_name() if failure.exitcode < 0 else f'exit code {failure.exitcode}'
        print(f'{error}\nlaunch.py: rank {rank} was the first to end on this machine, with '
              f'{cause}; the other ranks were ended. The first error of all machines is the '
              'cause. A training goes on from its newest checkpoint with --resume',
              file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
