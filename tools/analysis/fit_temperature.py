"""Fit temperatures on validation predictions and store them beside the checkpoint.

    python tools/analysis/fit_temperature.py PREDICTIONS CHECKPOINT

PREDICTIONS is the file of a test run of CHECKPOINT on *validation* data, with one view per sample
and without TemperatureHook, for instance

    python tools/test.py CONFIG CHECKPOINT --cfg-options \\
        test_dataloader.dataset.datasets.0.ann_file=val.csv \\
        test_evaluator.prediction_file=val_predictions.csv

Temperatures fitted on the samples that are tested make a test look better calibrated than it is.
Writes <checkpoint stem>.temperature.json; a test uses it with
``--cfg-options default_hooks.temperature.type=TemperatureHook``.
"""

import argparse
from pathlib import Path

import numpy as np

from unilearn_mm.evaluation.calibration import sums_off_one
from unilearn_mm.evaluation.prediction_table import (
    check_predictions,
    names_in_table,
    read_predictions,
    task_score_array,
)
from unilearn_mm.evaluation.temperature import fit_temperature, write_temperatures


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('predictions', type=Path)
    parser.add_argument('checkpoint', type=Path)
    args = parser.parse_args()
    table = read_predictions(args.predictions)
    check_predictions(table, str(args.predictions))
    fits = {}
    for task, rows in table.groupby('task', sort=True):
        scores = task_score_array(rows, len(names_in_table(rows)), str(args.predictions))
        wrong = sums_off_one(scores)
        if wrong.any():
            raise ValueError(
                f'{args.predictions}: the scores of {wrong.sum()} samples of task {task!r} are no '
                f'probabilities, the first is {rows.iloc[int(np.argmax(wrong))].sample_id!r}; '
                "test with average_clips='prob' of the head")
        fits[task] = fit_temperature(scores, rows['label'].to_numpy())
    path = write_temperatures(fits, args.checkpoint, args.predictions)
    print('| task | samples | T | NLL before | NLL after |\n|---|---:|---:|---:|---:|')
    for task, fit in fits.items():
        print(f'| {task} | {fit.num_samples} | {fit.temperature:.4f} | {fit.nll_before:.4f} | '
              f'{fit.nll_after:.4f} |')
    print(f'\n{path}')


if __name__ == '__main__':
    main()
