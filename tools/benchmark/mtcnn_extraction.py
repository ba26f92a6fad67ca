"""A plain restatement of how MMA-DFER's crops of faces are made, to measure against.

From the description of its preparation of MAFW, in our own words: facenet-pytorch's MTCNN looks at
every frame; the smallest box around all faces of all frames is made square by widening its short
side and cut off at 0; without any face it is a square in the middle, half as large as the short
side of the picture. The box is the same for all frames and nothing is aligned.

    pip install --no-deps facenet-pytorch==2.6.0    # it asks for an older torch, and runs with ours
"""

from typing import TYPE_CHECKING, List, Sequence

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from facenet_pytorch import MTCNN


def extract(mtcnn: 'MTCNN', frames: Sequence[np.ndarray]) -> List[Image.Image]:
    """Crops of a clip.

    Args:
        mtcnn (MTCNN): The detector.
        frames (Sequence[np.ndarray]): (H, W, 3) uint8 RGB.
    """
    images = [Image.fromarray(frame) for frame in frames]
    boxes = [box for image in images for box in faces(mtcnn, image)]
    if boxes:
        box = np.concatenate([np.min(boxes, 0)[:2], np.max(boxes, 0)[2:]])
        widen = (max(box[2:] - box[:2]) - (box[2:] - box[:2])) / 2
        box = np.maximum(box + np.concatenate([-widen, widen]), 0)
    else:
        size, half = np.array(images[0].size), min(images[0].size) / 2
        box = np.concatenate([(size - half) / 2, (size + half) / 2])
    return [image.crop(tuple(box.round().astype(int))) for image in images]


def faces(mtcnn: 'MTCNN', image: Image.Image) -> List[np.ndarray]:
    """Boxes (4,) x1, y1, x2, y2 of the faces of an image."""
    boxes, _ = mtcnn.detect(image)
    return [] if boxes is None else list(np.asarray(boxes, float))
