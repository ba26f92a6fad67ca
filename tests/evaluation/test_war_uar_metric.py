import functools
import itertools
import json
import logging
import os
import random

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmaction.registry import METRICS
from mmaction.structures import ActionDataSample
from mmengine.evaluator import Evaluator
from mmengine.logging import MMLogger
from sklearn.metrics import accuracy_score, f1_score, log_loss, recall_score

from unilearn_mm.evaluation.expression_scores import scores_from_predictions
from unilearn_mm.evaluation.war_uar_metric import WARUARMetric

SPACES = dict(toy_video=('happy', 'sad', 'fear', 'anger'), toy_image=('calm', 'excited'))
TASKS = dict(clips_a='toy_video', clips_b='toy_video', pictures='toy_image')


def data_sample(source, sample_id, label, scores, groups=None, with_pred_label=True):
    sample = ActionDataSample()
    if groups is not None:
        sample.set_metainfo(dict(groups=groups))
    sample.set_metainfo(dict(source=source, sample_id=sample_id, task=TASKS[source],
                             media='image' if source == 'pictures' else 'video'))
    sample.set_gt_label(label)
    sample.set_pred_score(torch.as_tensor(scores))
    if with_pred_label:
        sample.set_pred_label(sample.pred_score.argmax(-1, keepdim=True))
    return sample


def evaluate(samples, size, batch_size=3, **kwargs):
    metric = WARUARMetric(**kwargs)
    evaluator = Evaluator(metric)
    evaluator.dataset_meta = dict(label_spaces=SPACES)
    for start in range(0, len(samples), batch_size):
        evaluator.process(samples[start:start + batch_size])
    return evaluator.evaluate(size)


def random_rows(seed, num=37):
    """(source, sample_id, label, scores, groups): coarse scores, so that many are tied.

    Those of clips are probabilities; pictures have none of the clips' groups.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for index in range(num):
        source = list(TASKS)[rng.integers(3)]
        num_classes = len(SPACES[TASKS[source]])
        scores = rng.integers(1, 4, num_classes) / 3
        groups = {}
        if source != 'pictures':
            scores /= scores.sum()
            groups = dict(subject=f'00{rng.integers(3)}', age=str(rng.choice(['', '7', 'NA'])))
        rows.append((source, f'{index // 2:03d}/{index % 2}', int(rng.integers(num_classes)),
                     torch.tensor(scores).tolist(), groups))
    return rows


def restated(rows):
    """The scores of ``rows`` from scikit-learn and a plain argmax."""
    expected = {}
    for task in sorted({TASKS[row[0]] for row in rows}):
        labels = [row[2] for row in rows if TASKS[row[0]] == task]
        scores = np.float32([row[3] for row in rows if TASKS[row[0]] == task]).astype(float)
        predictions = [row.tolist().index(max(row)) for row in scores]
        present = sorted(set(labels))
        recalls = recall_score(labels, predictions, labels=present, average=None)
        expected[f'{task}/WAR'] = accuracy_score(labels, predictions)
        expected[f'{task}/UAR'] = np.mean(recalls)
        for average in ('macro', 'weighted'):
            expected[f'{task}/{average}_F1'] = f1_score(labels, predictions, average=average)
        expected[f'{task}/num_samples'] = len(labels)
        for index, recall in zip(present, recalls):
            expected[f'{task}/recall_{SPACES[task][index]}'] = recall
        if np.abs(scores.sum(1) - 1).max() < 1e-3:
            correct = np.array(labels) == predictions
            confidence = scores.max(1)
            bins = np.ceil(confidence * 15)
            expected[f'{task}/ECE'] = sum(
                abs((correct - confidence)[bins == index].sum()) for index in set(bins)
            ) / len(labels)
            expected[f'{task}/NLL'] = log_loss(labels, scores / scores.sum(1, keepdims=True),
                                               labels=range(scores.shape[1]))
    return expected


@st.composite
def tied_rows(draw):
    rows = []
    for index in range(draw(st.integers(1, 12))):
        source = draw(st.sampled_from(list(TASKS)))
        num_classes = len(SPACES[TASKS[source]])
        scores = draw(st.lists(st.sampled_from([0., .25, .5]), min_size=num_classes,
                               max_size=num_classes))
        rows.append((source, str(index), draw(st.integers(0, num_classes - 1)), scores))
    return rows


@pytest.fixture
def log():
    records = []
    handler = logging.Handler()
    handler.emit = records.append
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    yield records
    logger.removeHandler(handler)


@settings(deadline=None, max_examples=60)
@given(tied_rows(), st.randoms(use_true_random=False), st.data())
def test_scores_of_any_order_and_repeats(rows, shuffler, data):
    repeats = data.draw(st.lists(st.sampled_from(rows), max_size=5))
    samples = [data_sample(*row) for row in rows + repeats]
    shuffler.shuffle(samples)
    scores = evaluate(samples, len(rows))
    assert scores == pytest.approx(restated(rows))
    assert all(type(value) is float for value in scores.values())


def test_tasks_come_in_the_order_of_the_data_set():
    """So that save_best='auto', which takes the first score, takes the main task's WAR."""
    samples = [data_sample(*row) for row in random_rows(0)]
    for order in (['toy_video', 'toy_image'], ['toy_image', 'toy_video']):
        evaluator = Evaluator(WARUARMetric())
        evaluator.dataset_meta = dict(label_spaces={task: SPACES[task] for task in order})
        evaluator.process(samples)
        keys = list(evaluator.evaluate(len(samples)))
        assert keys[0] == f'{order[0]}/WAR'
        assert list(dict.fromkeys(key.split('/')[0] for key in keys)) == order


def test_sample_ids_need_only_differ_within_a_source():
    rows = [('clips_a', '1', 0, [1., 0., 0., 0.]), ('clips_b', '1', 1, [1., 0., 0., 0.])]
    scores = evaluate([data_sample(*row) for row in rows], 2)
    assert scores == pytest.approx(restated(rows))
    assert (scores['toy_video/num_samples'], scores['toy_video/recall_sad']) == (2., 0.)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
def test_predictions_of_every_precision(dtype):
    scores = torch.tensor([.125, .5, .25, .125], dtype=dtype)
    assert evaluate([data_sample('clips_a', '1', 1, scores)], 1)['toy_video/WAR'] == 1.


def test_double_scores_that_single_precision_cannot_tell_apart():
    scores = torch.tensor([.25, .25, .25, .25 + 1e-12], dtype=torch.float64)
    assert evaluate([data_sample('clips_a', '1', 3, scores)], 1)['toy_video/WAR'] == 1.


@pytest.mark.parametrize('with_pred_label', [True, False])
def test_pred_label_is_optional(with_pred_label):
    sample = data_sample('pictures', '1', 1, [.4, .6], with_pred_label=with_pred_label)
    assert evaluate([sample], 1)['toy_image/WAR'] == 1.


def test_unequal_repeats_give_the_same_scores_in_any_order(tmp_path):
    repeats = [('pictures', '1', 0, [.4, .6]), ('pictures', '1', 0, [.6, .4])]
    files = []
    for index, rows in enumerate((repeats, repeats[::-1])):
        files.append(tmp_path / f'{index}.csv')
        evaluate([data_sample(*row) for row in rows], 1, prediction_file=str(files[-1]))
    assert files[0].read_text() == files[1].read_text()


def test_repeats_must_agree_in_label():
    samples = [data_sample('pictures', '1', label, [.4, .6]) for label in (0, 1)]
    with pytest.raises(ValueError, match="'1' of source 'pictures' was scored with"):
        evaluate(samples, 1)


@pytest.mark.parametrize('num, size', [(3, 4), (5, 4), (0, 1)])
def test_every_sample_must_have_been_scored(num, size):
    samples = [data_sample('pictures', str(index), 0, [.4, .6]) for index in range(num)]
    samples += samples[:1]
    message = f'{num} different samples were scored, expected the {size}'
    with pytest.raises(ValueError, match=message):
        evaluate(samples, size)


def test_a_failed_evaluation_leaves_nothing_for_the_next():
    metric = WARUARMetric()
    metric.dataset_meta = dict(label_spaces=SPACES)
    metric.process(None, [data_sample('pictures', '1', 0, [.4, .6]).to_dict()])
    with pytest.raises(ValueError):
        metric.evaluate(2)
    metric.process(None, [data_sample('pictures', '2', 0, [.6, .4]).to_dict()])
    assert metric.evaluate(1)['toy_image/WAR'] == 1.


def changed(**changes):
    sample = data_sample('clips_a', 'x/7', 0, [.4, .3, .2, .1])
    sample.set_metainfo(changes)
    return sample


def without(key):
    sample = changed()
    delattr(sample, key)
    return sample


def with_label(value):
    return changed().set_pred_label(value)


@pytest.mark.parametrize('sample, error, message', [
    (without('sample_id'), ValueError, r"lacks the metainfo \['sample_id'\].*clips_a.*meta_keys="),
    (without('task'), ValueError, r"lacks the metainfo \['task'\].*x/7.*PackActionInputs"),
    (without('pred_score'), ValueError, "'x/7' of source 'clips_a' has no 'pred_score'"),
    (without('gt_label'), ValueError, "'x/7' of source 'clips_a' has no 'gt_label'"),
    (changed(groups=['m']), TypeError, r"'x/7'.*groups must be a dict of str to str.*\['m'\]"),
    (changed(groups=dict(age=7)), TypeError, "'x/7'.*groups must be a dict of str to str"),
    (changed(sample_id=7), TypeError, "'sample_id' of a data sample must be a str, found 7"),
    (changed(task='dfew'), ValueError, r"'x/7'.*task 'dfew'.*\['toy_image', 'toy_video'\]"),
    (changed(task='toy_image'), ValueError, r"'x/7'.*shape \(4,\), expected \(2,\).*'toy_image'"),
    (changed().set_gt_label(4), ValueError, r"'x/7'.*gt_label is \[4\].*\[0, 4\)"),
    (changed().set_gt_label([0, 1]), ValueError, r"'x/7'.*gt_label is \[0, 1\]"),
    (changed().set_pred_score([.1, float('nan'), .2, .3]), ValueError, "'x/7'.*not finite"),
    (changed().set_pred_score({key: [.1] for key in 'abcd'}), TypeError, "'x/7'.*found dict"),
    (with_label(2), ValueError, r"'x/7'.*pred_label is \[2\].*of class 0"),
])
def test_wrong_data_samples_are_named(sample, error, message):
    with pytest.raises(error, match=message):
        evaluate([sample], 1)


def test_a_dump_is_scored_without_its_data_set():
    """Its samples name their classes, as those of our data sets do."""
    rows = random_rows(2)
    samples = [data_sample(*row) for row in rows]
    expected = evaluate(samples, len(rows))
    for sample in samples:
        sample.set_metainfo(dict(class_names=SPACES[sample.task]))
    evaluator = Evaluator(WARUARMetric())
    found = evaluator.offline_evaluate([sample.to_dict() for sample in samples])
    assert found == expected == pytest.approx(restated(rows))
    # another dump, in which a task has other classes, is no continuation of the first
    other = data_sample('pictures', '1', 0, [.2, .3, .5])
    other.set_metainfo(dict(class_names=('x', 'y', 'z')))
    assert evaluator.offline_evaluate([other.to_dict()])['toy_image/recall_x'] == 0


def test_samples_of_a_task_must_name_the_same_classes():
    samples = [changed(class_names=SPACES['toy_video']),
               changed(class_names=SPACES['toy_video'][::-1], sample_id='x/8')]
    with pytest.raises(ValueError, match=r"'x/8'.*classes \('anger', 'fear', 'sad', 'happy'\) of "
                                         r"task 'toy_video', others \('happy', 'sad'"):
        Evaluator(WARUARMetric()).offline_evaluate(samples)


@pytest.mark.parametrize('meta', [None, dict(classes=('a', 'b'))])
def test_missing_class_names_are_named(meta):
    metric = WARUARMetric()
    metric.dataset_meta = meta
    with pytest.raises(ValueError, match=r"'x/7'.*no 'label_spaces'.*'class_names' to meta_keys"):
        metric.process(None, [changed().to_dict()])


def test_prediction_file(tmp_path):
    path = tmp_path / 'new folder' / 'predictions.csv'
    rows = random_rows(1)
    scores = evaluate([data_sample(*row) for row in rows], len(rows), prediction_file=str(path))
    assert os.listdir(path.parent) == [path.name]

    texts = dict.fromkeys(['sample_id', 'group_age', 'group_subject'], str)
    table = pd.read_csv(path, dtype=texts, keep_default_na=False, float_precision='round_trip',
                        na_values=dict(score_2=[''], score_3=['']))
    assert table.columns.tolist() == [
        'source', 'task', 'media', 'sample_id', 'label', 'prediction', 'label_name',
        'prediction_name', 'group_age', 'group_subject', 'score_0', 'score_1', 'score_2',
        'score_3']
    rows.sort(key=lambda row: row[:2])
    assert table[['source', 'sample_id']].values.tolist() == [list(row[:2]) for row in rows]
    for line, (source, _, label, row_scores, groups) in zip(table.itertuples(), rows):
        names = SPACES[TASKS[source]]
        prediction = int(np.argmax(row_scores))
        single = torch.tensor(row_scores).tolist()
        assert (line.task, line.label, line.prediction) == (TASKS[source], label, prediction)
        assert (line.label_name, line.prediction_name) == (names[label], names[prediction])
        written = [line.score_0, line.score_1, line.score_2, line.score_3]
        assert written[:len(names)] == single
        assert np.isnan(written[len(names):]).all()
        assert (line.group_age, line.group_subject) == (groups.get('age', ''),
                                                        groups.get('subject', ''))

    parquet = path.with_suffix('.parquet')
    assert scores == evaluate([data_sample(*row) for row in rows], len(rows),
                              prediction_file=str(parquet))
    for file in (path, parquet):
        recomputed = scores_from_predictions(file)
        for task, found in recomputed.items():
            names = dict(WAR=found.war, UAR=found.uar, macro_F1=found.macro_f1, ECE=found.ece,
                         weighted_F1=found.weighted_f1, NLL=found.nll,
                         num_samples=found.num_samples)
            for name, value in names.items():
                assert value == scores.get(f'{task}/{name}'), 'exactly, not about'


def test_a_wrong_prediction_file_is_refused_before_the_test():
    with pytest.raises(ValueError, match="'p.xlsx' ends with '.xlsx', expected one of .csv, .par"):
        WARUARMetric(prediction_file='p.xlsx')
    with pytest.raises(ValueError, match='bootstrap must be at least 1 resample, found 0'):
        WARUARMetric(bootstrap=0)


def test_scores_of_groups_are_logged(log):
    samples = [data_sample('clips_a', str(index), 0, scores, dict(gender=gender))
               for index, (gender, scores) in enumerate([
                   ('f', [.7, .1, .1, .1]), ('m', [.1, .7, .1, .1]), ('m', [.7, .1, .1, .1]),
                   ('', [.1, .7, .1, .1])])]
    evaluate([*samples, data_sample('pictures', '1', 0, [.7, .3])], 5, groups=['gender'])
    messages = [record.getMessage() for record in log]
    (clips, ) = [text for text in messages if text.startswith('toy_video by gender')]
    assert '| m | 2 | 1 | 50.00% |' in clips and 'gap between the best and the worst of 2' in clips
    assert 'WAR 50.00%, UAR 50.00%; 1 samples without a value are in no group' in clips
    assert 'toy_image by gender:\nnone of the 1 samples has a value of gender' in messages


def test_unknown_groups_are_named_after_the_predictions_are_saved(tmp_path):
    path = tmp_path / 'predictions.csv'
    with pytest.raises(ValueError, match=r"have no group 'gender', found \['age'\]"):
        evaluate([data_sample('pictures', '1', 0, [.7, .3], dict(age='7'))], 1, groups=['gender'],
                 prediction_file=str(path))
    assert path.is_file()


def test_repeats_must_agree_in_their_groups():
    samples = [data_sample('pictures', '1', 0, [.4, .6], dict(age=age)) for age in '78']
    with pytest.raises(ValueError, match="'1' of source 'pictures' was scored with"):
        evaluate(samples, 1)


def test_scores_that_are_no_probabilities_are_said_to_be_none(log):
    scores = evaluate([data_sample('pictures', '1', 0, [.7, .3]),
                       data_sample('pictures', '2', 0, [7., 3.])], 2)
    assert not {'toy_image/ECE', 'toy_image/NLL'} & set(scores)
    warning = next(record.getMessage() for record in log if 'ECE and NLL' in record.getMessage())
    assert "are not computed, because the scores of 1 samples are no" in warning
    assert "those of '2' sum to 10" in warning and "average_clips='prob'" in warning


def test_each_evaluation_replaces_the_prediction_file(tmp_path):
    path = tmp_path / 'predictions.csv'
    for sample_id in ('old', 'new'):
        evaluate([data_sample('pictures', sample_id, 0, [.4, .6])], 1, prediction_file=str(path))
    assert pd.read_csv(path)['sample_id'].tolist() == ['new']


def test_what_is_logged(log):
    evaluate([data_sample('clips_a', '1', 0, [.7, .1, .1, .1]),
              data_sample('clips_a', '2', 2, [.7, .1, .1, .1]),
              data_sample('pictures', '1', 0, [.7, .3]),
              data_sample('pictures', '2', 1, [.2, .8])], 4)
    messages = [record.getMessage() for record in log]
    assert [message.split(':')[0] for message in messages] == ['toy_video', 'toy_video',
                                                               'toy_image']
    assert messages[0].startswith(
        'toy_video: 2 samples, WAR 50.00% (50.00 to 50.00), UAR 50.00% (50.00 to 50.00), macro F1 '
        '33.33%, weighted F1 33.33%, ECE 20.00%, NLL 1.3296 (in brackets: 95% interval')
    fear = next(line for line in messages[0].splitlines() if line.startswith('2 fear'))
    assert fear.split() == ['2', 'fear', '1', '0', '0', '0', '1', '0.00']
    warnings = [record for record in log if record.levelno == logging.WARNING]
    assert [record.getMessage().split(';')[0] for record in warnings] == [
        'toy_video: no sample has the label sad, anger']


def test_builds_from_a_config_without_warnings(log):
    assert isinstance(METRICS.build(dict(type='WARUARMetric')), WARUARMetric)
    assert [record for record in log if record.levelno >= logging.WARNING] == []


def shares(rows, world_size, kind):
    """Rows of each rank: dealt with a padded end, or in very uneven runs with an empty rank."""
    if kind == 'padded':
        padded = rows + rows[:-len(rows) % world_size]
        return [padded[rank::world_size] for rank in range(world_size)]
    cuts = [0, *([len(rows) - 4, len(rows)][:world_size - 1]), len(rows)]
    return [rows[start:stop] for start, stop in itertools.pairwise(cuts)][::-1]


def run_rank(rank, folder, cases):
    os.chdir(folder)
    torch.set_num_threads(1)
    answers = {}
    for world_size in (3, 2, 1):
        if rank >= world_size:
            continue
        torch.distributed.init_process_group(
            'gloo', init_method=f'file://{folder}/store_{world_size}', rank=rank,
            world_size=world_size)
        for kind, device in cases:
            rows = random_rows(5)
            random.Random(9).shuffle(rows)
            name = f'{world_size}-{kind}-{device}'
            samples = [data_sample(*row) for row in shares(rows, world_size, kind)[rank]]
            run = functools.partial(evaluate, samples, batch_size=2, collect_device=device)
            answers[name] = run(len(rows), prediction_file=f'{name}.csv', groups=['subject'])
            try:
                run(len(rows) + 1)
            except (ValueError, RuntimeError) as error:
                answers[f'{name}-error'] = f'{type(error).__name__}: {error}'
        torch.distributed.destroy_process_group()
    with open(f'rank_{rank}.json', 'w') as file:
        json.dump(answers, file)


def test_number_of_processes_changes_nothing(tmp_path):
    cases = [(kind, device) for kind in ('padded', 'uneven') for device in ('cpu', 'gpu')]
    torch.multiprocessing.spawn(run_rank, (str(tmp_path), cases), nprocs=3)
    answers = [json.loads((tmp_path / f'rank_{rank}.json').read_text()) for rank in range(3)]
    rows = random_rows(5)
    alone = evaluate([data_sample(*row) for row in rows], len(rows),
                     prediction_file=str(tmp_path / 'alone.csv'))
    assert alone == pytest.approx(restated(rows))
    for world_size in (1, 2, 3):
        for kind, device in cases:
            name = f'{world_size}-{kind}-{device}'
            assert [answers[rank][name] for rank in range(world_size)] == [alone] * world_size
            written = (tmp_path / f'{name}.csv').read_text()
            assert written == (tmp_path / 'alone.csv').read_text()
            errors = [answers[rank][f'{name}-error'] for rank in range(world_size)]
            assert errors[0].startswith('ValueError: 37 different samples were scored')
            assert all(error.startswith('RuntimeError') and '37 different samples' in error
                       for error in errors[1:])
