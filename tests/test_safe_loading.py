"""Files that would run code, given to everything that reads a checkpoint: nothing runs."""

import argparse
import functools
import http.server
import importlib.util
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from mmaction.apis.inferencers import ActionRecogInferencer
from mmaction.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer
from mmengine.runner import load_checkpoint
from mmengine.runner.checkpoint import CheckpointLoader
from safetensors.torch import save_file

from unilearn_mm.datasets.readers import PackedReader
from unilearn_mm.engine.checkpoint_files import (
    CorruptCheckpointError,
    UnsafeCheckpointError,
    read_checkpoint,
    sidecar_of,
    write_checkpoint,
)
from unilearn_mm.media import MediaReadError

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / 'tests' / 'engine'))
from test_exact_resume import run  # noqa: E402

TENSORS = dict(weight=torch.zeros(2, 2))


class Call:
    """Pickles as a call."""

    def __init__(self, function, *args):
        self.reduced = (function, args)

    def __reduce__(self):
        return self.reduced


def attacks(victim):
    """Objects that create the file ``victim`` when unpickled, and a name that a refusal tells."""
    touch = f'open({str(victim)!r}, "w").close()'
    code = Call(eval, touch)
    return {
        'os.system': (Call(os.system, f'touch {victim}'), 'posix.system'),
        'eval': (code, 'eval'),
        'exec': (Call(exec, touch), 'exec'),
        'subprocess': (Call(subprocess.check_call, ['touch', str(victim)]), 'check_call'),
        'a method by getattr': (Call(Path.touch, Path(victim)), 'pathlib'),
        'a partial function': (Call(functools.partial(os.system, f'touch {victim}')), 'partial'),
        'an object array': (np.array([code], dtype=object), 'NumPy type'),
        'a HistoryBuffer': (Call(HistoryBuffer, [code], [1]), 'eval'),
        'a ConfigDict': (ConfigDict(a=code), 'eval'),
        'a Namespace': (argparse.Namespace(lr=[code]), 'eval'),
        'a key': ({code: 1}, 'eval'),
    }


def wrapped(attack):
    """Where it can sit in a checkpoint."""
    return dict(
        state_dict=dict(state_dict=dict(TENSORS, bias=attack)),
        meta=dict(state_dict=TENSORS, meta=dict(epoch=1, iter=1, seed=attack)),
        message_hub=dict(state_dict=TENSORS, message_hub=dict(runtime_info=dict(x=[attack]))),
        optimizer=dict(state_dict=TENSORS, optimizer=dict(state={0: dict(step=attack)})),
        bare=attack)


@pytest.mark.parametrize('name', attacks(''))
def test_attacks_are_refused_and_named(tmp_path, name):
    victim, path = tmp_path / 'victim', tmp_path / 'attack.pth'
    attack, told = attacks(victim)[name]
    for checkpoint in wrapped(attack).values():
        torch.save(checkpoint, path)
        with pytest.raises(UnsafeCheckpointError) as raised:
            read_checkpoint(path)
        message = str(raised.value)
        assert str(path) in message and told in message and 'safetensors' in message
        assert 'add_safe_globals' not in message, 'torch tells to allow what was refused'
        assert not victim.exists()
    torch.load(path, weights_only=False)
    assert victim.exists(), 'the attack is harmless, so this test shows nothing'


def files(folder, attack):
    """One attack in every format that torch reads, or that a name may pretend."""
    torch.save(attack, folder / 'zip.pth')
    torch.save(attack, folder / 'zip_protocol_4.pth', pickle_protocol=4)
    torch.save(attack, folder / 'legacy.pth', _use_new_zipfile_serialization=False)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        (folder / f'protocol_{protocol}.pkl').write_bytes(pickle.dumps(attack, protocol))
    (folder / 'pretends.safetensors').write_bytes(pickle.dumps(attack))
    write_checkpoint(folder / 'with_a_checksum.pth', pickle.dumps(attack, 2))
    return [path for path in sorted(folder.iterdir()) if path.suffix != '.sha256']


def test_every_file_format(tmp_path, monkeypatch):
    victim, folder = tmp_path / 'victim', tmp_path / 'files'
    folder.mkdir()
    paths = files(folder, dict(x=Call(os.system, f'touch {victim}')))
    assert len(paths) == 11
    # many set it, because MMEngine's checkpoints need it without our allow-list
    monkeypatch.setenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '1')
    for path in paths:
        expected = CorruptCheckpointError if 'pretends' in path.name else UnsafeCheckpointError
        with pytest.raises(expected, match=path.name) as raised:
            read_checkpoint(path)
        assert expected is CorruptCheckpointError or 'posix.system' in str(raised.value)
        assert not victim.exists()


def test_torchscript_is_refused(tmp_path):
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(tmp_path / 'script.pth'))
    with pytest.raises(UnsafeCheckpointError, match='script.pth.*TorchScript archive'):
        read_checkpoint(tmp_path / 'script.pth')


@pytest.mark.parametrize('content, told', [
    (torch.zeros(2), 'a Tensor'), ([torch.zeros(2)], 'a list'), (None, 'a NoneType'),
    ({1: torch.zeros(2)}, 'the key 1')])
def test_a_file_without_names_is_named(tmp_path, content, told):
    """MMEngine: AttributeError: 'Tensor' object has no attribute 'get'."""
    path, work_dir = tmp_path / 'bare.pth', tmp_path / 'work'
    torch.save(content, path)
    for read in (by_mmengine, by_backbone, by_stock_init, by_training):
        with pytest.raises(CorruptCheckpointError, match=rf'bare\.pth: holds {told}'):
            read(path, work_dir, None)


def test_harmless_files_are_read(tmp_path):
    save_file(TENSORS, tmp_path / 'plain.safetensors')
    torch.save(dict(state_dict=TENSORS), tmp_path / 'plain.pth')
    for name, wanted in (('plain.safetensors', TENSORS), ('plain.pth', dict(state_dict=TENSORS))):
        for read in (read_checkpoint, CheckpointLoader.load_checkpoint):
            found = read(str(tmp_path / name), map_location='cpu')
            assert found.keys() == wanted.keys()
    model = torch.nn.Linear(2, 2, bias=False)
    load_checkpoint(model, str(tmp_path / 'plain.safetensors'))
    assert (model.weight == 0).all()


# ---------------------------------------------------------------- entry points

def tool(name):
    """The module of a command-line tool."""
    spec = importlib.util.spec_from_file_location(Path(name).stem, ROOT / 'tools' / name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def by_mmengine(path, work_dir, monkeypatch):
    load_checkpoint(torch.nn.Linear(2, 2), str(path))


def by_backbone(path, work_dir, monkeypatch):
    MODELS.build(dict(
        type='VisionTransformerMoAE', img_size=16, patch_size=8, num_frames=4, embed_dims=16,
        depth=2, num_heads=2, init_cfg=dict(type='Pretrained', checkpoint=str(path)))
    ).init_weights()


def by_stock_init(path, work_dir, monkeypatch):
    MODELS.build(dict(type='ResNet', depth=18, pretrained=str(path))).init_weights()


def by_training(path, work_dir, monkeypatch):
    run(work_dir, load_from=str(path))


def by_resume(path, work_dir, monkeypatch):
    run(work_dir, load_from=str(path), resume=True)


def by_auto_resume(path, work_dir, monkeypatch):
    work_dir.mkdir()
    (work_dir / 'last_checkpoint').write_text(str(path))
    run(work_dir, resume=True)


def by_pictures(path, work_dir, monkeypatch):
    monkeypatch.setattr(sys, 'argv', [
        'show', str(ROOT / 'configs/unilearn_toy_pretrain.py'), str(path), '--out', str(work_dir)])
    tool('analysis/show_reconstruction.py').main()


@pytest.mark.parametrize('read', [by_mmengine, by_backbone, by_stock_init, by_training, by_resume,
                                  by_auto_resume, by_pictures])
def test_every_entry_point_refuses(tmp_path, monkeypatch, read):
    victim, path = tmp_path / 'victim', tmp_path / 'attack.pth'
    torch.save(wrapped(Call(os.system, f'touch {victim}'))['message_hub'], path)
    with pytest.raises(pickle.UnpicklingError, match='posix.system'):
        read(path, tmp_path / 'work', monkeypatch)
    assert not victim.exists()


def test_a_checkpoint_from_the_net(tmp_path, monkeypatch):
    """torch.hub, which MMEngine asks, unpickles everything."""
    victim = tmp_path / 'victim'
    torch.save(Call(os.system, f'touch {victim}'), tmp_path / 'attack.pth')
    torch.save(TENSORS, tmp_path / 'plain.pth')
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f'http://127.0.0.1:{server.server_port}'
        with pytest.raises(pickle.UnpicklingError, match='posix.system'):
            CheckpointLoader.load_checkpoint(f'{url}/attack.pth')
        assert not victim.exists()
        assert CheckpointLoader.load_checkpoint(f'{url}/plain.pth').keys() == TENSORS.keys()
        torch.hub.load_state_dict_from_url(f'{url}/attack.pth')
        server.shutdown()
    assert victim.exists(), 'torch.hub is strict by now: the repair may be needless'


def test_a_config_in_a_checkpoint_is_not_run(tmp_path):
    """On resume, MMEngine would parse ``meta['config']``, and its configs are Python."""
    victim, path = tmp_path / 'victim', tmp_path / 'work' / 'iter_7.pth'
    run(tmp_path / 'work', ('after_train_iter', 7), by_epoch=False)
    state = torch.load(path, weights_only=True)
    state['meta']['config'] = f'import os\nos.system("touch {victim}")\n'
    torch.save(state, path)
    sidecar_of(path).unlink()
    with pytest.warns(UserWarning, match='would run as Python'):
        resumed = run(tmp_path / 'work', resume=True, load_from=str(path))
    assert resumed.iter == 15 and not victim.exists()


def test_an_inferencer_does_not_run_the_config_in_its_weights(tmp_path):
    """MMAction2's, given weights alone, would."""
    sign, path = tmp_path / 'ran', tmp_path / 'epoch_1.pth'
    torch.save(dict(state_dict={}, meta=dict(cfg=f'import os\nos.mkdir({str(sign)!r})')), path)
    with pytest.raises(ValueError, match='give the config file as `model`'):
        ActionRecogInferencer(model=None, weights=str(path), device='cpu')
    assert not sign.exists()


def test_packed_clips_are_no_pickles(tmp_path):
    victim = tmp_path / 'victim'
    np.save(tmp_path / 'clip.npy', np.array([Call(os.system, f'touch {victim}')], dtype=object),
            allow_pickle=True)
    with pytest.raises(MediaReadError, match='clip.npy.*packed clip'):
        PackedReader(str(tmp_path / 'clip.npy'))
    assert not victim.exists()
    np.load(tmp_path / 'clip.npy', allow_pickle=True)
    assert victim.exists()


@pytest.mark.slow
def test_the_command_lines_refuse(toy_root, tmp_path):
    victim, path = tmp_path / 'victim', tmp_path / 'attack.pth'
    torch.save(wrapped(Call(os.system, f'touch {victim}'))['meta'], path)
    config = str(ROOT / 'configs/unilearn_toy.py')
    env = {**os.environ, 'TOY_DATA': str(toy_root), 'OMP_NUM_THREADS': '1',
           'TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD': '1'}
    for script, arguments in (('tools/test.py', [config, str(path)]),
                              ('tools/train.py', [
                                  config, '--resume', str(path), '--cfg-options',
                                  'train_dataloader.batch_size=7',
                                  'train_dataloader.batch_sampler.batch_sizes.toy_image=7'])):
        done = subprocess.run([sys.executable, str(ROOT / script), *arguments, '--work-dir',
                               str(tmp_path / 'work')], env=env, cwd=tmp_path, text=True,
                              capture_output=True, timeout=280)
        assert done.returncode == 1
        assert 'posix.system' in done.stderr and 'safetensors' in done.stderr
        assert not victim.exists()
