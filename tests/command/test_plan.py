"""Planning: which nodes there are, in which order, what their fingerprints depend on, and what is refused."""

import pytest

from bmae_lightning.command.plan import PLANNING_KEYS, find_goals, plan, read_entry
from bmae_lightning.runtime.errors import BadInput

STAGES = {
    "prepare": {"inputs": {}, "a": 1},
    "statistics": {"inputs": {"corpus": "prepare"}, "window": 4},
    "pretrain": {"inputs": {"corpus": "prepare"}, "rung": 0, "steps": 10},
    "bm25": {"inputs": {"corpus": "prepare"}, "rung": 0, "shown_as": "bm25", "k1": 0.9},
    "retriever1": {
        "inputs": {"corpus": "prepare", "encoder": "pretrain", "ranking": "bm25"}, "rung": 1, "lr": 1e-5,
    },
    "evaluate": {
        "inputs": {"corpus": "prepare", "retriever": "retriever1"}, "rung": 1, "shown_as": "", "mining": "train_depth",
        "depth": 10, "train_depth": 7,
    },
    "retriever2": {
        "inputs": {"corpus": "prepare", "encoder": "pretrain", "ranking": "evaluate"}, "rung": 2,
        "follows": "retriever1", "lr": 1e-5,
    },
    "evaluate2": {
        "inputs": {"corpus": "prepare", "retriever": "retriever2"}, "rung": 2, "shown_as": "second",
        "mining": "train_depth", "train_depth": 7,
    },
    "external": {"inputs": {"corpus": "prepare"}, "rung": 0, "shown_as": "", "arms": [], "depth": 5},
    "suite": {"inputs": {}, "rung": 0, "collects": ["retriever1"], "if_any": [], "models": ["bm25"]},
    "report": {"inputs": {}, "collects": "all"},
    "export": {"inputs": {"corpus": "prepare", "retriever": "retriever1", "evaluation": "evaluate"}},
}  # fmt: skip
FIRST_RUNG = [
    "prepare", "pretrain@retromae", "bm25", "retriever1@none", "retriever1@retromae", "evaluate@none",
    "evaluate@retromae", "report",
]  # fmt: skip
SECOND_RUNG = [
    *FIRST_RUNG[:-1], "retriever2@none", "retriever2@retromae", "evaluate2@none", "evaluate2@retromae", "report",
]  # fmt: skip


def make(tmp_path, stage=("report",), baseline=True, arm="retromae", rungs=1, extra=None, step=None, **changes):
    """The planned nodes; changes: of stages, by name."""
    config = {name: node | changes.get(name, {}) for name, node in STAGES.items()}
    config |= {"stage": stage, "baseline": baseline, "rungs": rungs, "output_dir": str(tmp_path)}
    return plan(config | {"pretrain_step": step}, arm, extra or {})


def different(before, after):
    """Keys of the nodes whose fingerprints differ."""
    return {key for key in before if before[key].hash != after[key].hash}


def test_two_arms_share_everything_but_what_follows_pretraining(tmp_path):
    nodes = make(tmp_path)
    assert list(nodes) == FIRST_RUNG
    assert nodes["retriever1@none"].inputs["encoder"] is None
    assert nodes["retriever1@retromae"].inputs["encoder"] == "pretrain@retromae"


def test_only_stages_after_a_change_get_another_hash(tmp_path):
    before, after = make(tmp_path), make(tmp_path, retriever1={"lr": 3e-5})
    assert different(before, after) == {
        "retriever1@none", "retriever1@retromae", "evaluate@none", "evaluate@retromae", "report",
    }  # fmt: skip
    after = make(tmp_path, pretrain={"steps": 20})
    assert different(before, after) == {"pretrain@retromae", "retriever1@retromae", "evaluate@retromae", "report"}


def test_no_baseline_and_the_arm_without_pretraining(tmp_path):
    assert not any(key.endswith("@none") for key in make(tmp_path, baseline=False))
    assert not any(key.startswith("pretrain") for key in make(tmp_path, arm="none"))


def test_what_a_goal_needs_runs_before_it(tmp_path):
    assert list(make(tmp_path, stage=["bm25"])) == ["prepare", "bm25"]
    assert list(make(tmp_path, stage="prepare")) == ["prepare"]
    assert list(make(tmp_path, stage=["evaluate"], baseline=False)) == [
        "prepare", "pretrain@retromae", "bm25", "retriever1@retromae", "evaluate@retromae",
    ]  # fmt: skip


def test_what_is_named_runs_although_nothing_needs_it(tmp_path):
    assert list(make(tmp_path, stage=["prepare", "statistics"])) == ["prepare", "statistics"]
    assert list(make(tmp_path, stage=["statistics", "report"])) == ["prepare", "statistics", "report"]
    assert "statistics" not in make(tmp_path)


def test_a_report_alone_shows_all_rungs_and_one_beside_others_what_they_need(tmp_path):
    assert list(make(tmp_path, rungs=2)) == SECOND_RUNG
    assert list(make(tmp_path, rungs=0)) == ["prepare", "pretrain@retromae", "bm25", "report"]
    nodes = make(tmp_path, stage=["report", "bm25"])
    assert list(nodes) == ["prepare", "bm25", "report"]
    assert nodes["report"].inputs == {"prepare": "prepare", "bm25": "bm25"}
    nodes = make(tmp_path, stage=["evaluate2", "report"], baseline=False)
    assert list(nodes["report"].inputs) == [
        "prepare", "pretrain@retromae", "bm25", "retriever1@retromae", "evaluate@retromae", "retriever2@retromae",
        "evaluate2@retromae",
    ]  # fmt: skip


def test_the_report_is_told_what_the_rows_of_stages_are_called(tmp_path):
    shown_as = {"bm25": "bm25", "evaluate": "", "evaluate2": "second", "external": ""}
    before = make(tmp_path)
    assert before["report"].config["shown_as"] == shown_as
    assert different(before, make(tmp_path, evaluate={"shown_as": "first"})) == {"report"}


def test_training_queries_are_ranked_where_a_rung_of_the_run_reads_the_ranking(tmp_path):
    def depths(*arguments, **options):
        nodes = make(tmp_path, *arguments, baseline=False, **options)
        return {
            key.partition("@")[0]: node.config["train_depth"]
            for key, node in nodes.items()
            if "train_depth" in node.config
        }

    assert depths() == {"evaluate": 0}
    assert depths(rungs=2) == {"evaluate": 7, "evaluate2": 0}
    assert depths(["evaluate"], rungs=2) == {"evaluate": 7}
    assert depths(["evaluate2"]) == {"evaluate": 7, "evaluate2": 0}, "a goal above the rungs is mined for too"
    assert depths(["evaluate"], evaluate={"mining": None}) == {"evaluate": 7}


def test_a_part_of_a_run_has_the_fingerprints_of_the_whole(tmp_path):
    whole = make(tmp_path, rungs=2)
    for stage in ("prepare", "bm25", "retriever1", "evaluate", "retriever2", "evaluate2"):
        nodes = make(tmp_path, stage=[stage], rungs=2)
        assert {key: node.hash for key, node in nodes.items()} == {key: whole[key].hash for key in nodes}
    assert make(tmp_path, stage=["export"], rungs=2)["evaluate@retromae"] == whole["evaluate@retromae"]


def test_planning_keys_are_in_no_fingerprint(tmp_path):
    node = STAGES["evaluate"] | {"if_any": True, "follows": "bm25", "rung": 1}
    assert not different(make(tmp_path), make(tmp_path, evaluate={"if_any": [1], "follows": "bm25"}))
    assert read_entry(node).options == {"depth": 10, "train_depth": 7}
    assert set(node) - set(read_entry(node).options) <= PLANNING_KEYS


GENERAL = {
    "prepare_general": {"inputs": {}, "if_any": {"path": "x"}, "a": 2},
    "pretrain_general": {"inputs": {"corpus": "prepare_general"}, "if_any": {"path": "x"}, "steps": 5},
    "pretrain": {"inputs": {"corpus": "prepare", "encoder": "pretrain_general"}},
}  # fmt: skip
CHAIN = ["prepare_general", "pretrain_general"]


def chained(monkeypatch, tmp_path, *arguments, given=True, **changes):
    """The nodes with a general stage before pre-training; given: whether its collection is."""
    for name in CHAIN:
        monkeypatch.setitem(STAGES, name, GENERAL[name] | ({} if given else {"if_any": None}))
    return make(tmp_path, *arguments, **{"pretrain": GENERAL["pretrain"]} | changes)


def test_a_general_stage_comes_before_and_all_arms_and_jobs_share_it(tmp_path, monkeypatch):
    before = make(tmp_path)
    nodes = chained(monkeypatch, tmp_path)
    assert list(nodes) == ["prepare", *CHAIN, *FIRST_RUNG[1:]]
    assert nodes["pretrain@retromae"].inputs["encoder"] == "pretrain_general"
    assert {key for key in before if before[key].hash != nodes[key].hash} == {
        "pretrain@retromae", "retriever1@retromae", "evaluate@retromae", "report",
    }, "the arm without pre-training has neither"  # fmt: skip
    other = chained(monkeypatch, tmp_path, prepare={"a": 3}, baseline=False, arm="other")
    assert [other[name].hash for name in CHAIN] == [nodes[name].hash for name in CHAIN]
    assert different(nodes, chained(monkeypatch, tmp_path, pretrain_general={"steps": 6}))
    assert not set(CHAIN) & set(chained(monkeypatch, tmp_path, step=0))
    step = chained(monkeypatch, tmp_path, step=10, pretrain=GENERAL["pretrain"] | {"keep_every": 5})
    assert (step["pretrain@retromae"].pretrain_step, step["retriever1@retromae"].pretrain_step) == (None, 10)


def test_what_is_not_given_is_no_input(tmp_path, monkeypatch):
    nodes = chained(monkeypatch, tmp_path, given=False)
    assert list(nodes) == FIRST_RUNG
    assert nodes["pretrain@retromae"].inputs["encoder"] is None
    none = chained(monkeypatch, tmp_path, pretrain={"inputs": {"corpus": "prepare", "encoder": None}})
    assert not different(nodes, none)
    with pytest.raises(BadInput, match=r"pretrain_general needs a general collection: add corpus@general"):
        chained(monkeypatch, tmp_path, ["pretrain_general"], given=False)
    assert list(chained(monkeypatch, tmp_path, ["prepare_general"], given=False)) == ["prepare_general"], "it is named"


def test_the_first_input_that_there_is_counts(tmp_path, monkeypatch):
    either = {"inputs": {"corpus": ["prepare_general", "prepare"], "encoder": None}}
    alone = chained(monkeypatch, tmp_path, ["pretrain"], baseline=False, pretrain=either)
    assert list(alone) == ["prepare_general", "pretrain@retromae"]
    nodes = chained(monkeypatch, tmp_path, ["pretrain"], baseline=False, given=False, pretrain=either)
    assert list(nodes) == ["prepare", "pretrain@retromae"]
    only = {"inputs": {"corpus": "prepare_general", "encoder": None}}
    with pytest.raises(BadInput, match=r"^pretrain needs a general collection"):
        chained(monkeypatch, tmp_path, given=False, pretrain=only)


def test_requirements_of_parts_become_inputs_and_options():
    mask = {"rate": 0.5, "requires": {"statistics": "statistics"}}
    generator = {"train": False, "requires": {"generator": "masked_lm"}}
    corruption = {"labels": "all", "requires": {"generator": generator}}
    node = {"inputs": {"corpus": "prepare"}, "decoders": {"a": {"mask": mask}}, "views": [{"corruption": corruption}]}
    entry = read_entry(node)
    assert entry.inputs == {"statistics": "statistics", "generator": "masked_lm", "corpus": "prepare"}
    assert entry.options == {
        "decoders": {"a": {"mask": {"rate": 0.5}}},
        "views": [{"corruption": {"labels": "all"}}],
        "generator": {"train": False},
    }
    assert mask["requires"], "what is read stays as it is"
    assert read_entry(node | {"inputs": {"statistics": None}}).inputs["statistics"] is None, "inputs win"


def test_a_required_stage_runs_before(tmp_path):
    needing = {"view": {"mask": {"requires": {"statistics": "statistics"}}}}
    nodes = make(tmp_path, pretrain=needing)
    assert list(nodes)[:3] == ["prepare", "statistics", "pretrain@retromae"]
    assert nodes["pretrain@retromae"].inputs == {"corpus": "prepare", "statistics": "statistics"}
    assert nodes["pretrain@retromae"].config == {"steps": 10, "view": {"mask": {}}}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stage": ["pretrian"]}, "stage=pretrian: there is no such stage; did you mean 'pretrain'"),
        ({"stage": []}, "stage is empty"),
        ({"rungs": 3}, "rungs=3 must be a number from 0 to 2"),
        ({"rungs": "2"}, "rungs=2 must be a number"),
        ({"rungs": True}, "rungs=True must be a number"),
    ],
)
def test_goals_that_cannot_be(tmp_path, options, message):
    with pytest.raises(BadInput, match=message):
        make(tmp_path, **options)


def test_goals_are_those_named_unless_a_report_stands_alone():
    config = STAGES | {"rungs": 1, "stage": "report"}
    assert find_goals(config) == ["pretrain", "bm25", "retriever1", "evaluate", "report"]
    assert find_goals(config | {"stage": ["report", "bm25"]}) == ["report", "bm25"]


def test_circles_and_unknown_inputs(tmp_path):
    with pytest.raises(BadInput, match="in a circle: .*prepare"):
        make(tmp_path, prepare={"inputs": {"x": "bm25"}})
    with pytest.raises(BadInput, match="bm25.inputs names an unknown stage 'prepar'; did you mean 'prepare'"):
        make(tmp_path, bm25={"inputs": {"corpus": "prepar"}})


def test_models_from_elsewhere_are_arms_of_their_own(tmp_path):
    def compare(*models, **options):
        return make(tmp_path, external={"arms": list(models)}, **options)

    assert list(compare()) == FIRST_RUNG, "without any nothing changes"
    nodes = compare("/a/b", {"name": "org/c", "query_prefix": "query: "})
    assert [key for key in nodes if key.startswith("external")] == ["external@a/b", "external@org/c"]
    assert nodes["external@org/c"].config["model"]["query_prefix"] == "query: "
    assert nodes["external@a/b"].inputs == {"corpus": "prepare"}
    assert {"external@a/b", "external@org/c"} <= nodes["report"].inputs.keys()
    again = compare("/a/b", extra={"external@a/b": "other content"})
    assert again["external@a/b"].hash != nodes["external@a/b"].hash
    assert again["retriever1@none"].hash == nodes["retriever1@none"].hash
    with pytest.raises(BadInput, match="stage=external: compare is empty; name retrievers"):
        compare(stage=["external"])
    for name in ("none", "retromae", "bm25"):
        with pytest.raises(BadInput, match=rf"compare\[0\]: a row is called {name!r} already"):
            compare(name)


def test_a_suite_takes_the_retrievers_of_its_run_and_needs_none(tmp_path):
    def suite(*collections, **options):
        return make(tmp_path, suite={"if_any": list(collections)}, **options)

    nodes = suite("x")
    assert list(nodes) == [*FIRST_RUNG[:-1], "suite", "report"]
    assert set(nodes["suite"].inputs) == {"retriever1@none", "retriever1@retromae"}
    assert "suite" in nodes["report"].inputs
    assert list(suite("x", stage=["suite"])) == ["suite"]
    assert list(suite(stage="suite")) == ["suite"], "the stage itself says that there is no collection"
    assert list(suite()) == FIRST_RUNG
    assert set(suite("x", stage=["suite", "retriever1"])["suite"].inputs) == {"retriever1@none", "retriever1@retromae"}


def at_step(tmp_path, step, **pretrain):
    return make(tmp_path, step=step, pretrain={"keep_every": 4, "steps": 12} | pretrain)


def test_a_sweep_over_the_steps_shares_its_pretraining_and_the_baseline(tmp_path):
    nodes = {step: at_step(tmp_path, step) for step in (None, 4, 8)}
    shared = {"prepare", "pretrain@retromae", "bm25", "retriever1@none", "evaluate@none"}
    assert {key for key in nodes[None] if len({of[key].hash for of in nodes.values()}) == 1} == shared
    assert len({of["evaluate@retromae"].hash for of in nodes.values()}) == 3
    assert [of["retriever1@retromae"].pretrain_step for of in nodes.values()] == [None, 4, 8]
    assert nodes[8]["retriever1@none"].pretrain_step is None
    assert nodes[8]["report"].pretrain_step is None


def test_a_share_is_the_step_that_it_comes_to_unless_epochs_say_how_many_there_are(tmp_path):
    share, step = at_step(tmp_path, 0.25, keep_every=0.25), at_step(tmp_path, 3, keep_every=0.25)
    assert {key: node.hash for key, node in share.items()} == {key: node.hash for key, node in step.items()}
    epochs = at_step(tmp_path, 0.25, keep_every=0.25, steps=None)
    assert epochs["retriever1@retromae"].pretrain_step == 0.25


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
        (-1, {}, r"pretrain_step=-1 must be a number of steps, 0 for no pre-training, below 1 a share"),
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
