"""What pyproject.toml cannot say: a wheel brings the recipes and the commands with it.

They lie beside the package in the repository, and under ``unilearn_mm/.mim`` where it is installed,
as MMAction2's own do.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent


class BuildWithRecipes(build_py):
    """Copies the folders ``configs`` and ``tools`` into the package that is built."""

    def run(self) -> None:
        """Build; an editable installation reads the folders where they are."""
        super().run()
        if not self.editable_mode:
            for folder in ('configs', 'tools'):
                target = Path(self.build_lib, 'unilearn_mm', '.mim', folder)
                shutil.rmtree(target, ignore_errors=True)  # of an earlier build
                shutil.copytree(ROOT / folder, target,
                                ignore=shutil.ignore_patterns('__pycache__', '*.pyc'))


setup(cmdclass={'build_py': BuildWithRecipes})
