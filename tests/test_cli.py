"""The command ``unilearn-mm`` finds recipes and tools by their names, from any folder."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def unilearn_mm(*words, folder):
    return subprocess.run([sys.executable, '-m', 'unilearn_mm.cli', *words], cwd=folder, text=True,
                          capture_output=True, timeout=120)


def test_every_tool_is_listed_once_and_modules_are_not(tmp_path):
    listed = unilearn_mm('tool', folder=tmp_path).stdout.split()
    commands = {str(path.relative_to(ROOT / 'tools')) for path in (ROOT / 'tools').rglob('*')
                if path.suffix == '.sh' or (path.suffix == '.py' and path.read_text().rstrip()
                                            .rpartition('\n\n')[2].startswith('if __name__'))}
    assert set(listed) == commands and len(listed) == len(commands)
    assert {'train.py', 'data/make_toy_faces.py', 'launch.sh'} < commands
    assert 'benchmark/measure.py' not in commands


@pytest.mark.parametrize('words, code, said', [
    (('tool', 'data/make_toy_faces.py', '--size', 'x'), 2, "argument --size: invalid int value"),
    (('tool', 'dist_train.sh'), 2, 'dist_train.sh CONFIG GPUS'),
    (('tool', 'data/make_faces.py'), 2, 'data/make_faces.py: no such file in'),
    (('train', 'unilearn_tyo'), 2, 'unilearn-mm train: unilearn_tyo: neither a config file'),
    (('test', 'unilearn_toy'), 2, 'the following arguments are required: checkpoint'),
    (('train', '--gpus', 'x', 'unilearn_toy'), 2, 'argument --gpus: invalid int'),
])
def test_exit_code_and_words_are_those_of_the_script(tmp_path, words, code, said):
    done = unilearn_mm(*words, folder=tmp_path)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
