"""How faces are found, followed and cut out for a prediction: as they were for the training."""

import dataclasses
import math
from typing import Any, Dict, Mapping, Optional, Type, TypeVar

from ..faces.alignment import PRESETS, CropRecord
from ..faces.search import SearchSettings
from ..faces.tracking import TrackingSettings

ARGUMENT, CHECKPOINT, RECIPE = 'argument', 'checkpoint', 'recipe'
DETECTOR = 'centerface'
PARTS = {'record', 'detector', 'search', 'tracking', 'rate'}

Settings = TypeVar('Settings', SearchSettings, TrackingSettings)


class FaceSettingError(ValueError):
    """How faces are to be cut out is unknown or makes no sense; the message says what to do."""


@dataclasses.dataclass(frozen=True)
class FaceSetting:
    """The way from a frame to the crops of its faces.

    Attributes:
        record (CropRecord): How faces are cut out.
        detector (str): Name of the detector.
        detector_weights (str | None): File that an argument named.
        detector_sha256 (str | None): Of the weights with which the training data were made, which
            must be those used; None where nothing says it, or an argument names the file.
        search (SearchSettings): What the detector looks for.
        tracking (TrackingSettings): How faces are followed.
        rate (float | None): Frames per second that were taken for the training data, None for
            every frame. Only a checkpoint knows it.
        sources (dict[str, str]): For each of the above where it stands: 'argument', 'checkpoint',
            'recipe', 'default: ...', or, of a mixture, 'checkpoint; argument: threshold'.
    """
    record: CropRecord
    detector: str
    detector_weights: Optional[str]
    detector_sha256: Optional[str]
    search: SearchSettings
    tracking: TrackingSettings
    rate: Optional[float]
    sources: Dict[str, str]

    @property
    def is_recorded(self) -> bool:
        """Whether the checkpoint said how the faces of its training data were cut out."""
        return self.sources['rate'] == CHECKPOINT


def face_setting(meta: Optional[dict] = None, recipe_crop: Optional[str] = None, *,
                 crop: Optional[str] = None, detector: Optional[str] = None,
                 detector_weights: Optional[str] = None,
                 search: Optional[Mapping[str, Any]] = None,
                 tracking: Optional[Mapping[str, Any]] = None) -> FaceSetting:
    """What holds for a prediction: arguments, then the checkpoint, then the recipe, then defaults.

    Args:
        meta (dict, optional): ``meta`` of the checkpoint. Its ``face_crops`` are what
            ``tools/data/extract_faces.py`` wrote into the manifest of the training data.
        recipe_crop (str, optional): Preset that the recipe names.
        crop (str, optional): Preset that wins over both.
        detector (str, optional): Name that wins over that of the checkpoint.
        detector_weights (str, optional): File of its weights, whatever the checkpoint says.
        search (Mapping, optional): Fields of :class:`SearchSettings` that win over those of the
            checkpoint.
        tracking (Mapping, optional): The same of :class:`TrackingSettings`.

    Raises:
        FaceSettingError: If a preset or a field is unknown, or the record of the checkpoint cannot
            be obeyed by this release.
    """
    recorded, absent = _recorded(meta or {})
    sources = dict.fromkeys(PARTS, CHECKPOINT if recorded else f'default: {absent}')
    try:
        record = (CropRecord.from_dict(recorded['record']) if recorded else PRESETS['upright'])
        rate = recorded['rate'] if recorded else None
        if not (rate is None or 0 < rate < math.inf):
            raise ValueError(f'rate is {rate!r}, expected frames per second or null')
        found_search = _settings(SearchSettings, recorded and recorded['search'])
        found_tracking = _settings(TrackingSettings, recorded and recorded['tracking'])
        name, sha256 = DETECTOR, None
        if recorded:
            name, sha256 = str(recorded['detector']['name']), recorded['detector']['sha256']
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise FaceSettingError(
            f'the checkpoint says how the faces of its training data were cut out, and this '
            f'release cannot do that: {type(error).__name__}: {error}. Use the release that made '
            'the data, or cut the faces yourself (--faces none)') from error
    if crop:
        record, sources['record'] = _preset(crop, 'the argument crop'), ARGUMENT
    elif not recorded and recipe_crop:
        record, sources['record'] = _preset(recipe_crop, 'the recipe'), RECIPE
    if detector and detector != name:
        name, sha256, sources['detector'] = detector, None, ARGUMENT
    if detector_weights:
        sha256 = None
        sources['detector'] += f'; {ARGUMENT}: weights'
    return FaceSetting(record, name, detector_weights, sha256,
                       _changed(found_search, search, 'search', sources),
                       _changed(found_tracking, tracking, 'tracking', sources), rate, sources)


def _recorded(meta: dict) -> tuple:
    """The record of the clips' data sets, or None and why there is none."""
    found = list(((meta.get('dataset_meta') or {}).get('face_crops') or {}).values())
    if not found:
        return None, 'the checkpoint does not say it'
    if any(record != found[0] for record in found):
        return None, ('the faces of the data sets of the checkpoint were cut out in '
                      f'{len({repr(record) for record in found})} ways')
    if not isinstance(found[0], dict) or not set(found[0]) >= PARTS:
        raise FaceSettingError(
            f'the checkpoint says of the crops of its training data {str(found[0])[:80]!r}, '
            f'expected {", ".join(sorted(PARTS))}; was its manifest made by hand? '
            'Cut the faces yourself (--faces none)')
    return found[0], ''


def _settings(kind: Type[Settings], recorded: Optional[dict]) -> Settings:
    return kind() if recorded is None else kind(**recorded)


def _changed(settings: Settings, changes: Optional[Mapping[str, Any]], part: str,
             sources: Dict[str, str]) -> Settings:
    """Settings with the fields that an argument gives."""
    if not changes:
        return settings
    try:
        changed = dataclasses.replace(settings, **changes)
    except TypeError as error:
        raise FaceSettingError(f'{part}: {error}; known are {", ".join(settings.to_dict())}'
                               ) from error
    sources[part] += f'; {ARGUMENT}: {", ".join(changes)}'
    return changed


def _preset(name: str, where: str) -> CropRecord:
    if name not in PRESETS:
        raise FaceSettingError(f'{where}: unknown crop {name!r}; known are {", ".join(PRESETS)}')
    return PRESETS[name]
