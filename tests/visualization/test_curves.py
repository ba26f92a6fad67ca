import json

import pytest

from unilearn_mm.visualization.curves import read_scalars, scalar_files, training_curves_figure


def write(folder, records):
    path = folder / 'vis_data' / 'scalars.json'
    path.parent.mkdir(parents=True)
    path.write_text(''.join(json.dumps(record) + '\n' for record in records))


def train(step, loss):
    return dict(lr=.1 / step, loss=loss, time=1., epoch=1, iter=step, step=step)


@pytest.fixture
def work_dir(tmp_path):
    """A run that stopped in its second epoch and was resumed from the end of the first."""
    write(tmp_path / '20260101_000000', [
        {'routing/a/moae0/expert0': .5, 'step': 10}, train(10, 3.),
        {'a/WAR': .2, 'a/UAR': .1, 'a/NLL': 2., 'time': 1., 'step': 1}, train(20, 2.),
        train(30, 9.)])
    write(tmp_path / '20260102_000000', [
        train(20, 1.), {'a/WAR': .3, 'a/UAR': .25, 'a/NLL': 1.5, 'step': 2}])
    (tmp_path / '20260103_000000' / 'vis_data').mkdir(parents=True)  # a test writes no scalars
    return tmp_path


def test_a_resumed_run_continues_the_curves(work_dir):
    curves = read_scalars(scalar_files(work_dir))
    assert curves['train']['loss'] == {10: 3., 20: 1.}
    assert curves['val']['a/WAR'] == {1: .2, 2: .3}
    assert set(curves['val']) == {'a/WAR', 'a/UAR', 'a/NLL', 'time'}
    assert set(curves['train']) == {'lr', 'loss', 'time', 'iter', 'epoch'}


def test_panels_of_the_figure(work_dir, tmp_path):
    fig = training_curves_figure(read_scalars(scalar_files(work_dir)), 'toy')
    panels = {ax.get_title(): ax for ax in fig.axes}
    assert list(panels) == ['losses in training', 'WAR and UAR in validation',
                            'losses in validation', 'learning rate']
    scores = {line.get_label(): line for line in panels['WAR and UAR in validation'].lines}
    assert scores['a/WAR'].get_xydata().tolist() == [[1, .2], [2, .3]]
    assert scores['a/UAR'].get_xydata().tolist() == [[1, .1], [2, .25]]
    assert scores['a/WAR'].get_color() == scores['a/UAR'].get_color()
    assert scores['a/WAR'].get_linestyle() != scores['a/UAR'].get_linestyle()
    assert panels['learning rate'].lines[0].get_xydata().tolist() == [[10, .01], [20, .005]]
    fig.savefig(tmp_path / 'curves.png')


def test_a_training_without_validation_has_its_own_panels_only():
    fig = training_curves_figure(dict(train=dict(loss={1: 2.}), val={}), 'toy')
    assert [ax.get_title() for ax in fig.axes] == ['losses in training']


def test_nothing_to_draw():
    with pytest.raises(ValueError, match=r"no loss.*'train': \['time'\]"):
        training_curves_figure(dict(train=dict(time={1: 2.}), val={}), 'toy')


def test_a_line_that_a_stopped_run_left_unfinished_is_no_damage(tmp_path):
    path = tmp_path / 'scalars.json'
    path.write_text(json.dumps(train(10, 1.)) + '\n{"loss": 2., "st')
    assert read_scalars([path])['train']['loss'] == {10: 1.}


@pytest.mark.parametrize('line', ['{"loss": 1', '{"loss": 1}', '[1, 2]'])
def test_damaged_lines_are_named(tmp_path, line):
    path = tmp_path / 'scalars.json'
    path.write_text(f'{json.dumps(train(10, 1.))}\n{line}\n')
    with pytest.raises(ValueError, match='scalars.json, line 2: expected a JSON object with'):
        read_scalars([path])
