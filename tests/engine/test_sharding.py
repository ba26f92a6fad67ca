"""FSDP2 computes what DDP computes; its checkpoints are everybody's."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.dist import get_world_size, is_distributed
from mmengine.hooks import EMAHook, Hook
from mmengine.runner import Runner
from ranks import run_ranks
from torch import nn
from torch.distributed.tensor import DTensor

from unilearn_mm.engine.sharding import FullyShardedModel, FullyShardHook

ROOT = Path(__file__).parents[2]
STEPS = 20


class Watch(Hook):
    """Keeps the losses and gradient norms, and the size of this rank's parameters."""

    def __init__(self):
        self.numbers = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        """One step."""
        self.numbers.append((outputs['loss'].item(),
                             runner.message_hub.get_scalar('train/grad_norm').current()))
        self.local = sum(
            (p.to_local() if isinstance(p, DTensor) else p).numel()
            for p in runner.model.parameters())


def toy(folder, name, *hooks, epochs=2, **options):
    """A runner of the toy recipe, 10 steps an epoch: clips and images, uneven validation."""
    cfg = Config.fromfile(ROOT / 'configs' / f'{name}.py')
    cfg.work_dir = str(folder)
    cfg.experiment_name = folder.name
    cfg.launcher = 'pytorch' if is_distributed() else 'none'
    cfg.train_cfg.update(max_epochs=epochs, val_interval=1)
    world_size = get_world_size()
    cfg.train_dataloader.batch_size = 4 // world_size
    cfg.train_dataloader.batch_sampler.update(
        batch_sizes=dict(toy_image=4 // world_size), rates=dict(toy_video=1.7, toy_image=1.))
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.update(num_workers=0, persistent_workers=False)
    cfg.val_dataloader.batch_size = 3  # 5 + 7 batches: 7 of one rank, 6 of the other
    # noise of the experts and random flips would differ between one rank and two
    cfg.model.backbone.moae.noise = 'never'
    cfg.param_scheduler = []
    cfg.merge_from_dict(options)
    runner = Runner.from_cfg(cfg)
    for hook in hooks:
        runner.register_hook(hook)
    return runner


def scores(runner):
    return {key: value.current() for key, value in runner.message_hub.log_scalars.items()
            if key.startswith('val/') and ('WAR' in key or 'UAR' in key)}


def two_ranks(rank, folder, toy_root):
    """DDP and FSDP from the same start, then FSDP resumed from FSDP and DDP from FSDP."""
    os.environ['TOY_DATA'] = toy_root
    sys.argv = ['test']
    folder = Path(folder)
    report = {}
    for name in ('unilearn_toy', 'unilearn_toy_fsdp'):
        watch = Watch()
        runner = toy(folder / name, name, watch, load_from=str(folder / 'start.pth'))
        runner.train()
        report[name] = dict(numbers=watch.numbers, local=watch.local, scores=scores(runner))
    fused = Watch()
    toy(folder / 'fused', 'unilearn_toy_fsdp', fused, epochs=1,
        load_from=str(folder / 'start.pth'),
        **{'optim_wrapper.optimizer.fused': True}).train()
    report['fused'] = fused.numbers
    for name, source in (('unilearn_toy_fsdp', 'unilearn_toy_fsdp'),
                         ('unilearn_toy', 'unilearn_toy_fsdp'),
                         ('unilearn_toy_fsdp', 'unilearn_toy')):
        watch = Watch()
        toy(folder / f'{name}_from_{source}', name, watch, resume=True,
            load_from=str(folder / source / 'epoch_1.pth')).train()
        report[f'{name} from {source}'] = watch.numbers
    if rank == 0:
        (folder / 'report.json').write_text(json.dumps(report))


def close(found, expected, tolerance=1e-5):
    """Losses to ``tolerance``, gradient norms (about 5) to as many digits."""
    (losses, norms), (expected_losses, expected_norms) = (
        torch.tensor(numbers).T for numbers in (found, expected))
    assert losses == pytest.approx(expected_losses, abs=tolerance)
    assert norms == pytest.approx(expected_norms, rel=tolerance)


@pytest.mark.slow
def test_equals_ddp_and_resumes_on_any_number_of_ranks(toy_root, tmp_path, monkeypatch):
    """One story, because processes are slow to start."""
    monkeypatch.setenv('TOY_DATA', str(toy_root))
    monkeypatch.setattr(sys, 'argv', ['test'])
    start = toy(tmp_path / 'start', 'unilearn_toy')
    torch.manual_seed(1)
    start.model.init_weights()
    first = {name: value.clone() for name, value in start.model.state_dict().items()}
    torch.save(dict(state_dict=first), tmp_path / 'start.pth')
    run_ranks(two_ranks, str(tmp_path), str(toy_root))
    report = json.loads((tmp_path / 'report.json').read_text())
    ddp, fsdp = report['unilearn_toy'], report['unilearn_toy_fsdp']

    assert len(ddp['numbers']) == STEPS
    close(fsdp['numbers'], ddp['numbers'])
    assert fsdp['scores'] == ddp['scores'] and len(fsdp['scores']) >= 4
    assert ddp['local'] == sum(parameter.numel() for parameter in start.model.parameters())
    assert fsdp['local'] == pytest.approx(ddp['local'] / 2, rel=0.01)
    close(report['fused'], ddp['numbers'][:STEPS // 2])
    for name in ('unilearn_toy_fsdp from unilearn_toy_fsdp', 'unilearn_toy from unilearn_toy_fsdp',
                 'unilearn_toy_fsdp from unilearn_toy'):
        close(report[name], ddp['numbers'][STEPS // 2:])

    # in one process: test, and the second half of the training
    checkpoints = tmp_path / 'unilearn_toy_fsdp'
    alone = toy(tmp_path / 'test', 'unilearn_toy_fsdp',
                load_from=str(checkpoints / 'epoch_2.pth')).test()
    for key, value in fsdp['scores'].items():
        assert alone[key.removeprefix('val/')] == pytest.approx(value, abs=1e-6)
    watch = Watch()
    alone = toy(tmp_path / 'alone', 'unilearn_toy_fsdp', watch, resume=True,
                load_from=str(checkpoints / 'epoch_1.pth'))
    alone.train()
    assert len(watch.numbers) == STEPS // 2
    half, end = (torch.load(checkpoints / f'epoch_{epoch}.pth', weights_only=True)['state_dict']
                 for epoch in (1, 2))
    assert set(half) == set(first)
    moved, apart = (sum((end[key] - other[key]).norm()**2 for key in end)**0.5
                    for other in (half, alone.model.state_dict()))
    assert apart < 0.1 * moved, 'but for the balance of the experts, which is of each rank'


class Blocks(nn.Module):
    """A model with one module list."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([nn.Linear(2, 2)])


def test_what_cannot_work_is_refused():
    with pytest.raises(ValueError, match=r"units names 'layers'; the module lists of Blocks are "
                       r"\['blocks'\]"):
        FullyShardedModel(Blocks(), units=['layers'])
    model = FullyShardedModel(Blocks(), units=['blocks'])
    with pytest.raises(RuntimeError, match='add dict.*FullyShardHook.* to custom_hooks'):
        model.train_step({}, None)
    runner = SimpleNamespace(model=model, hooks=[EMAHook()])
    with pytest.raises(TypeError, match='EMAHook cannot average'):
        FullyShardHook().before_train(runner)


@pytest.mark.slow
def test_two_launchers_train_together_and_a_killed_rank_ends_all(toy_root, tmp_path):
    """Two torchruns of one process each, as on two machines; after the first epoch one rank is
    killed, and the run can be resumed by one process."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    config = str(ROOT / 'configs/unilearn_toy_fsdp.py')
    options = ['--work-dir', str(tmp_path), '--cfg-options', 'train_cfg.val_interval=1000',
               'train_dataloader.batch_size=3', 'default_hooks.logger.interval=1',
               'train_dataloader.batch_sampler.batch_sizes.toy_image=3',
               'train_dataloader.num_workers=0', 'train_dataloader.persistent_workers=False']
    env = {**os.environ, 'TOY_DATA': str(toy_root), 'PYTHON': sys.executable,
           'OMP_NUM_THREADS': '1', 'NNODES': '2', 'PORT': str(port)}
    with contextlib.ExitStack() as stack:
        logs = [tmp_path / f'node{node}.txt' for node in range(2)]
        nodes = [stack.enter_context(subprocess.Popen(
            ['bash', 'tools/dist_train.sh', config, '1', *options, 'train_cfg.max_epochs=1000'],
            cwd=ROOT, env={**env, 'NODE_RANK': str(node)}, stderr=subprocess.STDOUT,
            stdout=stack.enter_context(log.open('w')))) for node, log in enumerate(logs)]
        try:
            end = time.monotonic() + 200
            while not (tmp_path / 'epoch_2.pth').is_file():
                assert all(node.poll() is None for node in nodes) and time.monotonic() < end, (
                    ''.join(log.read_text()[-2000:] for log in logs))
                time.sleep(0.3)
            worker = subprocess.run(['pgrep', '-P', str(nodes[1].pid)], text=True, check=True,
                                    capture_output=True).stdout.split()
            os.kill(int(worker[0]), signal.SIGKILL)
            codes = [node.wait(timeout=100) for node in nodes]
        finally:
            for node in nodes:
                node.terminate()
    assert codes == [1, 1]
    message = 'launch.py: rank {} was the first to end on this machine, with {};'
    assert message.format(1, 'SIGKILL') in logs[1].read_text()
    assert message.format(0, 'exit code 1') in logs[0].read_text()
    assert re.search('Connection (closed|reset) by peer', logs[0].read_text())
    record = json.loads((tmp_path / 'run_record.json').read_text())
    assert record['starts'][0]['world_size'] == 2

    last = Path((tmp_path / 'last_checkpoint').read_text())
    epoch = int(last.stem.removeprefix('epoch_'))
    done = subprocess.run(
        [sys.executable, 'tools/train.py', config, '--resume', *options,
         f'train_cfg.max_epochs={epoch + 1}', 'train_dataloader.batch_size=6',
         'train_dataloader.batch_sampler.batch_sizes.toy_image=6'], cwd=ROOT, env=env, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=200)
    assert done.returncode == 0, done.stdout[-3000:]
    assert f'resumed epoch: {epoch}, ' in done.stdout
    assert (tmp_path / f'epoch_{epoch + 1}.pth').is_file()
