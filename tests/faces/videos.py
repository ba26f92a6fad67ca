"""Small real videos with any timestamps, and ways to spoil them."""

import struct
from fractions import Fraction
from pathlib import Path
from typing import Optional, Sequence

import av
import cv2
import numpy as np

TICKS = 12_800  # timestamps a second: times of 25 and of 60 frames a second are whole or nearly so
TURNS = {0: (1, 0, 0, 1), 90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}
MIRRORED = (-1, 0, 0, 1)


def write_clip(path: Path, images: Sequence[np.ndarray], times: Optional[Sequence[float]] = None,
               codec: str = 'libx264', pixels: str = 'yuv420p', container: Optional[str] = None,
               aspect: Fraction = Fraction(1),
               **options: str) -> None:
    """Encode (H, W, 3) uint8 RGB images, shown at the given times (25 a second by default)."""
    times = np.arange(len(images)) / 25 if times is None else times
    rate = round(1 / np.median(np.diff(times))) if len(times) > 1 else 25  # of the last one
    with av.open(str(path), 'w', format=container, options=options) as out:
        stream = out.add_stream(codec, rate=rate)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = pixels
        stream.codec_context.sample_aspect_ratio = aspect
        stream.time_base = stream.codec_context.time_base = Fraction(1, TICKS)
        if codec == 'libx264':
            stream.codec_context.gop_size = 12
            stream.options = dict(crf="12", preset="ultrafast")
        for image, moment in zip(images, times):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image))
            frame.pts, frame.time_base = round(moment * TICKS), Fraction(1, TICKS)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())


def write_sound(path: Path, codec: str = 'aac', cover: Optional[np.ndarray] = None) -> None:
    """A second of silence, with a cover picture or without one."""
    with av.open(str(path), 'w') as out:
        sound = out.add_stream(codec, rate=16_000)
        if cover is not None:
            picture = out.add_stream('mjpeg')
            picture.height, picture.width = cover.shape[:2]
            picture.pix_fmt = 'yuvj420p'
            picture.disposition = av.stream.Disposition.attached_pic
            out.mux(picture.encode(av.VideoFrame.from_ndarray(cover)))
            out.mux(picture.encode())
        layout, kind = 'mono', 's16p' if codec == 'libmp3lame' else 'fltp'
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 16_000), np.int16 if kind == 's16p' else np.float32), kind, layout)
        frame.rate = 16_000
        out.mux(sound.encode(frame))
        out.mux(sound.encode())


def turn(path: Path, matrix: Sequence[int]) -> None:
    """Write the 2 x 2 display matrix (a, b, c, d) into the header of an mp4."""
    data = bytearray(path.read_bytes())
    at = data.index(b'tkhd') + 44  # of the matrix in a box of version 0 (ISO 14496-12, 8.3.2)
    a, b, c, d = (value << 16 for value in matrix)
    data[at:at + 36] = struct.pack('>9i', a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


def flip_bits(path: Path, count: int, seed: int, start: float = 0.0) -> None:
    """Flip bits at random places behind the first ``start`` share of a file."""
    data = bytearray(path.read_bytes())
    random = np.random.default_rng(seed)
    for place in random.integers(int(start * len(data)), len(data), count):
        data[place] ^= 1 << random.integers(8)
    path.write_bytes(data)


def picture(seed: int = 0, height: int = 48, width: int = 80) -> np.ndarray:
    """A smooth picture without any symmetry, (H, W, 3) uint8."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def moving_bar(moment: float, height: int = 32, width: int = 256, speed: float = 100) -> np.ndarray:
    """A scene that tells its time: a soft bar that moves at ``speed`` pixels a second."""
    x = np.arange(width)
    row = 255 * np.exp(-((x - 20 - speed * moment) / 8) ** 2)
    return np.broadcast_to(row.astype(np.uint8)[None, :, None], (height, width, 3))


def bar_time(image: np.ndarray, speed: float = 100) -> float:
    """The time that a frame of :func:`moving_bar` shows."""
    row = image.mean((0, 2)) - 40  # above the noise of coding
    row = np.maximum(row, 0)
    return float(((row * np.arange(len(row))).sum() / row.sum() - 20) / speed)


def damage(kind: str, path: Path, whole: Path, seed: int) -> None:
    """Write a file that is damaged or unusual in one way.

    Args:
        kind (str): One of ``DAMAGES``.
        path (Path): The file.
        whole (Path): A good video.
        seed (int): Of what is random.
    """
    random = np.random.default_rng(seed)
    data = whole.read_bytes()
    with av.open(str(whole)) as container:
        images = [frame.to_ndarray(format='rgb24') for frame, _ in
                  zip(container.decode(video=0), range(12))]
    if kind == 'truncated':
        path.write_bytes(data[:int(random.uniform(0.02, 0.98) * len(data))])
    elif kind == 'bits flipped':
        path.write_bytes(data)
        flip_bits(path, int(random.integers(1, 200)), seed)
    elif kind == 'zeroed':
        start, end = sorted(random.integers(0, len(data), 2))
        path.write_bytes(data[:start] + bytes(int(end - start)) + data[end:])
    elif kind == 'sound only':
        write_sound(path)
    elif kind == 'cover picture':
        write_sound(path.with_suffix('.mp3'), 'libmp3lame', images[0])
        path.with_suffix('.mp3').rename(path)
    elif kind == 'zero frames':
        write_clip(path, images[:2])
        data = path.read_bytes()
        start, end = data.index(b'mdat') + 4, data.index(b'moov') - 4
        path.write_bytes(data[:start] + bytes(end - start) + data[end:])
    elif kind == '4K':
        write_clip(path, [cv2.resize(image, (3840, 2160)) for image in images[:2]])
    elif kind == '8 px':
        write_clip(path, [cv2.resize(image, (8, 8)) for image in images])
    elif kind == '16 bit':
        write_clip(path, images, codec='ffv1', pixels='gbrp16le', container='matroska')
    elif kind == 'text':
        path.write_text('no video at all\n' * int(random.integers(1, 5000)))
    elif kind == 'noise':
        path.write_bytes(random.bytes(int(random.integers(1, 100_000))))
    elif kind == 'empty':
        path.touch()
    elif kind == 'image':
        path.write_bytes(cv2.imencode('.png', images[0])[1])
    elif kind == 'play list':
        path.write_text(f'ffconcat version 1.0\nfile {whole.name}\n')
    else:
        raise ValueError(kind)


DAMAGES = ('truncated', 'bits flipped', 'zeroed', 'sound only', 'cover picture', 'zero frames',
           '4K', '8 px', '16 bit', 'text', 'noise', 'empty', 'image', 'play list')
