"""Clips of all three kinds are read exactly; unreadable ones are named."""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from media_files import coloured_frame, write_frames, write_video
from mmaction.registry import DATASETS, TRANSFORMS

from unilearn_mm.datasets.transforms.loading import DecodeClip, OpenClip
from unilearn_mm.media import MediaReadError, list_frames


def read(indices, open_clip=OpenClip(), **sample):
    results = open_clip.transform(dict(path='somewhere', **sample))
    results['frame_inds'] = np.array(indices)
    return DecodeClip().transform(results)


@pytest.fixture(scope='module')
def clip(tmp_path_factory):
    root = tmp_path_factory.mktemp('clip')
    write_video(root / 'clip.mp4')
    write_frames(root / 'frames')
    np.save(root / 'clip.npy', np.stack([coloured_frame(index) for index in range(12)]))
    cv2.imwrite(str(root / 'image.png'), np.dstack([np.full((8, 6), v, np.uint8)
                                                    for v in (10, 20, 200)]))
    return root


@pytest.mark.parametrize('kind', ['frames', 'packed', 'video'])
@pytest.mark.parametrize('indices', [[0, 5, 11], [7, 7, 2], [[1, 3], [9, 10]]])
def test_the_right_frames_in_the_right_order(clip, kind, indices):
    sample = dict(frames=dict(frame_dir=str(clip / 'frames')),
                  packed=dict(filename=str(clip / 'clip.npy')),
                  video=dict(filename=str(clip / 'clip.mp4')))[kind]
    results = read(indices, media='video', **sample)
    assert results['total_frames'] == 12
    levels = [frame.mean() for frame in results['imgs']]
    expected = [coloured_frame(index).mean() for index in np.ravel(indices)]
    np.testing.assert_allclose(levels, expected, atol=4)  # 10 apart; mp4 and JPEG lose a little
    assert results['img_shape'] == (32, 32)
    assert 'clip_reader' not in results


def test_an_image_is_a_clip_of_one_frame_in_rgb(clip):
    results = read([0], media='image', filename=str(clip / 'image.png'))
    assert results['total_frames'] == 1
    assert results['imgs'][0].shape == (8, 6, 3)
    assert results['imgs'][0][0, 0].tolist() == [200, 20, 10]


def test_a_frame_used_twice_can_be_changed_alone(clip):
    """Stock augmentations write into the frames."""
    first, second = read([4, 4], media='video', frame_dir=str(clip / 'frames'))['imgs']
    first[:] = 0
    assert second.mean() > 0


def test_stock_transforms_stand_between_and_after(media_root, video_cfg, image_cfg):
    tail = [dict(type='DecodeClip'), dict(type='Resize', scale=(16, 16), keep_ratio=False),
            dict(type='Flip', flip_ratio=0.5), dict(type='FormatShape', input_format='NCTHW'),
            dict(type='PackActionInputs', meta_keys=('source', 'sample_id'))]
    video_cfg['pipeline'] = [dict(type='OpenClip'),
                             dict(type='SampleFrames', clip_len=4, frame_interval=3), *tail]
    image_cfg['pipeline'] = [dict(type='OpenClip'), dict(type='SampleFrames', clip_len=1), *tail]
    clip = DATASETS.build(video_cfg)[1]
    assert clip['inputs'].shape == (1, 3, 4, 16, 16)
    # frames 0, 3, 6, 9 or one later; the grey level of frame i is 20 + 10 i
    levels = clip['inputs'].float().mean((0, 1, 3, 4))
    np.testing.assert_allclose(levels.diff(), 30, atol=4)
    image = DATASETS.build(image_cfg)[5]
    assert image['inputs'].shape == (1, 3, 1, 16, 16)
    assert image['data_samples'].sample_id == 'person 2/5.jpg'
    assert image['data_samples'].gt_label.tolist() == [5]


def test_truncated_video(tmp_path):
    write_video(tmp_path / 'whole.mp4')
    data = (tmp_path / 'whole.mp4').read_bytes()
    (tmp_path / 'cut.mp4').write_bytes(data[:len(data) // 2])
    (tmp_path / 'empty.mp4').write_bytes(b'')
    for name in ('cut', 'empty'):
        with pytest.raises(MediaReadError, match=rf'{name}\.mp4: cannot be opened as a video'):
            read([0], media='video', filename=str(tmp_path / f'{name}.mp4'))


def test_frames_of_a_video_that_do_not_exist(clip):
    with pytest.raises(MediaReadError, match=r'clip\.mp4: frames \[3, 40\] of 12'):
        read([3, 40], media='video', filename=str(clip / 'clip.mp4'))


def test_broken_packed_clips(tmp_path):
    np.save(tmp_path / 'float.npy', np.zeros((4, 8, 8, 3)))
    np.save(tmp_path / 'grey.npy', np.zeros((4, 8, 8), np.uint8))
    np.save(tmp_path / 'whole.npy', np.zeros((4, 8, 8, 3), np.uint8))
    np.save(tmp_path / 'object.npy', np.array([dict(a=1)]), allow_pickle=True)
    (tmp_path / 'cut.npy').write_bytes((tmp_path / 'whole.npy').read_bytes()[:500])
    (tmp_path / 'empty.npy').write_bytes(b'')
    for name, message in (('float', r'\(L, H, W, 3\) uint8 array, found \(4, 8, 8, 3\) float64'),
                          ('grey', r'found \(4, 8, 8\) uint8'), ('cut', 'cannot be opened as'),
                          ('object', 'cannot be opened as'), ('empty', 'cannot be opened as')):
        with pytest.raises(MediaReadError, match=rf'{name}\.npy.*{message}'):
            read([0], media='video', filename=str(tmp_path / f'{name}.npy'))
    with pytest.raises(MediaReadError, match=r'whole\.npy: frames \[4\] of 4'):
        read([4], media='video', filename=str(tmp_path / 'whole.npy'))


def test_order_of_the_frames_in_a_folder(clip):
    def names(order):
        return [Path(path).stem for path in list_frames(str(clip / 'frames'), order)]
    assert names('natural') == [str(index) for index in range(1, 13)]
    assert names('lexicographic') == ['1', '10', '11', '12', *'23456789']
    levels = [read([1], OpenClip(frame_order=order), media='video',
                   frame_dir=str(clip / 'frames'))['imgs'][0].mean()
              for order in ('natural', 'lexicographic')]
    np.testing.assert_allclose(levels, [30, 110], atol=4)


def test_an_unknown_order_is_refused():
    with pytest.raises(ValueError, match="must be 'natural' or 'lexicographic', found 'time'"):
        OpenClip(frame_order='time')


def test_a_video_without_frames(tmp_path):
    import av
    with av.open(str(tmp_path / 'none.mp4'), 'w') as container:
        stream = container.add_stream('mpeg4', 25)
        stream.width = stream.height = 32
        stream.pix_fmt = 'yuv420p'
        container.start_encoding()
    with pytest.raises(MediaReadError, match=r'none\.mp4: cannot be opened .*no video'):
        read([0], media='video', filename=str(tmp_path / 'none.mp4'))


def test_empty_frame_folder(tmp_path):
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'empty' / 'notes.txt').write_text('no frames')
    with pytest.raises(MediaReadError, match='empty: the frame folder holds no image'):
        read([0], media='video', frame_dir=str(tmp_path / 'empty'))


def test_broken_and_missing_images(tmp_path):
    (tmp_path / 'broken.jpg').write_bytes(b'\xff\xd8 this is no picture')
    with pytest.raises(MediaReadError, match=r'broken\.jpg: cannot be decoded'):
        read([0], media='image', filename=str(tmp_path / 'broken.jpg'))
    with pytest.raises(MediaReadError, match=r'gone\.jpg: .* cannot be read: No such file'):
        read([0], media='image', filename=str(tmp_path / 'gone.jpg'))
    header = struct.pack('>4sIIBBBBB', b'IHDR', 50000, 50000, 8, 2, 0, 0, 0)
    (tmp_path / 'bomb.png').write_bytes(b'\x89PNG\r\n\x1a\n' + struct.pack('>I', 13) + header
                                        + struct.pack('>I', zlib.crc32(header)))
    with pytest.raises(MediaReadError, match=r'bomb\.png: cannot be decoded as an image'):
        read([0], media='image', filename=str(tmp_path / 'bomb.png'))
    noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)
    cv2.imwrite(str(tmp_path / 'whole.jpg'), noise)
    whole = (tmp_path / 'whole.jpg').read_bytes()
    (tmp_path / 'cut.jpg').write_bytes(whole[:-400])
    assert cv2.imread(str(tmp_path / 'cut.jpg')) is not None, 'imread fills the rest with grey'
    with pytest.raises(MediaReadError, match=r'cut\.jpg: cannot be decoded as an image'):
        read([0], media='image', filename=str(tmp_path / 'cut.jpg'))
    (tmp_path / 'padded.jpg').write_bytes(whole + b'\0\0')  # bytes behind the end do no harm
    read([0], media='image', filename=str(tmp_path / 'padded.jpg'))
    (tmp_path / 'empty.jpg').write_bytes(b'')
    with pytest.raises(MediaReadError, match=r'empty\.jpg: the image file is empty \(0 bytes\)'):
        read([0], media='image', filename=str(tmp_path / 'empty.jpg'))
    with pytest.raises(MediaReadError, match='nowhere: the frame folder cannot be read: No such'):
        read([0], media='video', frame_dir=str(tmp_path / 'nowhere'))


def test_frames_of_different_sizes(tmp_path):
    write_frames(tmp_path / 'mixed', 2)
    cv2.imwrite(str(tmp_path / 'mixed' / '3.jpg'), np.zeros((40, 32, 3), np.uint8))
    with pytest.raises(MediaReadError, match='frames of different sizes'):
        read([0, 2], media='video', frame_dir=str(tmp_path / 'mixed'))


def test_the_error_reaches_the_user_from_a_loader_worker(tmp_path, video_cfg, media_root):
    from torch.utils.data import DataLoader
    (media_root / 'clips' / 'bad.mp4').write_bytes(b'not a video')
    (media_root / 'broken.csv').write_text('video_name,label\nbad,0\n')
    dataset = DATASETS.build(
        dict(video_cfg, ann_file='broken.csv', pipeline=[dict(type='OpenClip')]))
    with pytest.raises(MediaReadError, match=r'bad\.mp4'):
        next(iter(DataLoader(dataset, num_workers=1)))


def test_transforms_are_registered():
    assert TRANSFORMS.get('OpenClip') is OpenClip and TRANSFORMS.get('DecodeClip') is DecodeClip
