"""The detector and short pieces of real clips, once for all tests of faces."""

from functools import cache
from typing import List

import cv2
import numpy as np
import pytest
from real_media import real_media

from unilearn_mm.faces.detector import CenterFace, open_detector
from unilearn_mm.faces.frames import open_frames


@pytest.fixture(scope='session')
def detector() -> CenterFace:
    return open_detector()


@cache
def _read(name: str, start: int, stop: int) -> List[np.ndarray]:
    with open_frames(real_media(name)) as frames:
        return [cv2.resize(frame.image, (320, 320 * frame.image.shape[0] // frame.image.shape[1]),
                           interpolation=cv2.INTER_AREA)
                for frame, _ in zip(frames, range(stop))][start:]


@pytest.fixture(scope='session')
def real_frames():
    """``real_frames(name, start, stop)``: frames of a real clip, 320 pixels wide."""
    return _read
