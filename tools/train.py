"""Train a model: ``python tools/train.py CONFIG [--work-dir DIR] [--resume] [--amp] ...``

MMAction2's own training script on a repaired stack, so its command line is the same
(``--help`` lists it).
"""

import sys

from unilearn_mm.run import run_script, stock_scripts

if __name__ == '__main__':
    sys.exit(run_script(stock_scripts('tools/train.py'), sys.argv[1:]))
