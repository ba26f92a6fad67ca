"""Facial expression recognition on videos and images, as a plugin for MMAction2.

Importing this package loads neither torch nor MMAction2. As soon as MMAction2 is imported, or at
once where it is, what is broken in the installed stack is repaired and its registries find our
modules (:mod:`unilearn_mm.registration`), so that a config only needs
``custom_imports = dict(imports=['unilearn_mm'], allow_failed_imports=False)``.
"""

from .registration import wait_for_the_host

wait_for_the_host()

__version__ = '0.1.0'
