"""What trained modules share, total and optimiser; callbacks act once for every step, in a continued run too."""

import pytest
from support.regression import At, Regression, train

from bmae_lightning.lit.module import StepCallback


def test_only_losses_count_and_each_by_its_weight():
    module = Regression()
    means = {"loss/square": 2.0, "loss/size": 4.0, "mask_rate/passage": 100.0}
    assert module.total(means) == pytest.approx(2.0 + 0.5 * 4.0)
    module.weights = {}
    assert module.total(means) == pytest.approx(6.0)
    assert module.total({}) == 0


def test_the_schedule_moves_with_every_step():
    made = Regression().configure_optimizers()
    optimiser, schedule = made["optimizer"], made["lr_scheduler"]["scheduler"]
    assert made["lr_scheduler"]["interval"] == "step"
    assert schedule.optimizer is optimiser
    assert {group["weight_decay"]: len(group["params"]) for group in optimiser.param_groups} == {0.01: 1, 0.0: 1}


def test_a_count_is_a_weight_on_the_device():
    count = Regression().count(3)
    assert (count.item(), count.dtype.is_floating_point, count.device.type) == (3.0, True, "cpu")


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
