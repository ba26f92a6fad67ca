"""Which experts serve images, videos and each emotion?

    python tools/analysis/audit_routing.py CONFIG CHECKPOINT [--work-dir DIR] [--cfg-options ...]

Tests the checkpoint and counts, in every block with experts, which share of the assignments (k for
each token) of a source and of each of its classes every expert gets. Writes
audit_routing/report.md, report.json and a heat map for each block into the work directory.
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

import numpy as np
import torch
from mmengine.config import Config, DictAction
from mmengine.runner import Runner
from scipy.stats import entropy
from torch import nn

import unilearn_mm  # noqa: F401  (repairs the stack)
from unilearn_mm.models.layers.routing import NoisyTopKRouter, Routing
from unilearn_mm.visualization.routing_figures import routing_heat_map

FOLDER = 'audit_routing'
DOTS_PER_INCH = 110
Counts = Dict[Tuple[str, int], np.ndarray]  # (source, class id) -> (blocks, E) assignments


class RoutingRecorder:
    """Counts the assignments of each sample while a model predicts.

    Args:
        model (nn.Module): Called with ``data_samples`` as a keyword, as MMEngine's ``test_step``
            does; its tokens are ordered by sample. The samples carry ``source`` and ``gt_label``.

    Raises:
        ValueError: If the model has no router.
    """

    def __init__(self, model: nn.Module) -> None:
        self.routers = {name: module for name, module in model.named_modules()
                        if isinstance(module, NoisyTopKRouter)}
        if not self.routers:
            raise ValueError(f'{type(model).__name__} has no experts: no NoisyTopKRouter in it')
        num_experts = next(iter(self.routers.values())).route.out_features
        self.counts: Counts = defaultdict(
            lambda: np.zeros((len(self.routers), num_experts), np.int64))
        model.register_forward_pre_hook(self._before, with_kwargs=True)
        for index, router in enumerate(self.routers.values()):
            router.register_forward_hook(
                lambda module, args, output, index=index: self._count(index, output))

    def _before(self, model: nn.Module, args: tuple, kwargs: dict) -> None:
        self.samples = [(sample.get('source'), int(sample.gt_label))
                        for sample in kwargs['data_samples']]

    def _count(self, index: int, routing: Routing) -> None:
        num_experts = routing.logits.shape[1]
        of_samples = routing.experts.reshape(len(self.samples), -1)
        counts = torch.stack([row.bincount(minlength=num_experts) for row in of_samples])
        for sample, row in zip(self.samples, counts.cpu().numpy()):
            self.counts[sample][index] += row


def shares(counts: np.ndarray) -> np.ndarray:
    """Counts (..., E) as shares that sum to one over the experts."""
    return counts / counts.sum(-1, keepdims=True)


def divergence(rows: np.ndarray) -> float:
    """How much one assignment tells of the row it comes from, in bits.

    The Jensen-Shannon divergence of R distributions of equal weight: 0 if all are the same,
    log2 R if no two share an expert.

    Args:
        rows (np.ndarray): (R, E), each sums to one.
    """
    return float(np.mean(entropy(rows, rows.mean(0, keepdims=True), base=2, axis=1)))


def tables(counts: Counts, label_spaces: Dict[str, Sequence[str]]) -> List[Dict[str, Any]]:
    """Shares and statistics of each block.

    Args:
        counts (dict): (source, class id) -> (blocks, E).
        label_spaces (dict): source -> class names.

    Returns:
        list[dict]: For each block ``rows`` (name -> E shares: each source, then its classes),
        ``sources_bits`` (divergence between the sources, None for one source) and
        ``classes_bits`` (source -> divergence between its classes).
    """
    sources = sorted({source for source, _ in counts})
    num_blocks = len(next(iter(counts.values())))
    found = []
    for block in range(num_blocks):
        rows, classes_bits = {}, {}
        for source in sources:
            classes = {label: counts[source, label][block]
                       for name, label in sorted(counts) if name == source}
            rows[f'{source} (all)'] = shares(sum(classes.values()))
            of_classes = {f'{source}: {label_spaces[source][label]}': shares(row)
                          for label, row in classes.items()}
            classes_bits[source] = divergence(np.stack(list(of_classes.values())))
            rows.update(of_classes)
        whole = np.stack([rows[f'{source} (all)'] for source in sources])
        found.append(dict(
            rows={name: row.tolist() for name, row in rows.items()},
            sources_bits=divergence(whole) if len(sources) > 1 else None,
            classes_bits=classes_bits))
    return found


def markdown(found: List[Dict[str, Any]], names: Sequence[str],
             pictures: Sequence[str]) -> List[str]:
    """Lines of the report: statistics of the blocks, then the shares of each."""
    sources = list(found[0]['classes_bits'])
    lines = [f'| block | between sources (bits) | '
             f'{" | ".join(f"between classes of {source} (bits)" for source in sources)} |',
             '|---|---:|' + '---:|' * len(sources)]
    for name, block in zip(names, found):
        between = block['sources_bits']
        cells = [f'{block["classes_bits"][source]:.4f}' for source in sources]
        lines.append(f'| {name} | {"-" if between is None else f"{between:.4f}"} | '
                     f'{" | ".join(cells)} |')
    for name, block, picture in zip(names, found, pictures):
        rows = block['rows']
        num_experts = len(next(iter(rows.values())))
        lines += ['', f'## {name}', '', f'![share of assignments]({picture})', '',
                  f'| rows (share of assignments, %) | '
                  f'{" | ".join(f"expert {index}" for index in range(num_experts))} |',
                  '|---|' + '---:|' * num_experts]
        lines += [f'| {row} | {" | ".join(f"{share * 100:.1f}" for share in values)} |'
                  for row, values in rows.items()]
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
    cfg.test_evaluator = dict(type='WARUARMetric')
    runner = Runner.from_cfg(cfg)
    recorder = RoutingRecorder(runner.model)
    runner.test()

    dataset = runner.test_dataloader.dataset
    parts = getattr(dataset, 'datasets', [dataset])
    found = tables(recorder.counts, {part.source: part.metainfo['classes'] for part in parts})
    names = [name.removesuffix('.moae.router') for name in recorder.routers]
    folder = Path(cfg.work_dir, FOLDER)
    folder.mkdir(parents=True, exist_ok=True)
    pictures = [f'{name}.png' for name in names]
    for name, block, picture in zip(names, found, pictures):
        routing_heat_map(np.array(list(block['rows'].values())), list(block['rows']),
                         f'{name}: share of assignments (%)').savefig(
                             folder / picture, dpi=DOTS_PER_INCH)
    lines = [
        '# Which experts serve what?', '',
        f'`{args.checkpoint}` of `{args.config}`, on its test data. An assignment is one token '
        'sent to one expert, before any capacity limit. Bits: Jensen-Shannon divergence, 0 if the '
        'rows use the experts alike. What the experts cost: '
        f'`python tools/analysis/model_cost.py {args.config} --parts .moae.`.', '',
        *markdown(found, names, pictures)]
    (folder / 'report.md').write_text('\n'.join(lines) + '\n', encoding='utf-8')
    (folder / 'report.json').write_text(
        json.dumps(dict(zip(names, found)), indent=2) + '\n', encoding='utf-8')
    print('\n'.join(lines))
    print(f'\nreport with pictures: {folder / "report.md"}')


if __name__ == '__main__':
    main()
