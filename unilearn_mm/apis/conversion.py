"""Downloaded weights of other projects, converted once: from then on they are safetensors."""

import sys
from pathlib import Path

from ..files import sha256_of
from ..processes import Stopped, run_bounded
from .zoo import ZooError, ZooModel, cache_folder

SOURCE_KEY = 'source_sha256'  # in the metadata of a converted file
TIME_LIMIT = 1800.  # s


def converted(model: ZooModel, path: Path) -> Path:
    """The weights of a model in our names, as safetensors in the cache.

    The file is converted by the recipe of the model, as a test would load it, in a process of its
    own; what is there of the same file already is used.

    Args:
        model (ZooModel): Entry of the zoo.
        path (Path): Its file, checked.

    Returns:
        Path: A .safetensors file with a .sha256 that names its source; ``path`` itself if it is
        one already.

    Raises:
        ZooError: If the file does not fit the recipe.
    """
    if path.suffix == '.safetensors':
        return path
    target = cache_folder() / model.name / f'{path.stem}.converted.safetensors'
    source = sha256_of(path)
    if target.is_file() and _source_of(target) == source:
        return target
    print(f'{model.name}: converting {path.name}, once, to {target}', file=sys.stderr)
    target.parent.mkdir(parents=True, exist_ok=True)
    job = (str(model.config), str(path), source, str(target))
    for _, result in run_bounded(_convert, [job], 1, TIME_LIMIT):
        if isinstance(result, Stopped) or result:
            raise ZooError(f'{path}: cannot be converted for {model.config.name}: {result}')
    return target


def _source_of(path: Path) -> str:
    from safetensors import SafetensorError, safe_open
    try:
        with safe_open(path, 'pt') as file:
            return (file.metadata() or {}).get(SOURCE_KEY, '')
    except (OSError, SafetensorError):
        return ''


def _convert(config: str, path: str, source: str, target: str) -> str:
    """Convert a file; returns why it cannot be done, or nothing."""
    import safetensors.torch
    from mmaction.registry import MODELS
    from mmengine.config import Config
    from mmengine.registry import init_default_scope

    from ..engine.checkpoint_files import write_checkpoint
    from ..models.checkpoints.fit import load_whole
    cfg = Config.fromfile(config)
    init_default_scope(cfg.get('default_scope', 'mmaction'))
    try:
        model = MODELS.build(cfg.model)
        load_whole(model, path, config)
    except (RuntimeError, ValueError, OSError) as error:
        return str(error)
    state = {name: value.contiguous().clone() for name, value in model.state_dict().items()}
    write_checkpoint(target, safetensors.torch.save(
        state, metadata={'format': 'pt', SOURCE_KEY: source}))
    return ''
