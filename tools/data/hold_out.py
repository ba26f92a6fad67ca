"""Hold out a part of an annotation list for validation, identities kept together.

    python tools/data/hold_out.py data/MAFW/train.csv --share 0.1 --out data/MAFW/held_out

Writes train.csv and validation.csv into OUT. Classes are as frequent in both as in the list; no
value of the group column (subject, where the list has it) is in both. The same seed gives the same
lists. tools/run_folds.py --val-from-train does this by itself.
"""

import argparse
import sys
from pathlib import Path

from unilearn_mm.datasets.annotations import AnnotationError
from unilearn_mm.datasets.splits import write_hold_out


def main() -> int:
    """Command line; the exit code is 1 if the list cannot be split."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('list', help='annotation list: ours or an official one')
    parser.add_argument('--share', type=float, default=0.1)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--group', help='group column (default: subject, if the list has it)')
    parser.add_argument('--media', choices=['video', 'image'], default='video')
    parser.add_argument('--out', type=Path, required=True)
    args = parser.parse_args()
    try:
        found = write_hold_out(args.list, args.media, args.share, args.seed, args.out, args.group)
    except AnnotationError as error:
        print(error, file=sys.stderr)
        return 1
    for path, size in zip((found.train, found.validation), found.sizes):
        print(f'{path}: {size} rows')
    print(f'identities: {found.group or "the list has none"}')
    if found.absent_classes:
        print(f'no held-out row of the classes {", ".join(found.absent_classes)}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
