"""Expressions of the faces in videos, images and streams, for programs."""

import time
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import (
    Any,
    ClassVar,
    Dict,
    Iterable,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
    Union,
)

import numpy as np
import pandas as pd
import torch
from mmaction.registry import INFERENCERS, MODELS
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.device import get_device
from mmengine.infer import BaseInferencer
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from torch import nn

from ..datasets.locations import locate_clip
from ..datasets.readers import PACKED_SUFFIX
from ..engine.hooks.temperature import divide_logits
from ..evaluation.temperature import read_temperatures, temperature_file
from ..faces.clips import FaceStream, FrameFaces, StreamSummary, TrackedFace, still_faces
from ..faces.detector import FaceDetector, open_detector
from ..faces.frames import Frame, FrameStream, open_frames
from ..faces.tracking import TrackSummary, largest_track
from ..media import IMAGE_SUFFIXES, MediaReadError
from ..models.checkpoints.fit import load_whole
from .face_setting import face_setting
from .face_windows import FaceLog, FaceWindow, face_windows
from .recipe import prediction_recipe
from .sound import SoundSource, find_sound, pack_sound_alone, pack_with_sound, parts
from .tables import (
    FAILED,
    NO_FACE,
    NOT_CONFIDENT,
    OK,
    PROBABILITY_PREFIX,
    SOUND,
    SOUND_ALONE,
    prediction_table,
)
from .windows import WindowRule
from .zoo import resolve_model

Source = Union[str, Path, int]
FACES = ('all', 'largest', 'none')
MODES = ('auto', 'clip', 'timeline')
DTYPES = dict(fp32=None, bf16=torch.bfloat16, fp16=torch.float16)
# of crops that are held for one result; more is what the timeline is for
MAX_CLIP, MAX_CLIP_FRAMES = 60., 3600  # seconds


class PredictionError(RuntimeError):
    """A source cannot be predicted as asked; the message says what to do."""


@dataclass
class SourceReport:
    """What happened to one source.

    Attributes:
        input (str): The source as it was named.
        status (str): 'ok', 'no face' or 'failed'.
        reason (str): Why it failed or has no face.
        seconds (float): That it took, as far as it can be told apart from other sources.
        duration (float | None): Of the source, in seconds.
        frames (int): Frames that were looked at.
        frames_with_face (int): Of these, those with a face.
        faces (int): Tracks that were kept.
        cuts (list[float]): Times of scene cuts, in seconds.
        problems (list[str]): What was wrong with the file, though it was read.
        interval (float | None): Usual seconds between two frames that were looked at.
    """
    input: str
    status: str = OK
    reason: str = ''
    seconds: float = 0.
    duration: Optional[float] = None
    frames: int = 0
    frames_with_face: int = 0
    faces: int = 0
    cuts: List[float] = field(default_factory=list)
    problems: List[str] = field(default_factory=list)
    interval: Optional[float] = None


class SourceResult(NamedTuple):
    """The prediction of one source.

    Attributes:
        table (pd.DataFrame): See :mod:`unilearn_mm.apis.tables`.
        report (SourceReport): What happened.
        log (FaceLog | None): Boxes and crops for pictures, if asked for.
        samples (list[ActionDataSample]): Of the scored rows, in the order of the table.
        features (np.ndarray | None): (rows that were scored, C) float32, if asked for.
    """
    table: pd.DataFrame
    report: SourceReport
    log: Optional[FaceLog]
    samples: List[Any]
    features: Optional[np.ndarray]


class _Item(NamedTuple):
    """A window on its way to the model; ``packed`` is None if it is not scored."""
    media: str
    window: Optional[FaceWindow]
    packed: Optional[dict]
    ends: Optional[Tuple[SourceReport, Optional[FaceLog], Optional[int]]] = None


@INFERENCERS.register_module()
class ExpressionInferencer(BaseInferencer):
    """Expressions of faces over time::

        infer = ExpressionInferencer('configs/unilearn_dfew.py', 'epoch_100.pth')
        table = infer('interview.mp4')          # a row for each window of each face
        table = infer(['a.mp4', 'b.mp4'], mode='clip')     # a row for each file

    Args:
        model (str | Config): Recipe (a path or a name of the zoo) or config.
        weights (str | Sequence[str], optional): Checkpoint, or several whose probabilities are
            averaged (folds). Defaults to the weights that the zoo has for this name.
        device (str): 'auto', 'cpu', 'cuda', 'cuda:1', 'mps', ...
        dtype (str): 'fp32', 'bf16' or 'fp16': what the model computes in.
        task (str, optional): Label space, where a recipe tests several tasks on clips.
        detector (str, optional): Face detector (:func:`unilearn_mm.faces.detector.open_detector`).
            This and the next four are by default as the checkpoint says of its training data, see
            :mod:`unilearn_mm.apis.face_setting`.
        detector_weights (str, optional): Its file, where it is in no package.
        search (Mapping, optional): What the detector looks for: some fields of
            :class:`unilearn_mm.faces.search.SearchSettings`.
        crop (str, optional): Preset of face crops.
        tracking (Mapping, optional): How faces are followed: some fields of
            :class:`unilearn_mm.faces.tracking.TrackingSettings`.
        calibrated (bool): Whether the temperature beside a checkpoint is applied, if there is one.
        offline (bool): Never download.
        show_progress (bool): A bar in :meth:`__call__`.

    Raises:
        ZooError, CheckpointMismatchError, RecipeError: If model or weights cannot be used.
        ValueError: If ``dtype`` is unknown, or no weights are given for a recipe that has none.
    """

    preprocess_kwargs: ClassVar[set] = {'mode', 'faces', 'hop', 'smallest_face', 'keep_log',
                                        'max_seconds', 'sound_alone'}
    forward_kwargs: ClassVar[set] = {'features'}
    postprocess_kwargs: ClassVar[set] = {'abstain_below'}

    def __init__(self,
                 model: Union[str, Path, Config],
                 weights: Union[str, Path, Sequence[Union[str, Path]], None] = None,
                 device: str = 'auto',
                 dtype: str = 'fp32',
                 task: Optional[str] = None,
                 detector: Optional[str] = None,
                 detector_weights: Optional[str] = None,
                 search: Optional[Mapping[str, Any]] = None,
                 crop: Optional[str] = None,
                 tracking: Optional[Mapping[str, Any]] = None,
                 calibrated: bool = True,
                 offline: bool = False,
                 show_progress: bool = True) -> None:
        if dtype not in DTYPES:
            raise ValueError(f'dtype must be one of {list(DTYPES)}, found {dtype!r}')
        self.model_name = str(model.filename if isinstance(model, Config) else model)
        config, weights = _resolve(model, weights, offline)
        self.weights = [str(path) for path in weights]
        self.dtype = DTYPES[dtype]
        self.calibrated = calibrated
        self.temperatures: Dict[str, float] = {}
        init_default_scope(config.get('default_scope', 'mmaction'))
        self.meta: dict = {}
        super().__init__(config, self.weights[0], get_device() if device == 'auto' else device,
                         scope=config.get('default_scope', 'mmaction'),
                         show_progress=show_progress)
        self.device = next(self.model.parameters()).device
        self.recipe = prediction_recipe(config, task)
        self.faces = face_setting(self.meta, self.recipe.crop, crop=crop, detector=detector,
                                  detector_weights=detector_weights, search=search,
                                  tracking=tracking)
        # a timeline needs a rate, also where every frame of videos of any rate was trained on
        self.fps = self.faces.rate or self.recipe.fps
        self.others = [self._init_model(config, path, self.device) for path in self.weights[1:]]
        self.pipelines = {
            (media, views): Compose(pipeline.views if views else pipeline.one_view)
            for media, pipeline in self.recipe.pipelines.items() for views in (True, False)
        }
        self.detector: Optional[FaceDetector] = None  # opened when the first face is looked for

    def __call__(self,
                 inputs: Union[Source, Sequence[Source]],
                 return_datasamples: bool = False,
                 batch_size: int = 8,
                 **kwargs: Any) -> Any:
        """Predict sources.

        Args:
            inputs (str | Path | int | Sequence): Videos, images, folders of frames, URLs with
                ``://``, or indices of cameras.
            return_datasamples (bool): Give the ``ActionDataSample`` of each scored row instead.
            batch_size (int): Windows that are scored at once, of whatever face and source.
            kwargs: See :meth:`predict`.

        Returns:
            pd.DataFrame: The tables of all sources below each other, see
            :mod:`unilearn_mm.apis.tables`; a source that failed has one row with the status
            'failed', and the reason stands in the log.
        """
        results = []
        sources = self._inputs_to_list(inputs)
        for result in self._shown(self.predict(sources, batch_size, **kwargs), len(sources)):
            if result.report.status == FAILED:
                MMLogger.get_current_instance().error(result.report.reason)
            results.append(result)
        if return_datasamples:
            return [sample for result in results for sample in result.samples]
        return pd.concat([result.table for result in results], ignore_index=True)

    def predict(self,
                inputs: Sequence[Source],
                batch_size: int = 8,
                features: bool = False,
                abstain_below: float = 0.,
                **cutting: Any) -> Iterator[SourceResult]:
        """Predict sources one after the other; a batch may hold windows of several.

        Args:
            inputs (Sequence): As in :meth:`__call__`.
            batch_size (int): Windows that are scored at once.
            features (bool): Keep the feature before the classifier.
            abstain_below (float): A row whose confidence is lower has no label.
            cutting: Of :meth:`preprocess`:
            mode (str): 'timeline': windows of the length that the model was trained on, one view
                each. 'clip': one row for a source, all views of the recipe's test. 'auto': 'clip'
                for images and where ``faces='none'``, else 'timeline'.
            faces (str): 'all', 'largest' (one track of each source), or 'none' (the frames are
                face crops already).
            hop (float): Seconds from the start of one window to the start of the next.
            smallest_face (float): Shorter side in pixels of the smallest face that is scored.
            keep_log (bool): Keep what the pictures need.
            max_seconds (float, optional): End a stream or camera after this time.
            sound_alone (bool): Score stretches without a face by their sound, with models that
                hear (trained with ``modality_dropout``, or they have never heard alone).

        Yields:
            SourceResult: In the order of ``inputs``. What cannot be read is no error but a report.

        Raises:
            ValueError: If an argument is unknown or out of range.
        """
        rows: List[tuple] = []
        for batch in self.preprocess(inputs, batch_size, **cutting):
            scored = iter(self.forward(batch, features))
            for item in batch:
                if item.ends is not None:
                    yield self._result(item.ends, rows, abstain_below)
                    rows = []
                    continue
                sample, vector = next(scored) if item.packed is not None else (None, None)
                rows.append((item.media, item.window, sample, vector))

    def preprocess(self,
                   inputs: Sequence[Source],
                   batch_size: int = 8,
                   mode: str = 'auto',
                   faces: str = 'all',
                   hop: float = 1.,
                   smallest_face: float = 24.,
                   keep_log: bool = False,
                   max_seconds: Optional[float] = None,
                   sound_alone: bool = False) -> Iterator[List[_Item]]:
        """Cut the sources into windows and these into batches; see :meth:`predict`."""
        for name, value, known in (('mode', mode, MODES), ('faces', faces, FACES)):
            if value not in known:
                raise ValueError(f'{name} must be one of {known}, found {value!r}')
        if not hop > 0 or batch_size < 1:
            raise ValueError(f'hop must be positive seconds and batch_size at least 1, found {hop} '
                             f'and {batch_size}')
        if sound_alone and not any(one.with_sound for one in self.recipe.pipelines.values()):
            raise ValueError(f'sound_alone: {self.model_name} does not hear')
        pending: List[_Item] = []
        for source in inputs:
            for item in self._items(source, mode, faces, hop, smallest_face, keep_log,
                                    max_seconds, sound_alone):
                waiting = [other for other in pending if other.packed is not None]
                if item.packed is not None and waiting and (
                        len(waiting) == batch_size or waiting[0].media != item.media):
                    yield pending
                    pending = []
                pending.append(item)
            if not any(item.packed is not None for item in pending):
                yield pending  # nothing waits for the model
                pending = []
        if pending:
            yield pending

    def description(self) -> dict:
        """What a prediction was made with, for whoever makes it again; JSON."""
        setting, detector = self.faces, self.detector
        return dict(
            caution=self.recipe.caution,
            tasks={media: part.task for media, part in self.recipe.pipelines.items()},
            fps=self.fps, frames=self.recipe.frames,
            faces=dict(record=setting.record.to_dict(), search=setting.search.to_dict(),
                       tracking=setting.tracking.to_dict(), rate=setting.rate,
                       detector=dict(name=setting.detector,
                                     sha256=detector.sha256 if detector else None),
                       sources=setting.sources),
            temperatures=self.temperatures, device=str(self.device))

    def prepare_detector(self) -> FaceDetector:
        """Open the face detector now, and not only when the first face is looked for.

        Raises:
            ImportError, ValueError, OSError: If it cannot be opened.
            PredictionError: If it is not the one that the checkpoint's training data were cut with.
        """
        if self.detector is None:
            self.detector = open_detector(self.faces.detector, self.faces.detector_weights)
            expected = self.faces.detector_sha256
            if expected and expected != self.detector.sha256:
                raise PredictionError(
                    f'the faces of the training data were found by {self.faces.detector} with '
                    f'the weights {expected[:16]}..., found here {self.detector.sha256[:16]}...; '
                    'name their file with --detector-weights')
        return self.detector

    @torch.no_grad()
    def forward(self, batch: List[_Item], features: bool = False) -> List[Tuple[Any, Any]]:
        """Score a batch.

        Returns:
            list: For each item that is scored, its ``ActionDataSample`` with ``pred_score`` (the
            mean over checkpoints), and its feature (C,), or None.
        """
        packed = [item.packed for item in batch if item.packed is not None]
        if not packed:
            return []
        context = (torch.autocast(self.device.type, self.dtype) if self.dtype else nullcontext())
        found: List[torch.Tensor] = []
        handle = self.model.cls_head.register_forward_pre_hook(
            lambda head, args: found.append(args[0].float())) if features else None
        try:
            with context:
                samples = self.model.test_step(self.collate_fn(packed))
                others = [model.test_step(self.collate_fn(packed)) for model in self.others]
        finally:
            if handle is not None:
                handle.remove()
        for place, sample in enumerate(samples):
            if others:
                scores = [sample.pred_score, *(other[place].pred_score for other in others)]
                sample.set_pred_score(torch.stack(scores).mean(0))
                sample.set_pred_label(sample.pred_score.argmax(-1, keepdim=True))
        vectors = [None] * len(samples)
        if features:  # the views of a sample lie beside each other
            vectors = list(found[0].unflatten(0, (len(samples), -1)).mean(1).cpu().numpy())
        return list(zip(samples, vectors))

    def visualize(self, inputs: list, preds: Any, show: bool = False, **kwargs: Any) -> list:
        """Nothing: pictures are made of tables, see :mod:`unilearn_mm.apis.outputs`."""
        return []

    def postprocess(self, preds: List[dict], visualization: Sequence = (),
                    return_datasample: bool = False, abstain_below: float = 0.) -> pd.DataFrame:
        """Rows as a table, without the labels of unsure ones; see :meth:`predict`."""
        for row in preds:
            if row['status'] in (OK, SOUND_ALONE) and row['confidence'] < abstain_below:
                row.update(status=NOT_CONFIDENT, label='')
        classes = dict.fromkeys(name for pipeline in self.recipe.pipelines.values()
                                for name in pipeline.classes)
        with_sound = any(pipeline.with_sound for pipeline in self.recipe.pipelines.values())
        return prediction_table(preds, list(classes), with_sound)

    def _init_model(self, cfg: Config, weights: str, device: Any = 'cpu') -> nn.Module:
        """A model of the recipe with all its weights; see :class:`BaseInferencer`."""
        model = MODELS.build(cfg.model)
        self.meta = load_whole(model, str(weights), self.model_name)
        if self.calibrated and temperature_file(weights).is_file():
            self.temperatures = read_temperatures(weights)
            divide_logits(model.cls_head, self.temperatures)
        model.cfg = cfg
        return model.to(device).eval()

    def _init_pipeline(self, cfg: Config) -> None:
        """There are several, see ``self.pipelines``."""

    def _init_visualizer(self, cfg: Config) -> None:
        """None is needed."""

    def _inputs_to_list(self, inputs: Union[Source, Sequence[Source]]) -> List[Source]:
        """A folder is a source of its own (a clip), not a list of files."""
        if isinstance(inputs, (str, Path, int)):
            return [inputs]
        return list(inputs)

    def _shown(self, results: Iterator[SourceResult], total: int) -> Iterator[SourceResult]:
        from tqdm import tqdm
        return iter(tqdm(results, total=total, unit='file', disable=not self.show_progress))

    def _items(self, source: Source, mode: str, faces: str, hop: float, smallest_face: float,
               keep_log: bool, max_seconds: Optional[float],
               sound_alone: bool) -> Iterator[_Item]:
        """Windows of one source, packed, and then its end."""
        report, log, chosen = SourceReport(str(source)), FaceLog() if keep_log else None, None
        begin = time.perf_counter()
        is_image = str(source).lower().endswith(IMAGE_SUFFIXES) and '://' not in str(source)
        media = 'image' if is_image and 'image' in self.recipe.pipelines else 'video'
        if mode == 'auto':
            mode = 'clip' if is_image or faces == 'none' else 'timeline'
        try:
            if media not in self.recipe.pipelines:
                raise PredictionError(f'{source}: a clip, but the recipe tests only images')
            hears = self.recipe.pipelines[media].with_sound and not is_image
            sound = SoundSource(find_sound(source) if hears else None, sound_alone)
            if faces == 'none' and mode == 'clip':
                yield self._whole_source(source, media, report, sound)
            elif is_image:
                yield from self._faces_of_image(source, media, report, log, faces, smallest_face)
            elif mode == 'clip':
                yield from self._whole_track(source, report, log, smallest_face, sound)
            else:
                with open_frames(source, rate=self.fps) as frames:
                    stream = self._face_stream(frames, faces, max_seconds)
                    rule = WindowRule(self.recipe.frames, max(1, round(hop * self.fps)))
                    for window in face_windows(stream, rule, 1 / self.fps, smallest_face, log):
                        yield from self._packed('video', window, False, sound)
                    chosen = self._close(report, frames, stream, faces)
        except (MediaReadError, PredictionError) as error:
            report.status, report.reason = FAILED, str(error)
            if str(source).startswith('http'):
                report.reason += ('. If a player shows it, the server gives no byte ranges and '
                                  'the index of the file is at its end: download it first')
        report.seconds = time.perf_counter() - begin
        yield _Item(media, None, None, (report, log, chosen))

    def _face_stream(self, frames: Iterable[Frame], faces: str,
                     max_seconds: Optional[float]) -> Any:
        limited = _until(frames, max_seconds) if max_seconds else frames
        if faces == 'none':
            return _CroppedStream(limited)
        return FaceStream(limited, self.prepare_detector(), self.faces.record,
                          self.faces.tracking, self.faces.search)

    def _close(self, report: SourceReport, frames: FrameStream, stream: Any,
               faces: str) -> Optional[int]:
        """Complete a report; the track that alone is wanted, or None."""
        summary = stream.summary
        kept = [track for track in summary.tracks if not track.dropped]
        report.duration, report.problems = frames.duration, frames.problems
        report.interval = frames.interval
        report.frames, report.frames_with_face = summary.frames, summary.frames_with_face
        report.faces, report.cuts = len(kept), list(summary.cuts)
        if not kept:
            report.status, report.reason = NO_FACE, _no_face(report)
        if faces == 'largest' and kept:
            return largest_track(summary.tracks).track
        return None

    def _whole_source(self, source: Source, media: str, report: SourceReport,
                      sound: SoundSource) -> _Item:
        """A source that is a face clip or crop, read by the recipe's own pipeline."""
        location = locate_clip(str(source))
        if location is None:
            raise MediaReadError(f'{source}: does not exist')
        packed = self._pack(media, dict(location), True, sound, (0., np.inf))
        inputs = packed['inputs']
        views, _, frames = (inputs['imgs'] if isinstance(inputs, dict) else inputs).shape[:3]
        report.frames = report.frames_with_face = views * frames
        report.faces = 1
        if media == 'video' and not str(location['path']).endswith(PACKED_SUFFIX):
            with open_frames(location['path'], images_per_second=self.fps) as opened:
                report.duration = opened.duration
        end = np.nan if report.duration is None else report.duration
        window = FaceWindow(0, 0., end, report.frames, None, np.full(4, np.nan), np.nan, OK)
        return _Item(media, window, packed)

    def _faces_of_image(self, source: Source, media: str, report: SourceReport,
                        log: Optional[FaceLog], faces: str,
                        smallest_face: float) -> Iterator[_Item]:
        with open_frames(source) as frames:
            (frame, ) = frames
        found = still_faces(frame.image, self.prepare_detector(), self.faces.record,
                            self.faces.search)
        if faces == 'largest':
            found = found[:1]
        report.frames, report.faces = 1, len(found)
        report.frames_with_face = int(bool(found))
        if not found:
            report.status, report.reason = NO_FACE, _no_face(report)
        stream = [FrameFaces(frame, tuple(found), False)]
        for window in face_windows(stream, WindowRule(1, 1), 0., smallest_face, log):
            yield from self._packed(media, window, True, SoundSource(None, False))

    def _whole_track(self, source: Source, report: SourceReport, log: Optional[FaceLog],
                     smallest_face: float, sound: SoundSource) -> Iterator[_Item]:
        """The largest track as one clip, or why there is none.

        Its frames are those of the clips of the training data: at the rate at which these were
        cut out, where the checkpoint says that (no rate: every frame).
        """
        rate = self.faces.rate if self.faces.is_recorded else self.fps
        with open_frames(source, rate=rate) as frames:
            stream = self._face_stream(_bounded(frames, str(source)), 'largest', None)
            windows = list(face_windows(stream, WindowRule(MAX_CLIP_FRAMES, 1), frames.interval,
                                        smallest_face, log, min_share=0.))
            chosen = self._close(report, frames, stream, 'largest')
        for window in windows:
            if window.face == (-1 if chosen is None else chosen):
                yield from self._packed('video', window, True, sound)

    def _packed(self, media: str, window: FaceWindow, views: bool,
                sound: SoundSource) -> Iterator[_Item]:
        """Crops through the recipe's pipeline; what is not scored goes on without."""
        if window.crops is not None:
            sample = dict(array=window.crops, total_frames=len(window.crops))
            packed = self._pack(media, sample, views, sound, (window.start, window.end))
            yield _Item(media, window._replace(crops=None), packed)
        elif window.status == NO_FACE and sound.alone and sound.path is not None:
            for start, end in parts(window.start, window.end,
                                    self.recipe.frames / self.fps):
                part = window._replace(start=start, end=end)
                heard = pack_sound_alone(self.pipelines[media, views], self._sample(media),
                                         sound.path, (start, end))
                yield _Item(media, part if heard is None else part._replace(status=SOUND_ALONE),
                            heard)
        else:
            yield _Item(media, window, None)

    def _pack(self, media: str, sample: dict, views: bool, sound: SoundSource,
              span: Tuple[float, float]) -> dict:
        return pack_with_sound(self.pipelines[media, views], {**sample, **self._sample(media)},
                               sound.path, span)

    def _sample(self, media: str) -> dict:
        """What all samples of a prediction have."""
        return dict(media=media, task=self.recipe.pipelines[media].task, source='prediction',
                    start_index=0, modality='RGB')

    def _result(self, ends: Tuple[SourceReport, Optional[FaceLog], Optional[int]],
                rows: List[tuple], abstain_below: float) -> SourceResult:
        report, log, chosen = ends
        made: List[dict] = []
        samples: List[Any] = []
        vectors: List[Any] = []
        for media, window, sample, vector in rows:
            unwanted = chosen is not None and window.face not in (chosen, -1)
            if report.status == FAILED or unwanted:
                continue
            made.append(self._row(report.input, media, window, sample))
            if sample is not None:
                samples.append(sample)
                vectors.append(vector)
        if report.status == FAILED:
            made = [dict(input=report.input, face=-1, frames=0, task='', label='', status=FAILED)]
        table = self.postprocess(made, abstain_below=abstain_below)
        features = np.stack(vectors) if vectors and vectors[0] is not None else None
        return SourceResult(table, report, log, samples, features)

    def _row(self, name: str, media: str, window: FaceWindow, sample: Any) -> Dict[str, Any]:
        pipeline = self.recipe.pipelines[media]
        row = dict(input=name, face=window.face, start_s=window.start, end_s=window.end,
                   frames=window.frames, task=pipeline.task, label='',
                   detector_score=window.detector_score, status=window.status,
                   **dict(zip(('x1', 'y1', 'x2', 'y2'), map(float, window.box))))
        if sample is not None:
            scores = sample.pred_score.double().cpu().numpy()
            best = int(scores.argmax())
            row.update(label=pipeline.classes[best], confidence=float(scores[best]), **{
                f'{PROBABILITY_PREFIX}{cls}': float(score)
                for cls, score in zip(pipeline.classes, scores)})
            if pipeline.with_sound:
                row[SOUND] = sample.sound
        return row


class _CroppedStream:
    """Frames that are face crops, as a stream of one face that fills them."""

    def __init__(self, frames: Iterable[Frame]) -> None:
        self.frames = frames
        self.summary = StreamSummary()

    def __iter__(self) -> Iterator[FrameFaces]:
        summary, begin = self.summary, None
        for frame in self.frames:
            height, width = frame.image.shape[:2]
            box = np.array([0, 0, width - 1, height - 1], np.float32)
            face = TrackedFace(0, box, np.full((5, 2), np.nan, np.float32), np.nan, True,
                               frame.image)
            begin = frame.time if begin is None else begin
            summary.frames += 1
            yield FrameFaces(frame, (face, ), False)
        summary.frames_with_face = summary.frames
        if begin is not None:
            summary.tracks.append(TrackSummary(
                0, 0, summary.frames - 1, begin, frame.time, summary.frames, summary.frames,
                float(width * height), np.nan, ''))


def _resolve(model: Union[str, Path, Config], weights: Any,
             offline: bool) -> Tuple[Config, List[Path]]:
    """Config and checkpoints of what the user named."""
    named = [weights] if isinstance(weights, (str, Path)) else list(weights or ())
    if isinstance(model, Config):
        if not named:
            raise ValueError('a Config says nothing of weights; name a checkpoint')
        return model, [Path(path) for path in named]
    config, files = resolve_model(model, named, offline)
    return Config.fromfile(config), files


def _until(frames: Iterable[Frame], seconds: float) -> Iterator[Frame]:
    for frame in frames:
        if frame.time >= seconds:
            return
        yield frame


def _bounded(frames: Iterable[Frame], name: str) -> Iterator[Frame]:
    """At most so many that their crops fit into memory.

    Raises:
        PredictionError: If there are more.
    """
    for place, frame in enumerate(frames):
        if frame.time >= MAX_CLIP or place == MAX_CLIP_FRAMES:
            raise PredictionError(f'{name}: longer than the {MAX_CLIP:g} s or {MAX_CLIP_FRAMES} '
                                  'frames that are taken as one clip; score windows of it with '
                                  'mode timeline, or cut it')
        yield frame


def _no_face(report: SourceReport) -> str:
    return (f'no face in 0 of {report.frames} frames; lower --det-thr or --smallest-face, or look '
            'at what is found: tools/data/extract_faces.py --overlay')
