"""Crops are stored as the data sets read them, without loss where that is promised."""

import numpy as np
import pytest

from unilearn_mm.datasets.readers import ImageFilesReader, PackedReader
from unilearn_mm.faces.clip_files import open_clip_writer
from unilearn_mm.media import list_frames


def smooth_crops(count):
    y, x = np.mgrid[:32, :32]
    return [np.stack([x * 8, y * 8, np.full_like(x, place * 2)], -1).astype(np.uint8)
            for place in range(count)]


@pytest.mark.parametrize('file_format', ['jpg', 'png', 'npy'])
def test_what_is_written_is_what_is_read(tmp_path, file_format):
    crops = smooth_crops(101)
    writer = open_clip_writer(tmp_path / 'clip.mp4', file_format)
    for crop in crops:
        writer.add(crop)
    writer.close()
    if file_format == 'npy':
        path = tmp_path / 'clip.mp4.npy'
        reader = PackedReader(str(path))
        np.save(tmp_path / 'whole.npy', np.stack(crops))
        assert path.read_bytes() == (tmp_path / 'whole.npy').read_bytes()
        found_bytes = path.stat().st_size
    else:
        paths = list_frames(str(tmp_path / 'clip.mp4'))
        reader = ImageFilesReader(paths)
        found_bytes = sum((tmp_path / path).stat().st_size for path in paths)
    assert (writer.num_frames, writer.num_bytes) == (101, found_bytes)
    read = np.array(reader.read(range(101))).astype(int)
    assert np.abs(read - crops).max() <= (12 if file_format == 'jpg' else 0)


def test_a_clip_that_is_there_is_not_overwritten(tmp_path):
    for file_format in ('png', 'npy'):
        open_clip_writer(tmp_path / 'clip', file_format)
        with pytest.raises(FileExistsError):
            open_clip_writer(tmp_path / 'clip', file_format)
