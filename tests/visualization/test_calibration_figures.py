import numpy as np
import pytest

from unilearn_mm.evaluation.calibration import reliability_bins, risk_coverage
from unilearn_mm.evaluation.expression_scores import task_scores
from unilearn_mm.visualization.calibration_figures import reliability_figure, risk_coverage_figure
from unilearn_mm.visualization.task_figures import task_figures


@pytest.fixture
def case():
    rng = np.random.default_rng(0)
    return rng.dirichlet([.5] * 4, 80), rng.integers(0, 4, 80)


def test_bars_and_gaps_of_the_reliability_diagram(case, tmp_path):
    bins = reliability_bins(*case)
    fig = reliability_figure(bins, 'dfew')
    top, bottom = fig.axes
    filled = bins.counts > 0
    bars, gaps = top.containers
    assert [bar.get_height() for bar in bars] == pytest.approx(bins.accuracy[filled])
    assert [bar.get_x() for bar in bars] == pytest.approx(bins.edges[:-1][filled])
    ends = [gap.get_y() + gap.get_height() for gap in gaps]
    assert ends == pytest.approx(bins.confidence[filled]), 'from the accuracy to the confidence'
    assert sum(bar.get_height() for bar in bottom.patches) == 80
    gap = np.nansum(np.abs(bins.accuracy - bins.confidence) * bins.counts) / 80
    assert top.get_title() == f'dfew: ECE {gap:.1%}'
    fig.savefig(tmp_path / 'reliability.png')


def test_lines_of_the_risk_coverage_curve(case, tmp_path):
    curve = risk_coverage(*case)
    ax = risk_coverage_figure(curve, 'dfew').axes[0]
    ours, ideal, random = ax.lines
    np.testing.assert_array_equal(ours.get_xydata().T, [curve.coverage, curve.risk])
    error = np.mean(case[0].argmax(1) != case[1])
    assert random.get_ydata().tolist() == [error, error]
    # errors come last: none up to the share of right answers, all of them at the end
    coverage, risk = ideal.get_data()
    assert (risk[coverage <= 1 - error] == 0).all() and risk[-1] == pytest.approx(error)
    assert risk[coverage > 1 - error] == pytest.approx(
        (coverage - (1 - error))[coverage > 1 - error] / coverage[coverage > 1 - error])
    assert ax.get_ylim()[1] >= curve.risk.max()
    ax.figure.savefig(tmp_path / 'risk.png')


@pytest.mark.parametrize('confidence, label', [(1., 0), (.6, 1)])
def test_one_prediction_can_be_drawn(confidence, label, tmp_path):
    probabilities, labels = np.array([[confidence, 1 - confidence]]), np.array([label])
    reliability_figure(reliability_bins(probabilities, labels), '').savefig(tmp_path / 'a.png')
    risk_coverage_figure(risk_coverage(probabilities, labels), '').savefig(tmp_path / 'b.png')


def test_figures_of_a_task(case):
    probabilities, labels = case
    for scores, names in ((probabilities, ['confusion', 'recall', 'reliability',
                                           'risk_coverage']),
                          (probabilities * 2, ['confusion', 'recall'])):
        found = task_scores(labels, probabilities.argmax(1), 'abcd', scores)
        assert list(task_figures('dfew', found, scores, labels)) == names
