"""Test a checkpoint: ``python tools/test.py CONFIG CHECKPOINT [--work-dir DIR] ...``

MMAction2's own test script on a repaired stack, so its command line is the same
(``--help`` lists it).
"""

import sys

from unilearn_mm.run import main

if __name__ == '__main__':
    main(['tools/test.py', *sys.argv[1:]])
