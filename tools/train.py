"""Train a model: ``python tools/train.py CONFIG [--work-dir DIR] [--resume] [--amp] ...``

MMAction2's own training script on a repaired stack, so its command line is the same
(``--help`` lists it).
"""

import sys

from unilearn_mm.run import main

if __name__ == '__main__':
    main(['tools/train.py', *sys.argv[1:]])
