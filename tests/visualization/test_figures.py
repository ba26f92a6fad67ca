import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.colors import to_rgba
from scipy.stats import binomtest

from unilearn_mm.visualization.figures import (
    CORRECT_COLOUR,
    WRONG_COLOUR,
    confusion_matrix_figure,
    prediction_strip_figure,
    recall_figure,
)

NAMES = ('happy', 'sad', 'fear')


def clip(num_frames, height=8, width=6):
    """Frames whose pixels all have the value of their index."""
    values = np.arange(num_frames, dtype=np.uint8)[:, None, None, None]
    return np.broadcast_to(values, (num_frames, height, width, 3))


def sample(frames=None, label='sad', prediction='sad', probabilities=(.1, .7, .2), names=NAMES):
    return (clip(3) if frames is None else frames, label, prediction, probabilities, names)


@pytest.mark.parametrize('num_classes', [1, 7, 11])
def test_cells_show_percentage_and_count(num_classes):
    rng = np.random.default_rng(num_classes)
    counts = rng.integers(0, 50, (num_classes, num_classes))
    counts[0, 0] += 1
    names = [f'class {index}' for index in range(num_classes)]
    fig = confusion_matrix_figure(counts, names, 'dfew')
    ax = fig.axes[0]
    cells = [text.get_text().split('\n') for text in ax.texts]
    assert len(cells) == num_classes**2
    shown = np.array([float(cell[0].rstrip('%')) for cell in cells]).reshape(counts.shape)
    np.testing.assert_allclose(shown, 100 * counts / counts.sum(1, keepdims=True), atol=.051)
    assert [int(cell[1]) for cell in cells] == counts.ravel().tolist()
    assert [text.get_position() for text in ax.texts[:2]] == [(0, 0), (1, 0)][:num_classes**2]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == names
    assert [tick.get_text() for tick in ax.get_yticklabels()] == [
        f'{name} (n={total})' for name, total in zip(names, counts.sum(1))]
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title()) == ('prediction', 'label', 'dfew')
    np.testing.assert_allclose(ax.images[0].get_array(),
                               100 * counts / counts.sum(1, keepdims=True))


def luminance(colour):
    """Relative luminance of an RGB(A) colour as WCAG 2 defines it."""
    rgb = np.array(colour[:3])
    linear = np.where(rgb <= .03928, rgb / 12.92, ((rgb + .055) / 1.055)**2.4)
    return linear @ [.2126, .7152, .0722]


def test_text_stands_out_from_the_colour_of_its_cell():
    percents = np.arange(0, 101, 5)
    counts = np.zeros((21, 21), dtype=int)
    counts[:, 0], counts[:, 1] = percents, 100 - percents
    ax = confusion_matrix_figure(counts, [str(percent) for percent in percents], '').axes[0]
    image = ax.images[0]
    for text, percent in zip(ax.texts[::21], percents):
        dark, light = sorted([luminance(image.cmap(image.norm(percent))),
                              luminance(to_rgba(text.get_color()))])
        assert (light + .05) / (dark + .05) > 3


def test_a_class_without_samples_has_no_percentages():
    fig = confusion_matrix_figure(np.array([[3, 1], [0, 0]]), ['a', 'b'], '')
    assert [text.get_text() for text in fig.axes[0].texts] == ['75.0%\n3', '25.0%\n1', '0', '0']
    assert fig.axes[0].images[0].get_array().mask.tolist() == [[False] * 2, [True] * 2]


@pytest.mark.parametrize('counts, message', [
    (np.ones((2, 3), int), r'shape \(2, 3\), expected \(3, 3\)'),
    (np.ones((2, 2), int), r'shape \(2, 2\), expected \(3, 3\)'),
    (-np.ones((3, 3), int), 'negative count: -1'),
])
def test_wrong_confusion_matrices_are_refused(counts, message):
    with pytest.raises(ValueError, match=message):
        confusion_matrix_figure(counts, NAMES, '')


def test_recall_bars_and_their_intervals():
    counts = np.array([[30, 10, 0], [0, 0, 0], [5, 0, 5]])
    ax = recall_figure(counts, NAMES, 'dfew').axes[0]
    assert [bar.get_width() for bar in ax.patches] == pytest.approx([75, 0, 50])
    arms = ax.collections[0].get_segments()
    assert len(arms) == 2, 'a class without samples has no interval'
    for arm, (correct, total), place in zip(arms, [(30, 40), (5, 10)], [0, 2]):
        bounds = binomtest(correct, total).proportion_ci(method='wilson')
        assert arm == pytest.approx(np.array([[100 * bound, place] for bound in bounds]))
    texts = [text.get_text() for text in ax.texts]
    assert texts == ['75.0%', 'no sample', '50.0%', 'UAR 62.5%']
    assert [tick.get_text() for tick in ax.get_yticklabels()] == [
        'happy (n=40)', 'sad (n=0)', 'fear (n=10)']
    top, bottom = ax.get_ylim()[::-1]
    assert top < 0 < 2 < bottom, 'classes from top to bottom'


@pytest.mark.parametrize('num_frames, chosen', [
    (1, [0]), (2, [0, 1]), (6, [0, 1, 2, 3, 4, 5]), (16, [0, 3, 6, 9, 12, 15]),
    (11, [0, 2, 4, 6, 8, 10]),
])
def test_frames_are_evenly_spaced(num_frames, chosen):
    fig = prediction_strip_figure([sample(clip(num_frames))])
    *frames, _ = fig.axes
    assert [ax.images[0].get_array()[0, 0, 0] for ax in frames] == chosen
    assert [ax.get_xlabel() for ax in frames] == [f'frame {index}' for index in chosen]


@pytest.mark.parametrize('prediction, verdict, colour', [
    ('sad', 'correct', CORRECT_COLOUR), ('fear', 'wrong', WRONG_COLOUR)])
def test_verdict_label_and_probabilities(prediction, verdict, colour):
    fig = prediction_strip_figure([sample(prediction=prediction)])
    heading = fig.subfigs[0].get_suptitle()
    assert verdict in heading and f'label: sad    prediction: {prediction}' in heading
    bars = fig.axes[-1]
    assert [bar.get_width() for bar in bars.patches] == [.1, .7, .2]
    coloured = [bar.get_facecolor() == to_rgba(colour) for bar in bars.patches]
    assert coloured == [name == prediction for name in NAMES]
    ticks = [tick.get_text() for tick in bars.get_yticklabels()]
    assert ['label' in tick for tick in ticks] == [False, True, False]
    assert all(tick.endswith(name) for tick, name in zip(ticks, NAMES))
    assert all(spine.get_edgecolor() == to_rgba(colour)
               for spine in fig.axes[0].spines.values())


def test_one_row_per_sample():
    other = sample(clip(9), 'b', 'a', (.6, .4), ('a', 'b'))
    fig = prediction_strip_figure([sample(), other])
    assert [len(row.axes) for row in fig.subfigs] == [3 + 1, 6 + 1]
    assert [len(row.axes[-1].patches) for row in fig.subfigs] == [3, 2]


@pytest.mark.parametrize('changes, message', [
    (dict(frames=clip(3)[0]), r'uint8 of shape \(8, 6, 3\), expected'),
    (dict(frames=clip(3)[:0]), r'shape \(0, 8, 6, 3\)'),
    (dict(frames=clip(3).transpose(0, 3, 1, 2)), r'shape \(3, 3, 8, 6\)'),
    (dict(frames=clip(3) / 255), 'frames are float64'),
    (dict(probabilities=(.5, .5)), r'shape \(2,\), expected \(3,\)'),
    (dict(probabilities=(.5, -2., .5)), r'must lie in \[0, 1\]'),
    (dict(probabilities=(.5, float('nan'), .5)), r'must lie in \[0, 1\]'),
    (dict(label='angry'), "label 'angry' is none of the classes"),
    (dict(prediction='angry'), "prediction 'angry' is none of the classes"),
])
def test_wrong_samples_are_named(changes, message):
    with pytest.raises(ValueError, match=f'sample 1: .*{message}'):
        prediction_strip_figure([sample(), sample(**changes)])


def test_no_samples():
    with pytest.raises(ValueError, match='samples is empty'):
        prediction_strip_figure([])


def test_figures_draw_and_stay_out_of_pyplot(tmp_path):
    confusion_matrix_figure(np.eye(3, dtype=int), NAMES, '').savefig(tmp_path / 'matrix.png')
    prediction_strip_figure([sample()]).savefig(tmp_path / 'strip.png')
    recall_figure(np.eye(3, dtype=int), NAMES, '').savefig(tmp_path / 'recall.png')
    pixels = [pyplot.imread(path) for path in tmp_path.iterdir()]
    assert len(pixels) == 3
    assert all(picture.std() > .05 for picture in pixels)
    assert pyplot.get_fignums() == []
