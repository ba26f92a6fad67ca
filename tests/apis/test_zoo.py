import hashlib
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from unilearn_mm.apis.zoo import (
    ZooError,
    fetch_weights,
    find_model,
    find_recipe,
    recipes_folder,
    resolve_model,
    zoo,
)
from unilearn_mm.datasets.label_spaces import LABEL_SPACES

CONTENT = bytes(range(256)) * 64


class CountingHandler(SimpleHTTPRequestHandler):
    """Files of a folder; what was asked for is remembered."""

    asked = []

    def do_GET(self):
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, *args):
        pass


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A mirror of Hugging Face on the loopback interface with one file, and an empty cache."""
    file = tmp_path / 'mirror/someone/some-model/resolve/main/some weights.pth'
    file.parent.mkdir(parents=True)
    file.write_bytes(CONTENT)
    CountingHandler.asked = []
    server = ThreadingHTTPServer(('127.0.0.1', 0), partial(CountingHandler,
                                                           directory=tmp_path / 'mirror'))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv('HF_ENDPOINT', f'http://127.0.0.1:{server.server_port}')
    monkeypatch.setenv('UNILEARN_MM_CACHE', str(tmp_path / 'cache'))
    monkeypatch.delenv('HF_HUB_OFFLINE', raising=False)
    yield file
    server.shutdown()
    server.server_close()


def published(sha256=None, name='some%20weights.pth'):
    return zoo()[0]._replace(
        name='published', sha256=sha256,
        weights=f'https://huggingface.co/someone/some-model/resolve/main/{name}')


def test_every_entry_is_usable():
    """Each recipe exists, its task is known, its numbers are percent, and it says its licences."""
    pytest.importorskip('mmengine')
    names = [model.name for model in zoo()]
    assert len(set(names)) == len(names) and 'unilearn_toy' in names
    for model in zoo():
        assert model.config.is_file(), model
        assert model.task is None or LABEL_SPACES[model.task].classes, model
        assert set(model.licence) == {'Code', 'Weights', 'Data'} and model.get
        for result in model.results:
            assert all(0 < value <= 100 for value in result['Metrics'].values())
            assert model.reported, f'{model.name}: numbers without their source'
        assert find_model(model.name) == model


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ZooError, match="'unilearn_tox' is neither .* unilearn_toy"):
        find_model('unilearn_tox')


def test_a_recipe_has_a_name_and_its_own_checkpoint(tmp_path, monkeypatch):
    recipe, checkpoint = recipes_folder() / 'unilearn_dfew.py', tmp_path / 'epoch_100.pth'
    checkpoint.touch()
    assert find_recipe('unilearn_dfew') == find_recipe(recipe) == recipe
    assert resolve_model('unilearn_dfew', [checkpoint]) == (recipe, [checkpoint])
    with pytest.raises(ZooError, match='unilearn_dfew: a recipe says nothing of weights'):
        resolve_model('unilearn_dfew')
    monkeypatch.chdir(tmp_path)
    for unknown in ('unilearn_dfw', 'elsewhere/unilearn_dfew', 'unilearn_dfew.py'):
        with pytest.raises(ZooError, match='neither a config file.* meant: unilearn_dfew'):
            find_recipe(unknown)


def test_downloaded_once_with_its_checksum(hub, tmp_path):
    path = fetch_weights(published())
    assert path.read_bytes() == CONTENT and path.is_relative_to(tmp_path / 'cache')
    recorded = path.with_name(f'{path.name}.sha256').read_text()
    assert recorded.split()[0] == hashlib.sha256(CONTENT).hexdigest()
    assert fetch_weights(published()) == path and fetch_weights(published(), offline=True) == path
    assert len(CountingHandler.asked) == 1
    assert sorted(file.name for file in path.parent.iterdir()) == [
        'some weights.pth', 'some weights.pth.sha256'], 'nothing half-written is left'


def test_an_official_file_is_converted_once(hub, tmp_path, monkeypatch, capsys):
    """As a test by its recipe loads it; later uses never open the torch file again."""
    mmengine = pytest.importorskip('mmengine')
    import torch
    from mmaction.registry import MODELS
    from s2d_models import NET, backbone_cfg, landmark_file, official

    from unilearn_mm.models.checkpoints.fit import load_whole
    net, landmarks = official()
    torch.save(dict(model=net.state_dict()), hub)
    head = dict(type='MultiTaskHead', in_channels=64, num_classes=dict(dfew=7))
    config = tmp_path / 'recipe.py'
    backbone = backbone_cfg(landmark_net=dict(NET, init_cfg=dict(
        type='Pretrained', checkpoint=landmark_file(landmarks, tmp_path))))
    mmengine.Config(dict(model=dict(
        type='UniLearnRecognizer', backbone=backbone, cls_head=head))).dump(config)
    entry = published()._replace(config=config)
    monkeypatch.setattr('unilearn_mm.apis.zoo.zoo', lambda: [entry])
    recipe, (file, ) = resolve_model('published')
    assert recipe == config and file.suffix == '.safetensors'
    assert 'once' in capsys.readouterr().err
    models = []
    for path in (hub, file):
        models.append(MODELS.build(mmengine.Config.fromfile(config).model))
        load_whole(models[-1], str(path), 'recipe.py')
    for (name, one), other in zip(models[0].state_dict().items(), models[1].state_dict().values()):
        assert torch.equal(one, other), name
    assert torch.equal(models[1].cls_head.fc_cls['dfew'].weight, net.head['fc_cls'].weight)
    stamp = file.stat().st_mtime_ns
    assert resolve_model('published', offline=True) == (config, [file])
    assert file.stat().st_mtime_ns == stamp and not capsys.readouterr().err
    assert len(CountingHandler.asked) == 1


def test_a_file_that_does_not_fit_its_recipe_is_not_converted(hub, monkeypatch):
    pytest.importorskip('mmengine')
    monkeypatch.setattr('unilearn_mm.apis.zoo.zoo', lambda: [published()])
    with pytest.raises(ZooError, match='some weights.pth: cannot be converted for unilearn_toy.py'):
        resolve_model('published')


def test_a_changed_file_is_refused_at_every_later_use(hub):
    path = fetch_weights(published())
    path.write_bytes(CONTENT[:-1] + b'x')
    with pytest.raises(ZooError, match=r'SHA-256 \w{16}\.\.\., expected'):
        fetch_weights(published())


def test_a_download_that_differs_from_the_index_is_not_kept(hub, tmp_path):
    with pytest.raises(ZooError, match='the download has the SHA-256'):
        fetch_weights(published(sha256='0' * 64))
    assert not [file for file in (tmp_path / 'cache').rglob('*') if file.is_file()]
    assert fetch_weights(published(sha256=hashlib.sha256(CONTENT).hexdigest())).is_file()


@pytest.mark.parametrize('switch', ['argument', 'HF_HUB_OFFLINE'])
def test_offline_asks_nobody(hub, monkeypatch, switch):
    if switch == 'HF_HUB_OFFLINE':
        monkeypatch.setenv(switch, '1')
    with pytest.raises(ZooError, match='is not there, and downloads are switched off'):
        fetch_weights(published(), offline=switch == 'argument')
    assert not CountingHandler.asked


def test_a_missing_file_says_where_to_put_it(hub):
    with pytest.raises(ZooError, match=r'cannot be downloaded: 404.*\n?.*sha256sum none\.pth'):
        fetch_weights(published(name='none.pth'))


def test_a_mirror_can_be_a_folder(hub, tmp_path, monkeypatch):
    monkeypatch.setenv('HF_ENDPOINT', (tmp_path / 'mirror').as_uri())
    assert fetch_weights(published()) == hub
    with pytest.raises(ZooError, match='expected 0000'):
        fetch_weights(published(sha256='0' * 64))


def test_weights_on_a_page_are_named_by_the_user():
    page = published()._replace(weights='https://huggingface.co/someone/some-model',
                                get='download fold 1')
    with pytest.raises(ZooError, match='some-model: download fold 1'):
        fetch_weights(page)
    with pytest.raises(ZooError, match='quickstart'):
        fetch_weights(find_model('unilearn_toy'))


def test_the_table_of_the_readme_is_that_of_the_index():
    from unilearn_mm.apis.zoo_table import describe, zoo_table
    text = (recipes_folder() / 'README.md').read_text()
    assert text.split('--markdown -->\n')[1].split('\n<!-- end')[0] == zoo_table(markdown=True)
    for model in zoo():
        assert model.get in describe(model.name) and model.name in zoo_table()
