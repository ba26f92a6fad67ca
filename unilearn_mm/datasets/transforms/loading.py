"""Open and decode a clip: a video file, a folder of frames, a packed clip, frames in memory, or an
image (a one-frame clip).

Both transforms serve all of them, so that stock MMAction2 samplers and augmentations can stand
between and after them: ``OpenClip -> SampleFrames -> DecodeClip -> ...``.
"""

import numpy as np
from mmaction.registry import TRANSFORMS
from mmcv.transforms import BaseTransform

from ...media import IMAGE_SUFFIXES, MediaReadError, list_frames
from ..readers import PACKED_SUFFIX, ArrayReader, ClipReader, ImageFilesReader, PackedReader
from ..video_reader import VideoReader


@TRANSFORMS.register_module()
class OpenClip(BaseTransform):
    """Open a clip and tell its length.

    Required keys: one of ``array`` (frames in memory: (L, H, W, 3) uint8 RGB or a list of
    (H, W, 3)), ``frame_dir`` (a folder of frames) and ``filename``; the first of them counts.
    Added keys: ``clip_reader``, ``total_frames`` (1 for an image), and where they are missing
    ``media`` ('image' for the name of an image file and for one frame in memory, else 'video')
    and ``start_index`` (0; the number that transforms give to the first frame).

    Args:
        frame_order (str): Order of the files in a frame folder, 'natural' or 'lexicographic'.

    Raises:
        ValueError: If the order is unknown.
        KeyError: If a sample does not say where its frames are.
        MediaReadError: If the file or folder cannot be read, or there are no frames.
    """

    def __init__(self, frame_order: str = 'natural') -> None:
        if frame_order not in ('natural', 'lexicographic'):
            raise ValueError("frame_order must be 'natural' or 'lexicographic', found "
                             f'{frame_order!r}')
        self.frame_order = frame_order

    def transform(self, results: dict) -> dict:
        """Add the reader to the sample dict."""
        reader = self._reader(results)
        if len(reader) == 0:
            raise MediaReadError(f'{name_of(results)}: the clip has no frames')
        results['clip_reader'] = reader
        results['total_frames'] = len(reader)
        results.setdefault('start_index', 0)
        results.setdefault('media', _media_of(results))
        return results

    def _reader(self, results: dict) -> ClipReader:
        if 'array' in results:
            return ArrayReader(results['array'])
        if 'frame_dir' in results:
            return ImageFilesReader(list_frames(results['frame_dir'], self.frame_order))
        if 'filename' not in results:
            raise KeyError("where are the frames? expected 'array', 'frame_dir' or 'filename' in "
                           f'a sample, found {sorted(results)}')
        if results.get('media', _media_of(results)) == 'image':
            return ImageFilesReader([results['filename']])
        if results['filename'].endswith(PACKED_SUFFIX):
            return PackedReader(results['filename'])
        return VideoReader(results['filename'])


@TRANSFORMS.register_module()
class DecodeClip(BaseTransform):
    """Decode the sampled frames; a frame that is asked for twice is decoded once.

    Required keys: ``clip_reader``, ``frame_inds`` (any shape, integers, from ``start_index`` on).
    Added keys: ``imgs`` (list of (H, W, 3) uint8 RGB), ``original_shape``, ``img_shape`` (H, W).

    Raises:
        MediaReadError: If a frame cannot be decoded, or the frames differ in size.
    """

    def transform(self, results: dict) -> dict:
        """Replace the reader by the frames."""
        places = np.ravel(results['frame_inds']) - results['start_index']
        wanted, inverse = np.unique(places, return_inverse=True)
        frames = results.pop('clip_reader').read(wanted.tolist())
        shapes = {frame.shape[:2] for frame in frames}
        if len(shapes) != 1:
            raise MediaReadError(f'{name_of(results)}: frames of different sizes {sorted(shapes)}')
        # a copy for each further use: some stock transforms write into the frames
        _, first_use = np.unique(inverse, return_index=True)
        first_use = set(first_use.tolist())
        results['imgs'] = [frames[i] if place in first_use else frames[i].copy()
                           for place, i in enumerate(inverse)]
        results['original_shape'] = results['img_shape'] = frames[0].shape[:2]
        return results


def name_of(results: dict) -> str:
    """What an error calls a sample: the path of its file or folder."""
    return next((results[key] for key in ('path', 'filename', 'frame_dir') if key in results),
                'frames in memory')


def _media_of(results: dict) -> str:
    if 'array' in results:
        return 'image' if len(results['array']) == 1 else 'video'
    return 'image' if results.get('filename', '').lower().endswith(IMAGE_SUFFIXES) else 'video'
