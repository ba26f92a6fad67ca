"""Properties of the toy data set that ``tools/data/make_toy_faces.py`` writes."""
import hashlib
import json
import sys
from itertools import combinations
from pathlib import Path

import cv2
import decord
import numpy as np
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / 'tools' / 'data'))

import make_toy_faces
from toy_faces import dataset, samples
from toy_faces.expressions import BLINK, Actions, prototype
from toy_faces.landmarks import NUM_POINTS, landmarks
from toy_faces.motion import intensity_curve, perform_clip
from toy_faces.render import Stage
from toy_faces.scene import Pose, Scene, draw_scene

SIZE = 40
TINY = ['--size', str(SIZE), '--video-train', '9', '--video-test', '7', '--image-train', '21',
        '--image-test', '14', '--video-train-identities', '3', '--video-test-identities', '2',
        '--image-train-identities', '5', '--image-test-identities', '2']
MINI = ['--size', str(SIZE), '--video-train', '1', '--video-test', '1', '--image-train', '7',
        '--image-test', '1']

# Stated here on their own: the published label orders, 0-based, in the data sets' own words.
DFEW_ORDER = ['happy', 'sad', 'neutral', 'angry', 'surprise', 'disgust', 'fear']
AFFECTNET_ORDER = ['neutral', 'happiness', 'sadness', 'surprise', 'fear', 'disgust', 'anger']
AFFECTNET_WORDS = {'happiness': 'happy', 'sadness': 'sad', 'anger': 'angry'}
EXPRESSIONS = sorted(DFEW_ORDER)


def make(out, *extra, counts=MINI):
    return make_toy_faces.main(['--out', str(out), *counts, *extra])


def hashes(folder):
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob('*')) if path.is_file()}


def read_table(folder):
    return pd.read_csv(folder / 'samples.csv', dtype={'sample_id': str}, keep_default_na=False)


@pytest.fixture(scope='module')
def toy(tmp_path_factory):
    out = tmp_path_factory.mktemp('toy') / 'set'
    assert make(out, '--workers', '2', counts=TINY) == 0
    return out


@pytest.fixture(scope='module')
def table(toy):
    return read_table(toy)


def test_same_arguments_give_the_same_bytes_for_any_number_of_workers(toy, tmp_path):
    assert make(tmp_path / 'again', '--workers', '1', counts=TINY) == 0
    assert hashes(tmp_path / 'again') == hashes(toy)


def test_another_seed_gives_other_pictures_and_other_labels(tmp_path):
    assert make(tmp_path / 'first') == make(tmp_path / 'second', '--seed', '1') == 0
    first, second = hashes(tmp_path / 'first'), hashes(tmp_path / 'second')
    media = [name for name in first if name.endswith(('.jpg', '.mp4')) and name in second]
    assert len(media) >= 8
    assert all(first[name] != second[name] for name in media)
    assert first['toy_image/train.txt'] != second['toy_image/train.txt']


def test_identities_are_disjoint_between_splits_and_sources(table):
    groups = [set(part.identity) for _, part in table.groupby(['source', 'split'])]
    assert len(groups) == 4
    for first, second in combinations(groups, 2):
        assert not first & second
    people = {key: part.identity.nunique() for key, part in table.groupby(['source', 'split'])}
    assert people[('toy_image', 'train')] == 5
    assert people[('toy_video', 'train')] == 3


@pytest.mark.parametrize('split', ['train', 'test'])
def test_video_annotations_agree_with_the_sample_table(toy, table, split):
    assert (toy / 'toy_video' / f'{split}.csv').read_text().startswith('video_name,label\n')
    listed = pd.read_csv(toy / 'toy_video' / f'{split}.csv', dtype={'video_name': str})
    found = {name: DFEW_ORDER[label] for name, label in zip(listed.video_name, listed.label)}
    part = table[(table.source == 'toy_video') & (table.split == split)]
    assert found == dict(zip(part.sample_id, part.expression))
    assert len(found) == len(listed) == {'train': 9, 'test': 7}[split]


@pytest.mark.parametrize('split', ['train', 'test'])
def test_image_annotations_agree_with_the_sample_table(toy, table, split):
    found = {}
    for line in (toy / 'toy_image' / f'{split}.txt').read_text().splitlines():
        path, label = line.split(' ')
        word = AFFECTNET_ORDER[int(label)]
        found[f'toy_image/images/{path}'] = AFFECTNET_WORDS.get(word, word)
    part = table[(table.source == 'toy_image') & (table.split == split)]
    assert found == dict(zip(part.path, part.expression))
    assert len(found) == {'train': 21, 'test': 14}[split]


def test_splits_of_a_source_share_no_sample(table):
    assert not table.duplicated(['source', 'sample_id']).any()
    assert not table.path.duplicated().any()


def test_every_clip_has_the_stated_number_of_frames(toy, table):
    clips = table[table.source == 'toy_video']
    stored = clips.path.str.endswith('.mp4')
    assert stored.sum() == 12 and (~stored).sum() == 4
    for path, frames in zip(clips.path[stored], clips.num_frames[stored]):
        reader = decord.VideoReader(str(toy / path))
        assert len(reader) == frames
        assert reader[frames - 1].shape == (SIZE, SIZE, 3)
        assert reader.get_avg_fps() == pytest.approx(25)
    for path, frames in zip(clips.path[~stored], clips.num_frames[~stored]):
        names = sorted(file.name for file in (toy / path).iterdir())
        assert names == [f'{number:05d}.jpg' for number in range(1, frames + 1)]
        assert cv2.imread(str(toy / path / names[-1])).shape == (SIZE, SIZE, 3)
    assert clips.num_frames.between(24, 40).all()


def test_an_mp4_shows_the_frames_that_were_rendered(toy, table):
    row = table[table.path.str.endswith('.mp4')].iloc[0]
    settings = samples.Settings(**json.loads((toy / 'manifest.json').read_text())['arguments'])
    sample = next(s for s in samples.plan(settings)
                  if (s.source, s.sample_id) == ('toy_video', row.sample_id))
    rendered, _ = dataset.render_sample(sample, settings)
    stored = decord.VideoReader(str(toy / row.path))[row.num_frames // 2].asnumpy()[..., ::-1]
    assert distance(stored, rendered[row.num_frames // 2]) < 10


def test_intensities_and_apex_frames_keep_their_ranges(table):
    acted = table[table.expression != 'neutral']
    clips, images = acted[acted.source == 'toy_video'], acted[acted.source == 'toy_image']
    assert clips.peak_intensity.between(0.45, 1.0).all()
    assert images.peak_intensity.between(0.35, 1.0).all()
    assert ((clips.apex_frame > 0.25 * clips.num_frames)
            & (clips.apex_frame < 0.75 * clips.num_frames)).all()
    neutral = table[table.expression == 'neutral']
    assert (neutral.peak_intensity == 0).all()


def test_manifest_states_hashes_and_counts(toy, table):
    manifest = json.loads((toy / 'manifest.json').read_text())
    found = hashes(toy)
    assert manifest['sha256'] == {name: found[name] for name in (
        'toy_video/train.csv', 'toy_video/test.csv', 'toy_video/train_noisy.csv',
        'toy_image/train.txt', 'toy_image/test.txt')}
    assert sum(sum(part.values()) for part in manifest['counts'].values()) == len(table)
    assert manifest['arguments']['size'] == SIZE


def test_three_in_ten_labels_of_the_noisy_list_are_wrong(toy):
    right, noisy = (pd.read_csv(toy / 'toy_video' / f'{name}.csv')
                    for name in ('train', 'train_noisy'))
    assert right.video_name.equals(noisy.video_name)
    assert (right.label != noisy.label).sum() == round(0.3 * 9)
    assert noisy.label.between(0, 6).all()


def test_landmarks_are_where_the_parts_are_drawn():
    """Mouth corners, pupils' lids, brows: the drawing changes there and nowhere near if they do."""
    person = samples.make_identity('someone', samples.Settings())
    pose = Pose(roll=8., shift_x=0.03, scale=1.05)
    still = Actions()
    before = landmarks(person, still, pose, 96)
    assert before.shape == (NUM_POINTS, 2) and (before > 0).all() and (before < 95).all()
    stage = Stage(person, Scene(pose=pose), 96)
    picture = stage.frame(still).astype(int)
    moves = {12: [21, 22], 2: [1, 2, 8, 9], 27: [17, 18, 24]}  # smile; outer brows; mouth open
    for unit, points in moves.items():
        acted = Actions({unit: 1.})
        after = landmarks(person, acted, pose, 96)
        moved = np.linalg.norm(after - before, axis=1)
        assert (moved[points] > 1.5).all(), unit
        assert moved[[3, 4, 10, 11, 14]].max() < 0.6, 'corners of the eyes and nose stay'
        changed = np.abs(stage.frame(acted).astype(int) - picture).sum(-1) > 40
        for x, y in after[points]:
            assert changed[int(y) - 3:int(y) + 5, int(x) - 3:int(x) + 5].any(), unit
    # without pose, left and right mirror each other around the middle of the picture
    straight = landmarks(person, still, Pose(), 96)
    np.testing.assert_allclose(straight[:7, 0] + straight[7:14, 0], 95, atol=1e-6)
    np.testing.assert_allclose(straight[:7, 1], straight[7:14, 1], atol=1e-6)


def test_default_classes_are_balanced_except_in_the_train_clips():
    planned = pd.DataFrame(samples.plan(samples.Settings()))
    counts = planned.groupby(['source', 'split', 'expression']).size()
    assert set(counts['toy_video', 'test']) == {30}
    images = counts['toy_image', 'train']
    assert images.max() - images.min() <= 1
    assert set(counts['toy_image', 'test']) == {50}
    clips = counts['toy_video', 'train']
    assert clips.sum() == 280
    assert clips['disgust'] < clips['fear'] < clips.drop(['disgust', 'fear']).min()
    even = pd.DataFrame(samples.plan(samples.Settings(class_imbalance=0.0)))
    even = even[(even.source == 'toy_video') & (even.split == 'train')]
    assert set(even.groupby('expression').size()) == {40}


def distance(first, second):
    return np.abs(first.astype(float) - second.astype(float)).mean()


@pytest.mark.parametrize('person', ['a', 'b', 'c'])
def test_full_expressions_differ_from_neutral_and_from_one_another(person):
    identity = samples.make_identity(person, samples.Settings())
    stage = Stage(identity, draw_scene(np.random.default_rng(0), 0.0), 96)
    faces = {name: stage.frame(prototype(name)) for name in EXPRESSIONS}
    assert np.array_equal(faces['neutral'], stage.frame(Actions()))
    for first, second in combinations(EXPRESSIONS, 2):
        assert distance(faces[first], faces[second]) > 1.0, (first, second)


@pytest.mark.parametrize('expression', [name for name in EXPRESSIONS if name != 'neutral'])
def test_the_apex_is_further_from_neutral_than_the_ends(expression):
    stage = Stage(samples.make_identity('a', samples.Settings()), Scene(), 96)
    neutral = stage.frame(Actions())

    def strength(actions):
        units = {unit: value for unit, value in actions.units.items() if unit != BLINK}
        return distance(stage.frame(Actions(units, actions.skew)), neutral)

    for seed in range(4):
        clip = perform_clip(expression, Pose(), 0.0, np.random.default_rng(seed))
        apex = strength(clip.frames[clip.apex_frame])
        assert apex > 1.3 * strength(clip.frames[0])
        assert apex > 1.3 * strength(clip.frames[-1])


def test_intensity_curve_starts_and_ends_low_and_peaks_at_the_apex():
    curve = intensity_curve(30, 12, 5, (0.1, 0.05))
    assert curve[0] == pytest.approx(0.1) and curve[-1] == pytest.approx(0.05)
    assert curve[12] == curve.max() == pytest.approx(1.0)
    assert (np.diff(curve[:13]) >= 0).all() and (np.diff(curve[12:]) <= 0).all()


def test_nuisance_zero_is_the_plain_scene_and_nuisance_scales_the_pose():
    assert draw_scene(np.random.default_rng(3), 0.0) == Scene()
    full, half = (draw_scene(np.random.default_rng(3), factor) for factor in (1.0, 0.5))
    assert full.pose.yaw != 0
    assert half.pose.yaw == pytest.approx(full.pose.yaw / 2)
    assert abs(full.pose.yaw) <= 12 and abs(full.pose.roll) <= 8


def test_yaw_moves_the_face_sideways():
    identity = samples.make_identity('a', samples.Settings())
    stage = Stage(identity, Scene(), 96)
    frames = [stage.frame(Actions(), Pose(yaw=yaw)).astype(np.float32) for yaw in (0.0, 12.0)]
    inner = [frame[38:80, 24:72].mean(axis=2) for frame in frames]
    shift, _ = cv2.phaseCorrelate(*inner)
    assert 2 < shift[0] < 9
    assert abs(shift[1]) < 2


def test_a_foreign_folder_is_refused_and_kept(tmp_path, capsys):
    out = tmp_path / 'mine'
    out.mkdir()
    (out / 'thesis.txt').write_text('years of work')
    assert make(out) == 2
    message = capsys.readouterr().err
    assert 'thesis.txt' in message and '--overwrite' in message
    assert hashes(out).keys() == {'thesis.txt'}
    assert make(out, '--overwrite') == 0
    assert not (out / 'thesis.txt').exists() and (out / 'manifest.json').exists()


def test_an_equal_set_stays_untouched_and_a_changed_or_damaged_one_is_remade(tmp_path, capsys):
    out = tmp_path / 'toy'
    assert make(out) == 0
    original = hashes(out)

    def times():
        return {path: path.stat().st_mtime_ns for path in out.rglob('*')}

    before = times()
    capsys.readouterr()
    assert make(out, '--workers', '1') == 0
    assert 'nothing to do' in capsys.readouterr().out
    assert times() == before
    next((out / 'toy_image' / 'images').iterdir()).unlink()
    assert make(out) == 0
    assert hashes(out) == original
    assert make(out, '--nuisance', '0') == 0
    assert hashes(out) != original
    assert [path.name for path in tmp_path.iterdir()] == ['toy']


def test_an_interrupted_run_leaves_nothing_behind(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(dataset, '_write_annotations', interrupt)
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / 'toy')
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('flags, named', [
    (['--video-test', '0'], '--video-test is 0'),
    (['--size', '49'], '--size is 49'),
    (['--size', '72'], '--size is 72'),
    (['--nuisance', 'nan'], '--nuisance is nan'),
])
def test_wrong_arguments_are_named(tmp_path, capsys, flags, named):
    assert make(tmp_path / 'toy', *flags) == 2
    assert named in capsys.readouterr().err
    assert not (tmp_path / 'toy').exists()


def test_preview_writes_only_the_sheet(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert make_toy_faces.main(['--preview', 'sheet.png', '--size', '64']) == 0
    assert [path.name for path in tmp_path.iterdir()] == ['sheet.png']
    sheet = cv2.imread('sheet.png')
    assert sheet.shape[1] == 7 * 96
    assert sheet.shape[0] > 7 * 96
