"""What all trained modules share: the total of weighted losses, and the optimiser with its schedule."""

import pytest
from support.regression import Regression


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
