"""Callbacks of steps act once for every optimiser step, in a continued run too."""

import pytest
from support.regression import At, train

from bmae_lightning.lit.step_callback import StepCallback


class Seen(StepCallback):
    def __init__(self):
        self.steps = []

    def after_step(self, trainer, module):
        assert trainer.global_step == self.step
        self.steps.append(self.step)


@pytest.mark.parametrize("accumulate", [1, 2, 4])
def test_once_per_step_however_many_micro_batches(tmp_path, accumulate):
    seen = Seen()
    train(tmp_path, callbacks=[seen], accumulate_grad_batches=accumulate)
    assert seen.steps == [1, 2, 3, 4, 5, 6]


def test_a_continued_run_counts_on(tmp_path):
    def stop():
        raise KeyError

    with pytest.raises(KeyError):
        train(tmp_path, callbacks=[At(5, stop)])
    seen = Seen()
    train(tmp_path, callbacks=[seen])
    assert seen.steps == [5, 6], "the newest checkpoint is that of step 4"
