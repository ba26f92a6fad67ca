"""The launcher of stock scripts."""
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
spec = importlib.util.spec_from_file_location('run_under_test', ROOT / 'unilearn_mm' / 'run.py')
launcher = importlib.util.module_from_spec(spec)
spec.loader.exec_module(launcher)


def launch(*args, cwd=None):
    env = {**os.environ, 'PYTHONPATH': str(ROOT)}
    return subprocess.run([sys.executable, '-m', 'unilearn_mm.run', *map(str, args)], cwd=cwd,
                          env=env, text=True, capture_output=True, timeout=300)


def test_a_file_comes_before_an_installed_script(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = 'tools/analysis_tools/get_flops.py'
    (installed, ) = launcher.stock_scripts(name)
    assert installed.is_absolute() and installed.parts[-4:] == ('.mim', *Path(name).parts)
    assert launcher.first_file([Path(name), installed]) == installed
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).write_text('')
    assert launcher.first_file([Path(name), installed]).samefile(tmp_path / name)


def test_a_script_that_is_nowhere(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert launcher.main(['tools/no_such.py', '--flag']) == 2
    shown = capsys.readouterr().err
    assert str(tmp_path / 'tools/no_such.py') in shown
    assert os.path.join('mmaction', '.mim', 'tools/no_such.py') in shown
    assert launcher.main([str(tmp_path)]) == 2, 'a folder is no script'


def test_usage(capsys):
    assert launcher.main(['-h']) == 0
    assert 'python -m unilearn_mm.run SCRIPT' in capsys.readouterr().out
    assert launcher.main([]) == 2
    assert 'python -m unilearn_mm.run SCRIPT' in capsys.readouterr().err


@pytest.mark.slow
def test_a_script_sees_what_python_would_give_it(tmp_path):
    folder = tmp_path / 'scripts'
    folder.mkdir()
    (folder / 'neighbour.py').write_text('answer = 42\n')
    (folder / 'hello.py').write_text('''
import sys
import mmaction.models
import neighbour
from mmaction.registry import MODELS
if __name__ == '__main__':
    assert 'VisionTransformerMoAE' in MODELS.module_dict
    print(sys.argv, sys.path[0], neighbour.answer)
    sys.exit(7)
''')
    done = launch('scripts/hello.py', '--cfg-options', 'a=1', '-h', cwd=tmp_path)
    assert done.returncode == 7, done.stderr
    assert done.stdout.splitlines()[-1] == (
        f"['scripts/hello.py', '--cfg-options', 'a=1', '-h'] {folder} 42")


@pytest.mark.slow
def test_an_installed_script_by_its_relative_name(tmp_path):
    config = tmp_path / 'config.py'
    config.write_text("default_scope = 'mmaction'\nmodel = dict(type='TSN', depth=3)\n")
    done = launch('tools/analysis_tools/print_config.py', config, '--options', 'model.depth=18')
    assert done.returncode == 0, done.stderr
    assert "model = dict(depth=18, type='TSN')" in done.stdout
