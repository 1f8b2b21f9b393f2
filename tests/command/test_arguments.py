"""Typed arguments become what Hydra reads: stages as words, questions with any character in them."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from bmae_lightning.command.arguments import NO_DIRECTORY, completed
from bmae_lightning.runtime.configuration import config_directory
from bmae_lightning.runtime.errors import BadInput


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        (["+experiment=retromae", "a.b=1"], ["+experiment=retromae", "a.b=1"]),
        (["report", "+experiment=retromae"], ["+experiment=retromae", "stage=[report]"]),
        (["prepare", "a=1", "pretrain"], ["a=1", "stage=[prepare,pretrain]"]),
        (["a=1,2", "-m", "bm25"], ["-m", "a=1,2", "stage=[bm25]"]),
        (["-cd", "experiments", "~decoders.queries", "bm25"],
         ["-cd", "experiments", "~decoders.queries", "stage=[bm25]"]),
        (["--cfg", "job", "--resolve", "evaluate"], ["--cfg", "job", "--resolve", "stage=[evaluate]"]),
        (["evaluate", "run=a", "qrels=b"], [*NO_DIRECTORY, "run=a", "qrels=b", "stage=[evaluate]"]),
        (["-cd", "x", "evaluate", "run=a"], ["-cd", "x", *NO_DIRECTORY, "run=a", "stage=[evaluate]"]),
        (["bm25", "a=1", "-cd", "x"], ["-cd", "x", "a=1", "stage=[bm25]"]),
        (["query=[a,b]", "search"], [*NO_DIRECTORY, "query=[a,b]", "stage=[search]"]),
        (["stage=search", 'query="a"'], [*NO_DIRECTORY, "stage=search", 'query="a"']),
        ([], []),
    ],
)  # fmt: skip
def test_words_become_stages(typed, read):
    assert completed(typed) == read


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["evalute", "run=a"], "'evalute' is neither KEY=VALUE nor a stage; did you mean 'evaluate'"),
        (["pretrain.stps", "3"], "'pretrain.stps' is neither"),
        (["search", "query=how", "to", "sort"], "'to' is neither .*; quote texts with spaces"),
        (["stage=[bm25]", "evaluate"], "named twice, by stage=.bm25. and by evaluate"),
    ],
)
def test_words_that_are_no_stage(typed, message):
    with pytest.raises(BadInput, match=message):
        completed(typed)


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        (["seeds=3", "a=1"], ["-m", "seed=1,2,3", "a=1"]),
        (["+table=x", "seeds=[5,7, 11]", "-cd", "experiments"],
         ["-cd", "experiments", "-m", "+table=x", "seed=5,7,11"]),
        (["--multirun", "+seeds=2", "bm25"], ["--multirun", "seed=1,2", "stage=[bm25]"]),
        (["seeds=1"], ["seed=1"]),
        (["--cfg", "job", "seeds=3"], ["--cfg", "job", "seed=1"]),
        (["--cfg=job", "seeds=[7,8]"], ["--cfg=job", "seed=7"]),
        (["seeds=2", "hydra/sweeper=basic"], ["-m", "seed=1,2", "hydra/sweeper=basic"]),
    ],
)  # fmt: skip
def test_seeds_are_a_sweep_over_the_seed(typed, read):
    assert completed(typed) == read


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["seeds=3", "seed=7"], r"^seeds=3 and seed=7 both name seeds: keep one of them$"),
        (["seeds=3", "++seed=7,8", "-m"], r"seeds=3 and \+\+seed=7,8 both name seeds"),
        (["seeds=3", "seeds=2"], "seeds=3 and seeds=2 both"),
        (["seeds=3", "hydra/sweeper=optuna"], "search with one seed, then run what it found with seeds=3"),
        *(([f"seeds={value}"], "how many seeds, as seeds=3 for 1, 2 and 3, or each of them once")
          for value in ("0", "", "two", "-1", "1.5", "1,2", "[]", "[1,1]", "[1,a]", "5000", "[01,1]")),
    ],
)  # fmt: skip
def test_seeds_that_are_none(typed, message):
    with pytest.raises(BadInput, match=message):
        completed(typed)


def test_a_stage_of_ones_own_directory_is_added(tmp_path):
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages" / "lengths.yaml").touch()
    where = ["-cd", str(tmp_path)]
    assert completed([*where, "lengths", "report"]) == [*where, "stage=[lengths,report]", "+stages=[lengths]"]
    assert completed([*where, "lengths", "+stages=lengths"]) == [*where, "+stages=lengths", "stage=[lengths]"]
    assert completed([*where, "bm25"]) == [*where, "stage=[bm25]"]
    with pytest.raises(BadInput, match="did you mean 'lengths'"):
        completed([*where, "length"])


def test_every_stage_can_be_a_word():
    for path in (config_directory() / "stages").glob("*.yaml"):
        assert completed([path.stem])[-1] == f"stage=[{path.stem}]"


@pytest.mark.parametrize(
    "text",
    [
        "how do I sort, a list?", "what's (a=b) {c} [d]", "price ${x}", "\\${y} \\\\${z}", "1984", "null", "", " ",
        "été 日本 “q”",
        "c:\\x\\", "back\\'quote\\\\'", "'single", "[MASK] token", "a\tb #1 ~!", "a=1", "'a' or 'b'",
    ],
)  # fmt: skip
def test_a_question_arrives_as_it_was_typed(text):
    (argument,) = completed([f"query={text}"])
    value = OverridesParser.create().parse_override(argument).value()
    assert OmegaConf.to_container(OmegaConf.create({"query": value}), resolve=True) == {"query": text}


def test_what_is_quoted_or_a_list_is_left_to_hydra():
    for text in ("'a, b'", '"a \\" b"', "['a b',c]"):
        assert completed([f"query={text}"]) == [f"query={text}"]


def test_a_check_runs_in_this_process_whatever_launches_the_jobs():
    found = completed(["-m", "seed=1,2", "check=true", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"])
    assert not [item for item in found if "launcher" in item]
    assert "seed=1,2" in found
