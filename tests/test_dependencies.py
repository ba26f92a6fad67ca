"""What is imported is declared, and what is declared is needed."""

import ast
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import tomllib
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
EXTRAS = PROJECT['optional-dependencies']
DISTRIBUTIONS = packages_distributions()
HIDDEN_NEEDS = {  # what we declare and do not import: who imports it, without declaring it
    'importlib-metadata': 'mmaction.utils.dependency',
    'pyarrow': 'pandas, for .parquet',
    'setuptools': 'mmengine.utils.package_utils: pkg_resources',
}


def names(*lists):
    return {canonicalize_name(Requirement(text).name) for texts in lists for text in texts}


ALWAYS = names(PROJECT['dependencies'], EXTRAS['lite'])  # mmcv: one of two, see pyproject.toml
# asks for torch < 2.3, so that no extra can name it; the benchmark says how to install it
UNDECLARABLE = {'facenet_pytorch'}
LOCAL = {path.stem for folder in ('tests', 'tools') for path in (ROOT / folder).rglob('*')}


def imports(folder, top_level_only=False):
    """{import name: a file} of what comes neither with Python nor from this repository."""
    found = {}
    for path in sorted((ROOT / folder).rglob('*.py')):
        tree = ast.parse(path.read_text())
        for node in tree.body if top_level_only else ast.walk(tree):
            modules = []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                modules = [node.module]
            for name in {module.split('.')[0] for module in modules} - {'unilearn_mm'}:
                if name not in sys.stdlib_module_names and (
                        folder.startswith('unilearn_mm') or name not in LOCAL):
                    found.setdefault(name, str(path.relative_to(ROOT)))
    return found


def undeclared(found, declared):
    """Those of the imports that no declared distribution brings."""
    return {name: path for name, path in found.items() if not declared & {
        canonicalize_name(dist) for dist in DISTRIBUTIONS.get(name, [name])}}


@pytest.mark.parametrize('folder, extras', [
    ('unilearn_mm', ['predict', 'audio']), ('tools/data', ['prepare', 'predict']),
    ('tools', ['prepare', 'predict', 'benchmark']), ('tests', EXTRAS)])
def test_every_import_is_declared(folder, extras):
    declared = ALWAYS | names(*(EXTRAS[extra] for extra in extras))
    assert set(undeclared(imports(folder), declared)) <= UNDECLARABLE


def test_the_wheel_alone_can_be_imported():
    """What an extra brings is imported where it is used, not with its module."""
    assert undeclared(imports('unilearn_mm', top_level_only=True), ALWAYS) == {}
    for folder in ('models', 'datasets', 'engine', 'evaluation', 'visualization'):
        declared = ALWAYS | names(EXTRAS['audio'] if folder == 'datasets' else ())
        assert undeclared(imports(f'unilearn_mm/{folder}'), declared) == {}, folder


def test_every_dependency_is_needed():
    imported = {canonicalize_name(distribution)
                for name in {**imports('unilearn_mm'), **imports('tools')}
                for distribution in DISTRIBUTIONS.get(name, [name])}
    assert names(PROJECT['dependencies']) - imported == set(HIDDEN_NEEDS)


def test_the_tested_versions_are_pinned_and_allowed():
    lines = (line.split()[0] for line in (ROOT / 'requirements.txt').read_text().splitlines()
             if line and not line.startswith('#'))
    pinned = {canonicalize_name(pin.name): pin for pin in map(Requirement, lines)}
    for text in [*PROJECT['dependencies'], *(
            text for extra, texts in EXTRAS.items() if extra != 'detection' for text in texts)]:
        requirement = Requirement(text)
        pin = str(pinned[canonicalize_name(requirement.name)].specifier)
        if pin.startswith('=='):
            assert requirement.specifier.contains(pin[2:]), f'{text}, but {pin} is tested'


def test_extras_that_messages_name_exist():
    named = {extra: path.name for folder in ('unilearn_mm', 'tools')
             for path in (ROOT / folder).rglob('*.py')
             for extra in re.findall(r'unilearn_mm\[(\w+)\]', path.read_text())}
    assert named.keys() <= EXTRAS.keys()
