import subprocess
from pathlib import Path

import pytest

LAUNCH = Path(__file__).parents[2] / 'tools/launch.sh'


@pytest.mark.parametrize('words, code', [(['--help'], 0), (['-h'], 0), ([], 2), (['2'], 2)])
def test_usage(words, code):
    done = subprocess.run(['bash', LAUNCH, *words], capture_output=True, text=True)
    assert done.returncode == code and 'usage: launch.sh GPUS SCRIPT' in done.stdout
    assert not done.stderr
