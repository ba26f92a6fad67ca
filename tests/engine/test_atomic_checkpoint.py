"""Checkpoints on a disk that is full, in a run that is killed, and damaged afterwards."""

import errno
import logging.handlers
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.runner import load_checkpoint
from mmengine.runner.checkpoint import CheckpointLoader, save_checkpoint
from test_exact_resume import log, run

from unilearn_mm.engine import checkpoint_files
from unilearn_mm.engine.checkpoint_files import (
    ATOMIC,
    CorruptCheckpointError,
    newest_good,
    read_checkpoint,
    sidecar_of,
    verify,
    write_atomically,
    write_checkpoint,
)
from unilearn_mm.engine.hooks.atomic_checkpoint import AtomicCheckpointHook

OLD, NEW = dict(a=torch.zeros(5000)), dict(a=torch.ones(9000))


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it, what is on the disk stays as it is."""


def save(content, path):
    """Through MMEngine, as the hook does."""
    save_checkpoint(content, str(path), backend_args=dict(ATOMIC))


def load(path):
    return read_checkpoint(path)['a']


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_checkpoint_comes_with_its_checksum(tmp_path):
    path = tmp_path / 'new folder' / 'epoch_1.pth'
    save(OLD, path)
    assert names(path.parent) == ['epoch_1.pth', 'epoch_1.pth.sha256']
    done = subprocess.run(['sha256sum', '-c', 'epoch_1.pth.sha256'], cwd=path.parent,
                          text=True, capture_output=True)
    assert done.stdout == 'epoch_1.pth: OK\n'
    assert verify(path) and torch.equal(load(path), OLD['a'])


def test_a_copied_run_leaves_the_files_of_the_original_alone(tmp_path):
    """Its first better checkpoint replaces its own copy of the best one."""
    original, copy = tmp_path / 'a', tmp_path / 'b'
    run(original, stop=('after_train_epoch', 2))
    there = {path.name: path.read_bytes() for path in original.glob('*.pth*')}
    assert any(name.startswith('best_') for name in there)
    shutil.copytree(original, copy)
    run(copy, resume=True)
    assert {path.name: path.read_bytes() for path in original.glob('*.pth*')} == there
    assert len(list(copy.glob('best_*.pth'))) == 1


def test_a_validation_alone_needs_no_checkpoints(tmp_path):
    runner = run(tmp_path / 'a')
    hook = next(hook for hook in runner.hooks if type(hook).__name__ == 'AtomicCheckpointHook')
    for name in ('file_backend', 'save_best'):
        setattr(hook, name, None)
    assert 'acc' in runner.val()


def calls_of_a_save(monkeypatch, content, path):
    """Names of the calls to the disk that one save makes, in order."""
    made = []
    for name in ('replace', 'fsync'):
        original = getattr(os, name)
        monkeypatch.setattr(checkpoint_files.os, name, lambda *args, name=name, do=original: (
            made.append(name), do(*args))[1])
    save(content, path)
    monkeypatch.undo()
    return made


@pytest.mark.parametrize('with_sidecar', [True, False], ids=['ours', 'of MMEngine'])
@pytest.mark.parametrize('there', [True, False], ids=['replaced', 'new'])
def test_killed_at_any_call_to_the_disk(tmp_path, monkeypatch, there, with_sidecar):
    """Before and after each of them, the old or the new checkpoint is there and verified."""
    path = tmp_path / 'epoch_1.pth'
    (tmp_path / 'trial').mkdir()
    if there:
        save(OLD, tmp_path / 'trial' / path.name)
    made = calls_of_a_save(monkeypatch, NEW, tmp_path / 'trial' / path.name)
    assert made.count('replace') == (3 if there else 2)
    seen = set()
    for number in range(len(made)):
        for after in (False, True):
            for left in list(tmp_path.glob('epoch_1*')):
                left.unlink()
            if there:
                save(OLD, path)
                if not with_sidecar:
                    sidecar_of(path).unlink()
            with monkeypatch.context() as patch:
                kill_at(patch, number, after)
                with pytest.raises(Killed):
                    save(NEW, path)
            found = path.is_file() and (verify(path) or not with_sidecar) and len(load(path))
            assert found in ({5000, 9000} if there else {False, 9000})
            seen.add(found)
            save(NEW, path)  # the next start writes it again
            assert verify(path) and torch.equal(load(path), NEW['a'])
            assert len(sidecar_of(path).read_text().splitlines()) == 1
    assert len(seen) == 2, 'some kills come before the rename, some after'


def kill_at(patch, number, after):
    """Let the process die before or after its n-th call to the disk."""
    calls = []
    patch.setattr(Path, 'unlink', lambda path, missing_ok=False: None)  # a dead process cleans not

    def dying(do):

        def call(*args):
            calls.append(do)
            if len(calls) - 1 == number:
                if after:
                    do(*args)
                raise Killed
            return do(*args)

        return call

    for name in ('replace', 'fsync'):
        patch.setattr(checkpoint_files.os, name, dying(getattr(os, name)))


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 KiB, or else a limit of the size of files."""
    folder = tmp_path / 'disk'
    folder.mkdir()
    mounted = os.name == 'posix' and subprocess.run(
        ['mount', '-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', str(folder)],
        capture_output=True).returncode == 0
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    if not mounted:
        resource.setrlimit(resource.RLIMIT_FSIZE, (48 * 1024, limits[1]))
    yield folder
    if mounted:
        subprocess.run(['umount', str(folder)], check=True)
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_full_disk_loses_nothing(small_disk):
    path = small_disk / 'epoch_1.pth'
    save(OLD, path)
    before = {file: (small_disk / file).read_bytes() for file in names(small_disk)}
    with pytest.raises(OSError, match=r'epoch_1\.pth \(\d+ bytes\) cannot be written') as raised:
        save(dict(a=torch.ones(20000)), path)
    assert raised.value.errno in (errno.ENOSPC, errno.EFBIG)
    assert names(small_disk) == list(before), 'the half-written file is gone'
    assert path.read_bytes() == before['epoch_1.pth']
    assert verify(path) and torch.equal(load(path), OLD['a'])
    with pytest.raises(OSError):
        write_atomically(path, bytes(100_000))
    assert path.read_bytes() == before['epoch_1.pth']


DAMAGES = dict(
    truncated=lambda content: content[:len(content) // 2],
    one_byte_short=lambda content: content[:-1],
    bit_flipped=lambda content: content[:2000] + bytes([content[2000] ^ 4]) + content[2001:],
    zero_bytes=lambda content: b'',
    zeros=lambda content: bytes(len(content)))


@pytest.mark.parametrize('damage', DAMAGES)
def test_damage_is_found_and_named_by_every_reader(tmp_path, damage):
    path = tmp_path / 'epoch_1.pth'
    save(dict(state_dict=OLD), path)
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    model = torch.nn.Linear(2, 2)
    for read in (read_checkpoint, CheckpointLoader.load_checkpoint,
                 lambda name: load_checkpoint(model, name)):
        with pytest.raises(CorruptCheckpointError, match=r'epoch_1\.pth: truncated or damaged'):
            read(str(path))
    sidecar_of(path).unlink()
    if damage != 'bit_flipped':  # torch sees the rest without a checksum
        with pytest.raises(CorruptCheckpointError, match=r'epoch_1\.pth: \d+ bytes that cannot'):
            read_checkpoint(path)


def test_a_strangers_file_is_read_with_a_note(tmp_path):
    torch.save(OLD, tmp_path / 'stranger.pth')
    notes = logging.handlers.BufferingHandler(100)
    logger = MMLogger.get_current_instance()
    logger.addHandler(notes)
    assert torch.equal(load(tmp_path / 'stranger.pth'), OLD['a'])
    logger.removeHandler(notes)
    assert 'not verified, there is no stranger.pth.sha256' in notes.buffer[0].getMessage()
    with pytest.raises(FileNotFoundError, match='nowhere.pth'):
        read_checkpoint(tmp_path / 'nowhere.pth')


# ---------------------------------------------------------------- choosing a file

def run_of_three(folder):
    """A work directory with epoch_1 .. epoch_3, the times of the files in this order."""
    for epoch in (1, 2, 3):
        path = folder / f'epoch_{epoch}.pth'
        write_checkpoint(path, f'epoch {epoch}'.encode() * 500)
        os.utime(path, (1000 + epoch, 1000 + epoch))
    write_checkpoint(folder / 'best_acc_epoch_2.pth', b'cannot be resumed')
    write_atomically(folder / 'last_checkpoint', str(folder / 'epoch_3.pth').encode())


def choice(folder):
    said = []
    path = newest_good(folder, said.append)
    return path and path.name, said


def test_the_newest_good_file_is_chosen(tmp_path):
    assert choice(tmp_path) == (None, [])
    run_of_three(tmp_path)
    assert choice(tmp_path) == ('epoch_3.pth', [])
    path = tmp_path / 'epoch_3.pth'
    content = path.read_bytes()
    for damage in DAMAGES.values():
        path.write_bytes(damage(content))
        name, (bad, taken) = choice(tmp_path)
        assert name == 'epoch_2.pth'
        assert bad.startswith(f'{path}: truncated or damaged') and 'epoch_2.pth: taken' in taken
    sidecar_of(tmp_path / 'epoch_2.pth').unlink()
    name, said = choice(tmp_path)
    assert name == 'epoch_1.pth' and 'epoch_2.pth: passed over, it has no .sha256' in said[1]
    sidecar_of(tmp_path / 'epoch_1.pth').write_text('')
    with pytest.raises(CorruptCheckpointError, match='(?s)no checkpoint can be resumed.*epoch_3.*'
                                                     'epoch_2.*epoch_1.*nothing'):
        choice(tmp_path)


@pytest.mark.parametrize('pointer', ['', '/nowhere/epoch_9.pth', '\0' * 40, None])
def test_a_pointer_that_leads_nowhere(tmp_path, pointer):
    run_of_three(tmp_path)
    (tmp_path / 'last_checkpoint').unlink()
    if pointer is not None:
        (tmp_path / 'last_checkpoint').write_text(pointer)
    assert choice(tmp_path) == ('epoch_3.pth', [])


def test_the_pointer_comes_before_the_time(tmp_path):
    run_of_three(tmp_path)
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_2.pth'))
    assert choice(tmp_path)[0] == 'epoch_2.pth'
    moved = tmp_path.parent / f'{tmp_path.name}_moved'
    tmp_path.rename(moved)
    assert choice(moved)[0] == 'epoch_2.pth'


def test_a_run_without_any_checksum_is_of_mmengine(tmp_path):
    run_of_three(tmp_path)
    for path in tmp_path.glob('*.sha256'):
        path.unlink()
    name, (note, ) = choice(tmp_path)
    assert name == 'epoch_3.pth' and 'without verification' in note


# ---------------------------------------------------------------- the hook in a run

def test_what_a_run_keeps(tmp_path):
    """max_keep_ckpts=2 and the best one; each with its checksum, nothing else."""
    runner = run(tmp_path)
    best = Path(runner.message_hub.get_info('best_ckpt')).name
    files = ['epoch_2.pth', 'epoch_3.pth', best]
    found = [name for name in names(tmp_path) if '.pth' in name]
    assert found == sorted(files + [f'{name}.sha256' for name in files])
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'epoch_3.pth')
    assert all(verify(tmp_path / name) for name in files)


def test_resume_takes_the_good_file_and_cleans_up(tmp_path):
    """Damaged, half-written and left-over files of a run that was killed in epoch 3."""
    run(tmp_path, ('after_train_iter', 12))
    (tmp_path / 'epoch_2.pth').write_bytes(b'')
    for name in ('.epoch_3.pth.0123abcd.tmp', '.epoch_3.pth.sha256.0123abcd.tmp',
                 '.last_checkpoint.0123abcd.tmp'):
        (tmp_path / name).write_bytes(b'half')
    resumed = run(tmp_path, resume=True)
    assert 'epoch_2.pth: truncated or damaged' in log(resumed)
    assert 'epoch_1.pth: taken instead' in log(resumed)
    assert resumed.iter == 15 and len(resumed.train_dataloader.dataset.read) == 40
    assert all(verify(tmp_path / f'epoch_{epoch}.pth') for epoch in (2, 3))
    assert not (tmp_path / 'epoch_1.pth').exists() and not list(tmp_path.glob('.*.tmp'))


def test_nothing_is_removed_before_its_successor_is_there(tmp_path, monkeypatch):
    """One file is kept; the disk is full when the second is written."""
    written = []

    def write(path, content):
        written.append(Path(path).name)
        if 'epoch_2.pth' in written:
            raise OSError(errno.ENOSPC, 'No space left on device')
        write_checkpoint(path, content)

    monkeypatch.setattr(checkpoint_files, 'write_checkpoint', write)
    keep_one = dict(checkpoint=dict(type='AtomicCheckpointHook', interval=1, max_keep_ckpts=1,
                                    save_best='acc', rule='less'))
    with pytest.raises(OSError, match='No space left'):
        run(tmp_path, default_hooks=keep_one)
    assert verify(tmp_path / 'epoch_1.pth') and verify(tmp_path / 'best_acc_epoch_1.pth')
    monkeypatch.undo()
    resumed = run(tmp_path, default_hooks=keep_one, resume=True)
    assert resumed.iter == 15
    assert len(list(tmp_path.glob('*.pth'))) == 2, 'the last and the best'


def test_files_that_a_killed_run_did_not_remove_go_at_the_next_start(tmp_path):
    run(tmp_path, ('after_train_epoch', 3))
    state = torch.load(tmp_path / 'epoch_3.pth', weights_only=True)
    superseded, = state['message_hub']['runtime_info']['superseded_epoch_{}.pth']
    assert superseded == str(tmp_path / 'epoch_1.pth')
    elsewhere = tmp_path.parent / f'{tmp_path.name}_other.pth'
    for path in (elsewhere, tmp_path / 'epoch_1.pth'):
        path.write_bytes(b'')
    state['message_hub']['runtime_info']['superseded_epoch_{}.pth'] += [str(elsewhere)]
    save(state, tmp_path / 'epoch_3.pth')
    run(tmp_path, resume=True)
    assert not (tmp_path / 'epoch_1.pth').exists()
    assert elsewhere.exists(), 'another folder is not our business'


def test_epoch_and_step_checkpoints_in_one_run(tmp_path):
    """Their lists of kept files do not get mixed up, in MMEngine they do."""
    hooks = [dict(type='AtomicCheckpointHook', by_epoch=False, interval=4, max_keep_ckpts=1)]
    run(tmp_path, ('after_train_iter', 13), hooks=hooks)
    run(tmp_path, resume=True, hooks=hooks)
    found = {path.name for path in tmp_path.glob('*.pth') if not path.name.startswith('best')}
    assert found == {'epoch_2.pth', 'epoch_3.pth', 'iter_15.pth'}


def test_the_file_that_the_user_names_is_not_replaced_by_another(tmp_path):
    run(tmp_path, ('after_train_iter', 12))
    bad = tmp_path / 'epoch_2.pth'
    bad.write_bytes(bad.read_bytes()[:-9])
    with pytest.raises(CorruptCheckpointError, match='epoch_2.pth.*--resume without a file'):
        run(tmp_path, resume=True, load_from=str(bad))


@pytest.mark.slow
def test_killed_for_real_while_writing(tmp_path):
    """SIGKILL at random moments of a process that writes one checkpoint after the other."""
    code = ('import sys; from unilearn_mm.engine.checkpoint_files import write_checkpoint\n'
            'print("ready", flush=True)\n'
            'while True:\n    for value in b"ab": write_checkpoint(sys.argv[1], '
            'bytes([value]) * 20_000_000)')
    path = tmp_path / 'epoch_1.pth'
    write_checkpoint(path, b'c')
    for delay in (0.03, 0.11, 0.2):
        process = subprocess.Popen([sys.executable, '-c', code, str(path)], text=True,
                                   stdout=subprocess.PIPE)
        assert process.stdout.readline() == 'ready\n'
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(delay)
        process.kill()
        process.wait()
        content = path.read_bytes()
        assert verify(path) and len(set(content)) == 1 and len(content) in (1, 20_000_000)


@pytest.mark.parametrize('name, value', [('backend_args', dict(backend='petrel')),
                                         ('file_client_args', dict(backend='disk'))])
def test_another_place_for_the_files_is_refused(name, value):
    with pytest.raises(TypeError, match=rf"writes to a local.*found.*{name}=\{{'backend': "):
        AtomicCheckpointHook(interval=1, **{name: value})


def test_arguments_of_the_stock_hook_are_taken():
    hook = AtomicCheckpointHook(2, False, backend_args=None, file_client_args=None, save_best='a',
                                rule='greater')
    assert (hook.interval, hook.by_epoch, hook.key_indicators) == (2, False, ['a'])
    assert hook.backend_args == ATOMIC
