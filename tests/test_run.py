"""The launcher of stock scripts."""
import os
import subprocess
import sys
from pathlib import Path

import pytest

from unilearn_mm import run as launcher

ROOT = Path(__file__).parents[1]


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
    assert 'VisionTransformerMoAE' in MODELS
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


ENDS_WITH_A_MODEL = """
import gc, sys, weakref
import torch
import torch.distributed as dist
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn


class Line(BaseModel):
    def __init__(self):
        super().__init__()
        self.line = nn.Linear(1, 1)

    def forward(self, inputs, mode='loss'):
        return dict(loss=self.line(inputs).sum())


def main():
    runner = Runner(
        Line(), sys.argv[1], launcher='pytorch', default_scope='mmengine', experiment_name='line',
        train_dataloader=dict(batch_size=1, dataset=[dict(inputs=torch.ones(1))] * 3,
                              num_workers=8, persistent_workers=True,
                              collate_fn=dict(type='default_collate'),
                              sampler=dict(type='DefaultSampler', shuffle=True)),
        train_cfg=dict(by_epoch=True, max_epochs=1), env_cfg=dict(dist_cfg=dict(backend='gloo')),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)))
    weakref.finalize(runner.model.reducer, print, 'the reducer is gone')
    weakref.finalize(dist.group.WORLD, print, 'the group is gone')
    runner.train()
    gc.disable()
    weakref.finalize(runner, print, 'garbage was collected').atexit = False
    sys.exit(7)


main()
"""


@pytest.mark.slow
def test_the_process_group_outlives_the_reducer(tmp_path, monkeypatch):
    """In the other order torch 2.11 hangs now and then: see leave_process_group.

    Nothing is collected for it: the loader's queues would go before the loader, which then waits
    for its workers in vain and prints errors.
    """
    for name, value in dict(RANK=0, LOCAL_RANK=0, WORLD_SIZE=1, MASTER_ADDR='127.0.0.1',
                            MASTER_PORT=0).items():
        monkeypatch.setenv(name, str(value))
    script = tmp_path / 'script.py'
    script.write_text(ENDS_WITH_A_MODEL)
    done = launch(script, tmp_path / 'work')
    assert done.returncode == 7, done.stdout + done.stderr
    assert done.stdout.splitlines()[-2:] == ['the reducer is gone', 'the group is gone']
    assert 'garbage was collected' not in done.stdout
    assert 'Traceback' not in done.stderr
