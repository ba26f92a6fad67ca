"""WAR and UAR of every task in an evaluation, the same for any number of processes."""
import logging
from itertools import chain
from typing import Any, Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
import pandas as pd
import torch
from mmaction.registry import METRICS
from mmengine.dist import broadcast_object_list, collect_results, get_world_size, is_main_process
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log

from .bootstrap import RESAMPLES
from .calibration import sums_off_one
from .expression_scores import TaskScores, scores_from_predictions
from .prediction_table import (
    GROUP_PREFIX,
    PREDICTION_COLUMNS,
    SCORE_PREFIX,
    prediction_suffix,
    score_columns,
    write_predictions,
)
from .score_tables import score_text, subgroup_table
from .subgroups import subgroup_scores

META_KEYS = ('source', 'task', 'media', 'sample_id')


class SampleResult(NamedTuple):
    """What the metric keeps of one sample.

    Attributes:
        source (str): named data set part.
        sample_id (str): unique within the source. Results sort by (source, sample_id) first.
        task (str): names the label space.
        media (str): 'video' or 'image'.
        label (int): class id in [0, K).
        groups (tuple[tuple[str, str], ...]): name and value of its group columns, by name.
        scores (tuple[float, ...]): K finite scores in double precision.
    """
    source: str
    sample_id: str
    task: str
    media: str
    label: int
    groups: Tuple[Tuple[str, str], ...]
    scores: Tuple[float, ...]


@METRICS.register_module()
class WARUARMetric(BaseMetric):
    """WAR, UAR, F1, recall and calibration of each task that occurs in an evaluation.

    A data sample must carry the metainfo ``source``, ``task``, ``media`` and ``sample_id`` (all
    str), a ``gt_label`` of one class id, and a ``pred_score`` of shape (K,). It may carry
    ``groups``, a dict of str to str (subject, gender, age, ...). The prediction is the class of
    the highest score, compared in float64, the lowest id among equals; a ``pred_label`` that does
    not have the highest score is an error. The names of the classes are those of ``label_spaces``
    (task -> K names in id order) in the data set's metainfo; where there is none, as in an
    evaluation of a dump, each sample must name its own in ``class_names``.

    Scores are computed once, on the main process, over the results of all processes. A sample
    counts once however often a distributed sampler repeated it, and neither the number of
    processes nor the order of the results changes a number. Every sample of the data set must
    have been scored. Views of a sample are averaged by the head.

    For each task the metric returns the floats ``<task>/WAR``, ``<task>/UAR``,
    ``<task>/macro_F1``, ``<task>/weighted_F1``, ``<task>/recall_<class name>`` (all in [0, 1]) and
    ``<task>/num_samples``; and ``<task>/ECE`` and ``<task>/NLL`` if the scores are probabilities,
    as those of a head with ``average_clips='prob'`` are (a warning says if they are not). Classes
    without a label have no recall; a warning names them. The tasks come in the order of
    ``label_spaces``, so that the first score, which ``save_best='auto'`` takes, is the WAR of the
    recipe's first task. Only logged are the bootstrap intervals (see ``bootstrap``), the confusion
    matrix and the scores of groups.

    Args:
        prediction_file (str, optional): CSV or Parquet file (by its suffix) for one row per
            sample with its scores and groups, from which ``scores_from_predictions`` and
            tools/analysis/eval_predictions.py compute the same numbers again. Each evaluation
            replaces the file of the one before.
        groups (Sequence[str]): group columns for which WAR and UAR are logged per group.
        bootstrap (int): resamples behind the 95 % intervals.
        collect_device (str): 'cpu' exchanges results through files in the working directory,
            which all nodes must share; 'gpu' through the process group.

    Attributes:
        table (pd.DataFrame | None): the rows of the last evaluation, on the main process.
        label_spaces (dict[str, Sequence[str]] | None): its tasks and their class names, likewise.

    Raises:
        ValueError: ``prediction_file`` has another suffix, or ``bootstrap`` is below one.
    """

    # Keys start with the task; None would log a warning about a missing prefix.
    default_prefix: Optional[str] = ''

    def __init__(self,
                 prediction_file: Optional[str] = None,
                 groups: Sequence[str] = (),
                 bootstrap: int = RESAMPLES,
                 collect_device: str = 'cpu') -> None:
        super().__init__(collect_device=collect_device)
        if prediction_file is not None:
            prediction_suffix(prediction_file)  # an error now, not after the test
        if bootstrap < 1:
            raise ValueError(f'bootstrap must be at least 1 resample, found {bootstrap}')
        self.prediction_file = prediction_file
        self.groups = tuple(groups)
        self.bootstrap = bootstrap
        self.named: Dict[str, Tuple[str, ...]] = {}  # task -> class names, where samples tell them
        self.label_spaces: Dict[str, Sequence[str]] = {}
        self.table: Optional[pd.DataFrame] = None

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Check and keep the results of one batch.

        Args:
            data_batch (Any): not used.
            data_samples (Sequence[dict]): one dict per sample, as ``ActionDataSample.to_dict()``
                returns it.

        Raises:
            TypeError: a metainfo value is not a str, groups are no dict of str to str, or label or
                scores are no tensor.
            ValueError: a data sample lacks a key, ``label_spaces`` lacks its task, no one names its
                classes or another sample has other names, a label lies outside [0, K), scores are
                not finite or of another shape than (K,), or ``pred_label`` does not have the
                highest score.
        """
        self.results.extend(self._result(sample) for sample in data_samples)

    def evaluate(self, size: int) -> Dict[str, float]:
        """Score the results of all processes together.

        Args:
            size (int): number of samples in the data set.

        Returns:
            dict[str, float]: the scores, on every process.

        Raises:
            ValueError: the number of different samples is not ``size``, or results of one
                sample disagree in their label, task, media or groups, or no sample has a group
                that is to be scored.
            RuntimeError: on the other processes, when the main process failed.
        """
        # One item per process: collect_results cuts the list of items to the given size.
        parts = collect_results([(self.results, self.named)], get_world_size(),
                                self.collect_device)
        self.results: List[SampleResult] = []
        self.named = {}
        scores, failure = None, None
        if is_main_process():
            # The other processes wait for a broadcast: they must hear of an error too.
            try:
                results = _each_sample_once(chain.from_iterable(part for part, _ in parts), size)
                self.label_spaces = self._spaces_of_data() or {
                    task: names for _, named in parts for task, names in named.items()}
                scores = self.compute_metrics(results)
            except Exception as error:  # noqa: BLE001 (raised below, on every rank)
                failure = error
        outcome: List[Any] = [
            scores, None if failure is None else f'{type(failure).__name__}: {failure}']
        broadcast_object_list(outcome)
        if failure is not None:
            raise failure
        scores_of_main, message = outcome
        if message is not None:
            raise RuntimeError(f'WARUARMetric failed on the main process: {message}')
        return scores_of_main

    def compute_metrics(self, results: List[SampleResult]) -> Dict[str, float]:
        """Score, log and, if asked for, write the results.

        Args:
            results (list[SampleResult]): one result per sample.

        Returns:
            dict[str, float]: the scores of all tasks.
        """
        label_spaces = self.label_spaces
        self.table = table = _prediction_table(results, label_spaces)
        if self.prediction_file is not None:
            write_predictions(table, self.prediction_file)
            print_log(f'Predictions of {len(table)} samples are in {self.prediction_file}',
                      logger='current')
        numbers = {}
        by_task = scores_from_predictions(table, label_spaces)
        for task in [task for task in label_spaces if task in by_task]:
            scores, rows = by_task[task], table[table['task'] == task]
            _log_scores(task, scores, rows, self.bootstrap)
            for name in self.groups:
                found = subgroup_scores(rows, name, len(scores.class_names))
                lines = [f'{task} by {name}:', *subgroup_table(found)]
                print_log('\n'.join(lines), logger='current')
            numbers.update(_named_numbers(task, scores))
        return numbers

    def _result(self, sample: dict) -> SampleResult:
        meta = _metainfo(sample)
        where = f'sample {meta["sample_id"]!r} of source {meta["source"]!r}'
        num_classes = len(self._class_names(sample, where))
        return SampleResult(
            label=_label(sample, num_classes, where),
            groups=_groups(sample, where),
            scores=_scores(sample, num_classes, where),
            **meta)

    def _spaces_of_data(self) -> Optional[Dict[str, Sequence[str]]]:
        return (self.dataset_meta or {}).get('label_spaces')

    def _class_names(self, sample: dict, where: str) -> Sequence[str]:
        task, spaces = sample['task'], self._spaces_of_data()
        if spaces is not None:
            if task not in spaces:
                raise ValueError(
                    f"{where}: no class names for task {task!r}, 'label_spaces' of the data set's "
                    f"metainfo names {sorted(spaces)}; add the task there or correct the sample's "
                    'task')
            return spaces[task]
        if 'class_names' not in sample:
            raise ValueError(
                f"{where} does not name the classes of its task {task!r}, and the data set's "
                f"metainfo holds {sorted(self.dataset_meta or {})} but no 'label_spaces' (task -> "
                "class names). Add 'class_names' to meta_keys of PackActionInputs and make the "
                "dump again, or set dataset_meta of the Evaluator")
        names = tuple(sample['class_names'])
        others = self.named.setdefault(task, names)
        if names != others:
            raise ValueError(f'{where} names the classes {names} of task {task!r}, others '
                             f'{others}; a task has one list of classes')
        return names


def _metainfo(sample: dict) -> Dict[str, str]:
    missing = [key for key in META_KEYS if key not in sample]
    if missing:
        known = {key: sample[key] for key in (*META_KEYS, 'filename') if key in sample}
        raise ValueError(
            f'a data sample lacks the metainfo {missing}, known of it: {known}; add '
            f'meta_keys={META_KEYS} to PackActionInputs in the pipeline and let the data set '
            'give each sample these keys')
    meta = {key: sample[key] for key in META_KEYS}
    for key, value in meta.items():
        if not isinstance(value, str):
            raise TypeError(f'metainfo {key!r} of a data sample must be a str, found {value!r} in '
                            f'{meta}; correct it in the data set')
    return meta


def _groups(sample: dict, where: str) -> Tuple[Tuple[str, str], ...]:
    groups = sample.get('groups', {})
    if not isinstance(groups, dict) or not all(
            isinstance(text, str) for item in groups.items() for text in item):
        raise TypeError(f'{where}: groups must be a dict of str to str, found {groups!r}; correct '
                        'it in the data set')
    return tuple(sorted(groups.items()))


def _numbers(sample: dict, key: str, where: str) -> torch.Tensor:
    if key not in sample:
        raise ValueError(
            f'{where} has no {key!r}, found {sorted(sample)}; the annotation must give a label '
            "and the model must run in mode='predict'")
    try:
        return torch.as_tensor(sample[key], device='cpu')
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f'{where}: {key} must be a tensor, found '
                        f'{type(sample[key]).__name__}') from error


def _label(sample: dict, num_classes: int, where: str) -> int:
    label = _numbers(sample, 'gt_label', where)
    if label.numel() != 1 or label.is_floating_point() or not 0 <= label.item() < num_classes:
        raise ValueError(f'{where}: gt_label is {label.tolist()}, expected one class id in '
                         f'[0, {num_classes}) of task {sample["task"]!r}')
    return int(label.item())


def _scores(sample: dict, num_classes: int, where: str) -> Tuple[float, ...]:
    scores = _numbers(sample, 'pred_score', where).double()
    if scores.shape != (num_classes, ):
        raise ValueError(
            f'{where}: pred_score has shape {tuple(scores.shape)}, expected ({num_classes},), one '
            f'score for each class of task {sample["task"]!r}; check num_classes of the head, '
            'and its average_clips when there are several views')
    if not scores.isfinite().all():
        raise ValueError(f'{where}: pred_score is not finite: {scores.tolist()}; the model has '
                         'diverged or overflows in its precision')
    if 'pred_label' in sample:
        pred_label = _numbers(sample, 'pred_label', where).flatten().tolist()
        if not all(scores[index] == scores.max() for index in pred_label):
            raise ValueError(f'{where}: pred_label is {pred_label}, but the highest score is that '
                             f'of class {scores.argmax().item()}: {scores.tolist()}')
    return tuple(scores.tolist())


def _each_sample_once(results: Iterable[SampleResult], size: int) -> List[SampleResult]:
    """Sort results by (source, sample_id) and drop repeats.

    Of several results of one sample the one with the smallest scores (compared from class 0 on)
    stays, so that the order of ``results`` has no influence.
    """
    unique: Dict[tuple, SampleResult] = {}
    for result in sorted(results):
        kept = unique.setdefault(result[:2], result)
        if kept[2:6] != result[2:6]:
            raise ValueError(
                f'sample {result.sample_id!r} of source {result.source!r} was scored with '
                f'(task, media, label, groups) {kept[2:6]} and {result[2:6]}; give every sample '
                'of a source its own sample_id')
    if len(unique) != size:
        raise ValueError(
            f'{len(unique)} different samples were scored, expected the {size} of the data set; '
            'a test visits every sample once: look for samples that were skipped or replaced, '
            'a sampler that drops the last batch, or a sample_id that occurs twice in a source')
    return list(unique.values())


def _prediction_table(results: List[SampleResult],
                      label_spaces: Dict[str, Sequence[str]]) -> pd.DataFrame:
    table = pd.DataFrame(results, columns=SampleResult._fields)
    scores = pd.DataFrame(table.pop('scores').tolist(), dtype=np.float64).add_prefix(SCORE_PREFIX)
    # '' and not a missing value, which a CSV file could not tell from it
    groups = pd.DataFrame(list(map(dict, table.pop('groups'))), dtype=str).fillna('')
    groups = groups[sorted(groups)].add_prefix(GROUP_PREFIX)
    table['prediction'] = [int(np.argmax(result.scores)) for result in results]
    for ids in ('label', 'prediction'):
        table[f'{ids}_name'] = [label_spaces[task][index]
                                for task, index in zip(table['task'], table[ids])]
    return pd.concat([table[list(PREDICTION_COLUMNS)], groups, scores], axis=1)


def _log_scores(task: str, scores: TaskScores, rows: pd.DataFrame, resamples: int) -> None:
    print_log(f'{task}: {score_text(scores, resamples)}', logger='current')
    if scores.absent_classes:
        print_log(
            f'{task}: no sample has the label {", ".join(scores.absent_classes)}; UAR is the mean '
            'over the other classes',
            logger='current',
            level=logging.WARNING)
    if scores.ece is None:
        values = rows[score_columns(rows)].to_numpy()[:, :len(scores.class_names)]
        wrong = sums_off_one(values)
        first = rows.iloc[int(wrong.argmax())]
        print_log(
            f'{task}: ECE and NLL are not computed, because the scores of {wrong.sum()} samples '
            f'are no probabilities (those of {first.sample_id!r} sum to '
            f'{values[wrong][0].sum():.6g}); a head with average_clips=\'prob\' gives '
            'probabilities',
            logger='current',
            level=logging.WARNING)


def _named_numbers(task: str, scores: TaskScores) -> Dict[str, float]:
    calibration = {} if scores.ece is None else {'ECE': scores.ece, 'NLL': scores.nll}
    recalls = {f'recall_{name}': float(recall)
               for name, recall in zip(scores.class_names, scores.recall)
               if not np.isnan(recall)}
    numbers = dict(WAR=scores.war, UAR=scores.uar, macro_F1=scores.macro_f1,
                   weighted_F1=scores.weighted_f1, **calibration, **recalls,
                   num_samples=float(scores.num_samples))
    return {f'{task}/{name}': number for name, number in numbers.items()}
