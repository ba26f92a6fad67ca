"""Check the videos of VoxCeleb2 (dev) and write their list for pre-training: no labels.

    python tools/data/prepare_voxceleb2.py --root data/VoxCeleb2 --workers 16

Read below ROOT:

    dev/mp4/id00012/21Uxsk56VDQ/00001.mp4   --media dev/mp4; all files of this depth

Published are 1,092,009 clips of 5,994 people; use --accept-counts for a part. Other files are left
out and counted. Written: voxceleb2_dev.csv with the group column subject, .manifest.json and
.samples.csv.
"""
from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path

from preparation.command_line import build_parser, run
from preparation.samples import UNLABELLED, VIDEO, PrepareError, Sample, SampleList
from tqdm import tqdm

SUFFIX = '.mp4'
DEPTH = 3  # subject / video / clip


def read_lists(arguments) -> list[SampleList]:
    """The one list, in the order of the paths.

    Raises:
        PrepareError: If there is no clip.
    """
    media = arguments.media or 'dev/mp4'
    folder = arguments.root / media
    paths, left_out = [], Counter()
    for above, _, files in tqdm(os.walk(folder), desc='listing', unit='folder'):
        parts = Path(above).relative_to(folder).parts
        for name in files:
            if name.endswith(SUFFIX) and len(parts) + 1 == DEPTH:
                paths.append('/'.join((*parts, name[:-len(SUFFIX)])))
            else:
                left_out[f'not subject/video/clip{SUFFIX}'] += 1
    if not paths:
        raise PrepareError(f'{folder}: no subject/video/clip{SUFFIX} there; check --root and '
                           '--media.')
    samples = [Sample(path, path, '', (path.split('/')[0],)) for path in sorted(paths)]
    return [SampleList('voxceleb2_dev', UNLABELLED, 'dev', VIDEO, media, samples,
                       group_columns=('subject',), left_out=dict(left_out))]


def main(argv: list[str] | None = None) -> int:
    """Run the command line; see ``command_line.run`` for the exit code."""
    return run(build_parser(__doc__, 'data/VoxCeleb2').parse_args(argv), read_lists)


if __name__ == '__main__':
    sys.exit(main())
