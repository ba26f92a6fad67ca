"""The claim table: its numbers, its resumption, and the same path in a few steps."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from mmengine.config import Config

from unilearn_mm.datasets.label_spaces import class_names

ROOT = Path(__file__).parents[2]
PATH = ROOT / 'tools' / 'analysis' / 'run_claims.py'
spec = importlib.util.spec_from_file_location('run_claims', PATH)
run_claims = importlib.util.module_from_spec(spec)
spec.loader.exec_module(run_claims)
CLAIMS = run_claims.read_claims(run_claims.CLAIMS)
ROWS = CLAIMS.rows


def test_pairs_of_rows_differ_in_what_they_claim_only(tmp_path):
    """The configs behind the rows: MoAE or not, pre-training or not, nothing else."""
    configs = {row: run_claims.jobs_of(CLAIMS, row, 0, tmp_path, False)[-1].cfg for row in ROWS}
    _, _, without, with_moae, scratch, pretrained = configs.values()
    assert with_moae.model.backbone.moae and without.model.backbone.moae is None
    without.model.backbone.moae = with_moae.model.backbone.moae
    assert scratch.load_from is None
    start = CLAIMS.starts['pretraining'].config
    last = Config.fromfile(run_claims.CONFIGS / start).train_cfg.max_epochs
    assert pretrained.load_from == str(tmp_path / f'pretraining/seed_0/epoch_{last}.pth')
    pretrained.load_from = None
    for one, two in ((without, with_moae), (scratch, pretrained)):
        assert one.work_dir != two.work_dir
        one.work_dir = two.work_dir
        assert one.to_dict() == two.to_dict()


def test_rows_of_s2d_differ_in_what_they_claim_only(tmp_path):
    """Prompts or not, wrong labels, self-distillation; and what several rows need is done once."""
    s2d = run_claims.read_claims(run_claims.CLAIMS.with_name('s2d_toy.yaml'))
    jobs = {row: run_claims.jobs_of(s2d, row, 0, tmp_path, False) for row in s2d.rows}
    assert len({job.work_dir for some in jobs.values() for job in some}) == 5 + 1
    image, video, no_prompts, noisy, sdl = (some[-1].cfg for some in jobs.values())
    assert video.load_from == str(Path(image.work_dir, 'epoch_10.pth'))
    for cfg in (video, no_prompts, noisy, sdl):
        for key in ('work_dir', 'train_data', 'test_data'):
            cfg.pop(key)
    assert no_prompts.model.backbone.landmark_net is None
    no_prompts.model.backbone.landmark_net = video.model.backbone.landmark_net
    assert 'image_stage_without_prompts' in no_prompts.load_from
    no_prompts.load_from = video.load_from
    assert no_prompts.to_dict() == video.to_dict()
    assert sdl.model.cls_head.pop('sdl') and sdl.default_hooks.pop('anchors')
    assert sdl.to_dict() == noisy.to_dict()
    part, = noisy.train_dataloader.dataset.datasets
    assert part.ann_file == 'train_noisy.csv'
    part.ann_file = 'train.csv'
    assert noisy.to_dict() == video.to_dict()
    minutes = sum(row.minutes for row in s2d.rows) + 4
    assert run_claims.minutes_left(s2d, s2d.rows, [0], tmp_path, False) == minutes


def test_seeds_have_their_own_places_and_pretraining(tmp_path):
    jobs = [job for seed in (0, 1) for row in ROWS
            for job in run_claims.jobs_of(CLAIMS, row, seed, tmp_path, False)]
    assert len({job.work_dir for job in jobs}) == len(jobs) == 2 * 7
    assert {job.cfg.randomness.seed for job in jobs} == {0, 1}
    start, last = run_claims.jobs_of(CLAIMS, ROWS[5], 1, tmp_path, False)
    assert start.cfg.randomness.seed == 1 and 'seed_1' in last.cfg.load_from


def test_expected_time_counts_what_is_left(tmp_path):
    rows = [ROWS[3], ROWS[5]]
    whole = run_claims.minutes_left(CLAIMS, rows, [0, 1], tmp_path, False)
    assert whole == 2 * (ROWS[3].minutes + ROWS[5].minutes + CLAIMS.starts['pretraining'].minutes)
    job = run_claims.jobs_of(CLAIMS, ROWS[3], 0, tmp_path, False)[-1]
    job._claim()
    (job.work_dir / 'epoch_16.pth').write_bytes(b'weights')
    (job.work_dir / 'last_checkpoint').write_text('epoch_16.pth')
    job.prediction_file.write_text('predictions')
    job.note.write_text(json.dumps(job._note(job.checkpoint())))
    assert run_claims.minutes_left(CLAIMS, rows, [0, 1], tmp_path, False) == whole - ROWS[3].minutes


def test_table_has_mean_and_sample_deviation():
    def scores(clips, images):
        return {media: dict(WAR=war, UAR=war / 2, num_samples=9)
                for media, war in (('video', clips), ('image', images)) if war is not None}
    found = {ROWS[0]: {0: scores(0.2, None)},
             ROWS[3]: {0: scores(0.7, 0.8), 1: scores(0.8, 0.8), 2: scores(0.6, 0.8)}}
    numbers = run_claims.report(found, [0, 1, 2])
    joint = numbers['rows'][1]
    assert joint['video']['WAR'] == pytest.approx(
        dict(mean=0.7, sd=np.std([0.7, 0.8, 0.6], ddof=1)))
    assert joint['image']['UAR'] == pytest.approx(dict(mean=0.4, sd=0))
    assert numbers['rows'][0]['image'] is None and joint['missing_seeds'] == []
    lines = run_claims.markdown(CLAIMS, numbers, 'command', smoke=False)
    assert ('| 1 | video only (seeds [1, 2] are missing) | 20.00 (20.00) | 10.00 (10.00) | - | - |'
            in lines)
    assert any(line.startswith('| 4 | joint, with MoAE | 70.00 ± 10.00 (70.00, 80.00, 60.00) |')
               for line in lines)
    assert not any('Smoke' in line for line in lines)


def test_scores_are_those_of_clips_and_images_whatever_the_task(tmp_path):
    """The image-only model scores clips in the task of the images."""
    classes = class_names('toy_image')
    rows = [('toy_video', 'video', 0, 0), ('toy_video', 'video', 1, 2),
            ('toy_image', 'image', 5, 5)]
    table = pd.DataFrame([
        dict(source=source, task='toy_image', media=media, sample_id='7' + str(label), label=label,
             prediction=prediction, label_name=classes[label],
             prediction_name=classes[prediction],
             **{f'score_{i}': float(i == prediction) for i in range(7)})
        for source, media, label, prediction in rows])
    table.to_csv(tmp_path / 'predictions.csv', index=False)
    found = run_claims.scores_by_media(tmp_path / 'predictions.csv')
    assert found == dict(video=dict(WAR=0.5, UAR=0.5, num_samples=2),
                         image=dict(WAR=1., UAR=1., num_samples=1))


@pytest.mark.parametrize('change, message', [
    (('config: unilearn_toy.py', 'config: other.py'), r'configs has no other\.py'),
    (('minutes: 6', 'hours: 6'), "unexpected keyword argument 'hours'"),
    (('name: image only', 'name: video only'), 'every row needs a name of its own'),
    (('starts:', 'unused:'), "unexpected keyword argument 'unused'"),
    (('rows:', 'rows: ['), 'while parsing'),
    (('start: pretraining', 'start: other'),
     r"rows start from \['other'\]; there are the starts \['pretraining'\]")])
def test_files_that_are_no_claims_are_refused(change, message, tmp_path, capsys):
    path = tmp_path / 'claims.yaml'
    path.write_text(run_claims.CLAIMS.read_text().replace(*change))
    with pytest.raises(run_claims.ClaimsError, match=rf'(?s)claims\.yaml.*{message}'):
        run_claims.read_claims(path)
    with pytest.raises(SystemExit):
        run_claims.main(['--claims', str(path)])
    assert 'claims.yaml' in capsys.readouterr().err


def test_rows_that_are_not_there_are_refused(capsys):
    with pytest.raises(SystemExit):
        run_claims.main(['--rows', '7'])
    assert '1: video only; 2: image only' in capsys.readouterr().err


@pytest.mark.slow
def test_the_longest_row_in_a_few_steps(toy_root, tmp_path, monkeypatch, capsys):
    """Pre-training, fine-tuning from it, test, table; then nothing is left to do."""
    monkeypatch.setenv('TOY_DATA', str(toy_root))
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    command = ['--smoke', '--rows', '6', '--seeds', '4', '--work-dir', str(tmp_path / 'claims')]
    assert run_claims.main(command) == 0
    folder = tmp_path / 'claims' / 'row_6' / 'seed_4'
    recipe = Config.fromfile(folder / 'job' / 'recipe.py')
    assert recipe.load_from == str(tmp_path / 'claims/pretraining/seed_4/epoch_1.pth')
    log = (folder / 'job' / 'train.log').read_text()
    assert f'{recipe.load_from}: ' in log and 'parameters are loaded' in log
    table = pd.read_csv(folder / 'predictions.csv')
    clips = table[table.media == 'video']
    found = json.loads((tmp_path / 'claims' / 'toy_claims.json').read_text())['rows'][0]
    assert found['video']['WAR'] == dict(mean=(clips.label == clips.prediction).mean(), sd=None)
    assert found['seeds']['4']['image']['num_samples'] == 14
    assert 'numbers mean nothing' in capsys.readouterr().out
    state = torch.load(folder / 'epoch_1.pth', weights_only=True)['state_dict']
    assert state['backbone.patch_embed.projection.weight'].shape[-1] == 8

    times = {path: path.stat().st_mtime_ns for path in tmp_path.glob('claims/**/*.pth')}
    assert len(times) == 2
    assert run_claims.main(command) == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob('claims/**/*.pth')} == times
