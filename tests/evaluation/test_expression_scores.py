import warnings
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    f1_score,
    precision_recall_fscore_support,
    recall_score,
)

from unilearn_mm.evaluation.expression_scores import (
    confusion,
    confusion_table,
    macro_f1,
    per_class_f1,
    per_class_recall,
    scores_from_predictions,
    task_scores,
    uar,
    war,
    weighted_f1,
)
from unilearn_mm.evaluation.prediction_table import PREDICTION_COLUMNS

MAFW = ('anger', 'anxiety', 'contempt', 'disappointment', 'disgust', 'fear', 'happiness',
        'helplessness', 'neutral', 'sadness', 'surprise')


@st.composite
def labelled(draw):
    """(labels, predictions, K): often some classes are absent, sometimes only one occurs."""
    num_classes = draw(st.integers(2, 6))
    present = draw(st.lists(st.integers(0, num_classes - 1), min_size=1, max_size=4))
    pairs = st.tuples(st.sampled_from(present), st.integers(0, num_classes - 1))
    labels, predictions = zip(*draw(st.lists(pairs, min_size=1, max_size=30)))
    return np.array(labels), np.array(predictions), num_classes


def table(rows):
    """Of (source, task, sample_id, label, prediction, label name, prediction name, scores)."""
    frame = pd.DataFrame(
        [(source, task, 'video', sample_id, *ids_and_names)
         for source, task, sample_id, *ids_and_names, _ in rows], columns=PREDICTION_COLUMNS)
    return frame.join(pd.DataFrame([row[-1] for row in rows]).add_prefix('score_'))


def example_table():
    """Two tasks; sample ids that a careless reader takes for missing or equal numbers."""
    return table([
        ('s1', 'small', 'nan', 1, 1, 'sad', 'sad', (.25, .75)),
        ('s1', 'small', 'NA', 1, 0, 'sad', 'happy', (.5, .5)),
        ('s2', 'small', '001', 0, 0, 'happy', 'happy', (1., 0.)),
        ('s2', 'small', '1', 0, 0, 'happy', 'happy', (1., 0.)),
        ('s3', 'big', 'nan', 3, 1, 'fear', 'anger', (0., .7, .1, .2)),
    ])


@settings(deadline=None, max_examples=150)
@given(labelled())
def test_scores_agree_with_scikit_learn(case):
    labels, predictions, num_classes = case
    counts = confusion(labels, predictions, num_classes)
    pairs = Counter(zip(labels.tolist(), predictions.tolist()))
    plain = [[pairs[row, column] for column in range(num_classes)] for row in range(num_classes)]
    assert counts.dtype == np.int64 and counts.tolist() == plain
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # predictions of classes that never occur as a label
        assert uar(counts) == pytest.approx(balanced_accuracy_score(labels, predictions))
        for average, score in (('macro', macro_f1), ('weighted', weighted_f1)):
            assert score(counts) == pytest.approx(
                f1_score(labels, predictions, average=average, zero_division=0))
        recall = recall_score(labels, predictions, labels=range(num_classes), average=None,
                              zero_division=np.nan)
    assert war(counts) == pytest.approx(accuracy_score(labels, predictions))
    np.testing.assert_allclose(per_class_recall(counts), recall)


def plain_ece(probabilities, labels):
    """Fifteen bins (low, high], one after the other."""
    error = 0
    for index in range(15):
        inside = [(row.max(), int(row.argmax() == label)) for row, label in
                  zip(probabilities, labels) if index / 15 < row.max() <= (index + 1) / 15]
        if inside:
            confidence, correct = np.mean(inside, axis=0)
            error += len(inside) / len(labels) * abs(confidence - correct)
    return error


def random_case(rng):
    """(labels, probabilities): 1 to 11 classes, some absent, often one only, scores often tied."""
    num_classes, num = rng.integers(1, 12), rng.integers(1, 40)
    present = rng.choice(num_classes, rng.integers(1, num_classes + 1), replace=False)
    scores = rng.integers(1, 5, (num, num_classes)) if rng.random() < .5 else rng.gamma(
        .5, size=(num, num_classes)) + 1e-9
    return rng.choice(present, num), scores / scores.sum(1, keepdims=True)


@pytest.mark.filterwarnings('ignore:A single label')
def test_a_thousand_random_cases_agree_with_scikit_learn():
    rng = np.random.default_rng(0)
    seen = Counter()
    for _ in range(1000):
        labels, probabilities = random_case(rng)
        num_classes = probabilities.shape[1]
        predictions = probabilities.argmax(1)
        scores = task_scores(labels, predictions, [str(k) for k in range(num_classes)],
                             probabilities)
        occurring = sorted({*labels, *predictions})
        _, recall, f1, support = precision_recall_fscore_support(
            labels, predictions, labels=occurring, zero_division=0)
        expected = dict(
            war=np.mean(labels == predictions),
            uar=recall[support > 0].mean(),
            macro_f1=f1.mean(),
            weighted_f1=(f1 * support).sum() / len(labels),
            ece=plain_ece(probabilities, labels),
            nll=-np.mean([np.log(row[label]) for row, label in zip(probabilities, labels)]))
        assert {name: getattr(scores, name) for name in expected} == pytest.approx(expected)
        top = np.sort(probabilities)[:, -2:]
        seen['ties'] += num_classes > 1 and bool((top[:, 0] == top[:, -1]).any())
        seen['absent'] += bool(scores.absent_classes)
        seen['one label'] += len(set(labels)) == 1
        seen['one class'] += num_classes == 1
    assert min(seen.values()) > 50 and len(seen) == 4


@settings(deadline=None, max_examples=60)
@given(st.lists(labelled(), min_size=2, max_size=4))
def test_a_stack_of_matrices_scores_as_each_of_them(cases):
    stack = np.stack([confusion(labels, predictions, 6) for labels, predictions, _ in cases])
    for score in (war, uar, macro_f1, weighted_f1, per_class_recall, per_class_f1):
        np.testing.assert_allclose(score(stack), [score(counts) for counts in stack], rtol=1e-12)
        np.testing.assert_array_equal(score(stack[None]), score(stack)[None])


def test_scores_that_are_no_probabilities_have_no_calibration():
    labels, predictions = np.array([0, 1]), np.array([0, 1])
    for scores in ([[2., 1.], [0., 1.]], [[1.5, -.5], [0., 1.]], [[.6, .3], [.5, .5]]):
        found = task_scores(labels, predictions, 'ab', np.array(scores))
        assert (found.war, found.ece, found.nll) == (1, None, None)
    rounded = task_scores(labels, predictions, 'ab', np.array([[.7, .3006], [.4, .6]]))
    assert rounded.nll == pytest.approx(-np.log([.7, .6]).mean())
    assert task_scores(labels, predictions, 'ab').ece is None


@settings(deadline=None, max_examples=60)
@given(labelled(), st.randoms(use_true_random=False))
def test_scores_do_not_depend_on_sample_order_or_class_numbering(case, random):
    labels, predictions, num_classes = case
    names = [f'name {index}' for index in range(num_classes)]
    scores = task_scores(labels, predictions, names)

    order = random.sample(range(len(labels)), len(labels))
    shuffled = task_scores(labels[order], predictions[order], names)
    np.testing.assert_array_equal(shuffled.confusion, scores.confusion)
    assert (shuffled.war, shuffled.uar) == (scores.war, scores.uar)

    new_id = np.array(random.sample(range(num_classes), num_classes))
    renumbered = task_scores(new_id[labels], new_id[predictions], names)
    np.testing.assert_array_equal(renumbered.recall[new_id], scores.recall)
    assert renumbered.war == scores.war
    assert renumbered.uar == pytest.approx(scores.uar)


def test_a_class_that_is_only_predicted_does_not_lower_uar():
    scores = task_scores(np.array([0, 1, 2, 2]), np.array([0, 1, 2, 3]), 'abcde')
    assert scores.war == .75
    assert scores.uar == pytest.approx((1 + 1 + .5) / 3)
    np.testing.assert_array_equal(scores.recall, [1, 1, .5, np.nan, np.nan])
    assert scores.absent_classes == ('d', 'e')
    assert scores.num_samples == 4


@pytest.mark.parametrize('labels, predictions, error, message', [
    ([0, 3, 4], [0, 1, 2], ValueError, r'labels\[1\] is 3, expected a class id in \[0, 3\)'),
    ([0, 1, 2], [0, 1, -1], ValueError, r'predictions\[2\] is -1'),
    ([0, 1], [0], ValueError, '2 labels, 1 predictions'),
    ([], [], ValueError, 'at least one sample'),
    ([[0, 1]], [[0, 1]], ValueError, r'shape \(1, 2\)'),
    ([0, 1], [.0, 1.], TypeError, 'predictions must be integer class ids, found float64'),
    ([True, False], [0, 1], TypeError, 'labels must be integer'),
])
def test_wrong_ids_are_named(labels, predictions, error, message):
    with pytest.raises(error, match=message):
        confusion(labels, predictions, 3)


@pytest.mark.parametrize('score', [war, uar, macro_f1, weighted_f1, per_class_recall])
@pytest.mark.parametrize('counts, message', [
    (np.zeros((3, 3), int), 'no sample'),
    (np.ones((3, 2), int), r'found \(3, 2\)'),
    (np.ones(3, int), r'found \(3,\)'),
    (np.stack([np.eye(3, dtype=int), np.zeros((3, 3), int)]), 'no sample'),
])
def test_what_is_no_confusion_matrix_is_refused(score, counts, message):
    with pytest.raises(ValueError, match=message):
        score(counts)


@pytest.mark.parametrize('from_file', [False, True])
def test_scores_of_a_table(tmp_path, from_file):
    predictions = example_table()
    if from_file:
        predictions.to_csv(tmp_path / 'predictions.csv', index=False)
        predictions = tmp_path / 'predictions.csv'
    scores = scores_from_predictions(predictions)
    assert list(scores) == ['big', 'small']
    assert scores['small'].class_names == ('happy', 'sad')
    assert scores['small'].confusion.tolist() == [[2, 0], [1, 1]]
    assert (scores['small'].war, scores['small'].uar) == (.75, .75)
    assert scores['big'].class_names == ('class_0', 'anger', 'class_2', 'fear')
    assert scores['big'].confusion[3].tolist() == [0, 1, 0, 0]

    spaces = dict(big=['joy', 'anger', 'sadness', 'fear'], small=['happy', 'sad'])
    named = scores_from_predictions(predictions, spaces)
    assert named['big'].class_names == tuple(spaces['big'])
    np.testing.assert_array_equal(named['small'].confusion, scores['small'].confusion)


def test_wrong_tables_are_refused(tmp_path):
    rows = example_table()
    with pytest.raises(ValueError, match='holds no prediction'):
        scores_from_predictions(rows[:0])
    with pytest.raises(ValueError, match="'001' of source 's2' occurs more than once"):
        scores_from_predictions(pd.concat([rows, rows[2:3]]))
    with pytest.raises(ValueError, match="task 'big', label_spaces names only"):
        scores_from_predictions(rows, dict(small=['happy', 'sad']))
    rows.drop(columns='label').to_csv(tmp_path / 'lacking.csv', index=False)
    with pytest.raises(ValueError, match=r"lacking.csv lacks the columns \['label'\]"):
        scores_from_predictions(tmp_path / 'lacking.csv')
    rows.loc[1, 'score_1'] = np.nan
    with pytest.raises(ValueError, match="'NA' of source 's1' lacks scores.*expected the 2"):
        scores_from_predictions(rows)
    rows.loc[1, 'score_1'] = .75
    with pytest.raises(ValueError, match="prediction of sample 'NA' of.* is 0,.*of class 1"):
        scores_from_predictions(rows)
    with pytest.raises(ValueError, match="expected the 3 of task 'big': score_0 .. score_2"):
        scores_from_predictions(rows, dict(big=['a', 'b', 'c'], small=['happy', 'sad']))


def test_text_table_holds_every_number():
    rng = np.random.default_rng(0)
    labels = rng.choice([index for index in range(11) if index != 2], 9000)
    scores = task_scores(labels, rng.integers(0, 11, 9000), MAFW)
    lines = confusion_table(scores).splitlines()
    assert len(lines) == 12 and max(map(len, lines)) < 120
    for index, line in enumerate(lines[1:]):
        identity, name, *counts, total, recall = line.split()
        assert (int(identity), name) == (index, MAFW[index])
        assert list(map(int, counts)) == scores.confusion[index].tolist()
        assert int(total) == (labels == index).sum()
        if index == 2:
            assert recall == '-'
        else:
            assert float(recall) == pytest.approx(100 * scores.recall[index], abs=.005)
