"""Predictions equal those of a test of the same clips, and real videos get rows that make sense."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

from unilearn_mm.apis.inferencer import ExpressionInferencer, PredictionError
from unilearn_mm.apis.tables import classes_of
from unilearn_mm.datasets.manifests import face_crops
from unilearn_mm.evaluation.prediction_table import read_predictions

sys.path.insert(0, str(Path(__file__).parents[1] / 'faces'))
from real_media import real_media

CONFIGS = Path(__file__).parents[2] / 'configs'


def probabilities(table):
    return table[[f'p_{name}' for name in classes_of(table)]].to_numpy()


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    """Three checkpoints of the toy model, untrained, in MMEngine's form."""
    paths = []
    config = Config.fromfile(CONFIGS / 'unilearn_toy.py')
    for seed in range(3):
        torch.manual_seed(seed)
        with DefaultScope.overwrite_default_scope('mmaction'):
            model = MODELS.build(config.model)
        model.init_weights()
        paths.append(tmp_path_factory.mktemp('weights') / f'epoch_{seed}.pth')
        torch.save(dict(meta={}, state_dict=model.state_dict()), paths[-1])
    return paths


@pytest.fixture(scope='module')
def infer(weights):
    return ExpressionInferencer(CONFIGS / 'unilearn_toy.py', weights[0], 'cpu',
                                show_progress=False)


def test_clips_get_what_a_test_gives_them_bit_for_bit(infer, weights, toy_root, tmp_path,
                                                      monkeypatch):
    """mp4 files and folders of frames, in batches of the test's size; images too."""
    monkeypatch.setenv('TOY_DATA', str(toy_root))
    config = Config.fromfile(CONFIGS / 'unilearn_toy.py')
    config.merge_from_dict({
        'work_dir': str(tmp_path), 'load_from': str(weights[0]), 'launcher': 'none',
        'test_dataloader.num_workers': 0, 'test_dataloader.persistent_workers': False,
        'test_dataloader.batch_size': 5, 'test_evaluator.prediction_file': 'predictions.csv'})
    Runner.from_cfg(config).test()
    tested = read_predictions(next(tmp_path.rglob('predictions.csv')))
    for source, folder in (('toy_video', 'clips'), ('toy_image', 'images')):
        rows = tested[tested['source'] == source]
        lines = [line.rpartition(',' if source == 'toy_video' else ' ')[0] for line in
                 (toy_root / source / ('test.csv' if source == 'toy_video' else 'test.txt'))
                 .read_text().splitlines()]
        names = lines[1:] if source == 'toy_video' else lines
        paths = [str(toy_root / source / folder / name) for name in names]
        table = infer(paths, mode='clip', faces='none', batch_size=5)
        order = [names.index(sample_id) for sample_id in rows['sample_id']]
        expected = rows[[f'score_{index}' for index in range(7)]].to_numpy(np.float32)
        own = [f'p_{name}' for name in infer.recipe.pipelines[
            'video' if source == 'toy_video' else 'image'].classes]
        assert np.array_equal(table[own].to_numpy(np.float32)[order], expected)
        assert list(table['label'].to_numpy()[order]) == list(rows['prediction_name'])


def test_a_video_gets_what_a_test_of_its_extracted_crops_gives(weights, tmp_path, monkeypatch):
    """Bit for bit: the whole face setting of the training data is obeyed, not only the crop."""
    media, faces = tmp_path / 'media', tmp_path / 'toy' / 'toy_video'
    media.mkdir()
    (media / 'single_face.mp4').symlink_to(real_media('single_face.mp4'))
    (media / 'all.csv').write_text('video_name,label\nsingle_face.mp4,0\n')
    tool = CONFIGS.parent / 'tools/data/extract_faces.py'
    subprocess.run([
        sys.executable, tool, '--media', media, '--out', faces, '--lists', media / 'all.csv',
        '--format', 'npy', '--rate', '12.5', '--size', '96', '--margin', '0.3', '--det-thr', '0.6',
        '--smallest-face', '60', '--search-every', '0.2', '--max-gap', '0.4', '--min-track', '1',
        '--workers', '1'], check=True, capture_output=True)
    (faces / 'all.csv').rename(faces / 'test.csv')
    crops = face_crops(str(faces / 'all.csv'))
    path = tmp_path / 'recorded.pth'
    torch.save(dict(torch.load(weights[0], weights_only=True),
                    meta=dict(dataset_meta=dict(face_crops=dict(toy_video=crops)))), path)
    monkeypatch.setenv('TOY_DATA', str(tmp_path / 'toy'))
    config = Config.fromfile(CONFIGS / 'unilearn_toy.py')
    config.merge_from_dict({
        'work_dir': str(tmp_path / 'work'), 'load_from': str(path), 'launcher': 'none',
        'test_dataloader.num_workers': 0, 'test_dataloader.persistent_workers': False})
    data = config.test_dataloader.dataset
    data.datasets = data.datasets[:1]
    Runner.from_cfg(config).test()
    tested = read_predictions(next((tmp_path / 'work').rglob('predictions.csv')))
    infer = ExpressionInferencer(CONFIGS / 'unilearn_toy.py', path, 'cpu', show_progress=False)
    table = infer(str(media / 'single_face.mp4'), mode='clip')
    assert np.array_equal(probabilities(table).astype(np.float32),
                          tested[[f'score_{index}' for index in range(7)]].to_numpy(np.float32))
    assert infer.fps == 12.5 and infer.description()['faces']['detector'] == crops['detector']
    for part in ('record', 'search', 'tracking', 'rate'):
        assert infer.description()['faces'][part] == crops[part]
    assert set(infer.description()['faces']['sources'].values()) == {'checkpoint'}
    default = ExpressionInferencer(CONFIGS / 'unilearn_toy.py', weights[0], 'cpu',
                                   show_progress=False)
    other = default(str(media / 'single_face.mp4'), mode='clip')
    assert np.abs(probabilities(other) - probabilities(table)).max() > 1e-4, 'it says something'
    infer.detector, infer.faces = None, dataclasses.replace(infer.faces, detector_sha256='0' * 64)
    with pytest.raises(PredictionError, match='centerface with the weights 0000'):
        infer.prepare_detector()


def test_batches_and_company_change_nothing(infer, media_root):
    clips = [str(media_root / 'clips' / f'{index:05d}') for index in range(7)]
    together = infer(clips, mode='clip', faces='none', batch_size=7)
    alone = [infer(clip, mode='clip', faces='none', batch_size=1) for clip in clips]
    found = np.concatenate([probabilities(table) for table in alone])
    np.testing.assert_allclose(found, probabilities(together), rtol=0, atol=1e-6)


def test_folds_are_averaged(weights, media_root):
    clip = str(media_root / 'clips' / '00001')
    options = dict(mode='clip', faces='none')
    make = lambda paths: ExpressionInferencer(  # noqa: E731
        CONFIGS / 'unilearn_toy.py', paths, 'cpu', show_progress=False)
    single = [probabilities(make(path)(clip, **options)) for path in weights]
    np.testing.assert_allclose(probabilities(make(weights)(clip, **options)),
                               np.mean(single, axis=0), atol=1e-7)


def test_a_temperature_beside_the_checkpoint_is_applied(weights, media_root, tmp_path):
    """softmax(logits / T), from the probabilities without it."""
    from unilearn_mm.evaluation.temperature import TemperatureFit, write_temperatures
    path = tmp_path / 'epoch_9.pth'
    path.write_bytes(weights[0].read_bytes())
    clip = str(media_root / 'clips' / '00001')
    plain = probabilities(ExpressionInferencer(
        CONFIGS / 'unilearn_toy.py', path, 'cpu', show_progress=False)(clip, faces='none'))
    (tmp_path / 'predictions.csv').write_text('any')
    fit = TemperatureFit(2.5, 1., .9, 100)
    write_temperatures(dict(toy_video=fit, toy_image=fit), path, tmp_path / 'predictions.csv')
    scaled = np.log(plain) / 2.5
    expected = np.exp(scaled) / np.exp(scaled).sum()
    for calibrated, wanted in ((True, expected), (False, plain)):
        table = ExpressionInferencer(CONFIGS / 'unilearn_toy.py', path, 'cpu', show_progress=False,
                                     calibrated=calibrated)(clip, faces='none')
        np.testing.assert_allclose(probabilities(table), wanted, atol=1e-6)


def test_a_video_becomes_windows_of_its_faces(infer):
    """72 frames at 30 per second are 60 at the model's rate: two windows of 32, a second apart."""
    path = str(real_media('single_face.mp4'))
    (result, ) = infer.predict([path], features=True, keep_log=True)
    for row, found, start in zip(result.table.itertuples(), probabilities(result.table), (0, 1)):
        assert (row.input, row.face, row.status, row.frames) == (path, 0, 'ok', 32)
        assert (row.start_s, row.end_s) == pytest.approx((start, start + 32 / 25))
        assert sum(found) == pytest.approx(1, abs=1e-5)
        assert row.label == classes_of(result.table)[int(found.argmax())]
        assert 0 <= row.x1 < row.x2 < 640 and 0 <= row.y1 < row.y2 < 360
    assert len(result.table) == 2
    head = infer.model.cls_head.fc_cls['toy_video']
    logits = head(torch.from_numpy(result.features)).detach()
    np.testing.assert_allclose(logits.softmax(-1).numpy(), probabilities(result.table), atol=1e-6)
    assert len(result.log.boxes) == 60 and len(result.log.thumbnails[0]) == 5


def test_what_has_no_face_says_so_and_how_long(infer):
    (result, ) = infer.predict([str(real_media('no_face.mp4'))])
    (row, ) = result.table.itertuples()
    assert (row.face, row.status, row.label, row.frames) == (-1, 'no face', '', 0)
    assert result.report.status == 'no face' and 'lower --det-thr' in result.report.reason
    assert row.start_s == 0 and row.end_s == pytest.approx(result.report.frames / 25)


def test_unsure_rows_abstain_and_small_faces_are_not_scored(infer):
    path = str(real_media('single_face.mp4'))
    unsure = infer(path, abstain_below=.99)
    assert set(unsure['status']) == {'not confident'} and set(unsure['label']) == {''}
    assert unsure['confidence'].notna().all() and np.isfinite(probabilities(unsure)).all()
    small = infer(path, smallest_face=300.)
    assert set(small['status']) == {'small'} and small['confidence'].isna().all()


def test_a_photograph_of_five_people_gives_five_rows_of_the_image_task(infer, tmp_path):
    table = infer(str(real_media('multi_face.jpg')))
    assert list(table['face']) == [0, 1, 2, 3, 4] and set(table['task']) == {'toy_image'}
    assert (table['status'] == 'ok').all()
    largest = infer(str(real_media('multi_face.jpg')), faces='largest')
    assert len(largest) == 1 and largest['x1'][0] == table['x1'][0]


def test_one_bad_source_is_a_row_and_not_an_end(infer, tmp_path):
    (tmp_path / 'text.mp4').write_text('no video')
    cv2.imwrite(str(tmp_path / 'black.jpg'), np.zeros((64, 64, 3), np.uint8))
    sources = [str(tmp_path / name) for name in ('text.mp4', 'black.jpg', 'none.mp4')]
    results = list(infer.predict(sources))
    assert [result.report.status for result in results] == ['failed', 'no face', 'failed']
    assert 'text.mp4: cannot be opened as a video' in results[0].report.reason
    assert 'none.mp4: does not exist' in results[2].report.reason
    assert [list(result.table['status']) for result in results] == [
        ['failed'], ['no face'], ['failed']]


@pytest.mark.parametrize('options, message', [
    (dict(mode='film'), "mode must be one of .* found 'film'"),
    (dict(faces='two'), "faces must be one of"),
    (dict(hop=0.), 'hop must be positive')])
def test_wrong_use_is_refused(infer, options, message):
    with pytest.raises(ValueError, match=message):
        infer('any.mp4', **options)


def test_weights_of_another_model_are_refused(weights, tmp_path):
    state = torch.load(weights[0], weights_only=True)
    del state['state_dict']['cls_head.fc_cls.toy_video.weight']
    torch.save(state, tmp_path / 'half.pth')
    with pytest.raises(RuntimeError, match=r'half\.pth.*toy_video\.weight'):
        ExpressionInferencer(CONFIGS / 'unilearn_toy.py', tmp_path / 'half.pth', 'cpu')
