"""Files for tasks and sources of any name."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from unilearn_mm.visualization.file_names import file_stem


def test_plain_names_stay():
    assert file_stem('toy_video-2.b') == 'toy_video-2.b'
    assert file_stem('lab/faces 7') == 'lab=2Ffaces=207'
    assert file_stem('../a=b') == '..=2Fa=3Db'


@given(st.text(), st.text())
def test_different_names_have_different_files_in_one_folder(one, other):
    stems = [file_stem(name) for name in (one, other)]
    assert (stems[0] == stems[1]) == (one == other)
    for stem in stems:
        path = Path('folder', f'{stem}_confusion.png')
        assert path.parent == Path('folder') and path.name.isascii() and ' ' not in path.name
