"""The restated extraction cuts what its description says."""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / 'tools' / 'benchmark'))
import mtcnn_extraction


class Told:
    """A detector that is told what it finds in each image."""

    def __init__(self, *boxes):
        self.boxes = list(boxes)

    def detect(self, image):
        boxes = self.boxes.pop(0)
        return (None, [None]) if boxes is None else (np.array(boxes, object), [1.0] * len(boxes))


def test_one_square_box_around_all_faces():
    y, x = np.mgrid[:90, :160]
    frame = np.stack([x, y, x], 2).astype(np.uint8)
    told = Told([[40, 20, 60, 50], [70, 30, 100, 60]], None, [[50, 25, 90, 70]])
    crops = [np.array(crop) for crop in mtcnn_extraction.extract(told, [frame] * 3)]
    for crop in crops:  # 40..100 wide, 20..70 high, widened to 15..75
        np.testing.assert_array_equal(crop, frame[15:75, 40:100])


def test_borders_and_no_face():
    frame = np.zeros((92, 160, 3), np.uint8)
    crop, = mtcnn_extraction.extract(Told([[10, 5, 20, 85]]), [frame])
    assert crop.size == (55, 80)  # -25..55 wide, cut off at 0
    crop, = mtcnn_extraction.extract(Told(None), [frame])
    assert crop.size == (46, 46)
