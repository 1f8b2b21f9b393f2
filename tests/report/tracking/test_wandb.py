"""Names of W&B runs: the stage and the group, short enough for whatever W&B derives from them."""

from pathlib import Path

from bmae_lightning.report.tracking.wandb import _run_id
from bmae_lightning.runtime.stage import Context


def run_id(group, directory="pretrain-0123456789ab"):
    return _run_id(Context("pretrain", "retromae", Path("store") / directory, {}, group, Path()))


def test_a_run_is_named_by_its_stage_and_group():
    assert run_id("retromae") == "pretrain-0123456789ab-retromae"
    assert run_id("experiment=retromae,dupmae lr=1e-4") == "pretrain-0123456789ab-experiment-retromae-dupmae-lr-1e-4"


def test_long_names_are_cut_and_stay_apart():
    groups = [f"experiment=retromae,dupmae,simlm,master,cdmae corpus=beir pretrain.steps={i}" for i in range(3)]
    names = {run_id(group) for group in groups}
    assert len(names) == 3
    assert all(len(name) == 64 for name in names)
    assert run_id(groups[0]) == run_id(groups[0])
    assert run_id(groups[0]) != run_id(groups[0], "pretrain-ba9876543210")
