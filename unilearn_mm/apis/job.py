"""The command ``predict``: from its arguments to the outputs of all inputs."""

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import Any, Dict, List

import pandas as pd
from mmengine.config import Config

from ..files import replacing, sha256_of
from .inputs import expand_inputs
from .outputs import Heading, Wanted, sidecar_content, write_outputs
from .queue import (
    Outcome,
    Task,
    failed_outcome,
    own_share,
    rank_and_size,
    run_queue,
    sidecar_of,
    write_sidecar,
)
from .tables import FAILED, SCHEMA_VERSION
from .zoo import resolve_model


class JobError(RuntimeError):
    """No input can be predicted, for a reason that is none of the inputs'."""


_worker: Dict[str, Any] = {}  # of this process: the inferencer and how it is used


def predict_job(args: argparse.Namespace) -> int:
    """Predict all inputs of a command line.

    Args:
        args (argparse.Namespace): See :mod:`unilearn_mm.cli`.

    Returns:
        int: 0, or 1 if an input failed.

    Raises:
        InputError, ZooError, JobError, ValueError: If the job cannot begin.
    """
    inputs = own_share(expand_inputs(args.inputs, args.frames_are_clips))
    path, weights = resolve_model(args.model, args.weights, args.offline)
    config = Config.fromfile(path)
    model = dict(name=args.model, config=str(path),
                 config_sha256=hashlib.sha256(config.pretty_text.encode()).hexdigest(),
                 weights=[dict(file=Path(path).name, sha256=sha256_of(path)) for path in weights])
    settings = dict(schema=SCHEMA_VERSION, model=model, **_what_matters(args))
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    _, skipped = run_queue(
        inputs, out, _predict_some, settings, max(1, args.workers), args.time_limit,
        start_worker=_Start(args, str(path), [str(path) for path in weights], model, settings),
        together=args.batch_size if args.faces == 'none' else 1, overwrite=args.overwrite)
    summary = _summary(inputs, out)
    failed = summary[summary['status'] == FAILED]
    print(f'{len(summary)} inputs: {len(summary) - len(failed)} predicted ({skipped} of them '
          f'before), {len(failed)} failed; see {out}', file=sys.stderr)
    caution = config.get('prediction', {}).get('caution')
    if caution:
        print(f'{args.model}: {caution}', file=sys.stderr)
    if args.labels:
        from .scoring import score_against
        print(score_against(args.labels, inputs, out, args.table))
    return int(len(failed) > 0)


def _what_matters(args: argparse.Namespace) -> dict:
    """The options that change an output, for its fingerprint and for whoever does it again."""
    names = ('task', 'device', 'dtype', 'uncalibrated', 'mode', 'hop', 'abstain_below',
             'max_seconds', 'sound_alone', 'faces', 'crop', 'detector', 'detector_weights',
             'det_thr', 'smallest_face', 'smallest_scored', 'table', 'timeline', 'video', 'srt',
             'vtt', 'elan', 'features', 'no_faces_in_pictures')
    return {name: getattr(args, name) for name in names}


class _Start:
    """Called once in each worker process: loads the model."""

    def __init__(self, args: argparse.Namespace, config: str, weights: List[str], model: dict,
                 settings: dict) -> None:
        self.args, self.config, self.weights = args, config, weights
        self.model, self.settings = model, settings

    def __call__(self) -> None:
        try:
            self._load()
        except Exception as error:  # noqa: BLE001  # a process cannot say more than what it returns
            known = isinstance(error, (ImportError, OSError, RuntimeError, ValueError))
            _worker['broken'] = str(error) if known else f'{type(error).__name__}: {error}'

    def _load(self) -> None:
        args = self.args
        from .inferencer import ExpressionInferencer
        search = dict(smallest_face=args.smallest_face, threshold=args.det_thr)
        infer = ExpressionInferencer(
            self.config, self.weights, args.device, args.dtype, args.task, args.detector,
            args.detector_weights,
            {key: value for key, value in search.items() if value is not None}, args.crop,
            calibrated=not args.uncalibrated, offline=args.offline)
        if args.faces != 'none':
            infer.prepare_detector()
        _worker.update(
            infer=infer,
            options=dict(mode=args.mode, faces=args.faces, hop=args.hop,
                         smallest_face=args.smallest_scored, max_seconds=args.max_seconds,
                         abstain_below=args.abstain_below, features=args.features,
                         sound_alone=args.sound_alone, batch_size=args.batch_size),
            wanted=Wanted(args.table, args.timeline, args.video,
                          tuple(suffix for suffix, there in (('.srt', args.srt),
                                                             ('.vtt', args.vtt)) if there),
                          args.elan, args.features, not args.no_faces_in_pictures),
            model=self.model, settings=self.settings,
            heading=Heading(self.model['name'], infer.recipe.caution))


def _predict_some(tasks: List[Task]) -> List[Outcome]:
    """Predict and write, whatever an input does; runs in a worker."""
    if 'broken' in _worker:
        raise JobError(_worker['broken'])
    try:
        return _predict_together(tasks)
    # a defect of ours, or of a library, with one of them
    except Exception as error:  # noqa: BLE001
        if len(tasks) > 1:
            return [outcome for task in tasks for outcome in _predict_some([task])]
        reason = f'{type(error).__name__}: {error}'
        return [failed_outcome(tasks[0], f'{reason} (unexpected; please report it with the file)')]


def _predict_together(tasks: List[Task]) -> List[Outcome]:
    infer, wanted = _worker['infer'], _worker['wanted']
    results = infer.predict([task.source for task in tasks], keep_log=wanted.needs_log,
                            **_worker['options'])
    outcomes = []
    for task, result in zip(tasks, results):
        report = result.report
        files = ([] if report.status == FAILED else
                 write_outputs(result, task.stem, wanted, _worker['heading']))
        content = sidecar_content(result, files, dict(_worker['model'], **infer.description()),
                                  _worker['settings'])
        write_sidecar(task.stem, dict(content, fingerprint=task.fingerprint))
        outcomes.append(Outcome(str(task.source), report.status, report.reason, report.seconds))
    return outcomes


def _summary(inputs: List[Any], out: Path) -> pd.DataFrame:
    """State of the inputs of this rank, from their sidecars.

    It is also written as ``summary.csv``, or ``summary.rank<N>.csv`` where there are several ranks.
    """
    rows = []
    for item in inputs:
        content = json.loads(sidecar_of(out / item.stem).read_text(encoding='utf-8'))
        rows.append(dict(input=str(item.source), status=content['status'],
                         reason=content['reason'], outputs=item.stem))
    table = pd.DataFrame(rows, columns=['input', 'status', 'reason', 'outputs'])
    rank, size = rank_and_size()
    with replacing(out / ('summary.csv' if size == 1 else f'summary.rank{rank}.csv')) as aside:
        table.to_csv(aside, index=False)
    return table
