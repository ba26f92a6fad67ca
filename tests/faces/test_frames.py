"""Frames come upright, at the right time, and whatever a file is like."""

import functools
import gc
import http.server
import os
import shutil
import threading
import tracemalloc
import zlib
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from videos import (
    MIRRORED,
    TURNS,
    bar_time,
    flip_bits,
    moving_bar,
    picture,
    turn,
    write_clip,
    write_sound,
)

from unilearn_mm.datasets.video_reader import VideoReader
from unilearn_mm.faces.frames import FrameStream, open_frames
from unilearn_mm.faces.sources import Picture
from unilearn_mm.media import MediaReadError

NUM_FRAMES = 30


def read(source, *args, **options):
    """All frames of a source and what was wrong with it."""
    with open_frames(source, *args, **options) as frames:
        return list(frames), frames.problems


def of_opencv(path):
    capture, images = cv2.VideoCapture(str(path)), []
    while True:
        there, image = capture.read()
        if not there:
            return images
        images.append(image[..., ::-1])


@pytest.fixture(scope='module')
def pictures():
    return [picture(seed) for seed in range(NUM_FRAMES)]


@pytest.fixture(scope='module')
def clip(tmp_path_factory, pictures):
    path = tmp_path_factory.mktemp('clip') / 'clip.mp4'
    write_clip(path, pictures, movflags='+faststart')
    return path


# ---- upright

@pytest.mark.parametrize('degrees', TURNS)
def test_rotated_by_metadata(clip, tmp_path, degrees):
    """The same pixels as OpenCV's, which applies the display matrix by itself."""
    shutil.copy(clip, tmp_path / 'clip.mp4')
    turn(tmp_path / 'clip.mp4', TURNS[degrees])
    frames, problems = read(tmp_path / 'clip.mp4')
    np.testing.assert_array_equal([frame.image for frame in frames],
                                  of_opencv(tmp_path / 'clip.mp4'))
    assert frames[0].image.shape == ((48, 80, 3) if degrees % 180 == 0 else (80, 48, 3))
    assert problems == []


@pytest.mark.parametrize('matrix', [*TURNS.values(), MIRRORED, (1, 0, 0, -1), (0, 1, 1, 0),
                                    (0, -1, -1, 0)])
def test_the_display_matrix_moves_pixels_as_the_standard_says(clip, tmp_path, matrix):
    """(x, y) goes to (a x + c y, b x + d y), ISO 14496-12."""
    shutil.copy(clip, tmp_path / 'clip.mp4')
    turn(tmp_path / 'clip.mp4', matrix)
    image = read(clip)[0][0].image
    a, b, c, d = matrix
    y, x = np.indices(image.shape[:2])
    new_x, new_y = a * x + c * y, b * x + d * y
    new_x, new_y = new_x - new_x.min(), new_y - new_y.min()
    expected = np.zeros((new_y.max() + 1, new_x.max() + 1, 3), np.uint8)
    expected[new_y, new_x] = image
    np.testing.assert_array_equal(read(tmp_path / 'clip.mp4')[0][0].image, expected)


def test_photographs_are_turned_as_their_exif_says(tmp_path):
    image = Image.fromarray(picture())
    exif = image.getexif()
    exif[274] = 6  # to be turned by 90 degrees clockwise
    image.save(tmp_path / 'photo.jpg', exif=exif, quality=95)
    frames, _ = read(tmp_path / 'photo.jpg')
    assert len(frames) == 1
    assert np.abs(frames[0].image.astype(int) - np.rot90(picture(), -1)).mean() < 5


def test_pixels_that_are_not_square(tmp_path, pictures):
    """A frame of pixels twice as wide as high is twice as wide."""
    write_clip(tmp_path / 'wide.mkv', pictures, aspect=Fraction(2))
    frames, _ = read(tmp_path / 'wide.mkv')
    assert frames[0].image.shape == (48, 160, 3)
    expected = cv2.resize(pictures[0], (160, 48))
    assert np.abs(frames[0].image.astype(int) - expected).mean() < 10


# ---- times

def test_every_frame_at_its_own_time(tmp_path):
    times = np.array([0, 0.04, 0.05, 0.3, 0.9, 1.0])
    write_clip(tmp_path / 'clip.mp4', [moving_bar(moment) for moment in times], times + 2)
    frames, problems = read(tmp_path / 'clip.mp4')
    assert [frame.index for frame in frames] == list(range(6)) and not problems
    np.testing.assert_allclose([frame.time for frame in frames], times, atol=1e-4)
    np.testing.assert_allclose([bar_time(frame.image) for frame in frames], times, atol=0.01)


@pytest.fixture(scope='module')
def copies(tmp_path_factory):
    """One scene of 2 s at 25, 60 and 29.97 frames a second, at irregular times, as a film whose
    timestamps are whole milliseconds, and as a folder of images."""
    root = tmp_path_factory.mktemp('copies')
    random = np.random.default_rng(0)
    irregular = np.cumsum(random.uniform(0.005, 0.035, 200))
    irregular = np.concatenate([[0], irregular[irregular < 2]])
    for name, times in dict(fps25=np.arange(50) / 25, fps60=np.arange(120) / 60,
                            ntsc=np.arange(60) * 1001 / 30000, vfr=irregular).items():
        write_clip(root / f'{name}.mp4', [moving_bar(moment) for moment in times], times)
    write_clip(root / 'matroska.mkv', [moving_bar(moment) for moment in np.arange(120) / 60],
               np.arange(120) / 60)
    (root / 'folder').mkdir()
    for place in range(50):
        cv2.imwrite(str(root / 'folder' / f'{place}.png'), moving_bar(place / 25))
    return root


@pytest.mark.parametrize('name', ['fps25.mp4', 'fps60.mp4', 'ntsc.mp4', 'vfr.mp4', 'matroska.mkv',
                                  'folder'])
@pytest.mark.parametrize('rate', [25, 8])
def test_copies_of_a_scene_give_the_same_moments(copies, name, rate):
    """Sampled times are equal; what a frame shows is half a frame of the source away at most."""
    frames, problems = read(copies / name, rate)
    assert [frame.time for frame in frames] == [k / rate for k in range(2 * rate)] and not problems
    shown = np.array([bar_time(frame.image) for frame in frames])
    error = np.abs(shown - [frame.time for frame in frames])
    assert error.max() < 0.0175 + 0.005, 'half of the longest distance, and the reading of the bar'


def restated(times, durations, rate):
    """Index for each grid time, one time after the other."""
    found = []
    while not found or len(found) / rate + 0.5 / rate < times[-1] + durations[-1]:
        moment = len(found) / rate
        index = 0
        for k in range(1, len(times)):
            if moment > max((times[k - 1] + times[k]) / 2, times[k] - 0.5 / rate):
                index = k
        found.append(index)
    return found


class InMemory:
    """A source of given times."""

    duration, interval = None, 0.04

    def __init__(self, times, durations=None):
        self.times, self.durations = times, durations or [0.0] * len(times)

    def pictures(self):
        for place, (moment, duration) in enumerate(zip(self.times, self.durations)):
            yield Picture(moment, duration, lambda place=place: np.full((2, 2, 3), place, np.uint8))

    def problems(self, num_good):
        return []

    def close(self):
        pass


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 400), max_size=30), st.integers(1, 500), st.integers(1, 60))
def test_sampling(distances, last, rate):
    times = np.concatenate([[0], np.cumsum(distances)]) / 1000
    durations = [*np.diff(times).tolist(), last / 1000]
    frames = list(FrameStream('memory', InMemory(times.tolist(), durations), rate))
    assert [frame.index for frame in frames] == restated(times, durations, rate)
    assert all((frame.image == frame.index).all() for frame in frames)
    assert [frame.time for frame in frames] == [k / rate for k in range(len(frames))]


@pytest.mark.parametrize('told, expected', [
    ([5.0, 5.1, 5.2], [0, 0.1, 0.2]),
    ([0, 0.1, 0.1, 0.05, 0.15], [0, 0.1, 0.2, 0.3, 0.4]),  # stand still, then run back
    ([0, 0.1, 95443.7, 95443.8], [0, 0.1, 0.2, 0.3]),  # a counter of 33 bits at 90 kHz wraps
    ([None, None, None], [0, 0.04, 0.08]),
    ([None, 7.0, 7.1], [0, 0.04, 0.14]),
    ([0, 0.1, None, 0.3], [0, 0.1, 0.2, 0.3]),
])
def test_timestamps_that_cannot_be(told, expected):
    stream = FrameStream('memory', InMemory(told), None)
    np.testing.assert_allclose([frame.time for frame in stream], expected, atol=1e-9)
    assert bool(stream.problems) == (told[0] != 5.0)


def test_a_leap_in_a_real_file(tmp_path, pictures):
    times = np.arange(NUM_FRAMES) / 25 + 5000 * (np.arange(NUM_FRAMES) >= 10)
    write_clip(tmp_path / 'leap.mkv', pictures, times)
    frames, problems = read(tmp_path / 'leap.mkv', 25)
    assert len(frames) == NUM_FRAMES and any('leap' in problem for problem in problems)


@pytest.mark.parametrize('option', ['rate', 'images_per_second'])
@pytest.mark.parametrize('value', [0, -1, float('nan'), float('inf')])
def test_rates_that_cannot_be(clip, option, value):
    with pytest.raises(ValueError, match=option):
        open_frames(clip, **{option: value})


# ---- damaged files

def test_a_wrong_number_of_frames_in_the_header(clip, tmp_path):
    data = clip.read_bytes()
    at = data.index(b'stts') + 12  # the first count of the table of times
    assert int.from_bytes(data[at:at + 4], 'big') == NUM_FRAMES
    (tmp_path / 'clip.mp4').write_bytes(data[:at] + (900).to_bytes(4, 'big') + data[at + 4:])
    frames, problems = read(tmp_path / 'clip.mp4')
    assert len(frames) == NUM_FRAMES
    assert f'declares 900 frames, {NUM_FRAMES} are good' in problems[0]


@pytest.mark.parametrize('container', ['mp4', 'mkv', 'webm'])
def test_a_broken_tail(tmp_path, container):
    """What stands before the break is kept, pixel for pixel, and the loss is told."""
    whole = tmp_path / f'whole.{container}'
    images = [picture(seed) for seed in range(100)]
    codec = 'libvpx' if container == 'webm' else 'libx264'
    write_clip(whole, images, codec=codec,
               **(dict(movflags='+faststart') if container == 'mp4' else {}))
    data = whole.read_bytes()
    (tmp_path / f'cut.{container}').write_bytes(data[:len(data) * 6 // 10])
    frames, problems = read(tmp_path / f'cut.{container}')
    good = [frame.image for frame in read(whole)[0]]
    assert 20 < len(frames) < 80
    np.testing.assert_array_equal([frame.image for frame in frames], good[:len(frames)])
    assert 'declares' in ' '.join(problems)


def test_damage_in_the_middle(clip, tmp_path, pictures):
    """Frames from the next key frame on are as good as ever; no frame of garbage comes."""
    whole = [frame.image for frame in read(clip)[0]]
    data = bytearray(clip.read_bytes())
    start = data.index(b'mdat')
    middle = start + (len(data) - start) // 2
    data[middle:middle + 400] = bytes(400)
    (tmp_path / 'clip.mp4').write_bytes(data)
    frames, problems = read(tmp_path / 'clip.mp4')
    assert NUM_FRAMES / 2 <= len(frames) < NUM_FRAMES
    for frame in frames:  # its time says which one it is
        np.testing.assert_array_equal(frame.image, whole[round(frame.time * 25)])
    assert any('damaged' in problem or 'undecodable' in problem for problem in problems)


@pytest.mark.parametrize('seed', range(12))
def test_flipped_bits_never_break_the_reader(clip, tmp_path, seed):
    shutil.copy(clip, tmp_path / 'clip.mp4')
    flip_bits(tmp_path / 'clip.mp4', 30, seed)
    try:
        frames, _ = read(tmp_path / 'clip.mp4', 25)
    except MediaReadError as error:
        assert str(tmp_path / 'clip.mp4') in str(error)
        return
    assert len({frame.image.shape for frame in frames}) == 1
    assert [frame.time for frame in frames] == [k / 25 for k in range(len(frames))]


def test_frames_of_several_sizes_come_in_one(tmp_path):
    (tmp_path / 'images').mkdir()
    for place, size in enumerate((32, 32, 64, 32)):
        picture = np.full((size, size, 3), 9, np.uint8)
        cv2.imwrite(str(tmp_path / 'images' / f'{place}.png'), picture)
    frames, problems = read(tmp_path / 'images')
    assert [frame.image.shape for frame in frames] == [(32, 32, 3)] * 4
    assert problems == ['scaled to the 32 x 32 px of the first: 1 frame, from 64 x 64 px']


def test_a_folder_with_bad_images(tmp_path):
    """Natural order; bad ones are left out and leave a hole in time; all bad is an error."""
    for place in (1, 2, 3, 10):
        cv2.imwrite(str(tmp_path / f'{place}.png'), np.full((8, 8, 3), place, np.uint8))
    (tmp_path / '2.png').write_bytes((tmp_path / '2.png').read_bytes()[:40])
    frames, problems = read(tmp_path, images_per_second=10)
    assert [frame.image[0, 0, 0] for frame in frames] == [1, 3, 10]
    np.testing.assert_allclose([frame.time for frame in frames], [0, 0.2, 0.3])
    assert len(problems) == 1 and '1 frame' in problems[0] and '2.png' in problems[0]
    for path in tmp_path.iterdir():
        path.write_bytes(b'no image')
    with pytest.raises(MediaReadError, match=r'no frame can be decoded: unreadable.* 4 frames'):
        read(tmp_path)


def spoil(name, folder, clip):
    """A file of that name which is no video of today."""
    path = folder / f'{name}.mp4'
    if name == 'text':
        path.write_text('no video at all\n' * 100)
    elif name == 'empty':
        path.touch()
    elif name == 'sound only':
        write_sound(path)
    elif name == 'sound with a cover':
        path = folder / 'cover.mp3'
        write_sound(path, 'libmp3lame', picture())
    elif name == 'no frames':
        write_clip(path, [picture()] * 2)
        data = path.read_bytes()
        at = data.index(b'mdat') + 4
        moov = data.index(b'moov') - 4
        path.write_bytes(data[:at] + bytes(moov - at) + data[moov:])
    elif name == 'play list':  # would make FFmpeg open another file
        shutil.copy(clip, folder / 'other.mp4')
        path.write_text('ffconcat version 1.0\nfile other.mp4\n')
    elif name == 'half a header':
        write_clip(path, [picture()] * 2)
        path.write_bytes(path.read_bytes()[:60])
    elif name == 'pipe':
        os.mkfifo(path)
    elif name == 'folder':
        path.mkdir()
    elif name == 'bomb':
        path = folder / 'bomb.png'
        write_huge_png(path, 1 << 15, 1 << 14)
    return path


def write_huge_png(path, width, height):
    """A black PNG of a few kilobytes."""
    def chunk(kind, data):
        return (len(data).to_bytes(4, 'big') + kind + data +
                zlib.crc32(kind + data).to_bytes(4, 'big'))
    head = width.to_bytes(4, 'big') + height.to_bytes(4, 'big') + bytes([1, 0, 0, 0, 0])
    rows = zlib.compress(bytes((width // 8 + 1) * height), 9)
    path.write_bytes(b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', head) + chunk(b'IDAT', rows) +
                     chunk(b'IEND', b''))


@pytest.mark.parametrize('name, reason', [
    ('text', 'cannot be opened as a video'), ('empty', r'empty file \(0 bytes\)'),
    ('missing', 'does not exist'), ('sound only', 'no video stream; the file holds 1 x audio'),
    ('sound with a cover', 'cover picture'), ('no frames', 'no frame can be decoded'),
    ('play list', 'no video container'), ('half a header', 'cannot be opened as a video'),
    ('pipe', 'neither a file nor a folder'), ('folder', 'holds no image'),
    ('bomb', 'more than 134217728 pixels')])
def test_no_video(clip, tmp_path, name, reason):
    path = spoil(name, tmp_path, clip)
    with pytest.raises(MediaReadError, match=reason) as caught:
        read(path)
    assert str(path) in str(caught.value)


def test_no_camera():
    with pytest.raises(MediaReadError, match='camera 99: cannot be opened'):
        open_frames(99)


@pytest.mark.parametrize('pixels, codec', [('gbrp16le', 'ffv1'), ('yuv420p10le', 'ffv1'),
                                           ('gray', 'ffv1')])
def test_unusual_pixels(tmp_path, pixels, codec):
    """16 bits, 10 bits, grey: all become 8-bit RGB of the same picture."""
    shown = picture()
    if pixels == 'gray':
        shown = np.repeat(cv2.cvtColor(shown, cv2.COLOR_RGB2GRAY)[..., None], 3, -1)
    write_clip(tmp_path / 'clip.mkv', [shown], codec=codec, pixels=pixels)
    image = read(tmp_path / 'clip.mkv')[0][0].image
    assert image.dtype == np.uint8
    assert np.abs(image.astype(int) - shown).mean() < 4


def test_eight_pixels_and_4k(tmp_path):
    for height, width in ((8, 8), (2160, 3840)):
        write_clip(tmp_path / 'clip.mp4', [picture(0, height, width)] * 2)
        frames, problems = read(tmp_path / 'clip.mp4')
        assert [frame.image.shape for frame in frames] == [(height, width, 3)] * 2 and not problems


# ---- streams

def test_a_video_over_http(clip):
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(clip.parent))
    handler.log_message = lambda *words: None
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        root = f'http://127.0.0.1:{server.server_port}'
        frames, problems = read(f'{root}/{clip.name}')
        with pytest.raises(MediaReadError, match='404'):
            open_frames(f'{root}/missing.mp4')
        server.shutdown()
    np.testing.assert_array_equal([frame.image for frame in frames],
                                  [frame.image for frame in read(clip)[0]])
    assert not problems


def test_a_few_frames_in_memory(tmp_path):
    """Frames of 640 x 360, of which 300 would be 207 MB."""
    write_clip(tmp_path / 'clip.mp4', [picture(0, 360, 640)] * 300)
    tracemalloc.start()
    with open_frames(tmp_path / 'clip.mp4', 25) as frames:
        assert sum(1 for _ in frames) == 300
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8e6


@pytest.mark.parametrize('way', ['stream', 'random access'])
def test_frames_are_freed_at_once(clip, way):
    """PyAV's own side data would keep each until Python looks for circles."""
    def frames():
        return sum(type(thing) is av.VideoFrame for thing in gc.get_objects())
    gc.collect()
    before = frames()
    gc.disable()
    try:
        if way == 'stream':
            with open_frames(clip) as stream:
                assert len(list(stream)) == NUM_FRAMES
                held = frames()
        else:
            reader = VideoReader(str(clip))
            assert len(reader.read(range(NUM_FRAMES))) == NUM_FRAMES
            held = frames()
    finally:
        gc.enable()
    assert held <= before + 4
