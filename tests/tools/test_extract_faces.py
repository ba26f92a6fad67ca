"""From raw videos with real faces to clips that data sets read, whatever happens on the way."""

import hashlib
import json
import multiprocessing
import os
import resource
import signal
import sys
import time
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from mmaction.registry import DATASETS

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / 'tools' / 'data'), str(ROOT / 'tests' / 'faces')]
import extract_faces  # noqa: E402
from real_media import real_media  # noqa: E402
from videos import DAMAGES, damage, write_clip  # noqa: E402

from unilearn_mm.datasets.annotations import read_annotations  # noqa: E402
from unilearn_mm.datasets.transforms.loading import DecodeClip, OpenClip  # noqa: E402
from unilearn_mm.faces.alignment import PRESETS, CropRecord  # noqa: E402

NUM_FRAMES = 20


def frames_of(name, count=NUM_FRAMES, size=(320, 180)):
    with av.open(str(real_media(name))) as container:
        frames = zip(container.decode(video=0), range(count))
        return [cv2.resize(frame.to_ndarray(format='rgb24'), size) for frame, _ in frames]


@pytest.fixture(scope='module')
def media(tmp_path_factory):
    """A man; a man and a larger woman; a cartoon."""
    root = tmp_path_factory.mktemp('media')
    man, woman = frames_of('single_face.mp4'), frames_of('WolfgangLanger_Pexels.mp4')
    (root / 'sub').mkdir()
    write_clip(root / 'sub' / 'man.mp4', man)
    write_clip(root / 'two.mp4', [np.hstack(pair) for pair in zip(man, woman)])
    write_clip(root / 'none.mp4', frames_of('no_face.mp4', 10))
    (root / 'train.csv').write_text('sample_id,path,label,subject\na,sub/man,happiness,s1\n'
                                    'b,two.mp4,3,s2\nc,none,0,s1\n')
    return root


def run(media, out, *more, workers=1):
    return extract_faces.main(['--media', str(media), '--out', str(out), '--size', '64',
                               '--workers', str(workers), *map(str, more)])


def report_of(out, name):
    return json.loads((out / 'reports' / f'{name}.json').read_text())


def manifest_of(out, name):
    return json.loads((out / f'{name}.manifest.json').read_text())


def tree(folder):
    """SHA-256 of every file below a folder."""
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in folder.rglob('*') if path.is_file()}


@pytest.fixture(scope='module')
def made(media, tmp_path_factory):
    """The clips of the list, without loss."""
    out = tmp_path_factory.mktemp('made')
    assert run(media, out, '--lists', media / 'train.csv', '--format', 'npy', '--overlay',
               '--sheets') == 1, 'one has no face'
    return out


def dataset(out, name='train', task='dfew'):
    return DATASETS.build(dict(
        type='ExpressionVideoDataset', task=task, data_root=str(out), ann_file=f'{name}.csv',
        data_prefix=dict(media='clips'), pipeline=[]))


def crops_of(sample):
    opened = OpenClip().transform(dict(sample, media='video'))
    opened['frame_inds'] = np.arange(opened['total_frames'])
    return np.stack(DecodeClip().transform(opened)['imgs'])


# ---- what is written

def test_the_data_set_reads_the_clips_with_their_labels(made):
    samples = list(dataset(made))
    assert [(sample['sample_id'], sample['label'], sample['groups']) for sample in samples] == [
        ('a', 0, dict(subject='s1')), ('b', 3, dict(subject='s2'))]
    for sample in samples:
        assert crops_of(sample).shape == (NUM_FRAMES, 64, 64, 3)


def test_of_two_faces_the_larger_one_is_kept(made, media):
    """The woman fills her half of the picture."""
    report = report_of(made, 'two.mp4')
    assert len(report['tracks']) == 2
    areas = {track['track']: track['mean_area'] for track in report['tracks']}
    assert [clip['track'] for clip in report['clips']] == [max(areas, key=areas.get)]
    clip = np.load(made / 'clips' / 'two.mp4.npy').astype(float)
    woman = frames_of('WolfgangLanger_Pexels.mp4')[0].mean((0, 1))
    man = frames_of('single_face.mp4')[0].mean((0, 1))
    assert np.abs(clip.mean((0, 1, 2)) - woman).sum() < np.abs(clip.mean((0, 1, 2)) - man).sum()


def test_the_manifest_says_how_and_what(made, media):
    manifest = manifest_of(made, 'train')
    crops = manifest['face_crops']
    assert CropRecord.from_dict(crops['record']) == PRESETS['upright'].replace(size=64)
    assert crops['detector']['name'] == 'centerface' and len(crops['detector']['sha256']) == 64
    assert manifest['videos'] == {'ok': 2, 'no face': 1, 'failed': 0}
    assert (manifest['frames'], manifest['frames_with_face']) == (2 * NUM_FRAMES + 10,
                                                                  2 * NUM_FRAMES)
    assert manifest['source_list']['sha256'] == hashlib.sha256(
        (media / 'train.csv').read_bytes()).hexdigest()
    assert manifest['written_list'] == dict(path='train.csv', rows=2, sha256=hashlib.sha256(
        (made / 'train.csv').read_bytes()).hexdigest())
    assert manifest['left_out'] == [dict(
        sample_id='c', path='none', status='no face',
        reason='no face in 0 of 10 frames; lower --det-thr or look at --overlay')]
    assert report_of(made, 'sub/man')['source'] == dict(
        bytes=(media / 'sub' / 'man.mp4').stat().st_size,
        sha256=hashlib.sha256((media / 'sub' / 'man.mp4').read_bytes()).hexdigest())
    text = ''.join(path.read_text() for path in made.rglob('*.json'))
    assert str(media) not in text and str(made) not in text


def test_the_record_reaches_the_metainfo_of_the_data_set(made):
    crops = manifest_of(made, 'train')['face_crops']
    assert dataset(made).metainfo['face_crops'] == {'dfew': crops}


def test_overlay_and_sheet_are_for_the_eye(made, media, capsys):
    """The overlay has every frame, and a box in the colour of face 0 where the face is."""
    with av.open(str(made / 'overlay' / 'sub' / 'man.mp4')) as container:
        drawn = [frame.to_ndarray(format='rgb24') for frame in container.decode(video=0)]
    assert len(drawn) == NUM_FRAMES
    raw = frames_of('single_face.mp4')[0].astype(int)
    changed = np.abs(drawn[0] - raw).sum(-1) > 150
    columns = np.nonzero(changed[30:])[1]  # below the time
    with av.open(str(made / 'overlay' / 'none.mp4')) as container:
        assert sum(1 for _ in container.decode(video=0)) == 10, 'also where nothing was found'
    assert 70 < columns.min() < 130 and 160 < columns.max() < 220, 'left and right side of the face'
    for name in ('sub/man', 'two.mp4'):
        assert cv2.imread(str(made / 'sheets' / f'{name}.png')).shape[1] > 500
    assert not (made / 'sheets' / 'none.png').exists()
    there = tree(made)
    assert run(media, made, '--lists', media / 'train.csv', '--format', 'npy', '--overlay',
               '--sheets') == 1
    assert 'or missing, 0 to do' in capsys.readouterr().out and tree(made) == there


def test_all_faces_of_a_folder(media, tmp_path):
    assert run(media, tmp_path, '--faces', 'all', '--rate', 10) == 1
    rows = list(dataset(tmp_path, 'videos', 'unlabelled'))
    assert [row['sample_id'] for row in rows] == ['two/face0', 'two/face1', 'sub/man/face0']
    assert rows[1]['groups'] == dict(video='two')
    assert {len(crops_of(row)) for row in rows} == {8}, '0.8 s at 10 frames a second'
    assert run(media, tmp_path / 'x', '--faces', 'all', '--lists', media / 'train.csv') == 2


# ---- what goes wrong

def test_damaged_files_have_a_status_and_a_reason(media, tmp_path, capsys):
    (tmp_path / 'bad').mkdir()
    rows = ['sample_id,path,label']
    for seed, kind in enumerate((*DAMAGES, 'truncated', 'bits flipped', 'zeroed')):
        name = f'{seed} {kind}.mp4'
        damage(kind, tmp_path / 'bad' / name, media / 'sub' / 'man.mp4', seed)
        rows.append(f'{seed},{name},0')
    rows.append('missing,missing,0')
    (tmp_path / 'bad' / 'list.csv').write_text('\n'.join(rows) + '\n')
    out = tmp_path / 'out'
    assert run(tmp_path / 'bad', out, '--lists', tmp_path / 'bad' / 'list.csv', workers=2) == 1
    manifest = manifest_of(out, 'list')
    assert sum(manifest['videos'].values()) == len(rows) - 1
    reasons = {row['path'].partition(' ')[2][:-4]: (row['status'], row['reason'])
               for row in manifest['left_out']}
    for kind, status, reason in (
            ('sound only', 'failed', 'no video stream'), ('8 px', 'no face', 'in 0 of 12 frames'),
            ('cover picture', 'failed', 'no video stream'), ('text', 'failed', 'cannot be opened'),
            ('zero frames', 'failed', 'no frame can be decoded'), ('noise', 'failed', ''),
            ('empty', 'failed', 'empty file'), ('image', 'failed', 'no video container'),
            ('play list', 'failed', 'no video container')):
        assert reasons[kind][0] == status and reason in reasons[kind][1], (kind, reasons[kind])
        assert reasons[kind][1] and str(tmp_path) not in reasons[kind][1]
    assert manifest['left_out'][-1] == dict(sample_id='missing', path='missing', status='failed',
                                            reason='missing')
    good = {row['path'].partition(' ')[2][:-4] for row in read_rows(out / 'list.csv')}
    assert {'4K', '16 bit'} <= good, 'unusual is not damaged'
    assert 'have a clip' in capsys.readouterr().out
    assert not (out / '.unfinished').exists()


def read_rows(path):
    return [row._asdict() for row in read_annotations(str(path), 'video')]


def test_a_video_that_hangs_costs_only_its_time(tmp_path):
    (tmp_path / 'raw' / 'hangs').mkdir(parents=True)
    os.mkfifo(tmp_path / 'raw' / 'hangs' / '1.jpg')  # whoever opens it waits for a writer
    (tmp_path / 'raw' / 'other.mp4').write_text('no video')
    assert run(tmp_path / 'raw', tmp_path / 'out', '--time-limit', 1.5) == 1
    assert report_of(tmp_path / 'out', 'hangs')['reason'].startswith('no result within 1.5 s; rai')
    assert 'cannot be opened' in report_of(tmp_path / 'out', 'other')['reason']


def start(media, out):
    """The tool in a process of its own."""
    process = multiprocessing.get_context('fork').Process(target=run, args=(media, out))
    process.start()
    return process


def test_killed_and_started_again_the_bytes_are_the_same(media, tmp_path):
    (tmp_path / 'raw').mkdir()
    for place in range(4):
        (tmp_path / 'raw' / f'{place}.mp4').symlink_to(media / 'sub' / 'man.mp4')
    (tmp_path / 'raw' / '4.mp4').write_text('no video')
    assert run(tmp_path / 'raw', tmp_path / 'whole') == 1
    out = tmp_path / 'killed'
    random = np.random.default_rng(0)
    for reports in (1, 2):
        process = start(tmp_path / 'raw', out)
        deadline = time.monotonic() + 60
        while len(list(out.glob('reports/*.json'))) < reports and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(random.uniform(0, 0.3))  # in the middle of a video
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert not (out / 'videos.csv').exists()
    assert run(tmp_path / 'raw', out) == 1
    assert tree(out) == tree(tmp_path / 'whole')


def test_what_is_done_is_not_done_again(made, media, tmp_path, capsys):
    """As JPEG, which loses almost nothing."""
    lists = ('--lists', media / 'train.csv')
    assert run(media, tmp_path, *lists) == 1
    for exact, near in zip(dataset(made), dataset(tmp_path)):
        assert np.abs(crops_of(exact).astype(int) - crops_of(near)).mean() < 3
    first = tree(tmp_path)
    capsys.readouterr()
    # as a crash of the machine leaves it
    (tmp_path / 'clips' / 'two.mp4' / '000003.jpg').write_bytes(b'')
    assert run(media, tmp_path, *lists) == 1
    assert '3 videos: 2 done or missing, 1 to do' in capsys.readouterr().out
    assert tree(tmp_path) == first


def test_clips_made_in_another_way_are_not_mixed(media, tmp_path, capsys):
    assert run(media / 'sub', tmp_path / 'out') == 0
    assert run(media / 'sub', tmp_path / 'out', '--det-thr', 0.6, '--margin', 0.3) == 2
    error = capsys.readouterr().err
    assert 'face_crops.search.threshold was 0.5, now 0.6' in error and '--overwrite' in error
    assert 'face_crops.record.margin was 0.1, now 0.3' in error
    assert run(media / 'sub', tmp_path / 'out', '--margin', 0.3, '--overwrite') == 0
    assert manifest_of(tmp_path / 'out', 'videos')['face_crops']['record']['margin'] == 0.3


@pytest.mark.parametrize('arguments, reason', [
    (['--workers', '0'], '--workers'), (['--rate', '-1'], '--rate'), (['--size', '4'], 'size'),
    (['--det-thr', '2'], 'threshold'), (['--detector', 'yunet'], 'weights'),
    (['--weights', 'no file'], 'no file'), (['--lists', 'no list'], 'no list'),
    (['--media', 'no folder'], 'is not a folder'), (['--min-track', '-1'], 'min_length')])
def test_arguments_that_cannot_work(media, tmp_path, capsys, arguments, reason):
    assert run(media, tmp_path / 'out', *arguments) == 2
    assert reason in capsys.readouterr().err
    assert not (tmp_path / 'out' / 'clips').exists()


def test_lists_that_cannot_work(media, tmp_path, capsys):
    for number, (rows, reason) in enumerate((
            (['x,x,0', 'y,y,1'], 'none of the 2 videos is in'),
            (['x,sub/man,0', 'y,sub/man/more,0'], 'would lie inside that of sub/man'),
            (['x,sub/man,0', 'y,sub/man.json/more,0'], 'would lie inside that of sub/man'),
            (['x,sub/man,0', 'y,sub/man.npy,0'], 'would lie inside that of sub/man'),
            ([f'x,{"ü" * 119},0', 'y,sub/man,0'], 'has 238 bytes'))):
        path = tmp_path / f'{number}.csv'
        path.write_text('\n'.join(['sample_id,path,label', *rows]) + '\n')
        assert run(media, tmp_path / 'out', '--lists', path) == 2
        assert reason in capsys.readouterr().err


def test_what_a_user_has_is_not_written_over(tmp_path, capsys):
    """Raw frames where the clips would go, a list, a folder of another purpose."""
    for name in ('out/clips/video/0.jpg', 'list/raw/video/0.jpg', 'other/reports/thesis.txt'):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    (tmp_path / 'list' / 'train.csv').write_text('sample_id,path,label\na,video,0\n')
    (tmp_path / 'file').touch()
    before, raw = tree(tmp_path), tmp_path / 'list' / 'raw'
    for media, out, more, reason in (
            (tmp_path / 'out' / 'clips', 'out', [], 'over the raw videos'),
            (raw, 'list/raw', [], 'over the raw videos'),
            (raw, 'list', ['--lists', tmp_path / 'list' / 'train.csv'], 'train.csv would be wri'),
            (raw, 'other', ['--overwrite'], 'holds reports, and no settings.json'),
            (raw, 'file', [], 'is not a folder')):
        assert run(media, tmp_path / out, *more) == 2
        assert reason in capsys.readouterr().err
    assert tree(tmp_path) == before


def test_a_disk_that_refuses_stops_the_run_and_keeps_what_is_done(media, tmp_path, capsys):
    (tmp_path / 'raw').mkdir()
    (tmp_path / 'raw' / 'a.mp4').symlink_to(media / 'none.mp4')
    assert run(tmp_path / 'raw', tmp_path / 'out', '--format', 'npy') == 1
    (tmp_path / 'raw' / 'b.mp4').symlink_to(media / 'sub' / 'man.mp4')
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))  # less than a packed clip
    try:
        assert run(tmp_path / 'raw', tmp_path / 'out', '--format', 'npy') == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    error = capsys.readouterr().err
    assert 'File too large' in error and 'are kept' in error
    assert [path.name for path in (tmp_path / 'out' / 'reports').iterdir()] == ['a.json']
    left = tmp_path / 'out' / 'reports' / '.b.json.01234567.tmp'
    left.write_text('{')  # as a kill leaves it
    assert run(tmp_path / 'raw', tmp_path / 'out', '--format', 'npy') == 1
    assert '1 done or missing, 1 to do' in capsys.readouterr().out
    assert not left.exists() and report_of(tmp_path / 'out', 'b')['status'] == 'ok'
