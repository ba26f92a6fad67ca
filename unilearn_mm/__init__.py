"""UniLearn for MMAction2: one model for static and dynamic facial expression recognition.

Importing this package repairs what is broken in the installed stack (:mod:`unilearn_mm.compat`)
and registers every module in MMAction2's own registries, so that a config only needs
``custom_imports = dict(imports=['unilearn_mm'], allow_failed_imports=False)``.
"""

from . import compat

compat.repair()

from . import datasets, engine, evaluation, models  # noqa: E402

__version__ = '0.1.0'
__all__ = ['datasets', 'engine', 'evaluation', 'models']
