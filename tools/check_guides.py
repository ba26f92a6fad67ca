"""Run the commands of the guides, in their order, as a reader would.

    python tools/check_guides.py [--list] [--only TEXT] [--work DIR]

A project folder is made that has this repository's files, short videos, and recipes that train for
three epochs; the commands run in it one after the other, so that each finds what those before it
made. Some are left out, each with its reason (``--list``): they need licensed data, a GPU or SLURM,
or have a test of their own. Takes about ten minutes on two cores; the exit code is 1 if a command
fails.
"""

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
# what comes later may read what earlier guides made
GUIDES = ('tools/README.md', 'README.md', 'configs/README.md', 'unilearn_mm/README.md',
          'tools/benchmark/README.md', 'CONTRIBUTING.md')
LEFT_OUT: Dict[str, str] = {  # pattern -> reason
    r'quickstart\.sh|run_tests\.sh|\.ci/run': 'run by .ci/run',
    r'unilearn-mm (train|test)': 'run by .ci/wheel_alone, from an empty folder',
    r'^source |^\.venv': 'the environment is the one of this command',
    r'check_guides': 'this command',
    r'data/(DFEW|MAFW)|(unilearn|s2d)_dfew': 'needs licensed data',
    r'data/own': 'run by tests/test_guide_own_videos.py',
    r'slurm': 'needs SLURM',
    r'run_claims': 'takes eight minutes; a small form is run by tests/tools/test_run_claims.py',
    r'tools/benchmark': 'takes a quiet machine and long; small forms are run by tests/tools',
    r'(?<![\w./-])(?!FOLD|PYTHONPATH)[A-Z]{3,}\b': 'a placeholder stands in it',
}
EPOCHS = {'_base_/toy.py': 16, 'unilearn_toy_pretrain.py': 4}


class Command(NamedTuple):
    """A command of a guide; ``left_out`` is the reason why it is not run, None if it is."""
    guide: str
    text: str
    left_out: Optional[str]


def commands(guide: str) -> List[Command]:
    """The commands of a guide: lines of its bash blocks, and first cells of its tables."""
    text = (ROOT / guide).read_text(encoding='utf-8')
    found = []
    for part in re.finditer(r'^```bash\n(.*?)^```|^\| `((?:python|bash|unilearn-mm) [^`]*)` \|',
                            text, re.MULTILINE | re.DOTALL):
        block = (part[1] or part[2]).replace('\\\n', ' ')
        found += [re.sub(' +', ' ', line.split(' #')[0]).strip() for line in block.splitlines()]
    return [Command(guide, line, next(
        (reason for pattern, reason in LEFT_OUT.items() if re.search(pattern, line)), None))
        for line in found if line]


def make_project(folder: Path) -> None:
    """The repository's files, what the guides ask a reader to write, and two videos."""
    for name in ('tools', 'unilearn_mm', 'results'):
        (folder / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / 'configs', folder / 'configs')
    for name, epochs in EPOCHS.items():
        path = folder / 'configs' / name
        text, count = re.subn(rf'max_epochs = {epochs}\b', 'max_epochs = 3', path.read_text())
        if count != 1:
            raise ValueError(f'{path}: max_epochs = {epochs} is {count} times in it, expected once')
        path.write_text(text)
    for guide in GUIDES:  # blocks that begin with the name of a file
        for name, text in re.findall(r'^```python\n# (\S+\.py)\n(.*?)^```',
                                     (ROOT / guide).read_text(), re.MULTILINE | re.DOTALL):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text)
    for name in ('interview.mp4', 'clips/first.mp4', 'more/second.mp4'):
        (folder / name).parent.mkdir(exist_ok=True)
        writer = cv2.VideoWriter(str(folder / name), cv2.VideoWriter_fourcc(*'mp4v'), 25,
                                 (320, 180))
        for step in range(50):  # no face: what is looked at is the command
            frame = np.zeros((180, 320, 3), np.uint8)
            cv2.circle(frame, (60 + 4 * step, 90), 40, (90, 140, 200), -1)
            writer.write(frame)
        writer.release()


def run(command: Command, folder: Path) -> Optional[str]:
    """Run a command in the project; None if it succeeded, else the end of what it printed."""
    text = re.sub(r'epoch_(?:16|4)\.pth', 'epoch_3.pth', command.text)
    bin_folder = Path(sys.executable).parent
    env = dict(os.environ, PATH=f'{bin_folder}{os.pathsep}{os.environ["PATH"]}', MPLBACKEND='agg')
    done = subprocess.run(['bash', '-c', text], cwd=folder, env=env, text=True, errors='replace',
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return None if done.returncode == 0 else \
        f'exit code {done.returncode}\n' + '\n'.join(done.stdout.splitlines()[-15:])


def main() -> int:
    """Command line; see above."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--list', action='store_true', help='only say what would be run')
    parser.add_argument('--only', metavar='TEXT', help='only commands that contain this')
    parser.add_argument('--work', type=Path, help='project folder to make and keep')
    args = parser.parse_args()
    wanted = list(dict.fromkeys(command for guide in GUIDES for command in commands(guide)
                                if not args.only or args.only in command.text))
    if args.list:
        for command in wanted:
            print(f'{command.guide}: {command.text}\n    {command.left_out or "is run"}')
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.work or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        make_project(folder)
        failed, seen = 0, set()
        for command in wanted:
            if command.left_out or command.text in seen:
                continue
            seen.add(command.text)
            begin = time.monotonic()
            problem = run(command, folder)
            failed += problem is not None
            print(f'{"FAILED" if problem else "ok":6} {time.monotonic() - begin:5.0f} s  '
                  f'{command.guide}: {shlex.quote(command.text) if problem else command.text}',
                  flush=True)
            if problem:
                print(problem)
    print(f'{len(seen)} commands, {failed} failed; '
          f'{sum(command.left_out is not None for command in wanted)} left out (--list)')
    return int(failed > 0)


if __name__ == '__main__':
    sys.exit(main())
