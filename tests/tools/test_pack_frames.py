"""Packed clips hold every frame of their source, whole or not at all."""

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from media_files import coloured_frame, write_frames, write_video
from PIL import Image

from unilearn_mm.datasets.locations import locate_clip
from unilearn_mm.datasets.transforms.loading import DecodeClip, OpenClip

sys.path.insert(0, str(Path(__file__).parents[2] / 'tools' / 'data'))
import pack_frames


def run(media, out, *extra, size=16):
    return pack_frames.main(['--media', str(media), '--out', str(out), '--size', str(size),
                             '--workers', '1', *map(str, extra)])


def textured(index, height=40, width=32):
    """A smooth picture of its own for every index."""
    small = np.random.default_rng(index).integers(0, 256, (5, 4, 3), dtype=np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


@pytest.fixture
def media(tmp_path):
    root = tmp_path / 'media'
    write_frames(root / 'Crime' / 'Angry' / '0063', 12)  # 1.jpg ... 12.jpg
    write_video(root / '00001.mp4', 9)
    return root


def levels(path):
    return np.load(path, allow_pickle=False).mean((1, 2, 3))


def test_all_frames_in_order_below_the_same_folders(media, tmp_path, capsys):
    assert run(media, tmp_path / 'out') == 0
    found = sorted(path.relative_to(tmp_path / 'out') for path in tmp_path.glob('out/**/*')
                   if path.is_file())
    assert [str(path) for path in found] == ['00001.npy', 'Crime/Angry/0063.npy']
    for name, count in (('00001', 9), ('Crime/Angry/0063', 12)):
        expected = [coloured_frame(index).mean() for index in range(count)]
        np.testing.assert_allclose(levels(tmp_path / 'out' / f'{name}.npy'), expected, atol=4)
    assert '2 of 2 clips are packed' in capsys.readouterr().out


def test_pixels_are_those_of_pil(tmp_path):
    """Antialiased bilinear resizing, here stated by PIL, of RGB pixels; aspect is ignored."""
    folder = tmp_path / 'media' / 'clip'
    folder.mkdir(parents=True)
    pictures = [textured(index) for index in range(3)]
    for index, picture in enumerate(pictures):
        Image.fromarray(picture).save(folder / f'{index}.png')
    assert run(folder.parent, tmp_path / 'out') == 0
    packed = np.load(tmp_path / 'out' / 'clip.npy', allow_pickle=False)
    expected = np.stack([np.asarray(Image.fromarray(picture).resize((16, 16), Image.BILINEAR))
                         for picture in pictures])
    assert packed.dtype == np.uint8 and packed.shape == expected.shape
    assert np.abs(packed.astype(int) - expected).max() <= 2


def test_the_recipe_reads_a_packed_clip(media, tmp_path):
    run(media, tmp_path / 'out')
    results = OpenClip().transform(
        dict(media='video', path='p', filename=str(tmp_path / 'out' / 'Crime/Angry/0063.npy')))
    assert results['total_frames'] == 12
    results['frame_inds'] = np.array([2, 11, 11])
    frames = DecodeClip().transform(results)['imgs']
    np.testing.assert_allclose([frame.mean() for frame in frames], [40, 130, 130], atol=4)
    frames[0][:] = 0  # writable, and the file stays as it is
    assert levels(tmp_path / 'out' / 'Crime/Angry/0063.npy')[2] > 30


def test_long_clips_are_read_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(pack_frames, 'FRAMES_AT_ONCE', 5)
    write_frames(tmp_path / 'clip', 12)
    clip = pack_frames.Clip(tmp_path / 'clip', tmp_path / 'clip.npy')
    assert pack_frames.pack_clip(clip, 8) is None
    np.testing.assert_allclose(levels(clip.target), np.arange(20, 140, 10), atol=4)


def test_frames_of_different_sizes_in_different_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(pack_frames, 'FRAMES_AT_ONCE', 2)
    write_frames(tmp_path / 'clip', 2)
    cv2.imwrite(str(tmp_path / 'clip' / '3.jpg'), np.zeros((40, 32, 3), np.uint8))
    clip = pack_frames.Clip(tmp_path / 'clip', tmp_path / 'clip.npy')
    assert 'clip: frames of different sizes [(32, 32), (40, 32)]' in pack_frames.pack_clip(clip, 8)
    assert not clip.target.exists()


def test_a_second_run_packs_only_what_is_missing(media, tmp_path, capsys):
    run(media, tmp_path / 'out')
    kept, removed = tmp_path / 'out' / '00001.npy', tmp_path / 'out' / 'Crime/Angry/0063.npy'
    before = kept.stat().st_ino
    removed.unlink()
    capsys.readouterr()
    assert run(media, tmp_path / 'out') == 0
    assert '1 packed already, 1 to pack, 0 unreadable' in capsys.readouterr().out
    assert removed.exists() and kept.stat().st_ino == before
    assert run(media, tmp_path / 'out', '--overwrite') == 0
    assert kept.stat().st_ino != before


@pytest.mark.parametrize('damage', ['more frames', 'other size', 'cut', 'floats', 'pickle'])
def test_a_file_that_does_not_fit_is_never_replaced_unasked(media, tmp_path, capsys, damage):
    target = tmp_path / 'out' / '00001.npy'
    run(media, tmp_path / 'out')
    whole = target.read_bytes()
    if damage == 'more frames':
        write_video(media / '00001.mp4', 11)
    elif damage == 'other size':
        np.save(target, np.zeros((9, 8, 8, 3), np.uint8))
    elif damage == 'cut':
        target.write_bytes(whole[:-1])
    elif damage == 'floats':
        np.save(target, np.zeros((9, 16, 16, 3), np.float32))
    else:
        np.save(target, np.array([dict()], dtype=object), allow_pickle=True)
    damaged = target.read_bytes()
    capsys.readouterr()
    assert run(media, tmp_path / 'out') == 2
    error = capsys.readouterr().err
    assert '1 files already there do not fit' in error and str(target) in error
    assert target.read_bytes() == damaged
    assert run(media, tmp_path / 'out', '--overwrite') == 0
    assert len(levels(target)) == (11 if damage == 'more frames' else 9)


def test_unreadable_clips_are_all_named_and_the_others_packed(media, tmp_path, capsys):
    (media / 'broken.mp4').write_bytes(b'not a video')
    write_frames(media / 'half', 3)
    (media / 'half' / '2.jpg').write_bytes(b'\xff\xd8 this is no picture')
    assert run(media, tmp_path / 'out') == 1
    captured = capsys.readouterr()
    assert 'broken.mp4' in captured.err and '2.jpg' in captured.err
    assert '2 of 4 clips are packed' in captured.out
    names = sorted(path.name for path in tmp_path.glob('out/**/*') if path.is_file())
    assert names == ['00001.npy', '0063.npy']  # nothing unfinished is left


def test_listed_clips_only(media, tmp_path):
    write_frames(media / '0099', 2)
    first, second = tmp_path / 'train.csv', tmp_path / 'test.csv'
    first.write_text('path,id\nCrime/Angry/0063,0\n')
    second.write_text('path,id\n00001,3\nCrime/Angry/0063,0\n')
    assert run(media, tmp_path / 'out', '--lists', first, second) == 0
    names = sorted(path.name for path in tmp_path.glob('out/**/*') if path.is_file())
    assert names == ['00001.npy', '0063.npy']


def test_the_data_set_finds_listed_names_in_the_cache(media, tmp_path):
    """Also those that carry the suffix of the video, and two that differ in it only."""
    write_frames(media / '00001', 3)
    listed = tmp_path / 'list.csv'
    listed.write_text('video_name,label\n00001.mp4,0\n00001,1\n')
    assert run(media, tmp_path / 'out', '--lists', listed) == 0
    for name, count in (('00001.mp4', 9), ('00001', 3)):
        assert len(levels(locate_clip(str(tmp_path / 'out' / name))['path'])) == count


def test_a_broken_list(media, tmp_path, capsys):
    (tmp_path / 'list.csv').write_text('video_name,label\n../00001,0\n')
    assert run(media, tmp_path / 'out', '--lists', tmp_path / 'list.csv') == 2
    assert 'list.csv, line 2' in capsys.readouterr().err


def test_missing_listed_clips(media, tmp_path, capsys):
    (tmp_path / 'list.csv').write_text('video_name,label\n00001,0\n00777,1\n')
    assert run(media, tmp_path / 'out', '--lists', tmp_path / 'list.csv') == 2
    error = capsys.readouterr().err
    assert '1 of 2 listed clips are missing' in error and '00777 of ' in error
    assert not (tmp_path / 'out').exists()


def test_a_full_disk_is_refused_before_anything_is_written(media, tmp_path, capsys, monkeypatch):
    needed = 2 * 128 + (9 + 12) * 16 * 16 * 3
    usage = pack_frames.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(pack_frames.shutil, 'disk_usage',
                        lambda path: usage._replace(free=needed - 1))
    assert run(media, tmp_path / 'out') == 2
    assert f'need {needed} bytes' in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()
    monkeypatch.setattr(pack_frames.shutil, 'disk_usage', lambda path: usage._replace(free=needed))
    assert run(media, tmp_path / 'out') == 0
    written = sum(path.stat().st_size for path in tmp_path.glob('out/**/*.npy'))
    assert written == needed


@pytest.mark.parametrize('case, message', [
    ('no folder', 'is not a folder'),
    ('empty', 'no clip found'),
    ('one clip', 'holds frames itself'),
    ('same name', 'would both become'),
])
def test_arguments_that_cannot_work(tmp_path, capsys, case, message):
    media = tmp_path / 'media'
    if case != 'no folder':
        media.mkdir()
    if case == 'one clip':
        write_frames(media / 'clip', 2)
        media = media / 'clip'
    if case == 'same name':
        write_frames(media / 'clip', 2)
        write_video(media / 'clip.mp4', 2)
    assert run(media, tmp_path / 'out') == 2
    assert message in capsys.readouterr().err


def test_the_cache_may_lie_in_the_media_folder(media):
    write_frames(media / 'packed' / 'no clip of the data set', 2)
    assert run(media, media / 'packed') == 0
    assert {path.name for path in (media / 'packed').glob('**/*.npy')} == {'00001.npy', '0063.npy'}


def test_an_output_that_cannot_be_written(media, tmp_path, capsys):
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out' / 'Crime').write_text('a file where a folder belongs')
    assert run(media, tmp_path / 'out') == 2
    assert str(tmp_path / 'out' / 'Crime') in capsys.readouterr().err
