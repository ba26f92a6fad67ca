"""Two tests of one checkpoint write the same bytes."""

import torch
from mmaction.registry import MODELS
from mmengine.runner import Runner
from test_runs import small_cfg


def test_predictions_are_the_same_bytes(toy_root, tmp_path, monkeypatch):
    """Other global random states and other workers do not change them."""
    monkeypatch.setattr('sys.argv', ['test'])
    cfg = small_cfg('unilearn_toy.py', toy_root, tmp_path / 'init', monkeypatch)
    cfg.model.backbone.moae.init = 'official'  # experts that are not zero
    torch.manual_seed(3)
    model = MODELS.build(cfg.model)
    model.init_weights()
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'model.pth')
    written = []
    for name, seed, workers in (('first', 0, 0), ('second', 7, 2)):
        cfg.merge_from_dict(dict(
            work_dir=str(tmp_path / name), experiment_name=name, load_from=str(
                tmp_path / 'model.pth'), randomness=dict(seed=seed),
            test_dataloader=dict(num_workers=workers)))
        Runner.from_cfg(cfg.copy()).test()
        written.append((tmp_path / name / 'predictions.csv').read_bytes())
    assert written[0] == written[1]
    assert written[0].count(b'\n') == 1 + 14 + 21
