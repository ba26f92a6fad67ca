"""What the hooks know of a batch."""

from typing import Any, List

from mmengine.structures import BaseDataElement


def samples_of(batch: Any) -> List[BaseDataElement]:
    """The data samples of a batch of MMAction2; none of a batch that is anything else."""
    samples = batch.get('data_samples') if isinstance(batch, dict) else None
    if not isinstance(samples, (list, tuple)):
        return []
    return [sample for sample in samples if isinstance(sample, BaseDataElement)]
