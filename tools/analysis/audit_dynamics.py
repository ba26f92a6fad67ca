"""Does a model use the dynamics of a clip? Its test with the frames in another order.

    python tools/analysis/audit_dynamics.py CONFIG CHECKPOINT [--work-dir DIR] [--cfg-options ...]

Tests the clips of the recipe's test set with their frames in order, shuffled, reversed, and with
the middle frame of each view in the place of all. Writes audit_dynamics/report.md, report.json and
the predictions into the work directory. Images have no order and are left out.
"""

import argparse
import copy
import json
from pathlib import Path
from typing import Any, Dict, List

import pandas as pd
from mmengine.config import Config, ConfigDict, DictAction
from mmengine.runner import Runner
from scipy.stats import binomtest
from tqdm import tqdm

import unilearn_mm  # noqa: F401  (repairs the stack)
from unilearn_mm.datasets.transforms.ordering import ORDERS
from unilearn_mm.evaluation.expression_scores import read_predictions, scores_from_predictions
from unilearn_mm.recipes import data_parts, media_of, own_pipelines, prediction_metric

IN_ORDER = 'in order'
FOLDER = 'audit_dynamics'


def reordered(cfg: Config, order: str) -> Config:
    """The recipe with only the clips of its test set, their frames in another order.

    Args:
        cfg (Config): Recipe.
        order (str): 'in order', or one of ``FrameOrder``.

    Raises:
        ValueError: If there is no test, no clips are tested, a pipeline has no step that decodes,
            or no metric writes predictions.
    """
    cfg = copy.deepcopy(cfg)
    if not cfg.get('test_dataloader'):
        raise ValueError(f'{cfg.filename}: there is no test_dataloader')
    own_pipelines(cfg.test_dataloader)
    parts = data_parts(cfg.test_dataloader)
    clips = [part for part in parts if media_of(part) == 'video']
    if not clips:
        raise ValueError(f'{cfg.filename}: test_dataloader has no clips, only '
                         f'{[part.type for part in parts]}')
    for part in clips:
        decoders = [place for place, step in enumerate(part.pipeline) if 'Decode' in step.type]
        if not decoders:
            raise ValueError(
                f'{cfg.filename}: no Decode step in the test pipeline of '
                f'{part.get("task", part.type)}, found {[step.type for step in part.pipeline]}')
        if order != IN_ORDER:
            part.pipeline.insert(decoders[0], ConfigDict(type='FrameOrder', order=order))
    if len(clips) < len(parts):
        cfg.test_dataloader.dataset.datasets = clips
    cfg.test_evaluator = dict(prediction_metric(cfg), prediction_file=f'{FOLDER}/{order}.csv')
    cfg.experiment_name = f'{FOLDER}_{order}'.replace(' ', '_')
    return cfg


def compare(base: pd.DataFrame, other: pd.DataFrame) -> Dict[str, Dict[str, Any]]:
    """What changed between two tests of the same samples.

    Args:
        base (pd.DataFrame): Predictions in order.
        other (pd.DataFrame): Predictions of the same samples in another order.

    Returns:
        dict[str, dict]: task -> ``changed`` (share of predictions that differ), ``lost`` and
        ``gained`` (samples that were, or became, right) and ``p``, of the exact McNemar test of
        equal WAR: lost is binomial(lost + gained, 1/2).
    """
    both = base.merge(other, on=['source', 'sample_id', 'task', 'label'], validate='one_to_one',
                      suffixes=('', '_other'))
    if len(both) != len(base) or len(both) != len(other):
        raise ValueError(f'{len(base)} and {len(other)} predictions, but only {len(both)} samples '
                         'in common; expected the same samples')
    found = {}
    for task, rows in both.groupby('task'):
        right, right_other = (rows[name] == rows['label']
                              for name in ('prediction', 'prediction_other'))
        lost, gained = int((right & ~right_other).sum()), int((~right & right_other).sum())
        found[task] = dict(
            changed=float((rows['prediction'] != rows['prediction_other']).mean()),
            lost=lost, gained=gained,
            p=float(binomtest(lost, lost + gained).pvalue) if lost + gained else 1.)
    return found


def audit(tables: Dict[str, pd.DataFrame]) -> Dict[str, Dict[str, Dict[str, Any]]]:
    """Scores and changes of each order.

    Args:
        tables (dict[str, pd.DataFrame]): order -> predictions; 'in order' is among them.

    Returns:
        dict: task -> order -> ``num_samples``, ``WAR``, ``UAR`` and, but for 'in order', what
        :func:`compare` found.
    """
    found: Dict[str, Dict[str, Dict[str, Any]]] = {}
    for order, table in tables.items():
        changes = {} if order == IN_ORDER else compare(tables[IN_ORDER], table)
        for task, scores in scores_from_predictions(table).items():
            found.setdefault(task, {})[order] = dict(
                num_samples=scores.num_samples, WAR=scores.war, UAR=scores.uar,
                **changes.get(task, {}))
    return found


def markdown(found: Dict[str, Dict[str, Dict[str, Any]]]) -> List[str]:
    """Lines of the tables, a table for each task."""
    lines = []
    for task, orders in found.items():
        lines += ['', f'## {task}: {orders[IN_ORDER]["num_samples"]} clips', '',
                  '| frames | WAR | UAR | predictions that change | right -> wrong | '
                  'wrong -> right | p |', '|---|---:|---:|---:|---:|---:|---:|']
        for order, row in orders.items():
            changes = ('- | - | - | -' if order == IN_ORDER else
                       f'{row["changed"]:.2%} | {row["lost"]} | {row["gained"]} | {row["p"]:.3g}')
            lines.append(f'| {order} | {row["WAR"]:.2%} | {row["UAR"]:.2%} | {changes} |')
    return lines


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config')
    parser.add_argument('checkpoint')
    parser.add_argument('--work-dir', help="default: the config's work_dir")
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={})
    args = parser.parse_args()
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options)
    cfg.work_dir = args.work_dir or cfg.work_dir
    cfg.load_from, cfg.resume = args.checkpoint, False

    folder = Path(cfg.work_dir, FOLDER)
    tables = {}
    for order in tqdm((IN_ORDER, *ORDERS), desc='orders', unit='test'):
        Runner.from_cfg(reordered(cfg, order)).test()
        tables[order] = read_predictions(folder / f'{order}.csv')
    found = audit(tables)
    lines = [
        '# Does the model use the dynamics?', '',
        f'`{args.checkpoint}` of `{args.config}`, frames of each view in order, shuffled, '
        'reversed, and the middle frame repeated. A model that ignores the order changes no '
        'prediction; one that makes use of it loses WAR. p: exact McNemar test that WAR is that '
        'of the frames in order, not corrected for the number of rows.',
        *markdown(found)]
    (folder / 'report.md').write_text('\n'.join(lines) + '\n', encoding='utf-8')
    (folder / 'report.json').write_text(json.dumps(found, indent=2) + '\n', encoding='utf-8')
    print('\n'.join(lines))
    print(f'\nreport: {folder / "report.md"}')


if __name__ == '__main__':
    main()
