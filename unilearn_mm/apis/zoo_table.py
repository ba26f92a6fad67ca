"""The model zoo as people read it."""

from typing import List

from .zoo import ZooModel, find_model, zoo

HEADS = ('model', 'system', 'task', 'WAR', 'UAR', 'weights', 'loaded and converted by us')


def zoo_table(markdown: bool = False) -> str:
    """All models, a row each, as text or as Markdown (then with a note on each source)."""
    rows = [HEADS, *(_row(model, markdown) for model in zoo())]
    if markdown:
        lines = [f'| {" | ".join(row)} |' for row in rows]
        return '\n'.join([lines[0], '|' + '---|' * len(HEADS), *lines[1:]])
    widths = [max(map(len, column)) for column in zip(*rows)]
    return '\n'.join('  '.join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
                     for row in rows)


def describe(name: str) -> str:
    """One model in full.

    Raises:
        ZooError: If there is none of this name.
    """
    model = find_model(name)
    lines = [f'{model.name} ({model.system})', f'  recipe    {model.config}',
             f'  task      {model.task or "none: it has no classifier"}']
    lines += [f'  result    {result["Dataset"]}: '
              + ', '.join(f'{key} {value:.2f} %' for key, value in result['Metrics'].items())
              for result in model.results]
    if model.reported:
        lines.append(f'  reported  {model.reported}')
    lines += [f'  weights   {model.weights or "none to download"}', f'            {model.get}',
              '  licence   ' + ', '.join(f'{key.lower()}: {value}'
                                         for key, value in model.licence.items()),
              f'  verified  {_verified(model)}']
    return '\n'.join(lines)


def _row(model: ZooModel, markdown: bool) -> List[str]:
    metrics = model.results[0]['Metrics'] if model.results else {}
    weights = 'train it' if model.weights is None else 'published'
    name = f'[{model.name}]({model.config.name})' if markdown else model.name
    if markdown and model.weights:
        weights = f'[published]({model.weights})'
    return [name, model.system, model.task or '-',
            *(f'{metrics[key]:.2f}' if key in metrics else '-' for key in ('WAR', 'UAR')),
            weights, _verified(model)]


def _verified(model: ZooModel) -> str:
    return 'yes' if model.verified else 'no'
