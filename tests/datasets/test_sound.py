"""Where the sound of a clip is: named by its list, or found in a folder by the clip's name."""

import pytest
from mmaction.registry import DATASETS
from mmengine.logging import MMLogger

from unilearn_mm.datasets.expression import MissingDataError
from unilearn_mm.datasets.locations import locate_audio


@pytest.fixture
def root(tmp_path):
    """Clips with their sound in a folder beside theirs, named in the ways of DFEW and MAFW."""
    for clip in ('00012', '00120', '03747', 'scene/0001', 'film.mp4', 'talk'):
        path = tmp_path / 'clips' / clip
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch() if path.suffix else path.mkdir()
    for sound in ('12.wav', '03747.wav', '3747.wav', 'scene/0001.flac', 'film.wav', 'talk.mp4'):
        path = tmp_path / 'sound' / sound
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def data(root, rows, **options):
    (root / 'list.csv').write_text('video_name,label\n' + ''.join(f'{row},0\n' for row in rows)
                                   if isinstance(rows, list) else rows)
    cfg = dict(type='ExpressionVideoDataset', task='dfew', ann_file='list.csv', pipeline=[],
               data_root=str(root), data_prefix=dict(media='clips', audio='sound'))
    dataset = DATASETS.build({**cfg, **options})
    return [dataset.get_data_info(index) for index in range(len(dataset))], dataset


def test_sound_beside_the_clips(root):
    """DFEW's sound has the clip's number without zeros, MAFW's the same name (MMA-DFER,
    dataloader/video_dataloader.py); the name itself comes first."""
    infos, dataset = data(root, ['00012', '03747', 'scene/0001', 'film.mp4', 'talk'])
    assert [info['audio_path'] for info in infos] == [
        str(root / 'sound' / name)
        for name in ('12.wav', '03747.wav', 'scene/0001.flac', 'film.wav', 'talk.mp4')]
    assert dataset.num_without_sound == 0


def test_without_a_sound_folder_nobody_looks_for_sound(root):
    infos, dataset = data(root, ['00012', '00120'], data_prefix=dict(media='clips'))
    assert not any('audio_path' in info for info in infos)
    assert dataset.num_without_sound == 0


def test_missing_sound_is_an_error(root):
    with pytest.raises(MissingDataError, match=r"dfew: the sound of 1 of 2 samples of .*list\.csv "
                                               r"is missing in '.*sound', e\.g\. 00120.*"
                                               r"on_missing_sound='allow'"):
        data(root, ['00012', '00120'])


def test_missing_sound_is_counted_where_the_recipe_allows_it(root, caplog, monkeypatch):
    monkeypatch.setattr(MMLogger.get_current_instance(), 'handlers', [caplog.handler])
    infos, dataset = data(root, ['00012', '00120', '03747'], on_missing_sound='allow')
    assert ['audio_path' in info for info in infos] == [True, False, True]
    assert dataset.num_without_sound == 1
    assert 'the sound of 1 of 3 samples' in caplog.text and '00120' in caplog.text


OURS = ('sample_id,path,label,audio\n'
        'a,00012,anger,talk.mp4\n'
        'b,03747,anger,\n')


def test_the_list_wins_over_the_folder(root):
    infos, _ = data(root, OURS)
    assert [info['audio_path'] for info in infos] == [str(root / 'sound' / 'talk.mp4'),
                                                      str(root / 'sound' / '03747.wav')]
    with pytest.raises(MissingDataError, match='the sound of 1 of 2 samples .* gone.wav'):
        data(root, OURS.replace('talk.mp4', 'gone.wav'))
    infos, dataset = data(root, OURS.replace('talk.mp4', 'gone.wav'), on_missing_sound='allow')
    assert 'audio_path' not in infos[0] and dataset.num_without_sound == 1, \
        'another file than the named one is no substitute'


def test_the_column_alone_starts_at_the_media_folder(root):
    (root / 'clips' / 'talk.wav').touch()
    infos, _ = data(root, OURS.replace('talk.mp4', 'talk.wav'), data_prefix=dict(media='clips'))
    assert infos[0]['audio_path'] == str(root / 'clips' / 'talk.wav')
    assert 'audio_path' not in infos[1], 'an empty field without a folder: a clip without sound'


def test_sound_in_the_video_file_itself(root):
    infos, _ = data(root, ['film.mp4'], data_prefix=dict(media='clips', audio='clips'))
    assert infos[0]['audio_path'] == infos[0]['filename']


@pytest.mark.parametrize('options, message', [
    (dict(data_prefix=dict(media='clips', audio='nowhere')), "sound folder '.*nowhere' does not"),
    (dict(data_prefix=dict(audio='sound')), r'must be dict\(media=FOLDER\), or with audio=FOLDER'),
    (dict(data_prefix=dict(media='clips', sound='x')), r'must be dict\(media=FOLDER\)'),
    (dict(on_missing_sound='ignore'), "must be 'raise' or 'allow', found 'ignore'")])
def test_wrong_settings(root, options, message):
    with pytest.raises((MissingDataError, ValueError), match=message):
        data(root, ['00012'], **options)


def test_names_of_sound_files(root):
    folder = str(root / 'sound')
    assert locate_audio(folder, '00120') is None
    (root / 'sound' / '0.wav').touch()
    assert locate_audio(folder, '000') == f'{folder}/0.wav'
    assert locate_audio(folder, 'scene/0001.avi') == f'{folder}/scene/0001.flac'
    (root / 'sound' / '00012.mp3').touch()
    assert locate_audio(folder, '00012') == f'{folder}/00012.mp3', 'not that of another clip, 12'
    (root / 'sound' / '03747.opus').touch()
    assert locate_audio(folder, '03747') == f'{folder}/03747.wav', 'wav first: nothing to decode'
