"""What stands beside an annotation list: ``NAME.manifest.json``, written by the tools that made the
list."""

import json
import os.path as osp
from typing import Optional

from .annotations import AnnotationError

FACE_CROPS = 'face_crops'


def manifest_path(ann_file: str) -> str:
    """Where the manifest of an annotation list is, if it has one."""
    return f'{osp.splitext(ann_file)[0]}.manifest.json'


def face_crops(ann_file: str) -> Optional[dict]:
    """How the faces of a list were cut out of the videos (``tools/data/extract_faces.py``).

    Data sets hand this record on in their metainfo, which MMEngine keeps in every checkpoint as
    ``meta['dataset_meta']``, so that faces can be cut out in the same way for a prediction.

    Args:
        ann_file (str): Annotation list.

    Returns:
        dict, optional: The entry 'face_crops' of the manifest; None if there is no manifest, or
        it says nothing of faces.

    Raises:
        AnnotationError: If the manifest cannot be read.
    """
    path = manifest_path(ann_file)
    if not osp.isfile(path):
        return None
    try:
        with open(path, encoding='utf-8') as file:
            record = json.load(file).get(FACE_CROPS)
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise AnnotationError(f'{path}: not a manifest ({error}); make it again with the tool that '
                              'wrote the list, or move it away') from error
    if not isinstance(record, (dict, type(None))):
        raise AnnotationError(f'{path}: {FACE_CROPS!r} is {record!r:.80}, expected an object; make '
                              'the manifest again with tools/data/extract_faces.py')
    return record


def copy_face_crops(ann_file: str, part: str) -> None:
    """Write a manifest for a part of a list, if that of the list says how the faces were cut out.

    Args:
        ann_file (str): Annotation list.
        part (str): A list of some of its rows.

    Raises:
        AnnotationError: If the manifest of the list cannot be read.
    """
    record = face_crops(ann_file)
    if record is not None:
        with open(manifest_path(part), 'w', encoding='utf-8') as file:
            json.dump({FACE_CROPS: record}, file, indent=2)
