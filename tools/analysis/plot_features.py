"""Draw the backbone's features of the test set by t-SNE, coloured by class and by source.

    python tools/analysis/plot_features.py CONFIG CHECKPOINT [--samples 1500]
        [--out work_dirs/features.png] [--cfg-options ...]

A sample's feature is the mean over its views (and, for backbones that return a map, over time and
space). Where the sources are apart but the classes are not, the model tells clips from images
better than emotions.
"""

import argparse
from pathlib import Path
from typing import Dict, List, Tuple

import numpy as np
import torch
from mmaction.registry import MODELS
from mmengine.config import Config, DictAction
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from torch import nn
from tqdm import tqdm

import unilearn_mm  # noqa: F401  (registers the models)
from unilearn_mm.models.checkpoints.fit import load_whole
from unilearn_mm.visualization.embedding import tsne_figure

DOTS_PER_INCH = 110


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config')
    parser.add_argument('checkpoint')
    parser.add_argument('--samples', type=int, default=1500,
                        help='at most this many of each source, drawn with seed 0')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/features.png'))
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={})
    args = parser.parse_args()
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options)
    init_default_scope(cfg.default_scope)

    model = MODELS.build(cfg.model).to(args.device).eval()
    load_whole(model, args.checkpoint, args.config)
    features, names = extract_features(model, cfg)
    chosen = choose(names['source'], args.samples)
    print(f't-SNE of {len(chosen)} of {len(features)} samples')
    figure = tsne_figure(
        features[chosen], {f'by {what}': np.array(values)[chosen]
                           for what, values in names.items()},
        f'features of {Path(args.checkpoint).name} on the test set', verbose=True)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(args.out, dpi=DOTS_PER_INCH)
    print(args.out)


def extract_features(model: nn.Module, cfg: Config) -> Tuple[np.ndarray, Dict[str, List[str]]]:
    """Features of the test set.

    Args:
        model (nn.Module): A recognizer in evaluation mode.
        cfg (Config): Its recipe.

    Returns:
        tuple: (N, C) float32 features, and for 'class' and 'source' the name of each sample.
    """
    loader = Runner.build_dataloader(cfg.test_dataloader, seed=0)
    spaces = loader.dataset.metainfo['label_spaces']
    features, names = [], {'class': [], 'source': []}
    for batch in tqdm(loader, 'batches', leave=False):
        data = model.data_preprocessor(batch)
        samples = data['data_samples']
        with torch.no_grad():
            found, _ = model.extract_feat(data['inputs'], stage='backbone')
        found = found.flatten(2).mean(2) if found.ndim > 2 else found
        features.append(found.unflatten(0, (len(samples), -1)).mean(1).float().cpu())
        names['class'] += [spaces[sample.task][int(sample.gt_label)] for sample in samples]
        names['source'] += [sample.source for sample in samples]
    return torch.cat(features).numpy(), names


def choose(sources: List[str], most: int) -> np.ndarray:
    """Indices of at most ``most`` samples of each source, in order; the same in every call."""
    sources = np.asarray(sources)
    generator = np.random.default_rng(0)
    chosen = []
    for source in np.unique(sources):
        places = np.flatnonzero(sources == source)
        chosen.append(generator.choice(places, min(most, len(places)), replace=False))
    return np.sort(np.concatenate(chosen))


if __name__ == '__main__':
    main()
