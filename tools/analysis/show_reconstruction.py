"""Draw what a pre-trained model makes of masked images and clips.

    python tools/analysis/show_reconstruction.py CONFIG CHECKPOINT [--split val] [--images 8]
        [--clips 3] [--out work_dirs/reconstruction] [--cfg-options ...]

Writes SPLIT_SOURCE.png for each source: the original, the visible patches, and the predicted ones
among them. Masks depend on the sample only, so pictures of two checkpoints can be compared.
"""

import argparse
from pathlib import Path
from typing import Dict, List

import torch
from mmaction.registry import MODELS
from mmengine.config import Config, DictAction
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from tqdm import tqdm

import unilearn_mm  # noqa: F401  (registers the models)
from unilearn_mm.models.checkpoints.fit import load_whole
from unilearn_mm.visualization.file_names import file_stem
from unilearn_mm.visualization.reconstruction import ReconstructionStrip, reconstruction_figure

DOTS_PER_INCH = 110


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config')
    parser.add_argument('checkpoint')
    parser.add_argument('--split', choices=['train', 'val', 'test'], default='val')
    parser.add_argument('--images', type=int, default=8, help='of each source of images')
    parser.add_argument('--clips', type=int, default=3, help='of each source of clips')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/reconstruction'))
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={})
    args = parser.parse_args()
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options)
    init_default_scope(cfg.default_scope)

    model = MODELS.build(cfg.model).to(args.device).eval()
    load_whole(model, args.checkpoint, args.config)
    args.out.mkdir(parents=True, exist_ok=True)
    found = strips(model, cfg, args.split, dict(image=args.images, video=args.clips))
    for source, source_strips in found.items():
        path = args.out / f'{args.split}_{file_stem(source)}.png'
        reconstruction_figure(source_strips).savefig(path, dpi=DOTS_PER_INCH)
        print(path)


def strips(model, cfg: Config, split: str,
           samples: Dict[str, int]) -> Dict[str, List[ReconstructionStrip]]:
    """Strips of the first samples of each source.

    Args:
        model (DualModalMAE): In evaluation mode.
        cfg (Config): A pre-training recipe.
        split (str): 'train', 'val' or 'test'.
        samples (dict[str, int]): Samples of a source, by its medium.
    """
    loader_cfg = cfg[f'{split}_dataloader']
    loader_cfg.update(num_workers=0, persistent_workers=False, timeout=0)
    loader = Runner.build_dataloader(loader_cfg, seed=0)
    found: Dict[str, List[ReconstructionStrip]] = {}
    num_sources = len(getattr(loader.dataset, 'datasets', [loader.dataset]))
    for batch in tqdm(loader, 'batches', leave=False):
        source = batch['data_samples'][0].source
        if source in found:
            continue
        found[source] = batch_strips(model, batch, samples)
        if len(found) == num_sources:
            break
    return found


def batch_strips(model, batch: dict, samples: Dict[str, int]) -> List[ReconstructionStrip]:
    """Strips of the first samples of a batch: one per clip, or one of all images."""
    data = model.data_preprocessor(batch)
    media = data['data_samples'][0].media
    count = samples[media]
    pictures = model.pictures(data['inputs'][:count], data['data_samples'][:count])
    frames = (pictures * 255).round().to(torch.uint8).permute(0, 1, 3, 4, 5, 2).cpu().numpy()
    names = [sample.sample_id for sample in data['data_samples'][:count]]
    source, ratio = data['data_samples'][0].source, model.mask_ratio[media]
    if media == 'image':
        return [ReconstructionStrip(frames[:, :, 0], f'{source}, {ratio:.0%} masked')]
    return [ReconstructionStrip(frames[:, index], f'{source} {name}, {ratio:.0%} masked')
            for index, name in enumerate(names)]


if __name__ == '__main__':
    main()
