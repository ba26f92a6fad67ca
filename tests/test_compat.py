"""The repairs of unilearn_mm.compat, on the installed stack and on made-up ones."""
import argparse
import copy
import importlib.util
import io
import os
import pickle
import re
import subprocess
import sys
import types
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.evaluator import BaseMetric
from mmengine.hooks import EMAHook
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner

COMPAT = Path(__file__).parents[1] / 'unilearn_mm' / 'compat.py'
LOAD_COMPAT = f'''
import importlib.util
spec = importlib.util.spec_from_file_location('unilearn_compat_under_test', {str(COMPAT)!r})
compat = importlib.util.module_from_spec(spec)
spec.loader.exec_module(compat)
'''
WORKS = {'torch': '2.6.0', 'mmengine': '0.10.7', 'mmcv': '2.1.0', 'mmaction': '1.2.0'}
spec = importlib.util.spec_from_file_location('unilearn_compat_under_test', COMPAT)
compat = importlib.util.module_from_spec(spec)
spec.loader.exec_module(compat)


def run_python(code, *launcher, **environment):
    """Run ``code`` in a fresh interpreter without an accelerator; return the finished process."""
    env = {**os.environ, 'CUDA_VISIBLE_DEVICES': '', 'OMP_NUM_THREADS': '1', **environment}
    return subprocess.run([sys.executable, *(launcher or ('-c', code))], env=env, text=True,
                          capture_output=True, timeout=300)


class Touch:
    """Unpickling it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f'touch {self.path}', )


def mmaction_folders():
    return importlib.util.find_spec('mmaction').submodule_search_locations


# ---------------------------------------------------------------- what must be installed

@pytest.mark.parametrize('changed', [
    {}, {'mmcv': '2.0.0rc4'}, {'mmcv': '2.1.9'}, {'mmengine': '0.11.0rc0'},
    {'mmengine': '0.10.12'}, {'mmaction': '1.3.0'}, {'torch': '2.11.0+cu130'}])
def test_versions_that_fit(changed):
    assert compat.stack_problem({**WORKS, **changed}) is None


@pytest.mark.parametrize('package, version, advice', [
    ('mmcv', '2.2.0', 'pip install mmcv-lite==2.1.0'),
    ('mmcv', '2.0.0rc3', 'pip install mmcv-lite==2.1.0'),
    ('mmcv', '1.7.2', 'never both'),
    ('mmcv', None, 'pip install mmcv-lite==2.1.0'),
    ('mmengine', '0.10.6', 'pip install "mmengine>=0.10.7,<1.0.0"'),
    ('mmengine', '1.0.0', 'pip install "mmengine>=0.10.7,<1.0.0"'),
    ('mmaction', '1.1.0', 'pip install mmaction2==1.2.0'),
    ('mmaction', None, 'pip install mmaction2==1.2.0'),
    ('torch', '2.5.1', 'pip install torch'),
])
def test_versions_that_do_not_fit(package, version, advice):
    problem = compat.stack_problem({**WORKS, package: version})
    assert problem.startswith(f'{package} {version or "is not"} ')
    assert advice in problem


def test_installed_version_needs_no_import(tmp_path, monkeypatch):
    (tmp_path / 'made_up').mkdir()
    (tmp_path / 'made_up' / '__init__.py').write_text('raise RuntimeError("imported")')
    (tmp_path / 'made_up' / 'version.py').write_text('# c\n__version__ = "3.1.4rc1"\n')
    (tmp_path / 'empty_folder').mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert compat.installed_version('made_up') == '3.1.4rc1'
    assert compat.installed_version('empty_folder') is None
    assert compat.installed_version('not_there_at_all') is None
    import mmengine
    assert compat.installed_version('mmengine') == mmengine.__version__


@pytest.mark.parametrize('library, package', [
    ('libGL.so.1', 'libgl1'), ('libgthread-2.0.so.0', 'libglib2.0-0'), ('libSM.so.6', 'libsm6')])
def test_missing_system_library_is_named(library, package):
    text = compat.explain_cv2_failure(
        f'{library}: cannot open shared object file: No such file or directory')
    assert f'system library {library} is missing' in text
    assert package in text.split('apt-get install')[1].splitlines()[0].split()
    assert 'opencv-python-headless opencv-contrib-python-headless' in text


def test_missing_opencv_is_not_blamed_on_a_library():
    text = compat.explain_cv2_failure("No module named 'cv2'")
    assert 'apt-get' not in text and 'pip install opencv-python' in text


def test_an_old_opencv_is_named(monkeypatch):
    """4.10 has no IMREAD_COLOR_RGB, which the readers would find out in a worker."""
    for version, fits in (('4.10.0', False), ('4.11.0', True), ('5.0.0-dev', True)):
        monkeypatch.setitem(sys.modules, 'cv2', types.SimpleNamespace(__version__=version))
        with nullcontext() if fits else pytest.raises(ImportError, match=re.escape(
                'OpenCV 4.10.0 is installed; opencv-python>=4.11 is needed')):
            compat.check_opencv()


# ---------------------------------------------------------------- DRN and multimodal

def test_drn_is_stubbed_only_where_its_file_is_absent(tmp_path, monkeypatch):
    localizers = tmp_path / 'mmaction' / 'models' / 'localizers'
    localizers.mkdir(parents=True)
    source = Path(next(iter(mmaction_folders())))
    for file in source.glob('models/localizers/*.py'):
        (localizers / file.name).symlink_to(file)
    (tmp_path / 'mmaction' / '__init__.py').write_text('')
    monkeypatch.syspath_prepend(tmp_path)
    folders = [str(tmp_path / 'mmaction')]
    assert compat.drn_is_missing(folders)
    (localizers / 'drn').mkdir()
    assert compat.drn_is_missing(folders)
    (localizers / 'drn' / 'drn.py').write_text('class DRN: pass')
    assert not compat.drn_is_missing(folders)
    for name in ('mmaction', 'mmaction.models.localizers.drn'):
        monkeypatch.delitem(sys.modules, name, raising=False)
    before = set(sys.modules)
    assert compat.stub_missing_drn() is False
    assert set(sys.modules) == before


def test_transformers_is_judged_by_its_file(tmp_path, monkeypatch):
    package = tmp_path / 'transformers'
    package.mkdir()
    (package / '__init__.py').write_text('raise RuntimeError("imported")')
    monkeypatch.syspath_prepend(tmp_path)
    (package / 'modeling_utils.py').write_text('from .pytorch_utils import Conv1D\n')
    assert compat.transformers_lacks_chunking()
    (package / 'modeling_utils.py').write_text(
        'from .pytorch_utils import (\n    Conv1D,\n    apply_chunking_to_forward,\n)\n')
    assert not compat.transformers_lacks_chunking()
    assert compat.switch_off_multimodal() is False


@pytest.mark.slow
def test_repaired_process(tmp_path):
    """One process for all that needs a fresh interpreter; a too new transformers is faked."""
    (tmp_path / 'transformers').mkdir()
    (tmp_path / 'transformers' / '__init__.py').write_text('')
    (tmp_path / 'transformers' / 'modeling_utils.py').write_text('class PreTrainedModel: pass\n')
    metadata = tmp_path / 'transformers-5.0.0.dist-info'
    metadata.mkdir()
    (metadata / 'METADATA').write_text(
        'Metadata-Version: 2.1\nName: transformers\nVersion: 5.0.0\n')
    done = run_python(LOAD_COMPAT + f'''
import os, sys
missing = compat.drn_is_missing({list(mmaction_folders())!r})
compat.check_stack()
compat.check_opencv()
applied = compat.repair('mmaction') + compat.repair('mmengine')
assert compat.repair('mmengine') == applied[-6:]
assert applied == ('stub_missing_drn',) * missing + (
    'switch_off_multimodal', 'allow_checkpoint_types', 'unpickle_no_downloads',
    'run_no_config_of_checkpoints', 'init_cpu_ranks_with_gloo', 'drop_device_ids_on_cpu',
    'format_config_once'), applied
from mmengine.model import MMDistributedDataParallel
construct = MMDistributedDataParallel.__init__
compat.drop_device_ids_on_cpu()
assert MMDistributedDataParallel.__init__ is construct
assert compat.stub_missing_drn() is False

import mmaction.models
import mmaction.utils.dependency, mmpretrain.utils.dependency
assert mmaction.utils.dependency.WITH_MULTIMODAL is False
assert mmpretrain.utils.dependency.WITH_MULTIMODAL is False
from mmaction.registry import MODELS
from mmaction.models.localizers import DRN
if missing:
    for build in (DRN, lambda **kw: MODELS.build(dict(type='DRN', **kw))):
        try:
            build(vocab_size=1301)
        except ImportError as error:
            assert 'models/localizers/drn/drn.py' in str(error), error
        else:
            raise AssertionError('DRN was built')

import socket, torch, warnings
from mmengine.dist import get_backend, init_dist
with socket.socket() as probe:
    probe.bind(('127.0.0.1', 0))
    port = probe.getsockname()[1]
os.environ.update(SLURM_PROCID='0', SLURM_NTASKS='1', SLURM_NODELIST='localhost',
                  SLURM_LOCALID='0', MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port))
set_device = torch.cuda.set_device
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter('always')
    init_dist('slurm', backend='nccl', timeout=60)
assert any('gloo' in str(warning.message) for warning in caught)
assert get_backend() == 'gloo'
assert torch.cuda.set_device is set_device
torch.distributed.destroy_process_group()
print('all good')
''', PYTHONPATH=str(tmp_path))
    assert done.returncode == 0 and done.stdout.endswith('all good\n'), done.stdout + done.stderr


@pytest.mark.slow
def test_switched_off_repairs_leave_the_stack_as_it_is_but_for_the_safe_door(tmp_path):
    """Without them, code in a checkpoint still does not run, and those of MMEngine are read."""
    torch.save(dict(state_dict={}, message_hub=dict(loss=HistoryBuffer([1.], [1])),
                    meta=dict(config='raise SystemExit("ran")')), tmp_path / 'ours.pth')
    torch.save(dict(state_dict={}, x=Touch(tmp_path / 'ran')), tmp_path / 'attack.pth')
    done = run_python(LOAD_COMPAT + f'''
from mmengine.config import config
from mmengine.dist import utils
before = config.FormatCode, utils._init_dist_pytorch
assert compat.repair('mmengine') == (
    'allow_checkpoint_types', 'unpickle_no_downloads', 'run_no_config_of_checkpoints')
assert compat.repair('mmaction') == ()
assert (config.FormatCode, utils._init_dist_pytorch) == before
try:
    import mmaction.models
except ModuleNotFoundError as error:
    print('missing', error.name)
    compat.stub_missing_drn()  # from here on the stack is healthy

import unilearn_mm, warnings
from mmengine.runner.checkpoint import CheckpointLoader, load_url
warnings.simplefilter('ignore')
found = CheckpointLoader.load_checkpoint({str(tmp_path / 'ours.pth')!r})
assert found['message_hub']['loss'].current() == 1. and 'config' not in found['meta']
assert load_url.repaired_by_unilearn_mm
try:
    CheckpointLoader.load_checkpoint({str(tmp_path / 'attack.pth')!r})
except unilearn_mm.engine.checkpoint_files.UnsafeCheckpointError:
    print('refused')
''', UNILEARN_MM_NO_COMPAT='1', PYTHONPATH=str(COMPAT.parents[1]))
    assert done.returncode == 0, done.stderr
    broken = compat.drn_is_missing(mmaction_folders())
    assert ('missing mmaction.models.localizers.drn' in done.stdout) == broken
    assert done.stdout.endswith('refused\n') and not (tmp_path / 'ran').exists()


# ---------------------------------------------------------------- checkpoints

@pytest.fixture
def allow_list():
    """The allow-list of compat alone, whatever other tests have added."""
    before = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    assert compat.allow_checkpoint_types()
    yield
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals(before)


def reload(content):
    buffer = io.BytesIO()
    torch.save(content, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


class Line(BaseModel):

    def __init__(self):
        super().__init__()
        self.line = torch.nn.Linear(3, 2)

    def forward(self, inputs, mode):
        out = self.line(inputs)
        return {'loss': out.square().mean()} if mode == 'loss' else list(out)


class OddValues(BaseMetric):

    def process(self, data_batch, data_samples):
        self.results.append(len(data_samples))

    def compute_metrics(self, results):
        return {'acc': np.float32(0.5), 'counts': np.arange(3), 'hits': np.int64(len(results)),
                'note': 'fine', 'score': torch.tensor(2.)}


class Numbers(torch.utils.data.Dataset):
    metainfo = {'classes': ('a', 'b'), 'tasks': ConfigDict(dfew=['x'], more=dict(n=1)),
                'palette': np.array([[1, 2, 3]], dtype=np.uint8)}

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return {'inputs': torch.full((3, ), float(index))}


def make_runner(work_dir, epochs, **kwargs):
    model = Line()
    loader = dict(dataset=Numbers(), batch_size=2, num_workers=0,
                  collate_fn=dict(type='default_collate'))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    return Runner(
        model, str(work_dir), default_scope='mmengine', log_level='ERROR',
        train_dataloader=dict(sampler=dict(type='DefaultSampler', shuffle=True), **loader),
        val_dataloader=dict(sampler=dict(type='DefaultSampler', shuffle=False), **loader),
        train_cfg=dict(by_epoch=True, max_epochs=epochs), val_cfg=dict(),
        val_evaluator=[OddValues()], optim_wrapper=OptimWrapper(optimizer),
        param_scheduler=[dict(type='MultiStepLR', milestones=[1]),
                         dict(type='ReduceOnPlateauLR', monitor='acc')],
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', save_best='acc',
                                           rule='greater'),
                           logger=dict(type='LoggerHook', interval=1)),
        custom_hooks=[EMAHook()], **kwargs)


def test_a_checkpoint_of_the_runner_loads_and_resumes(allow_list, tmp_path):
    runner = make_runner(tmp_path, epochs=2)
    runner.train()
    path = tmp_path / 'epoch_2.pth'
    safe = torch.load(path, weights_only=True)
    trusted = torch.load(path, weights_only=False)
    assert_same(safe, trusted)
    scalars = safe['message_hub']['log_scalars']
    assert {'train/loss', 'val/acc', 'val/hits'} <= set(scalars)
    for name, buffer in scalars.items():
        assert type(buffer) is HistoryBuffer
        for statistic in ('min', 'max', 'mean', 'current'):
            assert buffer.statistics(statistic) == getattr(
                trusted['message_hub']['log_scalars'][name], statistic)()
    resumed = make_runner(tmp_path / 'again', epochs=3, load_from=str(path), resume=True,
                          experiment_name='again')
    resumed.train()
    assert (runner.iter, resumed.iter, resumed.epoch) == (4, 6, 3)
    losses = resumed.message_hub.log_scalars['train/loss'].data[0]
    np.testing.assert_array_equal(losses[:4], runner.message_hub.get_scalar('train/loss').data[0])
    assert len(losses) == 6


def assert_same(found, wanted):
    assert type(found) is type(wanted)
    if isinstance(wanted, dict):
        assert list(found) == list(wanted)
        for key in wanted:
            assert_same(found[key], wanted[key])
    elif isinstance(wanted, (list, tuple)):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted):
            assert_same(one, other)
    elif isinstance(wanted, (HistoryBuffer, argparse.Namespace)):
        assert_same({k: v for k, v in vars(found).items() if k != 'statistics_methods'},
                    {k: v for k, v in vars(wanted).items() if k != 'statistics_methods'})
    elif isinstance(wanted, (np.ndarray, np.generic)):
        assert found.dtype == wanted.dtype and found.dtype.isnative
        np.testing.assert_array_equal(found, wanted)
    elif isinstance(wanted, torch.Tensor):
        assert found.dtype == wanted.dtype and torch.equal(found, wanted)
    else:
        assert found == wanted


def test_numbers_and_namespaces_come_back_equal(allow_list):
    codes = ('?', 'i1', 'i2', 'i4', 'i8', 'u1', 'u2', 'u4', 'u8', 'f2', 'f4', 'f8', 'c8', 'c16')
    content = {
        'arrays': [np.array([[0, 1, 2], [3, 4, 1]]).astype(code) for code in codes],
        'order': np.asfortranarray(np.arange(6.).reshape(2, 3)),
        'empty': HistoryBuffer(),
        'scalars': [np.dtype(code).type(1) for code in codes],
        'args': argparse.Namespace(lr=1e-3, opt_betas=[0.9, 0.95], model='vit', none=None,
                                   nested=argparse.Namespace(x=np.float64(2))),
        'config': ConfigDict(a=dict(b=[dict(c=(1, 2))]), empty=dict()),
        'buffer': HistoryBuffer([1., 2., 4.], [1, 1, 2]),
    }
    found = reload(content)
    assert_same(found, content)
    assert found['config'].a.b[0].c == (1, 2)
    assert found['buffer'].mean() == 7 / 4
    assert_same(reload(found), content)
    empty = reload(argparse.Namespace())
    assert empty == argparse.Namespace() == reload(empty)
    assert_same(copy.deepcopy(found['buffer']), content['buffer'])


def test_without_the_allow_list_the_same_file_is_refused(allow_list):
    torch.serialization.clear_safe_globals()
    with pytest.raises(pickle.UnpicklingError, match='HistoryBuffer'):
        reload({'buffer': HistoryBuffer([1.], [1])})


class Call:
    """Pickles as a call of ``function`` with ``args``, then as setting ``state``."""

    def __init__(self, function, args, state=None):
        self.reduced = (function, args, state)

    def __reduce__(self):
        return self.reduced


def attacks(victim):
    touch = f'open({str(victim)!r}, "w").close()'
    return {
        'os.system': Call(os.system, (f'touch {victim}', )),
        'eval': Call(eval, (touch, )),
        'exec': Call(exec, (touch, )),
        'subprocess': Call(subprocess.check_call, (['touch', str(victim)], )),
        'in a Namespace': argparse.Namespace(lr=1, model=Call(eval, (touch, ))),
        'in a HistoryBuffer': Call(HistoryBuffer, ([Call(eval, (touch, ))], [1])),
        'in a ConfigDict': ConfigDict(a=Call(eval, (touch, ))),
        'in an array': np.array([Call(eval, (touch, ))], dtype=object),
    }


@pytest.mark.parametrize('name', list(attacks('')))
def test_code_in_a_checkpoint_does_not_run(allow_list, tmp_path, name):
    victim, path = tmp_path / 'victim', tmp_path / 'attack.pth'
    torch.save({'state_dict': attacks(victim)[name]}, path)
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)
    assert not victim.exists()
    torch.load(path, weights_only=False)
    assert victim.exists(), 'the attack is harmless, so this test shows nothing'


@pytest.mark.parametrize('owner, name', [
    (HistoryBuffer, '__init__'), (HistoryBuffer, '__globals__'), (HistoryBuffer, 'update'),
    (HistoryBuffer, 'register_statistics'), (HistoryBuffer, '__subclasses__'),
    (HistoryBuffer, '_statistics_methods'), (np.ndarray, 'tofile'), (np.ndarray, 'min'),
    (argparse.Namespace, 'mean'), (HistoryBuffer([1.], [1]), 'min'), ('text', 'format')])
def test_getattr_reaches_the_four_statistics_only(allow_list, owner, name):
    with pytest.raises(pickle.UnpicklingError, match='getattr'):
        reload([Call(getattr, (owner, name))])


def test_what_getattr_gives_cannot_be_called_or_followed(allow_list):
    mean = Call(getattr, (HistoryBuffer, 'mean'))
    assert reload([mean]) == [HistoryBuffer.mean]
    with pytest.raises(pickle.UnpicklingError, match='getattr'):
        reload([Call(getattr, (HistoryBuffer.mean, '__globals__'))])
    with pytest.raises(pickle.UnpicklingError, match='reduce'):
        reload([Call(HistoryBuffer.mean, (HistoryBuffer([1.], [1]), ))])


@pytest.mark.parametrize('state', [
    {'statistics_methods': {'mean': HistoryBuffer.max}},
    {'statistics_methods': {'brand_new': HistoryBuffer.max}},
    {'statistics_methods': {}, '__setstate__': HistoryBuffer.max},
    {'_statistics_methods': {}},
    {'mean': 1},
    ['not', 'a', 'dict'],
])
def test_a_history_buffer_cannot_change_the_process(allow_list, monkeypatch, state):
    before = dict(HistoryBuffer()._statistics_methods)
    with monkeypatch.context() as patch:
        patch.setattr(HistoryBuffer, '__getstate__', lambda self: state)
        buffer = io.BytesIO()
        torch.save(HistoryBuffer(), buffer)
    buffer.seek(0)
    with pytest.raises(pickle.UnpicklingError, match='HistoryBuffer'):
        torch.load(buffer, weights_only=True)
    assert HistoryBuffer()._statistics_methods == before


def test_a_namespace_cannot_bring_its_own_setstate(allow_list):
    space = argparse.Namespace()
    vars(space)['__setstate__'] = HistoryBuffer.max
    with pytest.raises(pickle.UnpicklingError, match='__setstate__'):
        reload(space)
    set_state_twice = b'\x80\x02cargparse\nNamespace\n)\x81}b}b.'
    assert pickle.loads(set_state_twice) == argparse.Namespace()  # noqa: S301 (our bytes)
    with pytest.raises(pickle.UnpicklingError, match='Can only build'):
        torch._weights_only_unpickler.load(io.BytesIO(set_state_twice))


@pytest.mark.parametrize('content', [
    np.array(['a'], dtype=object), np.array(['text']), np.array([b'bytes']),
    np.zeros(2, dtype=[('a', 'f8')]), np.array('2020-01-01', dtype='M8[s]'),
    Call(np.dtype, ('O8', False, True)), Call(np.dtype, ('>f8', )), Call(np.dtype, ('f8,O', )),
    Call(np.dtype, ([('a', 'O')], ))])
def test_only_numbers_come_out_of_numpy(allow_list, content):
    with pytest.raises(pickle.UnpicklingError, match='NumPy type|VoidDType'):
        reload([content])


def test_a_forged_dtype_cannot_pass_bytes_for_pointers(allow_list):
    """Object flags and fields on a float type make NumPy follow its bytes as pointers."""
    pointer_field = {'a': (np.dtype('O'), 0)}
    with pytest.raises(pickle.UnpicklingError, match='NumPy type'):
        reload([Call(np.dtype, ('f8', False, True),
                     (3, '<', None, ('a', ), pointer_field, -1, -1, 63))])
    forged = (3, '<', None, ('a', ), {'a': (np.dtype('f8'), 0)}, -1, -1, 63)
    mutable = np.dtype('f8', False, True)
    mutable.__setstate__(forged)
    assert mutable.hasobject, 'NumPy now refuses this state: the stand-in may be needless'
    found, = reload([Call(np.dtype, ('f8', False, True), forged)])
    assert found is np.dtype('f8') and found.fields is None and not found.hasobject


# ---------------------------------------------------------------- ranks on the CPU

TWO_RANKS = LOAD_COMPAT + '''
import gc
import sys
assert 'init_cpu_ranks_with_gloo' in compat.repair('mmengine')
import torch
from mmengine.dist import all_gather, get_backend, get_world_size, get_rank
from mmengine.model import BaseModel, MMDistributedDataParallel
from mmengine.runner import Runner


class Line(BaseModel):
    def __init__(self):
        super().__init__()
        self.line = torch.nn.Linear(5, 3)

    def forward(self, inputs, mode='loss'):
        return self.line(inputs).square().mean()


torch.manual_seed(0)
single = torch.nn.Linear(5, 3)
runner = Runner(Line(), sys.argv[1], launcher='pytorch', default_scope='mmengine',
                experiment_name='ranks', log_level='ERROR',
                env_cfg=dict(dist_cfg=dict(backend='nccl', timeout=120)))
assert get_backend() == 'gloo' and get_world_size() == 2
assert isinstance(runner.model, MMDistributedDataParallel)
runner.model.module.line.load_state_dict(single.state_dict())
data = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(1))
runner.model(inputs=data[get_rank()]).backward()
sum(single(part).square().mean() for part in data).div(2).backward()
for found, wanted in zip(runner.model.module.line.parameters(), single.parameters()):
    first, second = all_gather(found.grad)
    assert torch.equal(first, second)
    torch.testing.assert_close(found.grad, wanted.grad)
    own = torch.autograd.grad(single(data[get_rank()]).square().mean(), wanted)[0]
    assert not torch.allclose(own, wanted.grad), 'the ranks saw the same data'
del runner
gc.collect()  # models before the group, see unilearn_mm/run.py
torch.distributed.destroy_process_group()
print('rank is good')
'''


@pytest.mark.slow
def test_two_cpu_ranks_average_their_gradients(tmp_path):
    """The stock Runner, launcher and nccl in the config, on a machine without an accelerator."""
    script = tmp_path / 'ranks.py'
    script.write_text(TWO_RANKS)
    done = run_python(None, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2',
                      str(script), str(tmp_path / 'work'))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count('rank is good') == 2


def test_a_config_is_formatted_once_and_the_same(monkeypatch):
    from mmengine.config import Config, config
    formatted = []

    def format_code(text, **style):
        formatted.append(text)
        return text.upper(), True

    monkeypatch.setattr(config, 'FormatCode', format_code)
    assert compat.format_config_once()
    cfg = Config(dict(a=1, b=dict(type='X')))
    assert cfg.pretty_text == cfg.pretty_text == cfg.dump() == formatted[0].upper()
    assert len(formatted) == 1
    cfg.a = 2
    assert 'A=2' in cfg.pretty_text and len(formatted) == 2, 'a changed config is another text'
