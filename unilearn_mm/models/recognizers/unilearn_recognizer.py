"""Recognizer3D for backbones that bring losses of their own."""

from typing import Dict, Optional

from mmaction.models.recognizers import Recognizer3D
from mmaction.registry import MODELS
from mmaction.utils import ForwardResults, OptSampleList, SampleList
from torch import Tensor

from ..backbones.vit_moae import naming_files


@MODELS.register_module()
class UniLearnRecognizer(Recognizer3D):
    """Stock Recognizer3D plus what the backbone has to add to the loss.

    Training and test take the same way: backbone, neck if there is one, head. The backbone is any
    of MMAction2's. One that also offers ``forward_with_aux(x) -> (features, aux)``, features as
    of ``forward``, adds the entries of ``aux`` (dict[str, Tensor]) whose names begin with 'loss'
    to the losses, as a neck does with those that it returns; ``VisionTransformerMoAE`` adds
    ``loss_balance``. Arguments are those of Recognizer3D.

    Attributes:
        routing (dict, optional): Of the last training batch, for RoutingHook: ``expert_load``
            (blocks, E) and ``dropped`` (blocks,); None if the backbone reports none.
    """

    routing: Optional[Dict[str, Tensor]] = None

    def loss(self, inputs: Tensor, data_samples: SampleList, **kwargs) -> Dict[str, Tensor]:
        """Losses of a batch of one source.

        Args:
            inputs (Tensor): (N, 1, 3, T, H, W), normalised.
            data_samples (list[ActionDataSample]): N samples.
            kwargs: Whatever the host passes on; not used.

        Returns:
            dict: The losses of head, backbone and neck.

        Raises:
            ValueError: If a sample has several views, or two parts name a loss alike.
        """
        if inputs.shape[1] != 1:
            raise ValueError(f'training takes one view of a sample, found {inputs.shape[1]}; set '
                             'num_clips=1 in the training pipeline')
        feats, head_kwargs = self.extract_feat(inputs, data_samples=data_samples)
        losses = self.cls_head.loss(feats, data_samples, **head_kwargs)
        return _merged(losses, head_kwargs['loss_aux'])

    def extract_feat(self,
                     inputs: Tensor,
                     stage: str = 'neck',
                     data_samples: OptSampleList = None,
                     test_mode: bool = False) -> tuple:
        """Features of a stage, and what goes on to the head: see ``Recognizer3D.extract_feat``.

        Args:
            inputs (Tensor): (N, views, 3, T, H, W), normalised.
            stage (str): 'backbone', 'neck' or 'head'.
            data_samples (list[ActionDataSample], optional): N samples, for the neck's loss.
            test_mode (bool): Whether no losses are wanted.

        Returns:
            tuple: Features of N * views clips, and a dict with ``loss_aux``, the losses of
            backbone and neck, if the stage is beyond the backbone and this is no test.
        """
        if test_mode or not hasattr(self.backbone, 'forward_with_aux'):
            return super().extract_feat(inputs, stage, data_samples, test_mode)
        feats, aux = self.backbone.forward_with_aux(inputs.flatten(0, 1))
        self.routing = {key: aux[key] for key in ('expert_load', 'dropped') if key in aux} or None
        if stage == 'backbone':
            return feats, {}
        losses = {name: value for name, value in aux.items() if name.startswith('loss')}
        if self.with_neck:
            feats, neck_losses = self.neck(feats, data_samples=data_samples)
            losses = _merged(losses, neck_losses)
        if stage == 'head':
            feats = self.cls_head(feats, loss_aux=losses)
        return feats, dict(loss_aux=losses)

    def forward(self,
                inputs: Tensor,
                data_samples: OptSampleList = None,
                mode: str = 'tensor',
                **kwargs) -> ForwardResults:
        """See ``BaseRecognizer.forward``; an input of wrong size is reported with its files."""
        with naming_files(data_samples):
            return super().forward(inputs, data_samples, mode, **kwargs)


def _merged(losses: Dict[str, Tensor], more: Dict[str, Tensor]) -> Dict[str, Tensor]:
    """Both; MMEngine's ``merge_dict`` would drop the first of two losses of the same name."""
    twice = sorted(set(losses) & set(more))
    if twice:
        raise ValueError(f'two parts of the model name a loss {twice}, of which one would be lost; '
                         'rename it in one of them')
    return {**losses, **more}
