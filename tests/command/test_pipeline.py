"""Planning: which nodes there are, what their hashes depend on, and what is refused."""

import pytest

from bmae_lightning.command.pipeline import Pipeline, plan
from bmae_lightning.runtime.errors import BadInput

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


WITH_MODELS = {
    "external": {"inputs": {"corpus": "prepare"}, "compare": [], "if_any": [], "depth": 5},
    "suite": {"inputs": {}, "collects": ["retriever1"], "alone": True, "if_any": [], "models": ["bm25"]},
}


def with_models(tmp_path, stage, compare=(), collections=(), extra=None):
    external = WITH_MODELS["external"] | {"compare": list(compare), "if_any": list(compare)}
    suite = WITH_MODELS["suite"] | {"if_any": list(collections)}
    report = STAGES["report"] | {"collects": [*STAGES["report"]["collects"], "external", "suite"]}
    config = STAGES | {"external": external, "suite": suite, "report": report}
    return plan(config | {"stage": stage, "baseline": True, "output_dir": str(tmp_path)}, "retromae", extra or {})


def test_models_from_elsewhere_are_arms_of_their_own(tmp_path):
    full = [*ALL[:-1], "external", "suite", "report"]
    assert list(with_models(tmp_path, full)) == list(make(tmp_path)), "without any nothing changes"
    nodes = with_models(tmp_path, full, compare=["/a/b", {"name": "org/c", "query_prefix": "query: "}])
    assert [key for key in nodes if key.startswith("external")] == ["external@a/b", "external@org/c"]
    assert nodes["external@org/c"].config["model"]["query_prefix"] == "query: "
    assert nodes["external@a/b"].inputs == {"corpus": "prepare"}
    assert {"external@a/b", "external@org/c"} <= nodes["report"].inputs.keys()
    again = with_models(tmp_path, full, ["/a/b"], extra={"external@a/b": "other content"})
    assert again["external@a/b"].hash != nodes["external@a/b"].hash
    assert again["retriever1@none"].hash == nodes["retriever1@none"].hash
    with pytest.raises(BadInput, match="stage=external: compare is empty; name retrievers"):
        with_models(tmp_path, ["external"])
    for name in ("none", "retromae", "bm25"):
        with pytest.raises(BadInput, match=rf"compare\[0\]: a row is called {name!r} already"):
            with_models(tmp_path, full, [name])


def test_a_suite_takes_the_retrievers_of_its_run_and_needs_none(tmp_path):
    full = [*ALL[:-1], "external", "suite", "report"]
    nodes = with_models(tmp_path, full, collections=["x"])
    assert set(nodes["suite"].inputs) == {"retriever1@none", "retriever1@retromae"}
    assert "suite" in nodes["report"].inputs
    assert list(with_models(tmp_path, ["suite"], collections=["x"])) == ["suite"]
    assert list(with_models(tmp_path, "suite")) == ["suite"], "the stage itself says that there is no collection"
    assert list(with_models(tmp_path, ["report"])) == list(make(tmp_path, stage=["report"]))
    finished = with_models(tmp_path, ["report"], ["/a/b"], ["x"])
    assert finished["report"].inputs.keys() == with_models(tmp_path, full, ["/a/b"], ["x"])["report"].inputs.keys()
    assert finished["report"].hash == with_models(tmp_path, full, ["/a/b"], ["x"])["report"].hash


def at_step(tmp_path, step, **pretrain):
    stages = STAGES | {"pretrain": STAGES["pretrain"] | {"keep_every": 4, "steps": 12} | pretrain}
    config = {"stage": ALL, "baseline": True, "output_dir": str(tmp_path), "pretrain_step": step}
    return plan(stages | config, "retromae", {})


def test_a_sweep_over_the_steps_shares_its_pretraining_and_the_baseline(tmp_path):
    nodes = {step: at_step(tmp_path, step) for step in (None, 4, 8)}
    shared = {"prepare", "pretrain@retromae", "bm25", "retriever1@none", "evaluate@none"}
    assert {key for key in nodes[None] if len({of[key].hash for of in nodes.values()}) == 1} == shared
    assert len({of["evaluate@retromae"].hash for of in nodes.values()}) == 3
    assert [of["retriever1@retromae"].pretrain_step for of in nodes.values()] == [None, 4, 8]
    assert nodes[8]["retriever1@none"].pretrain_step is None
    assert nodes[8]["report"].pretrain_step is None


def test_step_0_is_no_pretraining(tmp_path):
    nodes = at_step(tmp_path, 0)
    assert not any(key.startswith("pretrain") for key in nodes)
    for stage in ("retriever1", "evaluate"):
        assert nodes[f"{stage}@retromae"].directory == nodes[f"{stage}@none"].directory


@pytest.mark.parametrize(
    ("step", "pretrain", "message"),
    [
        (5, {}, r"pretrain_step=5 is not kept: pretrain.keep_every=4 keeps 4, 8, 12; choose one"),
        (16, {}, r"pretrain_step=16 is not kept: pretrain.keep_every=4 keeps 4, 8, 12; choose one"),
        (4, {"keep_every": None}, r"pretrain.keep_every is null, .*: set pretrain.keep_every=4"),
        (5, {"steps": None}, r"keeps 4, 8, 12, .*48, \.\.\.; choose one"),
        (6, {"keep_every": 20}, r"keep_every=20 keeps none; choose one"),
        (-1, {}, r"pretrain_step=-1 must be a number of steps, 0 for no pre-training, null for the end"),
        ("end", {}, r"pretrain_step=end must be a number of steps"),
    ],
)
def test_a_step_that_is_not_kept_is_refused_before_any_work(tmp_path, step, pretrain, message):
    with pytest.raises(BadInput, match=message):
        at_step(tmp_path, step, **pretrain)


def test_a_finished_pretraining_is_asked_what_it_kept(tmp_path):
    assert at_step(tmp_path, 400, steps=None)
    directory = at_step(tmp_path, None, steps=None)["pretrain@retromae"].directory
    for step in (4, 8):
        (directory / f"step-{step}" / "encoder").mkdir(parents=True)
    assert at_step(tmp_path, 400, steps=None)
    (directory / "done").touch()
    assert at_step(tmp_path, 8, steps=None)
    with pytest.raises(BadInput, match=r"pretrain_step=400 is not kept: pretrain.keep_every=4 keeps 4, 8; choose one"):
        at_step(tmp_path, 400, steps=None)
