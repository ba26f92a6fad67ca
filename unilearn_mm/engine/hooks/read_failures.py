"""What could not be read during training: counted, named, bounded."""

import os.path as osp
from collections import Counter
from typing import Optional, Sequence

import pandas as pd
from mmaction.registry import HOOKS
from mmengine.dist import all_gather_object, is_main_process
from mmengine.hooks import Hook
from mmengine.hooks.hook import DATA_BATCH

from ...datasets.transforms.sound import NO_SOUND
from ..batches import samples_of

WITHOUT_SOUND = 'without sound'


class TooManyUnreadableError(RuntimeError):
    """More samples had to be replaced than a run may have."""


@HOOKS.register_module()
class ReadFailureHook(Hook):
    """Report what ``MixedMediaDataset`` could not read, and stop a run that lacks too much.

    At the end of an epoch with failures, ``read_failures.csv`` in the log directory of the run
    names every file with the reason and how often it was read again or replaced on any rank, and
    the log says how many samples were replaced. Samples that went on without sound (packed with
    the key ``sound`` of ``SoundFbank``) are named there too, also those of a test.

    Args:
        max_share (float): Greatest share of an epoch's samples that may be replaced.

    Raises:
        TooManyUnreadableError: As soon as one rank has replaced more than this share of the
            samples of its epoch.
    """

    priority = 'NORMAL'

    def __init__(self, max_share: float = 0.01) -> None:
        self.max_share = max_share
        self.failures: Counter = Counter()  # of the whole run: (path, reason, outcome)

    def before_train_epoch(self, runner) -> None:
        """Count the samples of the epoch anew."""
        self.steps = self.samples = self.replaced = 0
        self.reported = sum(self.failures.values())

    before_test_epoch = before_train_epoch

    def after_train_iter(self,
                         runner,
                         batch_idx: int,
                         data_batch: DATA_BATCH = None,
                         outputs: Optional[dict] = None) -> None:
        """Count the failures of a batch."""
        self.steps += 1
        samples = samples_of(data_batch)
        self.samples += len(samples)
        for sample in samples:
            failures = sample.get('read_failures', ())
            self.failures.update(failures)
            self._note_sound(sample)
            self.replaced += sum(outcome == 'replaced' for _, _, outcome in failures)
        expected = self.samples / self.steps * len(runner.train_dataloader)
        if self.replaced > self.max_share * expected:
            report = self._write(runner, self.failures)
            raise TooManyUnreadableError(
                f'{self.replaced} samples of this epoch could not be read and were replaced: more '
                f'than {self.max_share:.2%} of about {expected:.0f}. {report} names them; restore '
                'the files, take them off the annotation list, or raise max_share of '
                'ReadFailureHook')

    def after_train_epoch(self, runner) -> None:
        """Write the report of all ranks."""
        ranks = all_gather_object((self.failures, self.replaced, self.reported))
        failures: Counter = sum((rank[0] for rank in ranks), Counter())
        replaced = sum(rank[1] for rank in ranks)
        if sum(failures.values()) > sum(rank[2] for rank in ranks) and is_main_process():
            report = self._write(runner, failures)
            without = sum(outcome == WITHOUT_SOUND for _, _, outcome in failures)
            runner.logger.warning(
                f'{replaced} samples of this epoch could not be read and were replaced by others '
                f'of their source; {without} samples have no sound; see {report}')

    def after_test_iter(self,
                        runner,
                        batch_idx: int,
                        data_batch: DATA_BATCH = None,
                        outputs: Optional[Sequence] = None) -> None:
        """Note who has no sound."""
        for sample in samples_of(data_batch):
            self._note_sound(sample)

    def after_test_epoch(self, runner, metrics: Optional[dict] = None) -> None:
        """Write the report of all ranks."""
        self.after_train_epoch(runner)

    def _note_sound(self, sample) -> None:
        if sample.get('sound') == NO_SOUND:
            self.failures[sample.get('path'), 'no sound track, or no file', WITHOUT_SOUND] += 1

    @staticmethod
    def _write(runner, failures: Counter) -> str:
        path = osp.join(runner.log_dir, 'read_failures.csv')
        rows = [(*failure, times) for failure, times in sorted(failures.items())]
        pd.DataFrame(rows, columns=['path', 'reason', 'outcome', 'times']).to_csv(
            path, index=False)
        return path
