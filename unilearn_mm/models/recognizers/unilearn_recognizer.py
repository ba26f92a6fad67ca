"""Recognizer3D that trains the experts' balance too."""

from typing import Dict

from mmaction.models.recognizers import Recognizer3D
from mmaction.registry import MODELS
from mmaction.utils import ForwardResults, OptSampleList, SampleList
from torch import Tensor

from ..backbones.vit_moae import naming_files


@MODELS.register_module()
class UniLearnRecognizer(Recognizer3D):
    """Stock Recognizer3D plus the balance loss of the backbone.

    The backbone must offer ``forward_tokens`` and ``pool``, as ``VisionTransformerMoAE`` does.
    Arguments are those of Recognizer3D.
    """

    def loss(self, inputs: Tensor, data_samples: SampleList, **kwargs) -> Dict[str, Tensor]:
        """Losses of a batch of one source.

        Args:
            inputs (Tensor): (N, 1, 3, T, H, W), normalised.
            data_samples (list[ActionDataSample]): N samples.

        Returns:
            dict: The head's losses, and ``loss_balance`` if the backbone has a balance loss.

        Raises:
            ValueError: If a sample has several views.
        """
        if inputs.shape[1] != 1:
            raise ValueError(f'training takes one view of a sample, found {inputs.shape[1]}; set '
                             'num_clips=1 in the training pipeline')
        tokens, aux = self.backbone.forward_tokens(inputs[:, 0])
        losses = self.cls_head.loss(self.backbone.pool(tokens), data_samples)
        if 'balance_loss' in aux:
            losses['loss_balance'] = aux['balance_loss']
        # of the last batch only, for RoutingHook: (blocks, E) and (blocks,)
        self.routing = {key: aux[key] for key in ('expert_load', 'dropped') if key in aux} or None
        return losses

    def forward(self,
                inputs: Tensor,
                data_samples: OptSampleList = None,
                mode: str = 'tensor',
                **kwargs) -> ForwardResults:
        """See ``BaseRecognizer.forward``; an input of wrong size is reported with its files."""
        with naming_files(data_samples):
            return super().forward(inputs, data_samples, mode, **kwargs)
