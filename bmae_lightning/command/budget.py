"""Steps of pre-training for a budget of operations, so that methods can be compared at equal cost."""

from typing import Any

from bmae_lightning.command.plan import PRETRAINING, read_entry
from bmae_lightning.runtime.configuration import build
from bmae_lightning.runtime.cost import Sizes
from bmae_lightning.runtime.errors import BadInput


def spend(config: dict[str, Any]) -> None:
    """Replace the steps of pre-training by those that `pretrain_flops` buys, where it is given.

    A step is counted as `check=true` counts it for passages of full length, so that the number of steps does not depend
    on what is known of the collection.

    Raises:
        BadInput: it is no number above 0.
    """
    budget = config["pretrain_flops"]
    if budget is None:
        return
    if isinstance(budget, bool) or not isinstance(budget, int | float) or not budget > 0:
        raise BadInput(f"pretrain_flops={budget} must be a number of operations above 0, as 3.7e16")
    one = {"steps": 1, "epochs": None}
    step = build(read_entry(config[PRETRAINING]).options | one, PRETRAINING).cost(Sizes(), {}).flops
    config[PRETRAINING] |= one | {"steps": max(1, round(budget / step))}
