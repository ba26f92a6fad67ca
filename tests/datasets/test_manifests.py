"""How the faces of a data set were cut out comes with the data set."""

import json

import pytest
import torch
from mmaction.registry import DATASETS
from mmengine.model import BaseModel
from mmengine.runner import Runner

from unilearn_mm.datasets.annotations import AnnotationError
from unilearn_mm.datasets.splits import write_hold_out
from unilearn_mm.engine.checkpoint_files import read_checkpoint

RECORD = dict(record=dict(name='upright', version=1, size=160), detector='centerface', rate=None)


@pytest.fixture
def root(tmp_path):
    """Lists of one-frame clips; the first has a manifest, the second has one without faces."""
    for name in ('with', 'without', 'none'):
        rows = ['sample_id,path,label']
        for index in range(14):
            (tmp_path / f'{name}{index}').mkdir()
            rows.append(f'{name}{index},{name}{index},{index % 7}')
        (tmp_path / f'{name}.csv').write_text('\n'.join(rows) + '\n')
    (tmp_path / 'with.manifest.json').write_text(json.dumps(dict(face_crops=RECORD, other=1)))
    (tmp_path / 'without.manifest.json').write_text(json.dumps(dict(other=1)))
    return tmp_path


def dataset(root, name):
    return dict(type='ExpressionVideoDataset', task='toy_video', source=name, pipeline=[],
                data_root=str(root), ann_file=f'{name}.csv')


def test_the_data_set_tells_how_its_faces_were_cut_out(root):
    for name, expected in (('with', {'with': RECORD}), ('without', {}), ('none', {})):
        assert DATASETS.build(dataset(root, name)).metainfo['face_crops'] == expected


def test_of_several_each_source_tells(root):
    mixed = DATASETS.build(dict(type='MixedMediaDataset', datasets=[
        dataset(root, 'none'), dataset(root, 'with'), dict(dataset(root, 'with'), source='again')]))
    assert mixed.metainfo['face_crops'] == {'with': RECORD, 'again': RECORD}


def test_both_parts_of_a_list_keep_the_record(root):
    held_out = write_hold_out(str(root / 'with.csv'), 'video', 0.5, 0, root / 'parts')
    for path in (held_out.train, held_out.validation):
        part = dict(dataset(root, 'with'), ann_file=str(path))
        assert DATASETS.build(part).metainfo['face_crops'] == {'with': RECORD}
    write_hold_out(str(root / 'none.csv'), 'video', 0.5, 0, root / 'others')
    assert not list((root / 'others').glob('*.json'))


@pytest.mark.parametrize('content', [b'', b'{"face_crops": ', b'[1]', b'\xff\xfe', b'[' * 100_000,
                                     b'{"face_crops": 3}', b'{"face_crops": ["x"]}'])
def test_a_broken_manifest_is_named(root, content):
    (root / 'with.manifest.json').write_bytes(content)
    with pytest.raises(AnnotationError, match='with.manifest.json'):
        DATASETS.build(dataset(root, 'with'))


class Average(BaseModel):
    """A model that learns something in a millisecond."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, label, mode, **sample):
        return dict(loss=self.weight * sum(label))


def test_every_checkpoint_says_how_the_faces_were_cut_out(root, tmp_path):
    loader = dict(batch_size=7, dataset=dict(dataset(root, 'with'), pipeline=[]),
                  sampler=dict(type='DefaultSampler'))
    Runner(Average(), work_dir=str(tmp_path / 'run'), train_dataloader=loader,
           train_cfg=dict(by_epoch=True, max_epochs=1),
           optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)), default_scope='mmaction',
           experiment_name='manifests').train()
    meta = read_checkpoint(tmp_path / 'run' / 'epoch_1.pth')['meta']
    assert meta['dataset_meta']['face_crops'] == {'with': RECORD}
