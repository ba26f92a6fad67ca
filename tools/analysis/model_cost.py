"""What a model costs: parameters, multiply-accumulates, latency and memory, for any config.

    python tools/analysis/model_cost.py configs/unilearn_dfew.py [--parts .moae.] [--device cuda]

Costs are those of predicting one sample of each data set of the recipe's test (or of its
validation or training, where it has no test), with all its views: a made-up clip or image goes
through the pipeline and the model. Decoding and pipeline are not counted.
"""

import argparse
import resource
import statistics
import tempfile
import time
from typing import Callable, Dict, Sequence, Tuple

import cv2
import numpy as np
import torch
from mmaction.registry import MODELS
from mmengine.config import Config, ConfigDict, DictAction
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import unilearn_mm  # noqa: F401
from unilearn_mm.recipes import data_parts, media_of, own_pipelines

SIZE, FRAMES = 224, 64  # of what is made up: an aligned face, and the longest window of a recipe


def grouped_product_flops(rows: Sequence[int], weight: Sequence[int], *args, **kwargs) -> int:
    """Each of A rows of K values is multiplied with one of E matrices (E, K, N)."""
    return 2 * rows[0] * weight[-2] * weight[-1]


# torch's counter does not know it
PRODUCTS = {torch.ops.aten._grouped_mm: grouped_product_flops}


def count_macs(run: Callable[[], object]) -> int:
    """Multiply-accumulates of the matrix products and convolutions of a call.

    Args:
        run (callable): Runs a model on the CPU, where experts compute chosen tokens only.
    """
    # the counter knows products: attention in its explicit form
    with sdpa_kernel(SDPBackend.MATH), torch.no_grad(), \
            FlopCounterMode(display=False, custom_mapping=PRODUCTS) as counter:
        run()
    return counter.get_total_flops() // 2


def latency(run: Callable[[], object], repeats: int) -> float:
    """Median seconds of a call, after one to warm up."""
    taken = []
    with torch.no_grad():
        for _ in range(repeats + 1):
            start = time.perf_counter()
            run()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            taken.append(time.perf_counter() - start)
    return statistics.median(taken[1:])


def parameter_table(model: nn.Module, parts: Sequence[str] = ()) -> Dict[str, Tuple[int, int]]:
    """Parameters and trainable parameters of the parts of a model.

    Args:
        model (nn.Module): A model.
        parts (Sequence[str]): Further rows: the parameters whose name contains the text.

    Returns:
        dict[str, tuple[int, int]]: The model's modules that have parameters, ``parts``, 'all'.

    Raises:
        ValueError: If no parameter's name contains a text of ``parts``.
    """
    rows = {name: list(module.parameters()) for name, module in model.named_children()}
    rows = {name: found for name, found in rows.items() if found}
    for text in parts:
        rows[f'*{text}*'] = [p for name, p in model.named_parameters() if text in name]
        if not rows[f'*{text}*']:
            raise ValueError(f'no parameter of {type(model).__name__} has {text!r} in its name')
    rows['all'] = list(model.parameters())
    return {name: (sum(p.numel() for p in found),
                   sum(p.numel() for p in found if p.requires_grad))
            for name, found in rows.items()}


def made_up_sample(part: ConfigDict) -> dict:
    """A packed sample of a data set of a recipe, from noise."""
    media = media_of(part)
    sample = dict(sample_id='made up', media=media, label=0, start_index=0, modality='RGB')
    sample.update({key: part[key] for key in ('task', 'source') if key in part})
    frames = np.random.default_rng(0).integers(0, 256, (FRAMES, SIZE, SIZE, 3), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        path = f'{folder}/image.png' if media == 'image' else f'{folder}/clip.mp4'
        if media == 'image':
            cv2.imwrite(path, frames[0])
        else:
            writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*'mp4v'), 25, (SIZE, SIZE))
            for frame in frames:
                writer.write(frame)
            writer.release()
        return Compose(part.pipeline)(dict(sample, filename=path, path=path))


def prediction(model: nn.Module, batch: dict, device: str) -> Callable[[], object]:
    """What predicts a batch of packed samples when it is called; the model moves there."""
    data = model.to(device).data_preprocessor(batch)
    return lambda: model(**data, mode='predict')


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--parts', nargs='+', default=[], metavar='TEXT',
                        help='also count the parameters with TEXT in their name, e.g. .moae.')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={})
    args = parser.parse_args()
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options)
    init_default_scope(cfg.default_scope)
    loader = next(cfg[key] for key in ('test_dataloader', 'val_dataloader', 'train_dataloader')
                  if cfg.get(key))
    model = MODELS.build(cfg.model).eval()
    model.load_state_dict(model.state_dict())  # weights that must be loaded: any will do

    print('| part | parameters | of them trained |\n|---|---:|---:|')
    for name, (count, trained) in parameter_table(model, args.parts).items():
        print(f'| {name} | {count:,} | {trained:,} |')
    print('\n| one sample of | views x channels x frames x height x width | GMACs | latency on '
          f'{args.device} (ms) |\n|---|---|---:|---:|')
    own_pipelines(loader)
    for part in data_parts(loader):
        packed = made_up_sample(part)
        batch = {key: [value] for key, value in packed.items()}
        macs = count_macs(prediction(model, batch, 'cpu'))
        spent = latency(prediction(model, batch, args.device), args.repeats)
        print(f'| {part.get("source") or part.get("task", part.type)} | '
              f'{" x ".join(map(str, packed["inputs"].shape))} | {macs / 1e9:.2f} | '
              f'{spent * 1e3:.1f} |', flush=True)
    if args.device == 'cuda':
        peak = f'{torch.cuda.max_memory_allocated() / 2**20:.0f} MiB (allocated on the device)'
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        peak = f'{peak:.0f} MiB (the whole process)'
    print(f'\npeak memory: {peak}')


if __name__ == '__main__':
    main()
