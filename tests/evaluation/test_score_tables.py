import numpy as np

from unilearn_mm.evaluation.bootstrap import bootstrap_intervals, proportion_interval
from unilearn_mm.evaluation.expression_scores import task_scores
from unilearn_mm.evaluation.score_tables import recall_table, score_table, score_text

LABELS, PREDICTIONS = np.array([0, 0, 0, 0, 2]), np.array([0, 0, 0, 2, 0])
PROBABILITIES = np.eye(3)[PREDICTIONS] * .7 + .1


def test_scores_in_percent_with_their_intervals():
    scores = task_scores(LABELS, PREDICTIONS, 'abc', PROBABILITIES)
    found = bootstrap_intervals(scores.confusion, 300)
    cells = [f'{value:.2%} ({found[name].low * 100:.2f} to {found[name].high * 100:.2f})'
             for name, value in (('WAR', .6), ('UAR', .375), ('macro_F1', .375),
                                 ('weighted_F1', .6))]
    ece, nll = '20.00%', f'{-(3 * np.log(.8) + 2 * np.log(.1)) / 5:.4f}'
    row = score_table(dict(dfew=scores), 300)[-1]
    assert row == f'| dfew | 5 | {" | ".join(cells)} | {ece} | {nll} |'
    text = score_text(scores, 300)
    assert text.startswith(f'5 samples, WAR {cells[0]}, UAR {cells[1]}, macro F1 37.50%, weighted '
                           f'F1 60.00%, ECE {ece}, NLL {nll} (in brackets')

    without = task_scores(LABELS, PREDICTIONS, 'abc')
    assert score_table(dict(dfew=without), 300)[-1].endswith(' | - | - |')
    assert 'ECE' not in score_text(without, 300)


def test_recall_of_each_class():
    bounds = [100 * bound for bound in (*proportion_interval(3, 4), *proportion_interval(0, 1))]
    assert recall_table(task_scores(LABELS, PREDICTIONS, 'abc'))[2:] == [
        f'| a | 4 | 75.0% | {bounds[0]:.1f} to {bounds[1]:.1f} |',
        '| b | 0 | - | - |',
        f'| c | 1 | 0.0% | {bounds[2]:.1f} to {bounds[3]:.1f} |']
