"""A written video has the frames at their times, and the same bytes every time."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from real_media import real_media
from videos import bar_time, moving_bar

from unilearn_mm.faces.frames import open_frames
from unilearn_mm.faces.video_file import VideoFileWriter

COPY = '''
import sys
from pathlib import Path
from unilearn_mm.faces.frames import open_frames
from unilearn_mm.faces.video_file import VideoFileWriter
writer = VideoFileWriter(Path(sys.argv[2]))
with open_frames(sys.argv[1]) as frames:
    for frame in frames:
        writer.add(frame.image, frame.time)
writer.close()
'''


def test_frames_at_their_times(tmp_path):
    times = [0, 0.04, 0.05, 0.3, 0.9, 1.0]
    writer = VideoFileWriter(tmp_path / 'bar')
    for time in times:
        writer.add(moving_bar(time, height=33), time)
    writer.close()
    with open_frames(tmp_path / 'bar') as frames:
        read = list(frames)
    np.testing.assert_allclose([frame.time for frame in read], times, atol=1e-4)
    np.testing.assert_allclose([bar_time(frame.image) for frame in read], times, atol=0.01)
    assert read[0].image.shape == (32, 256, 3)


def test_the_same_frames_give_the_same_bytes(tmp_path):
    """Whatever lies in fresh memory: glibc fills it with another byte for each process."""
    digests = set()
    for byte in ('1', '85'):
        path = tmp_path / byte
        subprocess.run([sys.executable, '-c', COPY, str(real_media('no_face.mp4')), str(path)],
                       check=True, env={**os.environ, 'MALLOC_PERTURB_': byte,
                                        'PYTHONPATH': str(Path(__file__).parents[2])})
        digests.add(hashlib.sha256(path.read_bytes()).hexdigest())
    assert len(digests) == 1
