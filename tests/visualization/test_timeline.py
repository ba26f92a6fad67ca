import numpy as np
import pytest
from matplotlib.colors import to_rgb

from unilearn_mm.visualization.timeline import MAX_LANES, Lane, colour_of, timeline_figure

CLASSES = ('neutral', 'happiness', 'fear')


def lane(name='face 0', labels=('neutral', '', 'fear'), start=1.):
    times = start + 2. + np.arange(len(labels))
    probabilities = np.random.default_rng(0).dirichlet(np.ones(3), len(labels))
    crop = np.full((8, 8, 3), 200, np.uint8)
    return Lane(name, times, np.stack([times - 2, times + 2], 1), probabilities, labels,
                [(time, crop) for time in times])


def test_curves_are_the_numbers_and_the_strip_the_labels(tmp_path):
    given = lane()
    figure = timeline_figure([given], CLASSES, duration=8., title='v.mp4')
    figure.savefig(tmp_path / 'timeline.png')
    strip, curves = figure.axes[0], next(ax for ax in figure.axes if ax.get_ylabel() == 'face 0')
    for index, line in enumerate(curves.lines):
        assert np.array_equal(line.get_xydata(), np.stack([given.times,
                                                           given.probabilities[:, index]], 1))
        assert line.get_color() == colour_of(CLASSES[index])
    # middles 3, 4, 5: borders 3.5 and 4.5, the middle window has no label, the ends are windows'
    drawn = [(patch.get_x(), patch.get_x() + patch.get_width(), patch.get_facecolor()[:3])
             for patch in strip.patches]
    assert drawn == [(1., 3.5, to_rgb(colour_of('neutral'))), (4.5, 7., to_rgb(colour_of('fear')))]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(CLASSES)


def test_many_faces_and_none(tmp_path):
    many = timeline_figure([lane(f'face {i}') for i in range(MAX_LANES + 3)], CLASSES, 8., 'v')
    assert f'first {MAX_LANES} of {MAX_LANES + 3} faces' in many.get_suptitle()
    none = timeline_figure([], CLASSES, 8., 'v')
    assert none.axes[0].texts[0].get_text() == 'no face was scored'


@pytest.mark.parametrize('duration, count', [(100., 1), (8., 3)])
def test_crops_do_not_cover_each_other(duration, count):
    figure = timeline_figure([lane()], CLASSES, duration, 'v')
    assert len(figure.axes[0].child_axes) == count


def test_every_class_of_every_task_has_a_colour_of_its_own():
    from unilearn_mm.datasets.label_spaces import LABEL_SPACES
    for space in LABEL_SPACES.values():
        assert len({colour_of(name) for name in space.classes}) == len(space.classes)
