"""What a model computes beyond what the names and shapes of its weights say.

A ViT with 6 heads loads the weights of one with 12 heads without a complaint, and computes
nonsense. So the settings of the layers go into a checkpoint, and are compared with the model's.
"""

from typing import Any, Dict, List

from torch import Tensor, nn

# Attributes of torch's layers and of the layers and data preprocessors of MMAction2 and
# MMPretrain. What only training uses (dropout, momentum) is none.
SETTINGS = (
    'num_heads', 'scale', 'window_size', 'shift_size',  # attention
    'stride', 'padding', 'padding_mode', 'dilation', 'groups', 'output_padding',  # convolution
    'kernel_size', 'output_size', 'ceil_mode', 'count_include_pad',  # pooling
    'eps', 'num_groups',  # normalisation
    'approximate', 'negative_slope',  # activation
    'shift_div', 'num_segments',  # temporal shift
    'mean', 'std',  # of the pixels
)


def settings_of(model: nn.Module) -> Dict[str, Any]:
    """The settings of all layers of a model, as plain data.

    A class adds its own by naming attributes in a class attribute ``checkpoint_settings``.

    Args:
        model (nn.Module): A model.

    Returns:
        dict: ``<name of the layer>.<attribute>`` -> number, string, bool, None, or a list of
        them; ``<name of the layer>.activation`` -> name of its class.
    """
    found = {}
    for name, layer in model.named_modules():
        prefix = f'{name}.' if name else ''
        for attribute in (*SETTINGS, *getattr(layer, 'checkpoint_settings', ())):
            value = getattr(layer, attribute, nn.Module)  # the default is no setting
            if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
                value = value.flatten().tolist()
            if _is_plain(value):
                found[prefix + attribute] = list(value) if isinstance(value, tuple) else value
        if type(layer).__module__ == nn.ReLU.__module__:
            found[f'{prefix}activation'] = type(layer).__name__
    return found


def _is_plain(value: Any) -> bool:
    """Whether every reader of checkpoints takes it."""
    if isinstance(value, (tuple, list)):
        return all(map(_is_plain, value))
    return type(value) in (bool, int, float, str, type(None))


def differences(theirs: Dict[str, Any], ours: Dict[str, Any]) -> List[str]:
    """What is set in both, but not alike; a line for each.

    Args:
        theirs (dict): Settings of a checkpoint.
        ours (dict): Settings of the model.
    """
    return [f'{name}: checkpoint {theirs[name]}, model {value}'
            for name, value in ours.items() if name in theirs and theirs[name] != value]
