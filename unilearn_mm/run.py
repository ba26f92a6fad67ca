"""Run a stock MMAction2 script on a repaired stack, with the modules of this plugin registered.

    python -m unilearn_mm.run SCRIPT [ARGS ...]

``unilearn_mm`` is imported before the script starts. Scripts that import models before they read a
config, or read no config at all, need this.
"""
import gc
import runpy
import sys
from pathlib import Path
from typing import List, Sequence, Union

import torch
from torch.nn.parallel import DistributedDataParallel

from unilearn_mm.compat import package_folders

USAGE = """usage: python -m unilearn_mm.run SCRIPT [ARGS ...]

Runs SCRIPT as `python SCRIPT ARGS` would, after the repairs of unilearn_mm.compat and with the
modules of unilearn_mm registered.

SCRIPT is a file or, where no such file exists, a path inside the scripts that are installed with
MMAction2, for instance tools/train.py or tools/analysis_tools/get_flops.py.
"""


def stock_scripts(script: str) -> List[Path]:
    """Where ``script`` may be among the scripts that are installed with MMAction2."""
    return [Path(folder, '.mim', script) for folder in package_folders('mmaction')]


def first_file(candidates: Sequence[Path]) -> Path:
    """The first of the paths that is a file.

    Raises:
        FileNotFoundError: If none is; the message lists them.
    """
    for path in candidates:
        if path.is_file():
            return path
    raise FileNotFoundError(
        'no such script. Looked for:\n' +
        '\n'.join(f'  {path.absolute()}' for path in candidates) +
        '\nGive the path of a file, or a path inside the last folder such as tools/train.py.')


def run_script(candidates: Sequence[Path], args: Sequence[str]) -> Union[int, str, None]:
    """Run the first script that exists as ``__main__``.

    Args:
        candidates (Sequence[Path]): Where to look for the script, in order.
        args (Sequence[str]): Its arguments.

    Returns:
        int, str or None: What ``sys.exit`` takes: 2 if there is no script, 1 if the data it
        needs is missing, another run has its work directory, or a data loader waited too long
        (the message says which file), 0 if it ended; what it gave to ``sys.exit`` if it called
        that.
    """
    from unilearn_mm.datasets.expression import MissingDataError
    from unilearn_mm.datasets.reading_board import being_read, is_loader_timeout
    from unilearn_mm.engine.work_dir_lock import WorkDirInUseError
    try:
        script = first_file(candidates)
    except FileNotFoundError as error:
        print(f'unilearn_mm.run: {error}', file=sys.stderr)
        return 2
    sys.argv = [str(script), *args]
    sys.path.insert(0, str(script.absolute().parent))
    code = 0
    try:
        runpy.run_path(str(script), run_name='__main__')
    except MissingDataError as error:
        print(f'\nData is missing.\n{error}', file=sys.stderr)
        return 1
    except WorkDirInUseError as error:
        print(f'\n{error}', file=sys.stderr)
        return 1
    except RuntimeError as error:
        if not is_loader_timeout(error):
            raise
        print(f'\n{error}: a file that cannot be decoded, or a slow disk. Raise `timeout` of the '
              'data loader for the latter.', *being_read(), sep='\n', file=sys.stderr)
        return 1
    except SystemExit as stop:
        code = stop.code  # alone: its traceback holds the frames of the script, and the model
    leave_process_group()
    return code


def leave_process_group() -> None:
    """End torch's process group, if there is one, when no model refers to it any more.

    Else gloo's threads may abort the process while it exits (pytorch/pytorch#190489). The models
    let go first: when the Reducer of a DistributedDataParallel is the last to hold the group,
    torch 2.11 joins gloo's threads without letting go of the interpreter, which they may be
    waiting for to free the tensors of the last collective, and the process hangs
    (pytorch/pytorch#56297). They are not deleted, because a Runner is a reference cycle, and to
    collect it would end the workers of its data loaders in any order, with errors and delays.
    """
    if not torch.distributed.is_initialized():
        return
    for model in gc.get_objects():
        if DistributedDataParallel in type(model).__mro__:
            model.reducer = model.logger = model.process_group = None
    torch.distributed.destroy_process_group()


def main(argv: Sequence[str]) -> Union[int, str, None]:
    """Command line; see USAGE."""
    if not argv or argv[0] in ('-h', '--help'):
        print(USAGE, file=sys.stdout if argv else sys.stderr)
        return 0 if argv else 2
    return run_script([Path(argv[0]), *stock_scripts(argv[0])], argv[1:])


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
