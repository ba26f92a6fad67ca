"""The benchmark that kills trainings, in small."""

import importlib.util
import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

PATH = Path(__file__).parents[2] / 'tools' / 'benchmark' / 'torture_resume.py'


@pytest.fixture(scope='module')
def tool():
    spec = importlib.util.spec_from_file_location('torture_resume', PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    module.HOOKS.module_dict.pop('TortureHook')


def test_differences_are_found_and_named(tool):
    one = dict(model=dict(w=torch.tensor([1., 2.])), losses=(np.arange(3), 7), random=[1, (2, 3)])
    assert not list(tool.differences(one, one))
    bit = torch.nextafter(torch.tensor(2.), torch.tensor(3.)).item()
    for other, path in [
            (dict(one, model=dict(w=torch.tensor([1., bit]))), '/model/w'),
            (dict(one, losses=(np.array([0, 1, 3]), 7)), '/losses/0'),
            (dict(one, losses=(np.arange(4), 7)), '/losses/0'),
            (dict(one, random=[1, (2, 4)]), '/random/1/1'),
            (dict(one, random=[1]), '/random'),
            (dict(one, more=1), '/more: in one only'),
            (dict(one, model=[]), '/model: dict and list')]:
        assert list(tool.differences(one, other)) == [path]


def test_points_reach_every_place_and_rank(tool):
    rng = random.Random(0)
    points = [tool.draw_point(rng, 2) for _ in range(200)]
    assert {point[0] for point in points} == set(tool.PLACES)
    assert {(place, rank) for place, _, rank, _ in points} == {
        ('step', 0), ('step', 1), ('epoch end', 0), ('epoch end', 1), ('write', 0),
        ('rename', 0)}, 'only the main rank writes'


@pytest.mark.slow
def test_two_kills(tmp_path):
    done = subprocess.run(
        [sys.executable, str(PATH), '--out', str(tmp_path), '--kills', '2', '--processes', '1'],
        text=True, capture_output=True, timeout=1500)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    trials = json.loads((tmp_path / 'results.json').read_text())
    assert sum(len(trial['kills']) for trial in trials) >= 2
    assert not any(trial['differences'] for trial in trials)
    assert f'in {len(trials)} trials, {len(trials)} of them equal bit for bit' in done.stdout
