"""The shell scripts that start several ranks say what they want."""

import subprocess
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / 'tools'
SCRIPTS = {'launch.sh': 'GPUS SCRIPT', 'dist_train.sh': 'CONFIG GPUS',
           'dist_test.sh': 'CONFIG CHECKPOINT GPUS', 'slurm_train.sh': 'PARTITION JOB_NAME CONFIG'}


@pytest.mark.parametrize('name', SCRIPTS)
def test_help_and_usage(name):
    for args, code in ((['--help'], 0), (['-h'], 0), ([], 2), (['2'], 2)):
        done = subprocess.run(['bash', TOOLS / name, *args], text=True, capture_output=True,
                              timeout=60)
        shown, other = (done.stderr, done.stdout) if code else (done.stdout, done.stderr)
        assert done.returncode == code
        assert f'{name} {SCRIPTS[name]}' in shown and not other
        assert 'set -e' not in shown and '# ' not in shown
