"""What a model costs: parameters, multiply-accumulates, latency and memory, for any config.

    python tools/analysis/model_cost.py configs/unilearn_dfew.py [--device cuda] [--repeats 5]

Inputs are one clip and one image of the size for which the backbone's positions are made.
"""

import argparse
import resource
import statistics
import time
from typing import Dict

import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import unilearn_mm  # noqa: F401
from unilearn_mm.models.layers.experts import AdapterExperts


def count_macs(backbone: nn.Module, inputs: Tensor) -> int:
    """Multiply-accumulates of one forward pass, attention and chosen experts included.

    Args:
        backbone (nn.Module): Maps inputs to features.
        inputs (Tensor): (1, 3, T, H, W).
    """
    experts = [module for module in backbone.modules() if isinstance(module, AdapterExperts)]
    backends = [module.backend for module in experts]
    # the counter knows matrix products: attention in its explicit form, experts one by one
    for module in experts:
        module.backend = 'loop'
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
        backbone(inputs)
    for module, backend in zip(experts, backends):
        module.backend = backend
    return counter.get_total_flops() // 2


def latency(backbone: nn.Module, inputs: Tensor, repeats: int) -> float:
    """Median seconds of a forward pass, after one to warm up."""
    taken = []
    with torch.no_grad():
        for _ in range(repeats + 1):
            start = time.perf_counter()
            backbone(inputs)
            if inputs.is_cuda:
                torch.cuda.synchronize()
            taken.append(time.perf_counter() - start)
    return statistics.median(taken[1:])


def parameter_table(model: nn.Module) -> Dict[str, int]:
    """Parameters of the parts of a recognizer."""
    experts = sum(p.numel() for name, p in model.named_parameters() if '.moae.' in name)
    backbone = sum(p.numel() for p in model.backbone.parameters())
    total = sum(p.numel() for p in model.parameters())
    return {'backbone without experts': backbone - experts, 'experts and routers': experts,
            'heads': total - backbone, 'all': total}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--repeats', type=int, default=5)
    args = parser.parse_args()
    cfg = Config.fromfile(args.config)
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model).to(args.device).eval()

    print('| part | parameters |\n|---|---:|')
    for name, count in parameter_table(model).items():
        print(f'| {name} | {count:,} |')
    settings = cfg.model.backbone
    size, frames = settings.img_size, settings.num_frames
    print(f'\n| input | GMACs | latency on {args.device} (ms) |\n|---|---:|---:|')
    for name, length in (('clip', frames), ('image', 1)):
        inputs = torch.randn(1, 3, length, size, size, device=args.device)
        macs = count_macs(model.backbone, inputs)
        spent = latency(model.backbone, inputs, args.repeats)
        print(f'| {name} 1 x 3 x {length} x {size} x {size} | {macs / 1e9:.2f} | '
              f'{spent * 1e3:.1f} |')
    if args.device == 'cuda':
        peak = torch.cuda.max_memory_allocated() / 2**20
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f'\npeak memory: {peak:.0f} MiB'
          + (' (the whole process)' if args.device != 'cuda' else ' (allocated on the device)'))


if __name__ == '__main__':
    main()
