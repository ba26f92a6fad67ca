import pytest
from hypothesis import given
from hypothesis import strategies as st

from unilearn_mm.apis.windows import WindowCutter, WindowRule


def windows_of(frames, length, hop):
    """The rule in words, on the whole track at once."""
    if frames <= length:
        return [list(range(frames))] if frames else []
    starts = list(range(0, frames - length + 1, hop))
    left_out = frames - (starts[-1] + length)
    if left_out and left_out >= hop / 2:
        starts.append(frames - length)
    return [list(range(start, start + length)) for start in starts]


@given(st.data(), st.integers(1, 9), st.integers(1, 12))
def test_streaming_gives_the_windows_of_the_whole_tracks(data, length, hop):
    """Tracks come and go; a number comes back as a new track of its own."""
    spans = data.draw(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 30)), max_size=4))
    cutter, found = WindowCutter(WindowRule(length, hop)), {}
    for time in range(62):
        items = {track: time - start for track, (start, frames) in enumerate(spans)
                 if start <= time < start + frames}
        for track, window in cutter.push(items):
            found.setdefault(track, []).append(window)
        assert all(len(recent) <= length for recent in cutter.recent.values())
    for track, window in cutter.finish():
        found.setdefault(track, []).append(window)
    assert found == {track: windows_of(frames, length, hop)
                     for track, (_, frames) in enumerate(spans)}


@given(st.integers(1, 100), st.integers(1, 20), st.integers(1, 20))
def test_less_than_half_a_hop_is_left_out_where_windows_touch(frames, length, hop):
    cutter = WindowCutter(WindowRule(length, hop))
    found = [window for frame in range(frames) for _, window in cutter.push({7: frame})]
    found += [window for _, window in cutter.finish()]
    covered = {frame for window in found for frame in window}
    assert len(covered) > frames - hop / 2 or hop > length
    assert covered == set(range(len(covered))) or hop > length


@pytest.mark.parametrize('length, hop', [(0, 1), (1, 0), (-1, 1)])
def test_nonsense_is_refused(length, hop):
    with pytest.raises(ValueError, match='positive length and hop'):
        WindowRule(length, hop)
