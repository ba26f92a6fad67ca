"""What the workers of the data loaders are reading, visible from the main process.

A decoder may hang without ever returning to Python (dmlc/decord issue 373), so the worker cannot
say itself which file it hangs on. It writes the file's name into shared memory before it reads.
"""

import time
import weakref
from typing import List

import torch
from torch.utils.data import get_worker_info

SLOTS = 256  # workers of a loader
SLOT_BYTES = 1024

_boards: 'weakref.WeakSet[ReadingBoard]' = weakref.WeakSet()


class ReadingBoard:
    """One line for each worker of a loader, in memory that the workers share with their parent."""

    def __init__(self) -> None:
        self.slots = torch.zeros(SLOTS, SLOT_BYTES, dtype=torch.uint8).share_memory_()
        _boards.add(self)

    def write(self, path: str) -> None:
        """Note that this worker starts to read a file.

        Args:
            path (str): The file.
        """
        self._set(f'{time.time():.0f} {path}')

    def clear(self) -> None:
        """Note that this worker reads nothing."""
        self._set('')

    def lines(self) -> List[str]:
        """``worker N has been reading PATH for S s``, for each worker that reads."""
        found = []
        for worker, slot in enumerate(self.slots.numpy()):
            if slot[0]:
                since, path = slot.tobytes().rstrip(b'\0').decode(errors='replace').split(' ', 1)
                found.append(f'worker {worker} has been reading {path} for '
                             f'{time.time() - int(since):.0f} s')
        return found

    def _set(self, text: str) -> None:
        worker = get_worker_info()
        slot = self.slots[worker.id if worker else 0].numpy()
        data = text.encode()[:SLOT_BYTES]
        slot[len(data):] = 0
        slot[:len(data)] = memoryview(data)


def is_loader_timeout(error: BaseException) -> bool:
    """Whether an error says that a DataLoader waited longer than its ``timeout``."""
    return isinstance(error, RuntimeError) and 'DataLoader timed out' in str(error)


def being_read() -> List[str]:
    """The lines of all boards of this process."""
    return [line for board in _boards for line in board.lines()]
