"""The heat map shows the shares it is given."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from unilearn_mm.visualization.routing_figures import routing_heat_map


def test_cells_show_the_shares_and_white_is_uniform():
    shares = np.array([[0.25, 0.25, 0.25, 0.25], [0.7, 0.1, 0.2, 0.0]])
    fig = routing_heat_map(shares, ['video', 'image'], 'block 3')
    ax = fig.axes[0]
    assert [text.get_text() for text in ax.texts] == [
        '25.0', '25.0', '25.0', '25.0', '70.0', '10.0', '20.0', '0.0']
    assert [label.get_text() for label in ax.get_yticklabels()] == ['video', 'image']
    assert ax.get_title() == 'block 3'
    image = ax.images[0]
    colours = image.cmap(image.norm(shares))[..., :3]
    assert colours[0].min() > 0.95, 'uniform is white'
    red, blue = colours[1, 0], colours[1, 3]
    assert red[0] > red[2] and blue[2] > blue[0]
    for text, colour in zip(ax.texts, colours.reshape(-1, 3)):
        assert contrast(text.get_color(), colour) > 3, 'large text needs 3, by WCAG 2'


def contrast(one, two):
    """Contrast ratio of WCAG 2, in [1, 21]."""
    linear = [np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055)**2.4)
              for rgb in map(np.array, map(to_rgb, (one, two)))]
    dark, light = sorted(rgb @ [0.2126, 0.7152, 0.0722] for rgb in linear)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize('shares, names, message', [
    ([[0.5, 0.5]], ['a', 'b'], r'shape \(1, 2\), expected \(2, E\)'),
    ([[1.0]], ['a'], 'E > 1'),
    ([[0.5, 0.4]], ['a'], r'sums \[0\.9\]'),
    ([[1.5, -0.5]], ['a'], 'must not be negative')])
def test_wrong_shares_are_refused(shares, names, message):
    with pytest.raises(ValueError, match=message):
        routing_heat_map(shares, names, '')
