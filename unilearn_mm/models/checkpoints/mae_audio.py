"""Files of AudioMAE: a ViT whose image is a spectrogram.

Source of the names: facebookresearch/AudioMAE, models_mae.py and models_vit.py.
"""

from functools import partial

from torch import nn

from .family import Conversion, Family, State, Tasks
from .mae_image import is_plain_vit, rename_vit, resized


def keep(state: State, backbone: nn.Module, tasks: Tasks) -> Conversion:
    """For a ViT of images (frames, mel bins) of one channel that has MMPretrain's names; see
    :class:`Family`.

    Positions of a sound of another length are interpolated, as MMA-DFER does: AudioMAE's are
    those of 1024 frames, 64 x 8 patches. The number of mel bins must be the same.
    """
    done, (_, bins) = rename_vit(state), backbone.patch_resolution
    rows = (state['pos_embed'].shape[1] - 1) // bins if 'pos_embed' in state else 0
    return resized(done, (rows, bins), backbone)


SPECTROGRAM = Family('AudioMAE', partial(is_plain_vit, channels=1), keep)
