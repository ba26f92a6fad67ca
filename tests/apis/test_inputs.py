import pytest
from hypothesis import given
from hypothesis import strategies as st

from unilearn_mm.apis.inputs import InputError, expand_inputs
from unilearn_mm.apis.queue import own_share


@pytest.fixture
def folder(tmp_path):
    for name in ('a.mp4', 'b/a.mp4', 'b/note.txt', 'b/.hidden.mp4', 'c/1.jpg', 'c/2.jpg'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b'x')
    return tmp_path


def named(inputs):
    return [(str(item.source), item.stem) for item in inputs]


def test_a_folder_gives_its_media_files_and_keeps_its_folders(folder):
    assert named(expand_inputs([str(folder)])) == [
        (f'{folder}/{name}', stem) for name, stem in (
            ('a.mp4', 'a'), ('b/a.mp4', 'b/a'), ('c/1.jpg', 'c/1'), ('c/2.jpg', 'c/2'))]
    clips = named(expand_inputs([str(folder)], frames_are_clips=True))
    assert clips[-1] == (f'{folder}/c', 'c') and len(clips) == 3


def test_each_source_once_and_no_two_with_one_name(folder):
    words = [str(folder / 'a.mp4'), str(folder / '*.mp4'), str(folder / 'b' / 'a.mp4')]
    assert named(expand_inputs(words)) == [(words[0], 'a'), (words[2], 'a~2')]


@pytest.mark.parametrize('text', ['a.mp4\nb/a.mp4\n',
                                  'sample_id,path,label\n1,a.mp4,2\n2,b/a.mp4,\n'])
def test_lists_are_relative_to_themselves_and_may_be_ours(folder, text):
    (folder / 'list.csv').write_text(text)
    assert named(expand_inputs([str(folder / 'list.csv')])) == [
        (f'{folder}/a.mp4', 'a'), (f'{folder}/b/a.mp4', 'b/a')]


def test_what_names_nothing_is_refused_and_what_is_missing_in_a_list_is_not(folder):
    with pytest.raises(InputError, match='none.mp4: no such file'):
        expand_inputs([str(folder / 'none.mp4')])
    with pytest.raises(InputError, match='no video, image'):
        expand_inputs([str((folder / 'empty').mkdir() or folder / 'empty')])
    (folder / 'list.txt').write_text('none.mp4\n')
    assert len(expand_inputs([str(folder / 'list.txt')])) == 1


def test_streams_and_cameras_stay_below_the_output_folder():
    assert named(expand_inputs(['0', 'rtsp://host:8554/../../live?x=1'])) == [
        ('0', 'camera_0'), ('rtsp://host:8554/../../live?x=1', 'host_8554/live')]


@given(st.integers(0, 40), st.integers(1, 7))
def test_every_input_belongs_to_exactly_one_rank(count, size):
    items = list(range(count))
    with pytest.MonkeyPatch.context() as patch:
        shares = []
        for rank in range(size):
            patch.setenv('RANK', str(rank))
            patch.setenv('WORLD_SIZE', str(size))
            shares.append(own_share(items))
    assert sorted(item for share in shares for item in share) == items
