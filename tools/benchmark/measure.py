"""Wall time and peak memory of computations side by side, for the benchmarks of this folder."""

import platform
import re
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable, Dict, List, Sequence

import torch
from tqdm import tqdm

# name -> (is it ours, autocast type, activation checkpointing)
VARIANTS = {
    'official-fp32': (False, None, False),
    'official-fp16': (False, torch.float16, False),
    'official-bf16': (False, torch.bfloat16, False),
    'fp32': (True, None, False),
    'fp32-checkpointed': (True, None, True),
    'bf16': (True, torch.bfloat16, False),
    'bf16-checkpointed': (True, torch.bfloat16, True),
}


def processor_name() -> str:
    """Name of the CPU, and whether it has bf16 products."""
    try:
        facts = Path('/proc/cpuinfo').read_text()
    except OSError:
        return platform.processor() or 'unknown processor'
    name = re.search(r'model name\s*:\s*(.*)', facts)
    extra = [flag for flag in ('avx512_bf16', 'amx_bf16') if flag in facts]
    return ', '.join([name[1] if name else 'unknown processor', *extra])


def setting(device: str) -> str:
    """One line: device, torch version and threads."""
    where = torch.cuda.get_device_name() if device == 'cuda' else processor_name()
    return f'{device} ({where}), torch {torch.__version__}, {torch.get_num_threads()} threads'


def seconds(run: Callable[[], object], device: str) -> float:
    """Wall time of one run, device work included."""
    if device == 'cuda':
        torch.cuda.synchronize()
    start = time.perf_counter()
    run()
    if device == 'cuda':
        torch.cuda.synchronize()
    return time.perf_counter() - start


def alternating_medians(runs: Dict[str, Callable[[], object]], device: str, repeats: int,
                        title: str) -> Dict[str, float]:
    """Median wall times of several computations.

    Args:
        runs (dict[str, Callable]): The computations; each round runs every one of them once, so
            that a slow spell of the machine meets all. One more round, the first, warms up.
        device (str): 'cpu' or 'cuda'.
        repeats (int): Rounds that count.
        title (str): Title of the progress bar.

    Returns:
        dict[str, float]: Seconds.
    """
    taken: Dict[str, List[float]] = {name: [] for name in runs}
    for repeat in tqdm(range(repeats + 1), title, leave=False):
        for name, run in runs.items():
            spent = seconds(run, device)
            if repeat:
                taken[name].append(spent)
    return {name: statistics.median(values) for name, values in taken.items()}


def print_time_header(columns: Sequence[str], variants: Sequence[str]) -> None:
    """Header of a table of medians; the first variant is the official one."""
    official, *ours = variants
    cells = (*columns, *(f'{name} (s)' for name in variants),
             *(f'{official} / {name}' for name in ours))
    print(f'| {" | ".join(cells)} |')
    print('|---' * len(cells) + '|')


def print_time_row(cells: Sequence[str], medians: Dict[str, float]) -> None:
    """Row of that table: medians and how many times as fast as the official one we are."""
    official, *ours = medians.values()
    cells = (*cells, *(f'{value:.3f}' for value in medians.values()),
             *(f'{official / value:.2f}x' for value in ours))
    print(f'| {" | ".join(cells)} |', flush=True)


def peak_memory(make_step: Callable[[], Callable[[], object]], device: str) -> float:
    """Peak memory of training, to be measured in a process that has done nothing else.

    Args:
        make_step (Callable): Makes model, optimizer and inputs, and returns the training step.
        device (str): 'cpu' or 'cuda'.

    Returns:
        float: MiB at the peak of two steps, above what the imports need.
    """
    at_start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step = make_step()
    for _ in range(2):  # the optimizer's state is made in the first step
        step()
    if device == 'cuda':
        return torch.cuda.max_memory_allocated() / 2**20
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - at_start) / 1024


def print_memory_table(script: str, variants: Sequence[str],
                       cases: Dict[str, Sequence[str]]) -> None:
    """Print peak memories, each measured in a fresh process, and their ratios.

    Args:
        script (str): Program that prints :func:`peak_memory` when called with
            ``--measure VARIANT``.
        variants (Sequence[str]): The first is the official one.
        cases (dict[str, Sequence[str]]): Number of clips -> further arguments of the program.
    """
    print('| clips | model | peak (MiB) | of the official |')
    print('|---|---|---|---|')
    for case, arguments in cases.items():
        official = None
        for variant in tqdm(variants, f'{case} clips', leave=False):
            done = subprocess.run([sys.executable, script, '--measure', variant, *arguments],
                                  capture_output=True, text=True)
            if done.returncode:
                tqdm.write(done.stderr, file=sys.stderr)
                tqdm.write(f'| {case} | {variant} | exit code {done.returncode} | - |')
                continue
            peak = float(done.stdout.split()[-1])
            if variant == variants[0]:
                official = peak
            share = f'{peak / official:.2f}' if official else '-'
            tqdm.write(f'| {case} | {variant} | {peak:.0f} | {share} |')
