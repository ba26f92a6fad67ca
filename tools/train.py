"""Train a model: ``python tools/train.py CONFIG [--work-dir DIR] [--resume] [--amp] ...``

MMAction2's own training script on a repaired stack, so its command line is the same (``--help``
lists it), but for one thing: ``--resume`` without a file goes on from the work directory if a
checkpoint is there and else begins as the config and ``--cfg-options`` say, with their
``load_from``. MMAction2 would forget that of the config, and resume from that of the options.
"""

import runpy
import sys
from typing import List

from mmengine.config import Config

from unilearn_mm.engine.checkpoint_files import resumable
from unilearn_mm.run import first_file, run_script, stock_scripts

SCRIPTS = stock_scripts('tools/train.py')


def resolve_resume(args: List[str]) -> List[str]:
    """Arguments that say what ``--resume`` without a file means here."""
    if '--resume' not in args:
        return args
    script = str(first_file(SCRIPTS))
    stock = runpy.run_path(script)
    sys.argv = [script, *args]
    parsed = stock['parse_args']()
    if parsed.resume != 'auto':
        return args
    cfg = stock['merge_args'](Config.fromfile(parsed.config), parsed)
    place = args.index('--resume')
    rest = args[:place] + args[place + 1:]
    if rest[place:place + 1] == ['auto']:
        del rest[place]
    if not resumable(cfg.work_dir):
        print(f'{cfg.work_dir}: no checkpoint to resume from yet, the run begins')
        return rest
    if '--cfg-options' not in rest:
        rest.append('--cfg-options')
    begin = rest.index('--cfg-options') + 1
    end = next((index for index in range(begin, len(rest)) if rest[index].startswith('-')),
               len(rest))
    return [*rest[:end], 'resume=True', 'load_from=None', *rest[end:]]


if __name__ == '__main__':
    sys.exit(run_script(SCRIPTS, resolve_resume(sys.argv[1:])))
