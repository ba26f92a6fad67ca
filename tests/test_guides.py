"""The guides name what is there; tools/check_guides.py runs their commands."""

import re
import runpy
import shlex
from pathlib import Path

import pytest

from unilearn_mm.run import first_file, stock_scripts

ROOT = Path(__file__).parents[1]
CHECK = runpy.run_path(str(ROOT / 'tools' / 'check_guides.py'))
GUIDES = sorted(path.relative_to(ROOT).as_posix() for folder in (
    '.', 'configs', 'tools', 'tools/benchmark', 'unilearn_mm', 'results')
    for path in (ROOT / folder).glob('*.md'))
COMMANDS = [command for guide in GUIDES for command in CHECK['commands'](guide)]
# an option may stand in what a command imports, and is MMAction2's in training and testing
SOURCES = [*(ROOT / 'tools').rglob('*.py'), *(ROOT / 'tools').glob('*.sh'),
           ROOT / 'unilearn_mm' / 'cli.py',
           *(first_file(stock_scripts(f'tools/{name}.py')) for name in ('train', 'test'))]
FOREIGN = {'--standalone', '--nproc_per_node'}  # torchrun's


@pytest.mark.parametrize('guide', GUIDES)
def test_links_lead_to_files_and_headings(guide):
    for target in re.findall(r'\]\(([^)]+)\)', (ROOT / guide).read_text()):
        if not target.startswith('http'):
            name, _, heading = target.partition('#')
            path = (ROOT / guide).parent / name if name else ROOT / guide
            assert path.exists(), f'{guide}: {target}'
            headings = re.findall(r'^#+ (.*)$', path.read_text(), re.MULTILINE) if heading else []
            assert not heading or heading in [text.lower().replace(' ', '-') for text in headings]


def test_commands_name_scripts_recipes_and_options_that_exist():
    known = set(re.findall(r"'(--[\w-]+)'|(--[\w-]+)\)", ''.join(
        path.read_text() for path in SOURCES)))
    known = {option for pair in known for option in pair} | FOREIGN
    assert len(COMMANDS) > 60
    for guide, text, _ in COMMANDS:
        words = shlex.split(text)
        for word in words:
            if re.fullmatch(r'(tools|configs)/[\w/]+\.(py|sh)', word):
                stock = stock_scripts(word) if 'unilearn_mm.run' in words else []
                assert any(path.is_file() for path in (ROOT / word, *stock)), f'{guide}: {text}'
            if word.startswith('--'):
                assert word in known, f'{guide}: {text}: {word}'


def test_every_command_and_every_recipe_has_its_line():
    listed = (ROOT / 'tools' / 'README.md').read_text() + \
        (ROOT / 'tools' / 'benchmark' / 'README.md').read_text()
    for path in (ROOT / 'tools').rglob('*.*'):
        if path.suffix == '.sh' or (path.suffix == '.py'
                                    and "__name__ == '__main__'" in path.read_text()):
            assert path.name in listed or path.name == 'setup_env.sh', path
    recipes = re.findall(r'`((?:unilearn|s2d|compose|mma)_\w+\*?)`',
                         (ROOT / 'configs' / 'README.md').read_text())
    for path in (ROOT / 'configs').glob('*.py'):
        assert any(path.stem == name or (name[-1] == '*' and path.stem.startswith(name[:-1]))
                   for name in recipes), path
    assert len((ROOT / 'README.md').read_text().splitlines()) <= 150


def test_what_a_reader_writes_runs(tmp_path):
    """The parts of unilearn_mm/README.md, as files of a project."""
    CHECK['make_project'](tmp_path)
    from mmaction.registry import HOOKS, MODELS
    from mmengine.config import Config
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        patch.syspath_prepend(str(tmp_path))
        cfg = Config.fromfile('own/recipe.py')
        assert cfg.train_cfg.max_epochs == 1 and cfg.train_cfg.type == 'ResumableTrainLoop'
        model = MODELS.build(cfg.model)
        assert model.backbone.__class__.__module__ == 'own.parts'
        assert HOOKS.build(cfg.default_hooks.source).every_n_train_iters
