"""The table of the pre-training comparison."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
spec = importlib.util.spec_from_file_location(
    'compare_pretraining', ROOT / 'tools' / 'analysis' / 'compare_pretraining.py')
compare = importlib.util.module_from_spec(spec)
spec.loader.exec_module(compare)


def test_mean_and_sample_standard_deviation_in_per_cent():
    found = {'from scratch': [{'toy_video WAR': value} for value in (0.2, 0.3, 0.4)],
             'pre-trained': [{'toy_video WAR': value} for value in (0.5, 0.5, 0.5)]}
    assert compare.table(found, [0, 1, 2]) == [
        '| fine-tuning | toy_video WAR |', '|---|---|',
        '| from scratch | 30.0 ± 10.0 (20.0, 30.0, 40.0) |',
        '| pre-trained | 50.0 ± 0.0 (50.0, 50.0, 50.0) |']
    single = {arm: scores[:1] for arm, scores in found.items()}
    assert compare.table(single, [0])[2] == '| from scratch | 20.0 (20.0) |'


def test_a_script_that_fails_names_its_log(tmp_path):
    with pytest.raises(RuntimeError, match=rf'exit code [12]; see {tmp_path}/no_such\.txt'):
        compare.run('tools/no_such.py', 'config', tmp_path)
    assert 'no_such' in (tmp_path / 'no_such.txt').read_text()


def test_last_epochs():
    assert compare.last_epoch(compare.FINETUNE) == 'epoch_5.pth'
