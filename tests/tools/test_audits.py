"""The audits: their numbers from known predictions and routers, and real runs end to end."""

import importlib.util
import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmengine.config import Config
from scipy.spatial.distance import jensenshannon
from scipy.stats import binom

from unilearn_mm.datasets.label_spaces import class_names
from unilearn_mm.models.layers.routing import NoisyTopKRouter

ROOT = Path(__file__).parents[2]


def load(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / 'tools' / 'analysis' / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


audit_dynamics, audit_routing = load('audit_dynamics'), load('audit_routing')


def predictions(labels, predicted, names=None):
    """A table as WARUARMetric writes it, sure of each prediction."""
    classes = class_names('toy_video')
    table = pd.DataFrame(dict(
        source='toy_video', task='toy_video', media='video',
        sample_id=names or [f'{index:03d}' for index in range(len(labels))], label=labels,
        prediction=predicted, label_name=[classes[i] for i in labels],
        prediction_name=[classes[i] for i in predicted]))
    return table.join(pd.DataFrame(np.eye(7)[predicted]).add_prefix('score_'))


def test_mcnemar_and_changes():
    """20 clips: 8 right ones become wrong, 2 wrong ones right, 1 wrong one otherwise wrong."""
    labels = [0] * 20
    base = [0] * 12 + [1] * 8
    other = [0] * 4 + [2] * 8 + [0] * 2 + [3] + [1] * 5
    found = audit_dynamics.audit({
        'in order': predictions(labels, base),
        'shuffle': predictions(labels, other).sample(frac=1, random_state=0),
        'reverse': predictions(labels, base)})['toy_video']
    assert found['in order'] == dict(num_samples=20, WAR=0.6, UAR=0.6)
    shuffled = found['shuffle']
    assert (shuffled['lost'], shuffled['gained'], shuffled['changed']) == (8, 2, 11 / 20)
    # two-sided exact test: of 10 that differ, at most 2 on one side
    assert shuffled['p'] == pytest.approx(2 * binom.cdf(2, 10, 0.5))
    assert (found['reverse']['changed'], found['reverse']['p']) == (0, 1)
    line = next(line for line in audit_dynamics.markdown(dict(toy_video=found))
                if line.startswith('| shuffle'))
    assert line == '| shuffle | 30.00% | 30.00% | 55.00% | 8 | 2 | 0.109 |'


def test_a_task_that_the_package_does_not_know():
    """A recipe can declare classes of its own."""
    table = predictions([0, 1, 1, 5], [0, 1, 2, 5])
    table['task'] = 'own'
    found = audit_dynamics.audit({'in order': table, 'reverse': table})['own']
    assert found['reverse']['WAR'] == 3 / 4 and found['reverse']['UAR'] == pytest.approx(2.5 / 3)


def test_other_samples_are_refused():
    with pytest.raises(ValueError, match='3 and 3 predictions, but only 2 samples in common'):
        audit_dynamics.compare(predictions([0, 1, 2], [0, 1, 2]),
                               predictions([0, 1, 2], [0, 1, 2], ['000', '001', 'x']))


def test_only_clips_are_reordered_between_sampling_and_decoding():
    cfg = Config.fromfile(ROOT / 'configs' / 'unilearn_toy.py')
    part, = audit_dynamics.reordered(cfg, 'reverse').test_dataloader.dataset.datasets
    kinds = [step.type for step in part.pipeline]
    assert kinds[:4] == ['OpenClip', 'UniformSample', 'FrameOrder', 'DecodeClip']
    same, = audit_dynamics.reordered(cfg, 'in order').test_dataloader.dataset.datasets
    assert [step.type for step in same.pipeline] == kinds[:2] + kinds[3:]
    assert len(cfg.test_dataloader.dataset.datasets) == 2, 'the recipe itself is unchanged'
    cfg.test_dataloader.dataset.datasets = cfg.test_dataloader.dataset.datasets[1:]
    with pytest.raises(ValueError, match='test_dataloader has no clips'):
        audit_dynamics.reordered(cfg, 'reverse')
    cfg.test_dataloader = None
    with pytest.raises(ValueError, match=r'toy\.py: there is no test_dataloader'):
        audit_dynamics.reordered(cfg, 'reverse')


def test_the_clips_of_a_recipe_with_one_data_set_are_reordered(single_recipe):
    cfg = Config.fromfile(single_recipe)
    part = audit_dynamics.reordered(cfg, 'shuffle').test_dataloader.dataset
    assert [step.type for step in part.pipeline[2:4]] == ['FrameOrder', 'DecodeClip']


class Model(torch.nn.Module):
    """Two blocks with a router each: a one-hot token of channel c goes to the experts c and
    c + 1."""

    def __init__(self):
        super().__init__()
        self.blocks = torch.nn.ModuleList(NoisyTopKRouter(3, 3, top_k=1) for _ in range(2))
        for shift, router in enumerate(self.blocks):
            torch.nn.init.zeros_(router.route.bias)
            router.route.weight.data = torch.eye(3).roll(shift, dims=0)

    def forward(self, inputs, data_samples, mode):
        for router in self.blocks:
            router(inputs.flatten(0, -2))


def sample(source, label):
    found = ActionDataSample()
    found.set_metainfo(dict(source=source))
    return found.set_gt_label(label)


def test_assignments_are_counted_per_source_and_class():
    model = Model().eval()
    recorder = audit_routing.RoutingRecorder(model)
    # samples of two views of two tokens, or of one view of three: the channels of the tokens
    batches = [('video', [1, 0], [[[0, 0], [1, 2]], [[2, 2], [2, 1]]]),
               ('image', [1], [[[2, 2, 2]]]), ('video', [1], [[[0, 1], [1, 1]]])]
    for source, labels, channels in batches:
        model(inputs=torch.eye(3)[torch.tensor(channels)],
              data_samples=[sample(source, label) for label in labels], mode='predict')
    counts = {('video', 1): [3, 4, 1], ('video', 0): [0, 1, 3], ('image', 1): [0, 0, 3]}
    assert {key: found.tolist() for key, found in recorder.counts.items()} == {
        key: [row, row[2:] + row[:2]] for key, row in counts.items()}

    block = audit_routing.tables(recorder.counts, dict(video='ab', image='ab'))[1]
    assert block['rows']['video (all)'] == pytest.approx([4 / 12, 3 / 12, 5 / 12])
    assert block['rows']['video: a'] == pytest.approx([3 / 4, 0, 1 / 4])
    assert list(block['rows']) == ['image (all)', 'image: b', 'video (all)', 'video: a',
                                   'video: b']
    assert block['classes_bits']['image'] == 0


def test_divergence_is_that_of_jensen_and_shannon():
    rows = np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])
    assert audit_routing.divergence(rows) == pytest.approx(jensenshannon(*rows, base=2)**2)
    assert audit_routing.divergence(np.eye(4)) == pytest.approx(2), 'log2 of four rows'
    assert audit_routing.divergence(rows[[0, 0, 0]]) == pytest.approx(0)


def test_models_without_experts_are_refused():
    with pytest.raises(ValueError, match='Linear has no experts'):
        audit_routing.RoutingRecorder(torch.nn.Linear(1, 1))


@pytest.fixture
def checkpoint(tmp_path, monkeypatch, toy_root):
    """An untrained toy model with experts that are not zero, and the tiny data beside it."""
    monkeypatch.setenv('TOY_DATA', str(toy_root))
    cfg = Config.fromfile(ROOT / 'configs' / 'unilearn_toy.py')
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'model.pth')
    return tmp_path / 'model.pth'


def arguments(name, checkpoint, monkeypatch):
    loader = ('test_dataloader.num_workers=0', 'test_dataloader.persistent_workers=False')
    monkeypatch.setattr(sys, 'argv', [
        name, str(ROOT / 'configs' / 'unilearn_toy.py'), str(checkpoint), '--work-dir',
        str(checkpoint.parent / 'work'), '--cfg-options', *loader])
    return checkpoint.parent / 'work' / name


@pytest.mark.slow
def test_dynamics_of_a_real_run(checkpoint, monkeypatch):
    folder = arguments('audit_dynamics', checkpoint, monkeypatch)
    audit_dynamics.main()
    found = json.loads((folder / 'report.json').read_text())
    assert list(found) == ['toy_video']
    orders = ['in order', 'shuffle', 'reverse', 'repeat_middle']
    tables = {order: pd.read_csv(folder / f'{order}.csv') for order in orders}
    for order in orders:
        table = tables[order]
        assert len(table) == found['toy_video'][order]['num_samples'] == 14
        assert found['toy_video'][order]['WAR'] == (table.label == table.prediction).mean()
    # the frames of a clip differ in brightness, so their order shows in the scores
    scores = [table.filter(like='score_').to_numpy() for table in tables.values()]
    for one in range(4):
        for other in range(one):
            assert abs(scores[one] - scores[other]).max() > 1e-4
    assert '## toy_video: 14 clips' in (folder / 'report.md').read_text()


def test_routing_of_a_recipe_with_one_data_set(checkpoint, single_recipe, monkeypatch):
    folder = arguments('audit_routing', checkpoint, monkeypatch)
    sys.argv[1] = str(single_recipe)
    sys.argv.append('model.cls_head.num_classes.toy_image=7')  # the checkpoint has that head too
    audit_routing.main()
    found = json.loads((folder / 'report.json').read_text())
    assert list(found['backbone.blocks.2']['rows']) == ['toy_video (all)'] + [
        f'toy_video: {name}' for name in class_names('toy_video')]


def test_routing_of_a_real_run(checkpoint, monkeypatch):
    folder = arguments('audit_routing', checkpoint, monkeypatch)
    audit_routing.main()
    found = json.loads((folder / 'report.json').read_text())
    assert list(found) == ['backbone.blocks.2', 'backbone.blocks.3']
    report = (folder / 'report.md').read_text()
    for name, block in found.items():
        assert len(block['rows']) == 2 * (1 + 7)
        assert np.allclose(np.sum(list(block['rows'].values()), axis=1), 1)
        # every class has two clips and three images: the whole is the mean of the classes
        for source in ('toy_video', 'toy_image'):
            classes = [row for key, row in block['rows'].items() if key.startswith(f'{source}:')]
            assert block['rows'][f'{source} (all)'] == pytest.approx(np.mean(classes, axis=0))
        assert f'![share of assignments]({name}.png)' in report
        pixels = cv2.imread(str(folder / f'{name}.png'))
        assert min(pixels.shape[:2]) > 300 and pixels.std() > 10
    assert 'model_cost.py' in report
