"""The command ``unilearn-mm``: expressions of faces in your own videos, the model zoo, and what the
repository has in ``tools/``, for those who installed the wheel."""

import argparse
import os
import sys
from pathlib import Path
from typing import List, NoReturn, Optional

from .apis.tables import SUFFIXES
from .apis.zoo import ZooError, find_recipe, recipes_folder


def main(words: Optional[List[str]] = None) -> int:
    """Run a command; 0 on success, 1 if an input failed, 2 if nothing could be done."""
    parser = argparse.ArgumentParser(prog='unilearn-mm', description=__doc__)
    commands = parser.add_subparsers(dest='command', required=True, metavar='COMMAND')
    _add_predict(commands)
    _add_models(commands)
    _add_scripts(commands)
    args = parser.parse_args(words)
    try:
        return args.run(args)
    except (ImportError, OSError, RuntimeError, ValueError, ZooError) as error:
        if args.debug:
            raise
        print(f'unilearn-mm {args.command}: {error}', file=sys.stderr)
        return 2


def _add_predict(commands) -> None:
    parser = commands.add_parser(
        'predict', help='expressions of the faces in videos, images and streams',
        description='Writes for each input a table (a row for each window of each face, or one '
        'for a clip) and a .json with everything that is needed to do it again. Run it again to '
        'go on after a stop: what is done is skipped. Exit code 1: some inputs failed, each with '
        'its reason.')
    parser.set_defaults(run=_predict)
    parser.add_argument('inputs', nargs='+', metavar='INPUT', help='video, image, folder, glob, '
                        'list (.txt, .csv), URL (http://, rtsp://), or number of a camera')
    parser.add_argument('-o', '--out', default='predictions', help='output folder (%(default)s)')
    model = parser.add_argument_group('model')
    model.add_argument('--model', default='unilearn_toy', help='config file, or a name that '
                       '`unilearn-mm models` lists (%(default)s)')
    model.add_argument('--weights', nargs='+', metavar='FILE', help='checkpoint; several are '
                       'averaged; by default those of the zoo')
    model.add_argument('--task', help='label space, where a recipe tests several')
    model.add_argument('--device', default='auto', help='auto, cpu, cuda, cuda:1, mps')
    model.add_argument('--dtype', default='fp32', choices=['fp32', 'bf16', 'fp16'])
    model.add_argument('--batch-size', type=int, default=8, help='windows scored at once')
    model.add_argument('--uncalibrated', action='store_true',
                       help='leave out the temperature that lies beside a checkpoint')
    model.add_argument('--offline', action='store_true', help='never download')
    what = parser.add_argument_group('what is scored')
    what.add_argument('--mode', default='auto', choices=['auto', 'clip', 'timeline'],
                      help='timeline: windows over time; clip: one result for an input; auto: '
                      'clip for images and with --faces none, else timeline')
    what.add_argument('--hop', type=float, default=1., metavar='SECONDS',
                      help='from one window to the next (%(default)s)')
    what.add_argument('--abstain-below', type=float, default=0., metavar='P',
                      help='no label where the confidence is lower')
    what.add_argument('--max-seconds', type=float, help='end a stream or camera after this time')
    what.add_argument('--sound-alone', action='store_true',
                      help='stretches without a face are scored by their sound, by a model that '
                      'hears')
    what.add_argument('--frames-are-clips', action='store_true',
                      help='a folder of images is one clip, not many images')
    what.add_argument('--labels', metavar='LIST', help='annotation list (sample_id,path,label); '
                      'the predictions are scored against it: --mode clip')
    faces = parser.add_argument_group('faces')
    faces.add_argument('--faces', default='all', choices=['all', 'largest', 'none'],
                       help='none: the inputs are face crops already')
    faces.add_argument('--crop', help='preset of the crops; this and the following are by default '
                       'as the checkpoint says of its training data')
    faces.add_argument('--detector', choices=['centerface', 'yunet'])
    faces.add_argument('--detector-weights', metavar='FILE', help='needed by yunet')
    faces.add_argument('--det-thr', type=float, help='least score of a detection')
    faces.add_argument('--smallest-face', type=float, help='shorter side of the smallest face '
                       'that is looked for: pixels, or a share of the longer side below 1')
    faces.add_argument('--smallest-scored', type=float, default=24., metavar='PIXELS',
                       help='smaller faces are followed, but not scored (%(default)s)')
    outputs = parser.add_argument_group('outputs')
    outputs.add_argument('--table', default='.csv', choices=SUFFIXES)
    outputs.add_argument('--timeline', action='store_true', help='classes over time as a picture')
    outputs.add_argument('--video', action='store_true', help='annotated video with its sound')
    outputs.add_argument('--srt', action='store_true', help='subtitles')
    outputs.add_argument('--vtt', action='store_true', help='subtitles for the web')
    outputs.add_argument('--elan', action='store_true', help='annotation document of ELAN')
    outputs.add_argument('--features', action='store_true',
                         help='the feature before the classifier, as .npy')
    outputs.add_argument('--no-faces-in-pictures', action='store_true',
                         help='crops are stored nowhere, not even small ones in the timeline')
    queue = parser.add_argument_group('queue')
    queue.add_argument('--workers', type=int, default=1, help='processes (%(default)s); with '
                       'tools/launch.sh or SLURM each rank takes its share')
    queue.add_argument('--time-limit', type=float, default=36000., metavar='SECONDS',
                       help='for one input, then it counts as failed (%(default)s)')
    queue.add_argument('--overwrite', action='store_true', help='do again what is done')
    parser.add_argument('--debug', action='store_true', help='full tracebacks')


def _predict(args: argparse.Namespace) -> int:
    from .apis.job import predict_job
    return predict_job(args)


def _add_models(commands) -> None:
    parser = commands.add_parser('models', help='the model zoo: what there is, and from where')
    parser.set_defaults(run=_models)
    parser.add_argument('name', nargs='?', help='one model in full')
    parser.add_argument('--markdown', action='store_true', help='the table of configs/README.md')
    parser.add_argument('--debug', action='store_true', help='full tracebacks')


def _models(args: argparse.Namespace) -> int:
    from .apis.zoo_table import describe, zoo_table
    print(describe(args.name) if args.name else zoo_table(args.markdown))
    return 0


def _add_scripts(commands) -> None:
    for name, what, rest in (
            ('train', 'train a recipe', '--work-dir DIR, --resume, --amp, --cfg-options ...'),
            ('test', 'score a checkpoint', 'CHECKPOINT, --work-dir DIR, --cfg-options ...')):
        parser = commands.add_parser(
            name, help=f'{what}, as tools/{name}.py does', usage=f'unilearn-mm {name} [--gpus N] '
            f'RECIPE [arguments of tools/{name}.py]')
        parser.set_defaults(run=_run_on_recipe, debug=False)
        parser.add_argument('--gpus', type=int, help='a process for each, as tools/dist_'
                            f'{name}.sh starts them')
        parser.add_argument('recipe', metavar='RECIPE',
                            help='name, such as unilearn_dfew, or a config file')
        parser.add_argument('rest', nargs=argparse.REMAINDER, metavar='...', help=rest)
    parser = commands.add_parser(
        'tool', help='any command of tools/; without a name they are listed',
        usage='unilearn-mm tool [SCRIPT [its arguments]]')
    parser.set_defaults(run=_run_tool, debug=False)
    parser.add_argument('script', nargs='?', metavar='SCRIPT',
                        help='path inside tools/, such as data/make_toy_faces.py')
    parser.add_argument('rest', nargs=argparse.REMAINDER, metavar='...', help='its arguments')


def _run_on_recipe(args: argparse.Namespace) -> NoReturn:
    script, words = f'{args.command}.py', [str(find_recipe(args.recipe)), *args.rest]
    if args.gpus is None:
        _become(script, words)
    _become('launch.sh', [str(args.gpus), str(_tool(script)), *words, '--launcher', 'pytorch'])


def _run_tool(args: argparse.Namespace) -> int:
    if args.script:
        _become(args.script, args.rest)
    for path in sorted(_tools().rglob('*.*')):
        runs = path.suffix == '.py' and "__name__ == '__main__'" in path.read_text('utf-8')
        if runs or path.suffix == '.sh':
            print(path.relative_to(_tools()))
    return 0


def _tools() -> Path:
    return recipes_folder().with_name('tools')


def _tool(script: str) -> Path:
    path = _tools() / script
    if not path.is_file():
        raise ValueError(f'{script}: no such file in {_tools()}; `unilearn-mm tool` lists them')
    return path


def _become(script: str, words: List[str]) -> NoReturn:
    """Replace this process by the script, so that signals and the exit code are the script's."""
    path = _tool(script)
    program = 'bash' if path.suffix == '.sh' else sys.executable
    os.execvpe(program, [program, str(path), *words], {**os.environ, 'PYTHON': sys.executable})


if __name__ == '__main__':
    sys.exit(main())
