import numpy as np
import pytest
from matplotlib.colors import to_rgba

from unilearn_mm.visualization.embedding import tsne_figure


def blobs(num=30, channels=60):
    """Three clusters of features, far apart."""
    rng = np.random.default_rng(0)
    centres = rng.normal(scale=20, size=(3, channels))
    labels = np.arange(num) % 3
    return centres[labels] + rng.normal(size=(num, channels)), labels


def points_of(ax):
    return {part.get_label(): np.asarray(part.get_offsets()) for part in ax.collections}


def test_clusters_stay_together_and_colours_follow_the_names(tmp_path):
    features, labels = blobs()
    names = np.array(['sad', 'fear', 'joy'])[labels]
    sources = np.where(np.arange(30) < 12, 'clips', 'images')
    fig = tsne_figure(features, dict(by_class=names, by_source=sources), 'toy')
    by_class, by_source = map(points_of, fig.axes)
    assert list(by_class) == ['fear', 'joy', 'sad'] and list(by_source) == ['clips', 'images']
    assert [len(points) for points in by_source.values()] == [12, 18]
    together = [np.sort(np.concatenate(list(points.values())), axis=0)
                for points in (by_class, by_source)]
    np.testing.assert_array_equal(*together)  # the same points, coloured in two ways
    for name, points in by_class.items():
        own = np.linalg.norm(points - points.mean(0), axis=1).max()
        others = [np.linalg.norm(points.mean(0) - theirs.mean(0))
                  for other, theirs in by_class.items() if other != name]
        assert min(others) > own
    colours = [part.get_facecolor()[0][:3].tolist() for part in fig.axes[0].collections]
    assert colours == [list(to_rgba(f'C{index}')[:3]) for index in range(3)]
    fig.savefig(tmp_path / 'tsne.png')
    again = tsne_figure(features, dict(by_class=names), 'toy')
    np.testing.assert_array_equal(points_of(again.axes[0])['joy'], by_class['joy'])


def test_as_few_as_four_samples():
    fig = tsne_figure(np.eye(4), dict(names=list('abcd')), '')
    assert len(fig.axes[0].collections) == 4


@pytest.mark.parametrize('features, names, message', [
    (np.eye(3), 'abc', r'shape \(3, 3\), expected \(N, C\) with N >= 4'),
    (np.ones((4, 2, 2)), 'abcd', r'shape \(4, 2, 2\)'),
    (np.full((4, 2), np.nan), 'abcd', 'not finite'),
    (np.eye(4), 'abc', 'names: 3 names for 4 samples'),
])
def test_wrong_features_are_refused(features, names, message):
    with pytest.raises(ValueError, match=message):
        tsne_figure(features, dict(names=list(names)), '')
