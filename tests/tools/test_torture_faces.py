"""The benchmark that kills the extraction of faces and damages videos, in small."""

import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / 'faces'))
from real_media import real_media

PATH = Path(__file__).parents[2] / 'tools' / 'benchmark' / 'torture_faces.py'


@pytest.mark.slow
def test_a_kill_and_each_damage():
    real_media('single_face.mp4'), real_media('carphone_pristine.mp4')
    done = subprocess.run([sys.executable, str(PATH), '--kills', '1', '--damaged', '14'],
                          text=True, capture_output=True, timeout=900)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert 'killed 1 times' in done.stdout and '| play list | 0 |' in done.stdout
