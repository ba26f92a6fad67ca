"""Draw what the model really gets: contact sheets of every source, after all augmentation.

    python tools/analysis/browse_data.py CONFIG [--split train] [--samples 8] [--epoch 0]
        [--out work_dirs/browse] [--cfg-options ...]

The data go through the config's own pipeline, batch sampler and data preprocessor (with erasing
and mixing in training); the normalisation is undone. Writes SPLIT_SOURCE.png for each source.
"""

import argparse
from pathlib import Path
from typing import Dict, List

import numpy as np
import torch
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmengine.config import Config, DictAction
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from tqdm import tqdm

import unilearn_mm  # noqa: F401  (registers the data sets)
from unilearn_mm.visualization.contact_sheet import SheetRow, contact_sheet
from unilearn_mm.visualization.file_names import file_stem

DOTS_PER_INCH = 120


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config')
    parser.add_argument('--split', choices=['train', 'val', 'test'], default='train')
    parser.add_argument('--samples', type=int, default=8, help='of each source')
    parser.add_argument('--epoch', type=int, default=0, help='whose draws are shown')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/browse'))
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={})
    args = parser.parse_args()
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options)
    init_default_scope(cfg.default_scope)

    rows = sheet_rows(cfg, args.split, args.samples, args.epoch)
    args.out.mkdir(parents=True, exist_ok=True)
    for source, source_rows in rows.items():
        path = args.out / f'{args.split}_{file_stem(source)}.png'
        title = f'{source}, {args.split}, epoch {args.epoch}: what the model gets'
        contact_sheet(source_rows, title).savefig(path, dpi=DOTS_PER_INCH)
        print(path)


def sheet_rows(cfg: Config, split: str, samples: int, epoch: int) -> Dict[str, List[SheetRow]]:
    """The first samples of each source in an epoch, as the model gets them.

    Args:
        cfg (Config): A recipe with expression data sets.
        split (str): 'train', 'val' or 'test'.
        samples (int): Samples of each source.
        epoch (int): Epoch, from 0.
    """
    loader_cfg = cfg[f'{split}_dataloader']
    loader_cfg.update(num_workers=0, persistent_workers=False, timeout=0)
    loader = Runner.build_dataloader(loader_cfg, seed=cfg.randomness.get('seed') or 0)
    loader.batch_sampler.sampler.set_epoch(epoch)
    preprocessor = MODELS.build(cfg.model.data_preprocessor)
    label_spaces = loader.dataset.metainfo['label_spaces']
    parts = getattr(loader.dataset, 'datasets', [loader.dataset])
    rows: Dict[str, List[SheetRow]] = {part.source: [] for part in parts}
    with tqdm(total=samples * len(rows), desc='samples') as progress:
        for batch in loader:
            found = rows[batch['data_samples'][0].source]
            if len(found) >= samples:
                continue
            data = preprocessor(batch, training=split == 'train')
            inputs = data['inputs']
            frames = inputs['imgs'] if isinstance(inputs, dict) else inputs
            pixels = (frames * preprocessor.std + preprocessor.mean).round()
            pixels = pixels.clamp(0, 255).to(torch.uint8)
            for clip, sample in list(zip(pixels, data['data_samples']))[:samples - len(found)]:
                frames = clip.permute(0, 2, 3, 4, 1).flatten(0, 1).numpy()  # views one by one
                found.append(SheetRow(frames, describe(sample, label_spaces)))
                progress.update()
            if all(len(found) >= samples for found in rows.values()):
                break
    return {source: found for source, found in rows.items() if found}


def describe(sample: ActionDataSample, label_spaces: Dict[str, List[str]]) -> str:
    """Lines: the sample's id (its end) and its label, the shares of a mixed one in per cent."""
    lines = [sample.sample_id[-24:]]
    if 'gt_label' in sample:
        names, label = label_spaces[sample.task], sample.gt_label
        if label.is_floating_point():
            lines += [f'{label[index]:.0%} {names[index]}'
                      for index in np.argsort(-label.numpy()) if label[index] > 0]
        else:
            lines.append(names[label.item()])
    if 'sound' in sample:
        lines.append(f'sound: {sample.sound}')
    return '\n'.join(lines)


if __name__ == '__main__':
    main()
