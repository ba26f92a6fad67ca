"""Predictions against labels, by the numbers of the metric."""

from pathlib import Path
from typing import Dict, List, Sequence

import numpy as np
import pandas as pd

from ..datasets.annotations import class_id, read_annotations
from ..evaluation.expression_scores import task_scores
from ..evaluation.score_tables import score_text
from .inputs import Input, InputError
from .tables import NOT_CONFIDENT, OK, PROBABILITY_PREFIX, classes_of, read_table


def score_against(labels: str, inputs: Sequence[Input], out: Path, suffix: str) -> str:
    """Score the predictions of clips.

    Args:
        labels (str): Annotation list; a prediction belongs to the row whose path has its file
            name without suffix, or else the row with that ``sample_id``.
        inputs (Sequence[Input]): The inputs of the job.
        out (Path): Its output folder.
        suffix (str): Of its tables.

    Returns:
        str: WAR, UAR, F1, ... with intervals and the recall of each class, as the log of a test
        has them. How many labelled inputs have no prediction stands above: they are not scored.

    Raises:
        InputError: If an input has several rows or no label.
        AnnotationError: If the list cannot be parsed.
    """
    rows = read_annotations(labels, 'video')
    by_name: Dict[str, str] = {}
    for row in rows:
        for name in (Path(row.path).stem, row.sample_id):
            by_name.setdefault(name, row.label)
    found: List[tuple] = []
    without = 0
    for item in inputs:
        name = Path(str(item.source)).stem
        if name not in by_name:
            raise InputError(f'{item.source}: no row of {labels} has the path or sample_id '
                             f'{name!r}')
        path = out / f'{item.stem}{suffix}'
        table = read_table(path) if path.is_file() else pd.DataFrame(columns=['status'])
        scored = table[table['status'].isin((OK, NOT_CONFIDENT))]
        if len(scored) > 1:
            raise InputError(f'{item.source}: {len(scored)} rows; labels are for clips: predict '
                             'with --mode clip (and --faces largest)')
        if scored.empty:
            without += 1
            continue
        row = scored.iloc[0]
        own = [cls for cls in classes_of(scored) if pd.notna(row[f'{PROBABILITY_PREFIX}{cls}'])]
        found.append((class_id(by_name[name], own, labels),
                      row[[f'{PROBABILITY_PREFIX}{cls}' for cls in own]].to_numpy(float), own))
    if not found:
        raise InputError(f'{labels}: none of the {len(inputs)} inputs has a prediction')
    classes = found[0][2]
    probabilities = np.array([row for _, row, _ in found])
    scores = task_scores(np.array([label for label, _, _ in found]), probabilities.argmax(1),
                         classes, probabilities)
    head = f'{len(found)} inputs scored' + (f', {without} without a face' if without else '')
    return f'{head}: {score_text(scores)}'
