"""Run a stock MMAction2 script on a repaired stack, with the modules of this plugin registered.

    python -m unilearn_mm.run SCRIPT [ARGS ...]

Importing ``unilearn_mm`` repairs and registers; only then does the script start. Scripts that
import models before they read a config, or read no config at all, need this.
"""
import importlib.util
import runpy
import sys
from pathlib import Path
from typing import List, Sequence

USAGE = """usage: python -m unilearn_mm.run SCRIPT [ARGS ...]

Runs SCRIPT as `python SCRIPT ARGS` would, after the repairs of unilearn_mm.compat and with the
modules of unilearn_mm registered.

SCRIPT is a file or, where no such file exists, a path inside the scripts that are installed with
MMAction2, for instance tools/train.py or tools/analysis_tools/get_flops.py.
"""


def candidates(script: str) -> List[Path]:
    """Where to look for ``script``, in order."""
    spec = importlib.util.find_spec('mmaction')
    inside = [Path(folder, '.mim', script) for folder in spec.submodule_search_locations]
    return [Path(script)] if Path(script).is_absolute() else [Path(script), *inside]


def find_script(script: str) -> Path:
    looked = candidates(script)
    for path in looked:
        if path.is_file():
            return path
    raise FileNotFoundError(
        f'no script {script!r}. Looked for:\n' +
        '\n'.join(f'  {path.absolute()}' for path in looked) +
        '\nGive the path of a file, or a path inside the last folder such as tools/train.py.')


def main(argv: Sequence[str]) -> int:
    if not argv or argv[0] in ('-h', '--help'):
        print(USAGE, file=sys.stdout if argv else sys.stderr)
        return 0 if argv else 2
    try:
        script = find_script(argv[0])
    except FileNotFoundError as error:
        print(f'unilearn_mm.run: {error}', file=sys.stderr)
        return 2
    import unilearn_mm  # noqa: F401
    sys.argv = [str(script), *argv[1:]]
    sys.path.insert(0, str(script.absolute().parent))
    runpy.run_path(str(script), run_name='__main__')
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
