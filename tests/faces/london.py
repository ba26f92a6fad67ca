"""The London set: photographs of real people with landmarks (see its README for the licence)."""

import csv
from pathlib import Path
from typing import Iterator, Optional, Tuple

import numpy as np
import pytest

from unilearn_mm.media import read_image

FOLDER = Path(__file__).resolve().parents[3] / 'shared/data/london'
PUPILS = (0, 1)  # rows of the landmarks, left and right in the picture


def photographs(kind: str) -> Iterator[Tuple[str, np.ndarray, Optional[np.ndarray]]]:
    """Name, picture and, of the 'neutral' ones, landmarks (189, 2); skips where the set is not."""
    if not FOLDER.is_dir():
        pytest.skip('the London set is not there: doi 10.6084/m9.figshare.5047666.v5')
    for path in sorted((FOLDER / kind).glob('*.jpg')):
        landmarks = None
        if kind == 'neutral':
            with open(path.with_suffix('.csv'), newline='') as file:
                rows = list(csv.reader(file))[1:]
            landmarks = np.array([[float(value) for value in row[-2:]] for row in rows])
        yield path.stem, read_image(str(path)), landmarks
