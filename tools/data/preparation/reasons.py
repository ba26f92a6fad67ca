"""Why a file cannot be used, in words that are the same in every run."""
from __future__ import annotations

import os
import re
from pathlib import Path

MISSING = 'missing'
NEITHER = 'neither a file nor a folder'
# parts of the decoders' messages that differ from run to run: times and addresses
_VARYING = re.compile(r'\[\d\d:\d\d:\d\d\] |@ 0x[0-9a-f]+|0x[0-9a-f]{6,}')


def reproducible(problem: str, folder: Path) -> str:
    """A reason without what differs from run to run, and with paths relative to the folder."""
    return _VARYING.sub('', problem.replace(f'{folder}{os.sep}', ''))
