import numpy as np
import pandas as pd
import pytest
import torch
from mmaction.registry import DATASETS
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from unilearn_mm.evaluation.prediction_table import read_predictions
from unilearn_mm.evaluation.score_tables import subgroup_table
from unilearn_mm.evaluation.subgroups import subgroup_scores
from unilearn_mm.evaluation.war_uar_metric import WARUARMetric


def predictions(seed=0, num=90):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(dict(
        label=rng.integers(0, 3, num), prediction=rng.integers(0, 3, num),
        group_gender=rng.choice(['female', 'male', ''], num),
        group_age=rng.choice(['7', '10', '40'], num)))


@pytest.mark.parametrize('name', ['gender', 'age'])
def test_groups_agree_with_scikit_learn(name):
    rows = predictions()
    found = subgroup_scores(rows, name, num_classes=4)
    values = {value: part for value, part in rows.groupby(f'group_{name}') if value}
    assert list(found.groups) == sorted(values)
    for value, part in values.items():
        group = found.groups[value]
        assert group.war == pytest.approx(accuracy_score(part.label, part.prediction))
        assert group.uar == pytest.approx(balanced_accuracy_score(part.label, part.prediction))
        assert (group.num_samples, group.num_classes) == (len(part), part.label.nunique())
        assert group.war_interval.low < group.war < group.war_interval.high
    for what in ('war', 'uar'):
        numbers = sorted(getattr(group, what) for group in found.groups.values())
        assert getattr(found, f'{what}_gap') == numbers[-1] - numbers[0]
    assert found.num_without + sum(group.num_samples for group in found.groups.values()) == 90


def test_samples_without_a_value_are_in_no_group_and_counted():
    rows = pd.DataFrame(dict(label=[0, 0, 1, 1], prediction=[0, 1, 1, 0],
                             group_gender=['f', 'm', 'm', '']))
    found = subgroup_scores(rows, 'gender', 2)
    assert (found.groups['f'].uar, found.groups['m'].uar, found.uar_gap) == (1, .5, .5)
    assert found.num_without == 1
    table = subgroup_table(found)
    assert table[2].startswith('| f | 1 | 1 | 100.00% | ') and table[2].endswith('| 100.00% |')
    assert table[-1] == ('gap between the best and the worst of 2 groups: WAR 50.00%, UAR 50.00%; '
                         '1 samples without a value are in no group')


def test_a_group_without_any_value():
    rows = pd.DataFrame(dict(label=[0], prediction=[0], group_gender=['']))
    found = subgroup_scores(rows, 'gender', 2)
    assert not found.groups and np.isnan(found.war_gap) and found.num_without == 1
    assert subgroup_table(found) == ['none of the 1 samples has a value of gender']


def test_an_unknown_group_is_named():
    with pytest.raises(ValueError, match=r"no group 'subject', found \['gender', 'age'\]"):
        subgroup_scores(predictions(), 'subject', 3)


def test_group_columns_of_an_annotation_list_reach_the_prediction_file(media_root, image_cfg,
                                                                       tmp_path):
    (tmp_path / 'ours.csv').write_text(
        'sample_id,path,label,gender,age\n'
        '1,person 0/0.jpg,fear,female,\n'
        '2,person 1/1.jpg,anger,male,07\n')
    pipeline = [dict(type='OpenClip'), dict(type='SampleFrames', clip_len=1),
                dict(type='DecodeClip'), dict(type='FormatShape', input_format='NCTHW'),
                dict(type='PackActionInputs',
                     meta_keys=('source', 'task', 'media', 'sample_id', 'groups'))]
    dataset = DATASETS.build(dict(image_cfg, ann_file=str(tmp_path / 'ours.csv'),
                                  pipeline=pipeline))
    metric = WARUARMetric(prediction_file=str(tmp_path / 'predictions.csv'), groups=['gender'])
    metric.dataset_meta = dataset.metainfo
    for packed in dataset:
        sample = packed['data_samples'].set_pred_score(torch.full((7, ), 1 / 7))
        metric.process(None, [sample.to_dict()])
    metric.evaluate(2)
    table = read_predictions(tmp_path / 'predictions.csv')
    assert table.group_gender.tolist() == ['female', 'male']
    assert table.group_age.tolist() == ['', '07']
