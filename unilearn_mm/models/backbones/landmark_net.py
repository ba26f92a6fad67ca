"""The frozen face-landmark net whose feature map guides S2D."""

from collections import OrderedDict
from typing import Any, Optional, Sequence

from mmaction.registry import MODELS
from mmengine.model import BaseModule
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor, nn

from ..checkpoints.family import shown, unwrap

WHERE_TO_GET = (
    "the 68-point MobileFaceNet of the official S2D repository (github.com/MSA-LMC/S2D), "
    "landmark/mobilefacenet_model_best.pth.tar. Name the file in the config: "
    "landmark_net=dict(type='MobileFaceNet', init_cfg=dict(type='Pretrained', checkpoint=FILE)). "
    'Its origin (github.com/cunjian/pytorch_face_landmark) states no licence, so that it comes '
    'with no package')
# of the whole net, what lies behind the feature map
UNUSED = ('conv_45.', 'conv_5.', 'conv_6_sep.', 'output_layer.')


class LandmarkWeightsError(RuntimeError):
    """The landmark net has no weights, or was given those of another net."""


@MODELS.register_module()
class MobileFaceNet(BaseModule):
    """MobileFaceNet (arXiv 1804.07573) up to ``conv_4``, frozen and always in evaluation mode.

    It has the weights of a net that was trained to find 68 landmarks (S2D, landmark/
    mobilefacenet.py; names of the tensors as in its file); S2D takes the feature map of stride 8
    from its middle.

    Args:
        channels (tuple[int, int]): Channels at stride 4 and before, and at stride 8.
        num_blocks (tuple[int, int]): Residual blocks at stride 4 and at stride 8.
        frozen (bool): Whether nothing is trained. False is for training such a net.
        init_cfg (dict, optional): ``dict(type='Pretrained', checkpoint=FILE)``, a file of the
            whole net; or initialisers of MMEngine.
    """

    stride = 8  # pixels of the input for one place of the feature map

    def __init__(self,
                 channels: Sequence[int] = (64, 128),
                 num_blocks: Sequence[int] = (4, 6),
                 frozen: bool = True,
                 init_cfg: Optional[dict] = None) -> None:
        super().__init__(init_cfg)
        narrow, wide = channels
        self.out_channels = wide
        self.frozen = frozen
        self.has_weights = False  # nobody would notice the features of a net without
        self.conv1 = conv_block(3, narrow, kernel=3, stride=2)
        self.conv2_dw = conv_block(narrow, narrow, kernel=3, groups=narrow)
        self.conv_23 = Bottleneck(narrow, 2 * narrow, narrow, stride=2)
        self.conv_3 = stack(narrow, 2 * narrow, num_blocks[0])
        self.conv_34 = Bottleneck(narrow, 2 * wide, wide, stride=2)
        self.conv_4 = stack(wide, 2 * wide, num_blocks[1])
        if frozen:
            self.requires_grad_(False)
            self.eval()

    def train(self, mode: bool = True) -> 'MobileFaceNet':
        """Stay in evaluation mode if frozen: the statistics of the normalisation are weights."""
        return super().train(mode and not self.frozen)

    def init_weights(self) -> None:
        """Load the weights, or run the initialisers of ``init_cfg``; without one, do nothing.

        Raises:
            FileNotFoundError: If the file is missing.
            LandmarkWeightsError: If it is of another net.
        """
        if not self.init_cfg:
            return
        if isinstance(self.init_cfg, dict) and self.init_cfg['type'] == 'Pretrained':
            self.load_file(self.init_cfg['checkpoint'])
            self._is_init = True
        else:
            super().init_weights()
            self.has_weights = True

    def load_file(self, path: str) -> None:
        """Load the weights of the whole net, of which the last layers are not used.

        Args:
            path (str): File with the names of the official one; it is read through MMEngine's
                loader, which refuses files that would run code.

        Raises:
            FileNotFoundError: If it is missing.
            LandmarkWeightsError: If it is of another net.
        """
        try:
            checkpoint = CheckpointLoader.load_checkpoint(path, map_location='cpu')
        except FileNotFoundError as error:
            raise FileNotFoundError(f'{path}: there is no such file; needed is {WHERE_TO_GET}'
                                    ) from error
        state = {key: value for key, value in unwrap(checkpoint).items()
                 if not key.startswith(UNUSED)}
        own = self.state_dict()
        missing = [key for key in own if key not in state]
        strange = [key for key in state if key not in own]
        wrong = [f'{key}: file {tuple(state[key].shape)}, net {tuple(value.shape)}'
                 for key, value in own.items() if key in state and state[key].shape != value.shape]
        if missing or strange or wrong:
            raise LandmarkWeightsError(
                f'{path}: not the weights of this landmark net. Missing are {shown(missing)}; not '
                f'known are {shown(strange)}; of other shape are {shown(wrong)}. Needed is '
                f'{WHERE_TO_GET}')
        self.load_state_dict(state)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args)
        if f'{prefix}conv1.conv.weight' in state_dict:
            self.has_weights = True

    def forward(self, x: Tensor) -> Tensor:
        """Feature map.

        Args:
            x (Tensor): (N, 3, H, W), H and W multiples of 8. S2D gives it 112 x 112 pixels,
                normalised as for the ViT (it was trained on BGR / 255).

        Returns:
            Tensor: (N, out_channels, H / 8, W / 8).

        Raises:
            LandmarkWeightsError: If no weights were loaded.
        """
        if not self.has_weights:
            raise LandmarkWeightsError(
                f'the landmark net has no weights: none in the checkpoint that was loaded, no file '
                f'in the config. Needed is {WHERE_TO_GET}')
        x = self.conv2_dw(self.conv1(x))
        return self.conv_4(self.conv_34(self.conv_3(self.conv_23(x))))


class Bottleneck(nn.Module):
    """1 x 1 convolution to more channels, 3 x 3 in each channel, 1 x 1 back; maybe a shortcut.

    Args:
        in_channels (int): Channels of the input.
        hidden_channels (int): Channels in between.
        out_channels (int): Channels of the output.
        stride (int): Of the middle convolution.
        shortcut (bool): Whether the input is added to the output.
    """

    def __init__(self, in_channels: int, hidden_channels: int, out_channels: int,
                 stride: int = 1, shortcut: bool = False) -> None:
        super().__init__()
        self.shortcut = shortcut
        self.conv = conv_block(in_channels, hidden_channels)
        self.conv_dw = conv_block(hidden_channels, hidden_channels, kernel=3, stride=stride,
                                  groups=hidden_channels)
        self.project = conv_block(hidden_channels, out_channels, activated=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H / stride, W / stride)."""
        out = self.project(self.conv_dw(self.conv(x)))
        return x + out if self.shortcut else out


def conv_block(in_channels: int, out_channels: int, kernel: int = 1, stride: int = 1,
               groups: int = 1, activated: bool = True) -> nn.Sequential:
    """Convolution, batch norm and PReLU under the names ``conv``, ``bn``, ``prelu``."""
    layers = OrderedDict(
        conv=nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups,
                       bias=False),
        bn=nn.BatchNorm2d(out_channels))
    if activated:
        layers['prelu'] = nn.PReLU(out_channels)
    return nn.Sequential(layers)


def stack(channels: int, hidden_channels: int, num_blocks: int) -> nn.Sequential:
    """Bottlenecks with shortcuts, under the name ``model``."""
    blocks = [Bottleneck(channels, hidden_channels, channels, shortcut=True)
              for _ in range(num_blocks)]
    return nn.Sequential(OrderedDict(model=nn.Sequential(*blocks)))
