"""When the host is imported, it is repaired and learns where our modules are.

``import unilearn_mm`` loads neither torch nor MMAction2, so that what needs neither (faces, lists,
scores, media) starts at once. Who builds models imports MMEngine and MMAction2, before this package
(a config's ``custom_imports``) or after it. Three moments are waited for; where one has passed, its
function runs at once:

- before ``mmaction`` runs: the installed versions are checked;
- after ``mmengine``: its defects are repaired (:mod:`unilearn_mm.compat`), checkpoints are read
  through the safe door, and its hooks learn our scores;
- after ``mmaction.registry``, without which nobody can import ``mmaction.models``: defects of
  MMAction2 are repaired, and our modules join the locations that a registry imports when it is
  first asked for a name. So ``MODELS.build`` finds them, and nothing is imported halfway.
"""

import importlib.abc
import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Callable, Dict, List, Optional, Sequence

from . import compat

# registry: the modules that have to be imported for our names in it
MMENGINE_LOCATIONS = dict(
    MODEL_WRAPPERS=['unilearn_mm.engine.sharding'],  # Runner.wrap_model looks here
)
MMACTION_LOCATIONS = dict(
    MODELS=['unilearn_mm.models'],
    DATASETS=['unilearn_mm.datasets.expression', 'unilearn_mm.datasets.mixed_media'],
    DATA_SAMPLERS=['unilearn_mm.datasets.samplers'],
    TRANSFORMS=['unilearn_mm.datasets.transforms'],
    METRICS=[
        'unilearn_mm.evaluation.reconstruction_metric', 'unilearn_mm.evaluation.war_uar_metric'
    ],
    HOOKS=['unilearn_mm.engine.hooks', 'unilearn_mm.engine.sharding'],
    INFERENCERS=['unilearn_mm.apis.inferencer'],
    LOOPS=['unilearn_mm.engine.train_loop'],
    OPTIM_WRAPPERS=['unilearn_mm.engine.optimizers'],
    OPTIM_WRAPPER_CONSTRUCTORS=['unilearn_mm.engine.optimizers'],
)


def prepare_mmengine() -> None:
    """Check the installation, repair MMEngine, and let it do what the modules below say.

    Raises:
        ImportError: A package or system library is missing or of an unfit version.
    """
    compat.check_stack()
    compat.check_opencv()
    compat.repair('mmengine')
    import_module('unilearn_mm.engine.checkpoint_files')
    import_module('unilearn_mm.engine.score_rules')
    _add_locations('mmengine.registry', MMENGINE_LOCATIONS)


def prepare_mmaction() -> None:
    """Repair MMAction2 and let it find our modules."""
    compat.repair('mmaction')
    _add_locations('mmaction.registry', MMACTION_LOCATIONS)


def _add_locations(registries: str, locations: Dict[str, List[str]]) -> None:
    for name, modules in locations.items():
        registry = getattr(import_module(registries), name)
        registry._locations += modules
        registry._imported = False  # it may have been asked before


BEFORE: Dict[str, Callable[[], None]] = {'mmaction': compat.check_stack}
AFTER: Dict[str, Callable[[], None]] = {
    'mmengine': prepare_mmengine, 'mmaction.registry': prepare_mmaction}


class HostFinder(importlib.abc.MetaPathFinder):
    """Finds what the other finders find, and lets the functions above run before or after it."""

    def find_spec(self,
                  fullname: str,
                  path: Optional[Sequence[str]],
                  target: Optional[ModuleType] = None) -> Optional[ModuleSpec]:
        """See ``importlib.abc.MetaPathFinder``."""
        if fullname not in BEFORE and fullname not in AFTER:
            return None
        others = [finder for finder in sys.meta_path
                  if finder is not self and hasattr(finder, 'find_spec')]
        specs = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next((spec for spec in specs if spec is not None), None)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            if fullname in BEFORE:
                BEFORE[fullname]()
            execute(module)
            if fullname in AFTER:
                AFTER[fullname]()

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]  # of this one loader
        return spec


def wait_for_the_host() -> None:
    """Prepare what is imported already, and the rest when it is imported.

    Raises:
        ImportError: A package or system library is missing or of an unfit version.
    """
    for name, prepare in AFTER.items():
        if name in sys.modules:
            prepare()
    sys.meta_path.insert(0, HostFinder())
