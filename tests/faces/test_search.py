"""Search and measurement on real faces: turned, resized, small; against published landmarks."""

import cv2
import numpy as np
import pytest
from london import PUPILS, photographs
from skimage.metrics import structural_similarity

from unilearn_mm.faces.alignment import PRESETS, crop_transform, cut_out
from unilearn_mm.faces.clips import still_faces
from unilearn_mm.faces.search import FaceSearch, SearchSettings


@pytest.fixture(scope='module')
def picture(real_frames):
    """A man in the middle of a grey surface."""
    image = real_frames('single_face.mp4', 0, 72)[50]
    return cv2.copyMakeBorder(image, 60, 60, 0, 0, cv2.BORDER_CONSTANT, value=(128, 128, 128))


def turned(image, degrees):
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1)
    return cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE), matrix


def resized(image, scale):
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=method)


def similarity(one, other):
    return structural_similarity(one, other, channel_axis=2)


@pytest.mark.parametrize('degrees', [-40, -30, 15, 30])
def test_turned(picture, detector, degrees):
    """A turned face gives the turned points, and the same crop."""
    image, matrix = turned(picture, degrees)
    (face,), (other,) = still_faces(picture, detector), still_faces(image, detector)
    eyes = np.linalg.norm(face.points[1] - face.points[0])
    expected = face.points @ matrix[:, :2].T + matrix[:, 2]
    assert np.linalg.norm(other.points - expected, axis=1).mean() < 0.05 * eyes
    assert similarity(face.crop[20:-20, 20:-20], other.crop[20:-20, 20:-20]) > 0.93


@pytest.mark.parametrize('scale', [0.3, 0.6, 2.0, 4.0])
def test_resized(picture, detector, scale):
    (face,), (other,) = (still_faces(picture, detector),
                         still_faces(resized(picture, scale), detector))
    expected = (face.points + 0.5) * scale - 0.5
    eyes = np.linalg.norm(face.points[1] - face.points[0])
    assert np.linalg.norm(other.points - expected, axis=1).mean() < 0.05 * eyes * scale
    assert abs(np.log(np.prod(other.box[2:] - other.box[:2])
                      / np.prod(face.box[2:] - face.box[:2]) / scale ** 2)) < 0.1


def test_small_faces(picture, detector):
    """A face of 24 of 640 pixels is found, and asked-for sizes are obeyed."""
    (face,) = still_faces(picture, detector)
    scale = 26 / (face.box[3] - face.box[1])
    wide = np.full((360, 640, 3), 128, np.uint8)
    small = resized(picture, scale)
    wide[100:100 + small.shape[0], 300:300 + small.shape[1]] = small
    found = FaceSearch(detector, SearchSettings()).find(wide)
    np.testing.assert_allclose(found.points[0].mean(0),
                               (face.points.mean(0) + 0.5) * scale - 0.5 + [300, 100], atol=2)
    assert len(FaceSearch(detector, SearchSettings(100.0)).find(wide).scores) == 0


def test_what_is_asked_for():
    assert SearchSettings().smallest_in(1920, 1080) == 72
    assert SearchSettings(40.0).smallest_in(1920, 1080) == 40
    assert SearchSettings().smallest_in(100, 176) == 12
    for values, words in ((dict(smallest_face=5), 'at least 12 pixels'),
                          (dict(threshold=1), 'threshold is 1'), (dict(interval=-1), 'seconds'),
                          (dict(weak_threshold=0), 'weak_threshold is 0')):
        with pytest.raises(ValueError, match=words):
            SearchSettings(**values)


def test_nothing(detector):
    assert still_faces(np.zeros((90, 160, 3), np.uint8), detector) == []
    noise = np.random.default_rng(0).integers(0, 256, (180, 320, 3), np.uint8)
    assert still_faces(noise, detector) == []


def test_largest_first(picture, detector):
    two = np.zeros((300, 480, 3), np.uint8)
    small = resized(picture, 0.5)
    two[:small.shape[0], :160] = small
    two[:picture.shape[0], 160:] = picture
    faces = still_faces(two, detector)
    assert [face.track for face in faces] == [0, 1]
    assert faces[0].box[0] > 160 > faces[1].box[2]


def test_photographs(detector):
    """A face in each of 102 photographs and no second one; pupils near the published ones."""
    search = SearchSettings(24 / 320)
    errors = []
    for kind in ('neutral', 'smiling'):
        for name, image, landmarks in photographs(kind):
            faces = still_faces(image, detector, search=search)
            assert len(faces) == 1, f'{kind} {name}'
            if landmarks is not None:
                pupils = landmarks[list(PUPILS)]
                eyes = np.linalg.norm(pupils[1] - pupils[0])
                errors += list(np.linalg.norm(faces[0].points[:2] - pupils, axis=1) / eyes)
    assert len(errors) == 102
    assert np.median(errors) < 0.06 and np.quantile(errors, 0.95) < 0.12


def test_changed_photographs(detector):
    """The crop of a turned or resized photograph is that of the photograph."""
    search = FaceSearch(detector, SearchSettings(24 / 320))
    changes = {0.95: [lambda image: turned(image, 30)[0], lambda image: turned(image, -30)[0],
                      lambda image: resized(image, 2)], 0.8: [lambda image: resized(image, 0.3)]}

    def crops(image):
        look, = search.still(image)
        return [cut_out(image, crop_transform(record, look.box, look.points), record.size)
                for record in PRESETS.values()]
    images = [image for _, image, _ in photographs('neutral')][::7]
    plain = [crops(image) for image in images]
    for least, those in changes.items():
        for change in those:
            values = [[similarity(*pair) for pair in zip(one, crops(change(image)))]
                      for one, image in zip(plain, images)]
            assert (np.median(values, axis=0) >= least).all()
