"""Test a checkpoint: ``python tools/test.py CONFIG CHECKPOINT [--work-dir DIR] ...``

MMAction2's own test script on a repaired stack, so its command line is the same
(``--help`` lists it).
"""

import sys

from unilearn_mm.run import run_script, stock_scripts

if __name__ == '__main__':
    sys.exit(run_script(stock_scripts('tools/test.py'), sys.argv[1:]))
