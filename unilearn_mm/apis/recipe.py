"""What a recipe says of prediction: tasks, pipelines, the length of a window."""

from typing import Dict, List, NamedTuple, Optional

from mmengine.config import Config

from ..datasets.label_spaces import class_names, read_classes
from .sound import uses_sound, without_demands

# Of recipes that say nothing: films run at 24 to 30 frames per second, and the published models
# have seen 64 frames of them (UniLearn: 16, every fourth)
DEFAULT_FPS, DEFAULT_FRAMES = 25., 64


class ClipPipeline(NamedTuple):
    """How clips or images of one task become a batch.

    Attributes:
        task (str): Label space of the head.
        classes (tuple[str, ...]): Class names in the order of their ids.
        views (list[dict]): The pipeline of the test, with all its views of a clip.
        one_view (list[dict]): That of the validation, one view.
    """
    task: str
    classes: tuple
    views: List[dict]
    one_view: List[dict]

    @property
    def with_sound(self) -> bool:
        """Whether the model hears."""
        return uses_sound(self.views)


class PredictionRecipe(NamedTuple):
    """The part of a recipe that a prediction needs.

    Attributes:
        pipelines (dict[str, ClipPipeline]): By media, 'video' or 'image'.
        fps (float): Frames per second at which the model sees a clip.
        frames (int): Frames of a window at this rate.
        crop (str | None): Preset of face crops that its training data had, if it says so.
        caution (str): What must stand beside every prediction, e.g. that the model is a toy.
    """
    pipelines: Dict[str, ClipPipeline]
    fps: float
    frames: int
    crop: Optional[str]
    caution: str


class RecipeError(ValueError):
    """A recipe cannot be used for prediction; the message says what it lacks."""


def prediction_recipe(config: Config, task: Optional[str] = None) -> PredictionRecipe:
    """Read a recipe.

    Args:
        config (Config): The recipe. ``prediction = dict(fps=..., frames=..., crop=PRESET,
            caution=...)`` says what clips the model was trained on; fps and frames have a default.
        task (str, optional): Task on clips, where a recipe tests several.

    Raises:
        RecipeError: If the recipe has no test data for clips or images, or not of this task.
    """
    pipelines = {}
    for media in ('video', 'image'):
        test = _data_sets(config, 'test_dataloader', media)
        if task and media == 'video':
            test = [part for part in test if part['task'] == task]
            if not test:
                raise RecipeError(f'{config.filename}: tests no task {task!r} on clips')
        if test:
            first = test[0]
            checked = [part for part in _data_sets(config, 'val_dataloader', media)
                       if part['task'] == first['task']] or [first]
            pipelines[media] = ClipPipeline(first['task'], _classes(first),
                                            without_demands(first['pipeline']),
                                            without_demands(checked[0]['pipeline']))
    if not pipelines:
        raise RecipeError(f'{config.filename}: no ExpressionVideoDataset or ExpressionImageDataset '
                          'in its test_dataloader, so its classes are unknown; predict with a '
                          'recipe that tests on them')
    own = config.get('prediction', {})
    return PredictionRecipe(pipelines, float(own.get('fps', DEFAULT_FPS)),
                            int(own.get('frames', DEFAULT_FRAMES)), own.get('crop'),
                            own.get('caution', ''))


def _data_sets(config: Config, loader: str, media: str) -> List[dict]:
    data = (config.get(loader) or {}).get('dataset') or {}
    parts = data.get('datasets', [data])
    kind = dict(video='ExpressionVideoDataset', image='ExpressionImageDataset')[media]
    # the pipeline of the whole is that of the parts without one
    return [dict(part, pipeline=part.get('pipeline') or data.get('pipeline'))
            for part in parts if part.get('type') == kind]


def _classes(data_set: dict) -> tuple:
    own = data_set.get('classes')
    if own is None:
        return tuple(class_names(data_set['task']))
    return tuple(read_classes(own) if isinstance(own, str) else own)
