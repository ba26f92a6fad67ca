"""What the toy pre-training is worth: the same fine-tuning with and without it, several seeds.

    python tools/analysis/compare_pretraining.py [--seeds 0 1 2] [--work-dir DIR] [--out FILE]

Runs configs/unilearn_toy_pretrain.py, then configs/unilearn_toy_finetune.py from its checkpoint and
from scratch, and tests the last epochs. What is finished is skipped, so an interrupted comparison
goes on where it was. Writes a Markdown table.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Dict, List

import numpy as np
from mmengine.config import Config

from unilearn_mm.datasets.label_spaces import class_names
from unilearn_mm.evaluation.expression_scores import read_predictions, scores_from_predictions

ROOT = Path(__file__).parents[2]
PRETRAIN, FINETUNE = 'configs/unilearn_toy_pretrain.py', 'configs/unilearn_toy_finetune.py'
ARMS = ('from scratch', 'pre-trained')


def run(script: str, config: str, work_dir: Path, *args: str) -> None:
    """Run one of our scripts; its output goes to a file in the work directory.

    Raises:
        RuntimeError: If it fails; the message names the log.
    """
    work_dir.mkdir(parents=True, exist_ok=True)
    log = work_dir / f'{Path(script).stem}.txt'
    print(f'{script} {config} -> {log}', flush=True)
    with open(log, 'w') as file:
        done = subprocess.run([sys.executable, script, config, *args, '--work-dir', str(work_dir)],
                              cwd=ROOT, stdout=file, stderr=subprocess.STDOUT)
    if done.returncode:
        raise RuntimeError(f'{script} ended with exit code {done.returncode}; see {log}')


def last_epoch(config: str) -> str:
    """Name of the last checkpoint of a recipe."""
    return f'epoch_{Config.fromfile(ROOT / config).train_cfg.max_epochs}.pth'


def finetuned_scores(seed: int, arm: str, work_dir: Path) -> Dict[str, float]:
    """WAR and UAR of each task, by name, of one fine-tuning; it is run if it is not there."""
    seeded = f'randomness.seed={seed}'
    folder = work_dir / f'{arm.replace(" ", "_")}_{seed}'
    options = [seeded]
    if arm == 'pre-trained':
        pretrained = work_dir / f'pretraining_{seed}'
        start = pretrained / last_epoch(PRETRAIN)
        if not start.is_file():
            run('tools/train.py', PRETRAIN, pretrained, '--cfg-options', seeded)
        options.append(f'load_from={start}')
    checkpoint = folder / last_epoch(FINETUNE)
    if not checkpoint.is_file():
        run('tools/train.py', FINETUNE, folder, '--cfg-options', *options)
    if not (folder / 'predictions.csv').is_file():
        run('tools/test.py', FINETUNE, folder, str(checkpoint))
    label_spaces = {task: class_names(task) for task in ('toy_video', 'toy_image')}
    scores = scores_from_predictions(read_predictions(folder / 'predictions.csv'), label_spaces)
    return {f'{task} {name}': value for task, found in scores.items()
            for name, value in (('WAR', found.war), ('UAR', found.uar))}


def table(found: Dict[str, List[Dict[str, float]]], seeds: List[int]) -> List[str]:
    """Markdown: a row per arm, mean and standard deviation over the seeds in per cent."""
    names = list(found[ARMS[0]][0])
    lines = [f'| fine-tuning | {" | ".join(names)} |', '|---' * (1 + len(names)) + '|']
    for arm in ARMS:
        cells = []
        for name in names:
            values = 100 * np.array([scores[name] for scores in found[arm]])
            spread = f' ± {values.std(ddof=1):.1f}' if len(seeds) > 1 else ''
            cells.append(f'{values.mean():.1f}{spread} ({", ".join(f"{v:.1f}" for v in values)})')
        lines.append(f'| {arm} | {" | ".join(cells)} |')
    return lines


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/compare_pretraining'))
    parser.add_argument('--out', type=Path, default=Path('results/toy_pretraining.md'))
    args = parser.parse_args()
    found: Dict[str, List[Dict[str, float]]] = {arm: [] for arm in ARMS}
    for seed in args.seeds:
        for arm in ARMS:
            found[arm].append(finetuned_scores(seed, arm, args.work_dir.absolute()))
    lines = [
        '# What the toy pre-training is worth', '',
        f'`python tools/analysis/compare_pretraining.py --seeds {" ".join(map(str, args.seeds))}`: '
        f'`{FINETUNE}` from scratch and from the encoder of `{PRETRAIN}` of the same seed, the '
        'same number of steps, last epoch, in per cent: mean ± standard deviation over the seeds '
        '(each seed).', '', *table(found, args.seeds)]
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text('\n'.join(lines) + '\n', encoding='utf-8')
    print('\n'.join(lines))


if __name__ == '__main__':
    main()
