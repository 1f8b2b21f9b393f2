"""A study of Optuna's: its trials are jobs, it maximises the measure on dev, and the same command continues it."""

import json
import re
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from support import quick_hydra
from support.command import TINY

from bmae_lightning.command.best_trial import best_trial

pytest.importorskip("hydra_plugins.hydra_optuna_sweeper", reason="needs the extra optuna")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    quick_hydra.quicken(monkeypatch)


@pytest.fixture
def lengths(tmp_path):
    """A collection where BM25's b decides: the relevant passage has the query's word twice, and is the longer one."""
    directory = tmp_path / "lengths"
    (directory / "qrels").mkdir(parents=True)
    texts = {}
    for i in range(12):
        texts[f"long{i}"] = " ".join([f"topic{i}x", f"topic{i}x", *["filler"] * (10 + 4 * i)])
        texts[f"short{i}"] = " ".join([f"topic{i}x", *["filler"] * 8])
    passages = (json.dumps({"_id": name, "title": "", "text": text}) for name, text in texts.items())
    (directory / "corpus.jsonl").write_text("\n".join(passages) + "\n")
    queries = (json.dumps({"_id": f"q{i}", "text": f"topic{i}x"}) for i in range(12))
    (directory / "queries.jsonl").write_text("\n".join(queries) + "\n")
    for number, split in enumerate(("train", "dev", "test")):
        lines = "".join(f"q{i}\tlong{i}\t1\n" for i in range(12) if i % 3 == number)
        (directory / "qrels" / f"{split}.tsv").write_text("query-id\tcorpus-id\tscore\n" + lines)
    return directory


def study(here, lengths, *arguments, code=0):
    return here(
        "-m", *TINY[:3], f"corpus.path={lengths}", "stage=[bm25]", "logger=none", "hydra/sweeper=optuna",
        "hydra.sweeper.n_trials=6", "bm25.ranker.b=interval(0.05,1.0)", *arguments, code=code,
    )  # fmt: skip


def test_a_study_ends_with_its_best_trial_and_is_continued_by_the_same_command(here, lengths, tmp_path):
    output = study(here, lengths, "corpus.evaluated=[dev,test]", "hydra.sweep.dir=first")
    best = OmegaConf.load(tmp_path / "first" / "optimization_results.yaml")
    measured = {}
    for number in range(6):
        job = json.loads((tmp_path / "first" / str(number) / "result.json").read_text())
        (b,) = (item.partition("=")[2] for item in job["overrides"] if item.startswith("bm25.ranker.b="))
        results = json.loads((Path(job["nodes"]["bm25"]) / "metrics.json").read_text())
        measured[float(b)] = results["dev"]["mean"]["RR@10"]
        assert job["optimized"] == {"dev/bm25/RR@10": measured[float(b)]}
    assert len(set(measured.values())) > 1, "the collection must tell settings apart"
    assert best.best_value == max(measured.values()) == measured[best.best_params["bm25.ranker.b"]]
    assert f"best trial: bm25.ranker.b={best.best_params['bm25.ranker.b']} -> {best.best_value:.4f}" in output
    again = study(here, lengths, "corpus.evaluated=[dev,test]", "hydra.sweep.dir=second", "hydra.sweeper.n_trials=2")
    assert "started in" not in again
    assert again.count("] bm25: skipped, done in") == 2


def test_what_is_minimised_is_what_the_command_says(here, lengths, tmp_path):
    overrides = "corpus.evaluated=[dev,test]", "hydra.sweep.dir=least", "hydra.sweeper.direction=minimize"
    study(here, lengths, *overrides, "hydra.sweeper.n_trials=2", "bm25.ranker.b=choice(0.05,1.0)")
    results = [json.loads((tmp_path / "least" / str(n) / "result.json").read_text())["optimized"] for n in range(2)]
    best = OmegaConf.load(tmp_path / "least" / "optimization_results.yaml")
    assert best.best_value == min(value for found in results for value in found.values())


def test_several_measures_end_with_several_solutions():
    found = {
        "name": "optuna",
        "solutions": [{"params": {"a": 1}, "values": [0.5, 2]}, {"params": {"a": 2}, "values": [1, 0]}],
    }
    assert best_trial(found) == "best trial: a=1 -> 0.5000, 2.0000\nbest trial: a=2 -> 1.0000, 0.0000"


def test_a_study_without_a_measure_on_dev_is_refused_before_any_trial(here, lengths, tmp_path, capfd):
    with pytest.raises(SystemExit, match="2"):
        study(here, lengths)
    assert capfd.readouterr().err == (
        "error: optimized_metric: a search chooses on dev, which is not measured: add 'corpus.evaluated=[dev,test]'\n"
    )
    assert not (tmp_path / "outputs").exists()


def test_a_trial_that_fails_is_not_the_best_and_the_others_go_on(here, lengths, tmp_path):
    overrides = "corpus.evaluated=[dev,test]", "hydra.sweep.dir=some", "hydra.sweeper.n_trials=3"
    output = study(here, lengths, *overrides, "bm25.ranker.b=choice(2.0,0.5)", code=2)
    best = OmegaConf.load(tmp_path / "some" / "optimization_results.yaml")
    assert best.best_params["bm25.ranker.b"] == 0.5
    assert re.search(r"^3 jobs: \d done, \d failed\nbest trial: bm25.ranker.b=0.5 -> ", output, re.MULTILINE)
