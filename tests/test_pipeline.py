"""Planning: which nodes there are, what their hashes depend on, and what is refused."""

import pytest

from bmae_lightning.errors import BadInput
from bmae_lightning.pipeline import Pipeline, plan

STAGES = {
    "prepare": {"inputs": {}, "a": 1},
    "pretrain": {"inputs": {"corpus": "prepare"}, "steps": 10},
    "bm25": {"inputs": {"corpus": "prepare"}, "k1": 0.9},
    "retriever1": {"inputs": {"corpus": "prepare", "encoder": "pretrain", "ranking": "bm25"}, "lr": 1e-5},
    "evaluate": {"inputs": {"corpus": "prepare", "retriever": "retriever1"}, "depth": 10},
    "report": {"inputs": {}, "collects": ["pretrain", "bm25", "retriever1", "evaluate"]},
}
ALL = list(STAGES)


def make(tmp_path, stage=ALL, baseline=True, arm="retromae", **changes):
    config = {name: node | changes.get(name, {}) for name, node in STAGES.items()}
    return plan(config | {"stage": stage, "baseline": baseline, "output_dir": str(tmp_path)}, arm, {})


def test_two_arms_share_everything_but_what_follows_pretraining(tmp_path):
    nodes = make(tmp_path)
    assert list(nodes) == [
        "prepare", "pretrain@retromae", "bm25", "retriever1@none", "retriever1@retromae",
        "evaluate@none", "evaluate@retromae", "report",
    ]  # fmt: skip
    assert nodes["retriever1@none"].inputs["encoder"] is None
    assert nodes["retriever1@retromae"].inputs["encoder"] == "pretrain@retromae"


def test_only_stages_after_a_change_get_another_hash(tmp_path):
    before, after = make(tmp_path), make(tmp_path, retriever1={"lr": 3e-5})
    changed = {key for key in before if before[key].hash != after[key].hash}
    assert changed == {"retriever1@none", "retriever1@retromae", "evaluate@none", "evaluate@retromae", "report"}
    after = make(tmp_path, pretrain={"steps": 20})
    changed = {key for key in before if before[key].hash != after[key].hash}
    assert changed == {"pretrain@retromae", "retriever1@retromae", "evaluate@retromae", "report"}


def test_no_baseline_and_the_arm_without_pretraining(tmp_path):
    assert not any(key.endswith("@none") for key in make(tmp_path, baseline=False))
    assert not any(key.startswith("pretrain") for key in make(tmp_path, arm="none"))


def test_a_part_of_the_stages(tmp_path):
    assert list(make(tmp_path, stage=["bm25"])) == ["prepare", "bm25"]
    assert list(make(tmp_path, stage="prepare")) == ["prepare"]
    assert "evaluate@none" in make(tmp_path, stage=["report"])


def test_an_input_that_is_neither_done_nor_selected_is_named(tmp_path):
    nodes = make(tmp_path, stage=["bm25"])
    with pytest.raises(BadInput, match=r"needs prepare, which is not done .*add prepare to stage"):
        Pipeline(nodes, ["bm25"], "x", tmp_path, {}, ["train"]).run()


@pytest.mark.parametrize(
    ("stage", "message"),
    [(["pretrian"], "did you mean 'pretrain'"), ([], "stage is empty")],
)
def test_unknown_stages(tmp_path, stage, message):
    with pytest.raises(BadInput, match=message):
        make(tmp_path, stage=stage)


def test_circles_and_unknown_inputs(tmp_path):
    with pytest.raises(BadInput, match="in a circle"):
        make(tmp_path, prepare={"inputs": {"x": "bm25"}})
    with pytest.raises(BadInput, match="unknown stage 'prepar'; did you mean 'prepare'"):
        make(tmp_path, bm25={"inputs": {"corpus": "prepar"}})
