"""Expressions of the faces in your own videos: ``python tools/predict.py INPUT... -o DIR``

The same command as ``unilearn-mm predict``; ``--help`` lists its options.
"""

import sys

from unilearn_mm.cli import main

if __name__ == '__main__':
    sys.exit(main(['predict', *sys.argv[1:]]))
