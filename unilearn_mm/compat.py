"""What is broken in the installed packages, and the repair of each defect.

No other file of this package knows defects of MMAction2, MMEngine, MMPretrain or OpenCV. Each
function below is about one of them, changes nothing on a healthy installation and returns
whether it changed anything. ``repair()`` runs those of a package; the environment variable
``UNILEARN_MM_NO_COMPAT=1`` leaves the installed packages as they are, but for how checkpoints are
read: the two checks of the installation and ``SAFE_DOOR`` still run, and
``engine.checkpoint_files`` replaces MMEngine's reader of local files.
:mod:`unilearn_mm.registration` says when all this happens.
"""
import argparse
import functools
import importlib.util
import os
import pickle
import re
import sys
import types
import warnings
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, List, NoReturn, Optional, Tuple

_STACK = (  # import name, lowest version, first version that is too new, how to install it
    ('torch', '2.6', None, 'pip install torch torchvision (see pytorch.org for CUDA builds)'),
    ('mmengine', '0.10.7', '1.0.0', 'pip install "mmengine>=0.10.7,<1.0.0"'),
    ('mmcv', '2.0.0rc4', '2.2.0',
     'pip install mmcv-lite==2.1.0\n'
     'Only detection models need the full mmcv 2.1.0, built from source. Keep one of the two, '
     'never both: they share the folder `mmcv`. Do not install mmcv-lite over a full mmcv; '
     'uninstall it first.'),
    ('mmaction', '1.2.0', None, 'pip install mmaction2==1.2.0'),
)
_OPENCV = '4.11'  # brought cv2.IMREAD_COLOR_RGB
_STATISTICS = ('min', 'max', 'current', 'mean')
_LIBRARY_PACKAGES = {'libSM': 'libsm6', 'libXext': 'libxext6', 'libXrender': 'libxrender1'}


def package_folders(package: str) -> List[str]:
    """Where an installed package lies, without importing it; empty if it is not installed."""
    spec = importlib.util.find_spec(package)
    return list(spec.submodule_search_locations or ()) if spec else []


def installed_version(package: str) -> Optional[str]:
    """The ``__version__`` in ``package/version.py``, read without importing the package.

    The name of the distribution does not tell: mmcv, mmcv-lite and forks all install ``mmcv``.
    """
    for folder in package_folders(package):
        file = Path(folder, 'version.py')
        text = file.read_text(encoding='utf-8') if file.is_file() else ''
        match = re.search(r'^__version__\s*=\s*[\'"]([^\'"]+)', text, re.MULTILINE)
        if match:
            return match.group(1)
    return None


def stack_problem(versions: Dict[str, Optional[str]]) -> Optional[str]:
    """Why these versions (None = not installed) cannot be used, or None if they can."""
    wanted = {package: f'{package}>={lowest}' + (f',<{too_new}' if too_new else '')
              for package, lowest, too_new, _ in _STACK}
    for package, _, _, install in _STACK:
        if versions[package] is None:
            return f'{package} is not installed; {wanted[package]} is needed. Run: {install}'
    from mmengine.utils import digit_version
    for package, lowest, too_new, install in _STACK:
        found = digit_version(versions[package])
        if found < digit_version(lowest) or (too_new and found >= digit_version(too_new)):
            return (f'{package} {versions[package]} is installed; {wanted[package]} is needed. '
                    f'Run: {install}')
    return None


def check_stack() -> None:
    """Name a missing or unfit mmengine, mmcv or mmaction2 before anything imports it.

    Symptom: a bare AssertionError or ModuleNotFoundError deep inside mmaction. Cause: the
    mmaction2 wheel declares neither mmengine nor mmcv, and refuses mmcv 2.2.0 and later
    (open-mmlab/mmcv#3325 on why building the full mmcv fails with a new setuptools).
    """
    problem = stack_problem({package: installed_version(package) for package, *_ in _STACK})
    if problem:
        raise ImportError(problem)


def explain_cv2_failure(message: str) -> str:
    """What to do about ``import cv2`` failing with this message."""
    match = re.search(r'(lib[\w.+-]*\.so[.\d]*): cannot open shared object', message)
    if match is None:
        return (f'OpenCV cannot be imported: {message}. Expected a working `cv2`; run: '
                'pip install opencv-python opencv-contrib-python')
    library = match.group(1)
    extra = _LIBRARY_PACKAGES.get(re.split(r'[-.]', library)[0])
    packages = 'libgl1 libglib2.0-0' + (f' {extra}' if extra else '')
    return (
        f'OpenCV cannot be imported: the system library {library} is missing ({message}).\n'
        f'On Debian or Ubuntu, as root: apt-get install {packages}\n'
        'Without root, use the builds of OpenCV that need no display:\n'
        '  pip uninstall -y opencv-python opencv-contrib-python\n'
        '  pip install opencv-python-headless opencv-contrib-python-headless')


def check_opencv() -> None:
    """Name the system library that OpenCV lacks, or that it is too old.

    Symptom: ``ImportError: libGL.so.1: cannot open shared object file`` (or libgthread, libSM)
    from any import of mmcv. Cause: mmcv and mmaction2 ask for the OpenCV builds with windows,
    whose libraries a server or container often lacks (opencv/opencv-python#208). Several
    distributions share the module, so pip cannot see that an old one has taken its place.
    """
    try:
        import cv2
    except ImportError as error:
        raise ImportError(explain_cv2_failure(str(error))) from error
    from mmengine.utils import digit_version
    if digit_version(cv2.__version__) < digit_version(_OPENCV):
        raise ImportError(
            f'OpenCV {cv2.__version__} is installed; opencv-python>={_OPENCV} is needed. Run: '
            f'pip install "opencv-python>={_OPENCV}" "opencv-contrib-python>={_OPENCV}" (both '
            'have the module cv2), or the same of their headless builds')


def drn_is_missing(mmaction_folders: Iterable[str]) -> bool:
    """Whether none of these folders of the package mmaction holds the localizer DRN."""
    return not any(
        Path(folder, 'models/localizers/drn/drn.py').is_file() for folder in mmaction_folders)


def stub_missing_drn() -> bool:
    """Let ``import mmaction.models`` work without the localizer DRN.

    Symptom: ``ModuleNotFoundError: No module named 'mmaction.models.localizers.drn'``. Cause:
    that folder has no ``__init__.py``, so wheels leave it out (open-mmlab/mmaction2#2714). DRN
    stays a registered name; building it says why it cannot be built.
    """
    package = 'mmaction.models.localizers.drn'
    if package in sys.modules or not drn_is_missing(package_folders('mmaction')):
        return False
    from mmaction.registry import MODELS

    class DRN:

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            raise ImportError(
                'DRN cannot be built: the installed mmaction2 lacks the file '
                'mmaction/models/localizers/drn/drn.py (mmaction2 issue 2714). Install mmaction2 '
                'from a clone of its repository with `pip install -e .` to use DRN.')

    MODELS.register_module(module=DRN)
    parent, module = types.ModuleType(package), types.ModuleType(f'{package}.drn')
    parent.__path__ = []
    vars(parent)['drn'], vars(module)['DRN'] = module, DRN
    sys.modules.update({package: parent, f'{package}.drn': module})
    return True


def transformers_lacks_chunking() -> bool:
    """Whether transformers is installed without ``modeling_utils.apply_chunking_to_forward``."""
    files = [Path(folder, 'modeling_utils.py') for folder in package_folders('transformers')]
    has_it = [file.is_file() and 'apply_chunking_to_forward' in file.read_text('utf-8')
              for file in files]
    return bool(files) and not any(has_it)


def switch_off_multimodal() -> bool:
    """Keep MMPretrain and MMAction2 away from a transformers that is too new for them.

    Symptom: ``TypeError: NoneType takes no arguments`` from ``import mmaction.models`` with
    transformers and pycocotools installed. Cause: both packages build their multimodal models on
    ``transformers.modeling_utils.apply_chunking_to_forward``, gone since transformers 4.56
    (xinyu1205/recognize-anything#219), and MMPretrain hides the failed import.
    """
    if not transformers_lacks_chunking():
        return False
    for package in ('mmpretrain', 'mmaction'):
        if importlib.util.find_spec(package):
            vars(importlib.import_module(f'{package}.utils.dependency')).update(
                WITH_MULTIMODAL=False)
    return True


def _refuse(what: str) -> NoReturn:
    raise pickle.UnpicklingError(f'refused: the checkpoint asks for {what}, which no checkpoint '
                                 'of MMEngine contains')


def _checked(cls: type, check: Callable[[dict], None]) -> type:
    """A stand-in for ``cls`` in a file: it checks the state, then becomes ``cls`` itself.

    An attribute that hides one of the class (``__setstate__`` above all, which the unpickler
    looks up on the instance and calls) is refused; so is a second state, since ``cls`` itself
    is not on the allow-list. One without any state stays a stand-in, and is saved as ``cls()``.
    """

    def __setstate__(self: Any, state: Any) -> None:
        if type(state) is not dict:
            _refuse(f'a {cls.__name__} with a state of type {type(state).__name__}')
        for key in state:
            if type(key) is not str or key.startswith('__') or hasattr(cls, key):
                _refuse(f'a {cls.__name__} with the attribute {key!r}')
        check(state)
        self.__class__ = cls
        if hasattr(cls, '__setstate__'):
            self.__setstate__(state)
        else:
            vars(self).update(state)

    members = {'__setstate__': __setstate__, '__reduce__': lambda self: (cls, ())}
    return type(f'Checked{cls.__name__}', (cls, ), members)


def allow_checkpoint_types() -> bool:
    """Let ``torch.load(weights_only=True)`` read what MMEngine writes, and nothing more.

    Symptom: ``UnpicklingError ... HistoryBuffer`` on resume, test and publish with torch 2.6 or
    later. Cause: MMEngine 0.10.7 calls plain ``torch.load``, which became strict, while its
    checkpoints hold the message hub and the data set's metainfo (open-mmlab/mmengine#1655).
    ``argparse.Namespace`` is in the files of VideoMAE and others that training scripts wrote, and
    a record of scores, ``RecorderMeter``, in those of MMA-DFER: of the script's class only the
    name is read, and what it held becomes attributes of an empty class.

    The names below stand for functions narrower than the originals:

    - ``builtins.getattr`` gives the four statistics of HistoryBuffer and nothing else;
    - a HistoryBuffer cannot replace the statistics of the running process;
    - ``numpy.dtype`` gives NumPy's own numeric types, whose ``__setstate__`` does nothing. (The
      mutable copy that a pickle asks for takes any flags and fields, and an array that reads
      its bytes as object pointers crashes the process.) Strings, objects and records are
      refused. The state that is ignored also holds the byte order: an array in the byte order
      of another machine would come out swapped.
    """
    import numpy as np
    import torch
    from mmengine.config import ConfigDict
    from mmengine.logging import HistoryBuffer

    def statistic(owner: Any, name: Any) -> Callable:
        if isinstance(owner, type) and issubclass(owner, HistoryBuffer) and name in _STATISTICS:
            return getattr(HistoryBuffer, name)
        _refuse(f'getattr({owner!r}, {name!r})')

    def check_statistics(state: dict) -> None:
        known = HistoryBuffer()._statistics_methods
        for name, method in state.get('statistics_methods', {}).items():
            if known.get(name) is not method:
                _refuse(f'another statistic {name!r} of HistoryBuffer: {method!r}')

    def numeric_dtype(code: Any, *align_and_copy: Any) -> np.dtype:
        dtype = np.dtype(code) if type(code) is str else None
        if dtype is None or dtype.kind not in 'biufc' or dtype.isbuiltin != 1:
            _refuse(f'the NumPy type {code!r} instead of a number in native byte order')
        return dtype

    def config_dict(items: Any) -> ConfigDict:
        return ConfigDict(items) if type(items) is dict else _refuse(f'ConfigDict({items!r})')

    array, scalar = np.zeros(1).__reduce__()[0], np.float64(0).__reduce__()[0]
    numbers = [np.dtype(code) for code in np.typecodes['All']]
    torch.serialization.add_safe_globals([
        (statistic, 'builtins.getattr'),
        (_checked(HistoryBuffer, check_statistics),
         'mmengine.logging.history_buffer.HistoryBuffer'),
        (_checked(argparse.Namespace, lambda state: None), 'argparse.Namespace'),
        (_checked(type('Record', (), {}), lambda state: None), '__main__.RecorderMeter'),
        (config_dict, 'mmengine.config.config.ConfigDict'),
        (numeric_dtype, 'numpy.dtype'), np.ndarray, bytes,  # empty arrays call bytes()
        *{type(dtype) for dtype in numbers if dtype.kind in 'biufc'},
        *[(function, f'numpy.{core}.multiarray.{name}') for core in ('core', '_core')
          for function, name in ((array, '_reconstruct'), (scalar, 'scalar'))],
    ])
    return True


def _wrap(owner: Any, name: str, wrapper: Callable[[Callable], Callable]) -> None:
    function = getattr(owner, name)
    if not getattr(function, 'repaired_by_unilearn_mm', False):
        replacement: Any = functools.wraps(function)(wrapper(function))
        replacement.repaired_by_unilearn_mm = True
        setattr(owner, name, replacement)


def unpickle_no_downloads() -> bool:
    """Read checkpoints from URLs as strictly as local ones.

    Symptom: a checkpoint from ``https://`` runs the code in it. Cause: MMEngine downloads with
    ``torch.hub.load_state_dict_from_url``, whose ``weights_only`` is off by default even where
    ``torch.load`` has it on (neither project has a report of it).
    """
    from mmengine.runner import checkpoint

    def strictly(load_url: Callable) -> Callable:
        return lambda url, **kwargs: load_url(url, **{**kwargs, 'weights_only': True})

    _wrap(checkpoint, 'load_url', strictly)
    return True


def run_no_config_of_checkpoints() -> bool:
    """Keep a checkpoint from running Python as the config that it was trained with.

    Symptom: ``--resume`` runs the text in ``meta['config']``. Cause: to compare the number of
    GPUs, ``Runner.resume`` of MMEngine 0.10.7 parses that text as a config, and configs are
    Python (not reported). MMEngine itself writes ``meta['cfg']``, so the other key is renamed.
    Its inferencers parse that one if they are given weights alone: that is refused.
    """
    from mmengine.infer import BaseInferencer
    from mmengine.runner.checkpoint import CheckpointLoader

    def without_config(load: Callable) -> Callable:

        def load_checkpoint(*args: Any, **kwargs: Any) -> dict:
            checkpoint = load(*args, **kwargs)
            meta = checkpoint.get('meta') if isinstance(checkpoint, dict) else None
            if isinstance(meta, dict) and 'config' in meta:
                warnings.warn('the checkpoint has a config in meta["config"], which MMEngine '
                              'would run as Python; it is ignored')
                meta['config_text'] = meta.pop('config')
            return checkpoint

        return load_checkpoint

    def with_config(init_model: Callable) -> Callable:

        def _init_model(self: Any, cfg: Any, *args: Any, **kwargs: Any) -> Any:
            if not cfg:
                raise ValueError('found weights without a config: the one inside them would be run '
                                 'as Python; give the config file as `model`')
            return init_model(self, cfg, *args, **kwargs)

        return _init_model

    _wrap(CheckpointLoader, 'load_checkpoint', without_config)
    _wrap(BaseInferencer, '_init_model', with_config)
    return True


def _ranks_run_on_cpu() -> bool:
    """MMEngine picks its device once, when it is imported; the Runner moves the model there.

    Hence the repairs below decide when they are applied: with an accelerator nothing is patched.
    """
    from mmengine.device import get_device
    return get_device() == 'cpu'


def init_cpu_ranks_with_gloo() -> bool:
    """Let ``init_dist`` start its ranks on a machine without an accelerator.

    Symptom: ``RuntimeError: Found no NVIDIA driver`` from dist_train.sh. Cause: each launcher of
    MMEngine calls ``torch.cuda.set_device``, and configs name the backend nccl (MMEngine has no
    report of it; openvinotoolkit/mmdetection#77 is the same repair in a fork of MMDetection). The
    launchers are looked up in ``mmengine.dist.utils`` at each call, so every alias of
    ``init_dist`` reaches the repaired ones.
    """
    if not _ranks_run_on_cpu():
        return False
    import torch
    from mmengine.dist import utils

    def on_cpu(launch: Callable) -> Callable:

        def init(backend: str, **kwargs: Any) -> None:
            if backend == 'nccl':
                warnings.warn('no accelerator found: ranks run on the CPU over gloo, not nccl')
                backend = 'gloo'
            set_device = torch.cuda.set_device
            torch.cuda.set_device = lambda device: None
            try:
                launch(backend, **kwargs)
            finally:
                torch.cuda.set_device = set_device

        return init

    for launcher in ('pytorch', 'mpi', 'slurm'):
        _wrap(utils, f'_init_dist_{launcher}', on_cpu)
    return True


def drop_device_ids_on_cpu() -> bool:
    """Let MMDistributedDataParallel wrap a model that is on the CPU.

    Symptom: ``ValueError: DistributedDataParallel device_ids and output_device arguments only
    work with ... GPU modules``. Cause: ``Runner.wrap_model`` always passes
    ``device_ids=[LOCAL_RANK]`` (pytorch/pytorch#46821 on the argument's meaning).
    """
    if not _ranks_run_on_cpu():
        return False
    from mmengine.model import MMDistributedDataParallel

    def without_device_ids(construct: Callable) -> Callable:

        def __init__(self: Any, module: Any, *args: Any, **kwargs: Any) -> None:
            if all(parameter.device.type == 'cpu' for parameter in module.parameters()):
                kwargs.pop('device_ids', None)
            construct(self, module, *args, **kwargs)

        return __init__

    _wrap(MMDistributedDataParallel, '__init__', without_device_ids)
    return True


def format_config_once() -> bool:
    """Let a run format its config once instead of four times.

    Symptom: a run starts 10 seconds late. Cause: each use of ``Config.pretty_text`` formats the
    whole config with yapf, which takes seconds for nested pipelines; the Runner and its hooks use
    it four times (open-mmlab/mmengine has ``format_python_code=False`` against it, which its own
    scripts do not set and ``Config.fromfile`` of 0.10.7 drops). The text stays the same.
    """
    from mmengine.config import config

    def remembered(format_code: Callable) -> Callable:
        results: Dict[str, Tuple] = {}

        def format_text(text: str, **style: Any) -> Tuple:
            key = repr((text, style))
            if key not in results:
                results[key] = format_code(text, **style)
            return results[key]

        return format_text

    _wrap(config, 'FormatCode', remembered)
    return True


# a checkpoint of MMEngine is read, whole or by URL, and nothing in it is run
SAFE_DOOR = (allow_checkpoint_types, unpickle_no_downloads, run_no_config_of_checkpoints)
REPAIRS = {  # the package that must be imported first: what is to be repaired then
    'mmengine': (*SAFE_DOOR, init_cpu_ranks_with_gloo, drop_device_ids_on_cpu, format_config_once),
    'mmaction': (stub_missing_drn, switch_off_multimodal),
}


@functools.cache
def repair(package: str) -> Tuple[str, ...]:
    """Repair what is broken in, or around, 'mmengine' or 'mmaction'.

    Args:
        package (str): Key of ``REPAIRS``.

    Returns:
        tuple[str, ...]: The names of the repairs made.
    """
    switched_off = os.environ.get('UNILEARN_MM_NO_COMPAT', '0') not in ('', '0')
    return tuple(function.__name__ for function in REPAIRS[package]
                 if (function in SAFE_DOOR or not switched_off) and function())
