"""The processes of a data loader."""

from torch.utils.data import DataLoader


def end_workers(loader: DataLoader) -> None:
    """End the persistent workers of a loader that is not in use.

    A loader that is used again starts new ones. One that is left to the garbage collector may
    find its queues closed before it: it then waits 5 seconds for each worker, and prints errors.

    Args:
        loader (DataLoader): Without persistent workers, nothing is done.
    """
    iterator = getattr(loader, '_iterator', None)  # loaders that are none of torch's have none
    if iterator is not None:
        iterator._shutdown_workers()
        loader._iterator = None
