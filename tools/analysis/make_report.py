"""Write a report of a test run: scores with intervals, figures, sample predictions, curves.

    python tools/analysis/make_report.py CONFIG CHECKPOINT [--work-dir DIR] [--cfg-options ...]

Reads the prediction file of the config's ``WARUARMetric`` in the work directory (made by
tools/test.py with the same --work-dir), the test data and, if the training was there too, its
scalars; writes ``report/report.md`` with its pictures into the work directory.
"""

import argparse
from pathlib import Path
from typing import Dict, List

import numpy as np
import pandas as pd
from mmaction.registry import DATASETS
from mmengine.config import Config, DictAction
from mmengine.registry import init_default_scope
from tqdm import tqdm

import unilearn_mm  # noqa: F401  (registers the data sets)
from unilearn_mm.datasets.transforms import DecodeClip, OpenClip
from unilearn_mm.evaluation.bootstrap import RESAMPLES
from unilearn_mm.evaluation.expression_scores import scores_from_predictions
from unilearn_mm.evaluation.prediction_table import read_predictions, task_score_array
from unilearn_mm.evaluation.score_tables import recall_table, score_table
from unilearn_mm.recipes import prediction_file
from unilearn_mm.visualization.curves import read_scalars, scalar_files, training_curves_figure
from unilearn_mm.visualization.figures import PredictionSample, prediction_strip_figure
from unilearn_mm.visualization.file_names import file_stem
from unilearn_mm.visualization.task_figures import task_figures

SAMPLES_SHOWN = 4  # of each task: as many wrong as right ones where there are enough
DOTS_PER_INCH = 110


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config')
    parser.add_argument('checkpoint', help='named in the report; it is not loaded')
    parser.add_argument('--work-dir', help="default: the config's work_dir")
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={})
    args = parser.parse_args()
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options)
    init_default_scope(cfg.default_scope)

    work_dir = Path(args.work_dir or cfg.work_dir)
    path = work_dir / prediction_file(cfg)
    make = f'run tools/test.py {args.config} {args.checkpoint} --work-dir {work_dir}'
    if not path.is_file():
        raise FileNotFoundError(f'{path} does not exist; {make}')
    predictions = read_predictions(path)
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    located = {(info['source'], info['sample_id']): info
               for info in map(dataset.get_data_info, range(len(dataset)))}
    check_samples(predictions, located, f'{path} is not of the test data of {args.config}', make)
    label_spaces = dataset.metainfo['label_spaces']
    scores = scores_from_predictions(predictions, label_spaces)
    folder = work_dir / 'report'
    folder.mkdir(exist_ok=True)

    lines = ['# Test report', '', *score_table(scores), '',
             f'In brackets: 95 % intervals of {RESAMPLES} bootstrap resamples, stratified by '
             'label.', '']
    for task, task_scores in tqdm(scores.items(), 'tasks', leave=False):
        task_rows = predictions[predictions['task'] == task]
        values = task_score_array(task_rows, len(label_spaces[task]), str(path))
        figures = task_figures(task, task_scores, values, task_rows['label'].to_numpy())
        figures['samples'] = prediction_strip_figure([
            prediction_sample(row, located, label_spaces[task]) for row in pick_rows(task_rows)])
        lines += [f'## {task}', '', *recall_table(task_scores), '']
        for name, figure in figures.items():
            picture = f'{file_stem(task)}_{name}.png'
            figure.savefig(folder / picture, dpi=DOTS_PER_INCH)
            lines += [f'![{name} of {task}]({picture})', '']
    scalars = scalar_files(work_dir)
    if scalars:
        training_curves_figure(read_scalars(scalars), str(work_dir)).savefig(
            folder / 'training.png', dpi=DOTS_PER_INCH)
        lines += ['## Training', '', '![training curves](training.png)', '']
    logs = sorted(work_dir.glob('*/*.log'))
    lines += ['## Files', '',
              f'- config: `{args.config}`',
              f'- checkpoint: `{args.checkpoint}`',
              f'- predictions: `{path}`',
              *[f'- log: `{path}`' for path in logs]]
    report = folder / 'report.md'
    report.write_text('\n'.join(lines) + '\n', encoding='utf-8')
    print('\n'.join(score_table(scores)))
    print(f'\nreport with pictures: {report}')


def check_samples(predictions: pd.DataFrame, located: Dict[tuple, dict], what: str,
                  make: str) -> None:
    """Compare the samples of a prediction file with those of the test data.

    Args:
        predictions (pd.DataFrame): Rows of the file.
        located (dict): (source, sample_id) -> sample of the test data.
        what (str): What an error begins with.
        make (str): What to do, for the error.

    Raises:
        ValueError: If they are not the same.
    """
    keys = ('source', 'sample_id', 'task', 'label')
    predicted = set(zip(*(predictions[key] for key in keys)))
    expected = {tuple(info[key] for key in keys) for info in located.values()}
    only = [sorted(predicted - expected), sorted(expected - predicted)]
    if any(only):
        there, here = (f'{len(found)} samples are only {place}' + (
            ', e.g. {1!r} of source {0!r} with the label {3} of task {2!r}'.format(*found[0])
            if found else '') for found, place in zip(only, ('there', 'in the recipe')))
        raise ValueError(f'{what}: {there}; {here}. Was it another fold or list? {make}')


def pick_rows(rows: pd.DataFrame) -> List[pd.Series]:
    """Predictions to show: wrong and right ones in turn, spread evenly over the test set."""
    right = rows['label'] == rows['prediction']
    chosen = []
    for group in (rows[~right], rows[right]):
        places = np.linspace(0, len(group) - 1, min(SAMPLES_SHOWN // 2, len(group))).astype(int)
        chosen += [group.iloc[place] for place in places]
    return chosen


def prediction_sample(row: pd.Series, located: Dict[tuple, dict],
                      class_names: List[str]) -> PredictionSample:
    """Frames, names and probabilities of one row of the prediction file."""
    results = OpenClip().transform(dict(located[row['source'], row['sample_id']]))
    results['frame_inds'] = np.arange(results['total_frames'])
    frames = np.stack(DecodeClip().transform(results)['imgs'])
    probabilities = row[[f'score_{i}' for i in range(len(class_names))]].to_numpy(float)
    return PredictionSample(frames, row['label_name'], row['prediction_name'],
                            probabilities.clip(0, 1), class_names)


if __name__ == '__main__':
    main()
