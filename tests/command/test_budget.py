"""A budget of operations for pre-training: what is refused. What it buys is in tests/whole/test_study.py."""

import pytest

from bmae_lightning.command.budget import spend
from bmae_lightning.runtime.errors import BadInput


@pytest.mark.parametrize("budget", [0, -1.0, "much", True, [1e9], float("nan")])
def test_what_is_no_number_above_0_is_refused(budget):
    with pytest.raises(BadInput, match="must be a number of operations above 0, as 3.7e16"):
        spend({"pretrain_flops": budget})


def test_without_one_steps_stay():
    config = {"pretrain_flops": None, "pretrain": {"steps": 7}}
    spend(config)
    assert config["pretrain"]["steps"] == 7
