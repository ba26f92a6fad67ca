"""Every frame of a video is the one that decoding from the start gives, the right way up."""

import wave
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from media_files import encode_video

from unilearn_mm.datasets.transforms.loading import DecodeClip, OpenClip
from unilearn_mm.datasets.video_reader import VideoReader
from unilearn_mm.media import MediaReadError

NUM_FRAMES = 30


def pictures(height=32, width=64, num_frames=NUM_FRAMES):
    """Frames (num_frames, height, width, 3) whose four quarters differ in colour, so that a turn
    or a mirror shows, and whose lower half tells their index."""
    frames = np.empty((num_frames, height, width, 3), np.uint8)
    frames[:, :height // 2, :width // 2] = 220, 30, 30
    frames[:, :height // 2, width // 2:] = 30, 200, 30
    frames[:, height // 2:, :width // 2] = 30, 30, 220
    frames[:, height // 2:, width // 2:] = (20 + 7 * np.arange(num_frames))[:, None, None, None]
    return frames


def from_the_start(path):
    """All frames (L, H, W, 3) as they are stored, in the order of decoding."""
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format='rgb24') for frame in container.decode(video=0)])


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('videos')


# name of the file -> encoder and its options; a keyframe in every 8 frames
KINDS = {
    'mpeg4.mp4': ('mpeg4', dict(bf='2')),  # what OpenCV writes, here with frames out of order
    'h264.mp4': ('libx264', {}),
    'h264.mov': ('libx264', dict(bf='0')),
    'open_gop.mkv': ('libx264', {'x264-params': 'open-gop=1'}),
    'refresh.mkv': ('libx264', {'intra-refresh': '1'}),
    'h265.mp4': ('libx265', {'x265-params': 'log-level=none'}),
    'vp8.webm': ('libvpx', {'auto-alt-ref': '1', 'lag-in-frames': '16'}),
    'vp9.webm': ('libvpx-vp9', {}),
    'av1.mp4': ('libsvtav1', {}),
    'mpeg4.avi': ('mpeg4', dict(bf='2')),  # its times are those of decoding, not of showing
    'h264.avi': ('libx264', {})}


@pytest.fixture(scope='module', params=KINDS)
def video(request, folder):
    """A file of one kind, and its frames."""
    encoder, options = KINDS[request.param]
    path = folder / request.param
    encode_video(path, pictures(), encoder, options, keyframes=8)
    return path, from_the_start(path)


def test_any_frames_of_any_codec(video):
    path, expected = video
    assert len(expected) == NUM_FRAMES == len(VideoReader(str(path)))

    @settings(max_examples=15, deadline=None)
    @given(st.lists(st.sets(st.integers(0, NUM_FRAMES - 1), min_size=1, max_size=5), min_size=1,
                    max_size=4))
    def check(reads):
        reader = VideoReader(str(path))
        for indices in map(sorted, reads):
            for index, frame in zip(indices, reader.read(indices), strict=True):
                np.testing.assert_array_equal(frame, expected[index])
                frame[:] = 0  # writable

    check()


def test_all_frames_one_by_one(video):
    path, expected = video
    reader = VideoReader(str(path))
    np.testing.assert_array_equal([reader.read([index])[0] for index in range(len(reader))],
                                  expected)


def turned(frames, degrees, mirrored):
    """Frames as a camera stores them, so that a player has to turn them counter-clockwise by
    ``degrees`` and then to mirror them."""
    return np.rot90(frames[:, :, ::-1] if mirrored else frames, -degrees // 90, axes=(1, 2))


@pytest.mark.parametrize('name', ['turned.mp4', 'turned.mkv'])
@pytest.mark.parametrize('mirrored', [False, True])
@pytest.mark.parametrize('degrees', [0, 90, 180, 270])
def test_the_right_way_up(folder, degrees, mirrored, name):
    """The frames are those that were filmed, whatever the way they are stored: in size, colours
    and order. OpenCV, which turns but does not mirror, is asked too."""
    filmed = pictures(num_frames=4)
    path = folder / name
    encode_video(path, turned(filmed, degrees, mirrored), rotation=(degrees, mirrored))
    results = OpenClip().transform(dict(media='video', filename=str(path), path=str(path)))
    results = DecodeClip().transform(dict(results, frame_inds=np.arange(4)))
    frames = np.stack(results['imgs'])
    assert frames.shape == filmed.shape and results['original_shape'] == (32, 64)
    assert np.abs(frames.astype(int) - filmed).mean() < 6, 'encoding loses a little'
    if not mirrored:
        capture = cv2.VideoCapture(str(path))
        for frame in frames:
            np.testing.assert_array_equal(capture.read()[1][..., ::-1], frame)


@pytest.mark.parametrize('size', [(2, 2), (32, 48), (32, 12), (48, 72)])
def test_sizes_that_trip_decoders(folder, size):
    """decord 0.6 reads these with four channels, or not at all."""
    path = folder / 'size.mp4'
    frames = np.full((3, *size, 3), 90, np.uint8)
    encode_video(path, frames)
    read = VideoReader(str(path)).read([0, 2])
    assert [frame.shape for frame in read] == [(*size, 3)] * 2
    assert np.abs(np.stack(read).astype(int) - 90).max() < 6


def test_a_clip_that_was_trimmed(folder):
    """Frames before and behind the part that an edit list shows are no frames of the clip."""
    path = folder / 'whole.mp4'
    encode_video(path, pictures(), 'libx264', {}, keyframes=8)
    data = bytearray(path.read_bytes())
    at = data.index(b'elst') + 12  # after version and number of entries: duration, start, rate
    start = int.from_bytes(data[at + 4:at + 8], 'big')
    data[at:at + 4] = (400).to_bytes(4, 'big')  # ms: 10 frames
    data[at + 4:at + 8] = (start + 5 * 512).to_bytes(4, 'big')  # from frame 5 on
    (folder / 'trimmed.mp4').write_bytes(data)
    reader = VideoReader(str(folder / 'trimmed.mp4'))
    np.testing.assert_array_equal(reader.read(range(len(reader))), from_the_start(path)[5:15])
    np.testing.assert_array_equal(reader.read([7]), from_the_start(path)[[12]])


def test_files_that_are_cut_short(folder):
    whole = folder / 'streamed.mp4'
    encode_video(whole, pictures(), 'libx264', {}, container_options=dict(movflags='faststart'))
    data = whole.read_bytes()
    with av.open(str(whole)) as container:
        ends = [packet.pos + packet.size for packet in container.demux(video=0) if packet.size]
    for name, length in (('in_a_frame', ends[11] - 3), ('between_frames', ends[11])):
        (folder / f'{name}.mp4').write_bytes(data[:length])
    with pytest.raises(MediaReadError, match=r'in_a_frame\.mp4: cannot be opened as a video.*cut '
                                             r'short in frame 12'):
        VideoReader(str(folder / 'in_a_frame.mp4'))
    with pytest.raises(MediaReadError, match=r'between_frames\.mp4: .*30 frames are declared, 12 '
                                             'are there'):
        VideoReader(str(folder / 'between_frames.mp4'))


def test_a_file_without_video(folder):
    with wave.open(str(folder / 'sound.mp4'), 'wb') as sound:
        sound.setparams((1, 2, 8000, 0, 'NONE', ''))
        sound.writeframes(bytes(1600))
    (folder / 'sound.avi').write_bytes((folder / 'sound.mp4').read_bytes())
    for name in ('sound.mp4', 'sound.avi'):
        with pytest.raises(MediaReadError, match=f'{name}: cannot be opened as a video'):
            VideoReader(str(folder / name))


def test_a_playlist_opens_no_other_file(folder):
    """FFmpeg would follow a list of other files in a file that is named like a video."""
    encode_video(folder / 'secret.mp4', pictures(num_frames=3))
    (folder / 'list.mp4').write_text("ffconcat version 1.0\nfile 'secret.mp4'\n")
    assert len(from_the_start(folder / 'list.mp4')) == 3
    with pytest.raises(MediaReadError, match=r'list\.mp4: cannot be opened as a video'):
        VideoReader(str(folder / 'list.mp4'))


def test_tags_in_any_language(folder):
    path = folder / 'tags.mp4'
    encode_video(path, pictures(num_frames=3), title='Ma fille')
    path.write_bytes(path.read_bytes().replace(b'Ma fille', 'Été né..'.encode('latin-1')))
    assert len(VideoReader(str(path))) == 3


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damage_is_an_error_that_names_the_file(tmp_path_factory, data):
    whole = tmp_path_factory.getbasetemp() / 'damage.mp4'
    if not whole.exists():
        encode_video(whole, pictures(num_frames=8), 'libx264', {}, keyframes=4)
    content = bytearray(whole.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    damaged = Path(f'{whole}.damaged.mp4')
    damaged.write_bytes(content)
    try:
        reader = VideoReader(str(damaged))
        frames = reader.read(range(len(reader)))
        assert all(frame.dtype == np.uint8 and frame.shape[2] == 3 for frame in frames)
    except MediaReadError as error:
        assert str(damaged) in str(error)
