"""Models by name: what ``model-index.yml`` knows of them, and their weights on this machine.

Weights are downloaded once, into a cache, and never without a checksum: the one of the index, or
else the one that the first download had, which every later use is compared with.
"""

import os
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple, Union
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

import yaml

from ..files import sha256_of, write_atomically

HUB = 'https://huggingface.co'
SUFFIXES = ('.pth', '.pt', '.safetensors', '.onnx')


class ZooError(RuntimeError):
    """A model is unknown, or its weights cannot be had; the message says what to do."""


class ZooModel(NamedTuple):
    """An entry of ``model-index.yml``.

    Attributes:
        name (str): Its name.
        system (str): UniLearn, S2D, ...
        config (Path): Recipe.
        task (str | None): Task that the model scores, None for a model without classifier.
        results (tuple[dict, ...]): ``Dataset`` and ``Metrics`` (WAR and UAR in percent).
        reported (str): Where the results were published.
        licence (dict[str, str]): Of ``Code``, ``Weights`` and ``Data``.
        weights (str | None): URL of the file, or of a page on which it is found.
        sha256 (str | None): Checksum of the file, where it is known.
        get (str): In words, where the weights come from.
        verified (bool): Whether we loaded and converted this very file.
    """
    name: str
    system: str
    config: Path
    task: Optional[str]
    results: Tuple[Dict[str, Any], ...]
    reported: str
    licence: Dict[str, str]
    weights: Optional[str]
    sha256: Optional[str]
    get: str
    verified: bool


def recipes_folder() -> Path:
    """The folder ``configs``: of the repository, or the one that an installed package brought.

    Raises:
        ZooError: If there is none.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package.parent / 'configs', package / '.mim' / 'configs'):
        if (folder / 'model-index.yml').is_file():
            return folder
    raise ZooError(f'no folder with model-index.yml beside {package}; name recipes by their path')


def find_recipe(name: Union[str, Path]) -> Path:
    """The config file that a user names: a path, or the name of a recipe of ours.

    Raises:
        ZooError: If it is neither; the message lists names that are like it.
    """
    path = Path(name)
    if path.is_file():
        return path
    recipes = {path.stem: path for path in sorted(recipes_folder().glob('*.py'))}
    if str(name) in recipes:
        return recipes[str(name)]
    names = [*recipes, *(model.name for model in zoo())]
    near = get_close_matches(path.stem, names, n=5) or names
    raise ZooError(f'{name}: neither a config file, nor a recipe in {recipes_folder()}, nor a '
                   'model of the zoo (unilearn-mm models). Is one of these meant: '
                   f'{", ".join(dict.fromkeys(near))}?')


def zoo(folder: Optional[Path] = None) -> List[ZooModel]:
    """All models of an index, in its order.

    Args:
        folder (Path, optional): A folder ``configs``. Defaults to that of :func:`recipes_folder`.
    """
    folder = folder or recipes_folder()
    index = yaml.safe_load((folder / 'model-index.yml').read_text(encoding='utf-8'))
    return [
        ZooModel(
            name=entry['Name'],
            system=entry['In Collection'],
            config=folder.parent / entry['Config'],
            task=entry['Metadata']['Task'],
            results=tuple(entry['Results'] or ()),
            reported=entry.get('Reported', ''),
            licence=entry['Metadata']['Licence'],
            weights=entry['Weights'],
            sha256=entry.get('SHA256'),
            get=entry['Get'],
            verified=entry['Verified']) for entry in index['Models']
    ]


def find_model(name: str, folder: Optional[Path] = None) -> ZooModel:
    """The model of a name.

    Raises:
        ZooError: If the index has none; the message lists the names.
    """
    models = {model.name: model for model in zoo(folder)}
    if name not in models:
        raise ZooError(f'{name!r} is neither a config file nor a model of the zoo; the zoo has '
                       f'{", ".join(models)} (unilearn-mm models)')
    return models[name]


def resolve_model(model: Union[str, Path], weights: Optional[Sequence[Union[str, Path]]] = None,
                  offline: bool = False) -> Tuple[Path, List[Path]]:
    """Recipe and checkpoints of what a user names.

    Args:
        model (str | Path): A config file, the name of a model of the zoo or, with ``weights``,
            that of a recipe.
        weights (Sequence, optional): Checkpoints. Defaults to that of the zoo.
        offline (bool): Never ask the network.

    Returns:
        tuple: Config file, and one or more checkpoint files; that of the zoo is converted once.

    Raises:
        ZooError: If the model is unknown, a checkpoint does not exist or cannot be had.
    """
    named = [] if Path(model).is_file() else [known for known in zoo() if known.name == str(model)]
    entry = named[0] if named else None
    config = find_recipe(model) if entry is None else entry.config
    if weights:
        files = [Path(path) for path in weights]
    elif entry is None:
        raise ZooError(f'{model}: a recipe says nothing of weights; name a checkpoint')
    else:
        from .conversion import converted
        files = [converted(entry, fetch_weights(entry, offline=offline))]
    for file in files:
        if not file.is_file():
            raise ZooError(f'{file}: no such checkpoint')
    return config, files


def fetch_weights(model: ZooModel, cache: Optional[Path] = None, offline: bool = False) -> Path:
    """The file of a model's weights on this machine, downloaded if it is not there yet.

    ``HF_ENDPOINT`` replaces the host of Hugging Face, as its own tools do, by a mirror; it may be
    a ``file://`` folder, from which files are taken as they lie. ``HF_HUB_OFFLINE=1`` is
    ``offline``.

    Args:
        model (ZooModel): Entry of the zoo.
        cache (Path, optional): Defaults to :func:`cache_folder`.
        offline (bool): Never ask the network.

    Returns:
        Path: The file; ``NAME.sha256`` beside it (in the cache) holds its checksum.

    Raises:
        ZooError: If there is no file to be had, it cannot be downloaded, or it is another one
            than at the first time.
    """
    if model.weights is None or Path(urlsplit(model.weights).path).suffix not in SUFFIXES:
        where = f'; {model.weights}' if model.weights else ''
        raise ZooError(f'{model.name}: its weights are no file that can be downloaded{where}: '
                       f'{model.get}')
    url = _mirrored(model.weights)
    if url.startswith('file://'):
        return _checked(Path(url2pathname(urlsplit(url).path)), model.sha256, url)
    path = (cache or cache_folder()) / model.name / unquote(Path(urlsplit(url).path).name)
    recorded = _recorded(path)
    if path.is_file() and recorded:
        return _checked(path, recorded, url)
    if offline or os.environ.get('HF_HUB_OFFLINE', '0') not in ('', '0'):
        raise ZooError(f'{model.name}: {path} is not there, and downloads are switched off; run '
                       f'once without --offline, or put the file of {url} there')
    _download(url, path, model.sha256)
    return path


def cache_folder() -> Path:
    """Where downloads are kept: ``$UNILEARN_MM_CACHE``, else the user's cache folder."""
    import platformdirs
    return Path(os.environ.get('UNILEARN_MM_CACHE') or platformdirs.user_cache_path('unilearn_mm'))


def _mirrored(url: str) -> str:
    mirror = os.environ.get('HF_ENDPOINT')
    return mirror.rstrip('/') + url[len(HUB):] if mirror and url.startswith(HUB) else url


def _recorded(path: Path) -> Optional[str]:
    sidecar = Path(f'{path}.sha256')
    return sidecar.read_text(encoding='utf-8').split()[0] if sidecar.is_file() else None


def _checked(path: Path, expected: Optional[str], url: str) -> Path:
    if not path.is_file():
        raise ZooError(f'{url}: there is no such file')
    found = sha256_of(path)
    if expected and found != expected:
        raise ZooError(
            f'{path}: has the SHA-256 {found[:16]}..., expected {expected[:16]}... (of the index, '
            f'or of its first download); the file was changed or damaged. Remove it and its '
            f'.sha256 to download {url} again, if you trust what lies there now')
    return path


def _download(url: str, path: Path, sha256: Optional[str]) -> None:
    import pooch
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f'{path.name}.{os.getpid()}.download')
    try:
        pooch.HTTPDownloader(progressbar=True, timeout=60)(url, str(unfinished), None)
        found = sha256_of(unfinished)
        if sha256 and found != sha256:
            raise ZooError(f'{url}: the download has the SHA-256 {found[:16]}..., expected '
                           f'{sha256[:16]}...; it is damaged, or another file lies there now')
        # the checksum first: a file without one is downloaded again
        write_atomically(Path(f'{path}.sha256'), f'{found}  {path.name}\n'.encode())
        os.replace(unfinished, path)
    except ZooError:
        raise
    except Exception as error:  # requests, urllib3 and the disk have an error of their own each
        raise ZooError(f'{url}: cannot be downloaded: {error}. Without a network, put the file '
                       f'at {path}, with its checksum: sha256sum {path.name} > '
                       f'{path.name}.sha256') from error
    finally:
        with suppress(OSError):
            unfinished.unlink()
