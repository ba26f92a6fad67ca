"""What --resume means."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
spec = importlib.util.spec_from_file_location('train', ROOT / 'tools' / 'train.py')
train = importlib.util.module_from_spec(spec)
spec.loader.exec_module(train)

LOAD = ['--cfg-options', 'load_from=pre.pth', 'a=1']


@pytest.fixture
def config(tmp_path, monkeypatch):
    """A config whose work directory is tmp_path/run."""
    path = tmp_path / 'config.py'
    path.write_text(f"work_dir = '{tmp_path}/run'\nload_from = 'pre.pth'\n")
    (tmp_path / 'run').mkdir()
    monkeypatch.setattr('sys.argv', ['test'])
    return str(path)


def merged(args):
    """The config that MMAction2's script trains with."""
    stock = train.runpy.run_path(str(train.first_file(train.SCRIPTS)))
    train.sys.argv = ['train.py', *args]
    parsed = stock['parse_args']()
    return stock['merge_args'](train.Config.fromfile(parsed.config), parsed)


@pytest.mark.parametrize('args', [
    ['--resume'], ['--resume', 'auto'], ['--resume', *LOAD], [*LOAD, '--resume'],
    [*LOAD, '--launcher', 'none', '--resume']])
def test_resume_without_a_file(config, tmp_path, args, capsys):
    """Before the first checkpoint load_from counts, afterwards the checkpoint."""
    cfg = merged(train.resolve_resume([config, *args]))
    assert (cfg.get('resume', False), cfg.load_from) == (False, 'pre.pth')
    assert 'no checkpoint to resume from yet' in capsys.readouterr().out
    (tmp_path / 'run' / 'epoch_1.pth').touch()
    cfg = merged(train.resolve_resume([config, *args]))
    assert (cfg.resume, cfg.load_from) == (True, None)
    assert cfg.get('a') == (1 if 'a=1' in args else None)


def test_the_work_directory_of_the_command_line_counts(config, tmp_path):
    (tmp_path / 'run' / 'epoch_1.pth').touch()
    args = [config, '--work-dir', str(tmp_path / 'other'), '--resume']
    assert train.resolve_resume(args) == args[:-1]


@pytest.mark.parametrize('args', [[], ['--resume', 'some.pth'], ['--amp', *LOAD]])
def test_other_arguments_stay(config, args):
    assert train.resolve_resume([config, *args]) == [config, *args]
