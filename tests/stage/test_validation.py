"""What is looked at during fine-tuning: which queries and passages, the value itself, and what it leaves alone."""

import functools
import json

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf
from safetensors.torch import load_file
from support import command as tools
from support.stages import context, prepare

from bmae_lightning.command.plan import read_entry
from bmae_lightning.evaluation.measure.trec import Run, write_run
from bmae_lightning.lit.metrics_file import read_metrics
from bmae_lightning.retrieval.dual_encoder import load_dual_encoder
from bmae_lightning.runtime.configuration import build, config_directory
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.fingerprint import fingerprint
from bmae_lightning.stage import training
from bmae_lightning.stage.prepared import Prepared
from bmae_lightning.stage.validation import Validation, sample_passages


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """60 passages; training queries 0..39, dev 40..49 of the test queries, two of them judged 0 somewhere."""
    directory = tmp_path_factory.mktemp("validation")
    collection = tools.write_collection(directory / "beir")
    lines = "".join(f"q{i}\tp{i}\t1\n" for i in range(40, 50)) + "q40\tp3\t0\nq41\tp3\t0\n"
    (collection / "qrels" / "dev.tsv").write_text("query-id\tcorpus-id\tscore\n" + lines)
    return prepare(directory / "prepare", collection)


@functools.cache
def composed(*overrides):
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_directory()), version_base="1.3"):
        return compose("config", overrides=["encoder=tiny", "logger=none", "negatives=random", *overrides])


def node(stage, overrides=(), options=()):
    """A stage with options of its own."""
    content = read_entry(OmegaConf.to_container(composed(*overrides), resolve=True)[stage]).options
    return OmegaConf.to_container(OmegaConf.merge(content, OmegaConf.from_dotlist(list(options))))


def finetune(directory, corpus, *options, overrides=(), **inputs):
    """Runs retriever1; its lines and the weights that it hands on."""
    made = build(node("retriever1", overrides, ["steps=6", "batch_size=8", *options]), "retriever1")
    made.run(context(directory, "retriever1", corpus=corpus, **inputs))
    lines = read_metrics(directory / "metrics.jsonl")
    return lines, load_file(directory / "retriever" / "model.safetensors")


def values_of(lines):
    return {line["step"]: line["validation/RR@10"] for line in lines if "validation/RR@10" in line}


def same(left, right):
    return set(left) == set(right) and all(torch.equal(left[name], right[name]) for name in left)


def slow_measure(directory, corpus, split):
    """RR@10 of every query of a split over the whole corpus, pair by pair."""
    model, config = load_dual_encoder(directory / "retriever")
    prepared = Prepared(corpus)
    passages, queries, pad = prepared.passages(), prepared.queries(), model.encoder.vocabulary.pad
    found = []
    with torch.inference_mode():
        kept = [model(pad([row], config.passage_length), passages=True) for row in map(passages.__getitem__, range(60))]
        for query, marks in prepared.qrels(split).items():
            asked = model(pad([queries[queries.row_of(query)]], config.query_length), passages=False)
            scores = []
            for passage in kept:
                score = float(asked.dense_BD[0] @ passage.dense_BD[0])
                if asked.lexical is not None:
                    score += float(asked.lexical[0] @ passage.lexical.full()[0])
                scores.append(score)
            order = np.argsort(-np.array(scores), kind="stable")[:10]
            ranks = [rank for rank, row in enumerate(order, 1) if marks.get(passages.external_id(int(row)), 0) > 0]
            found.append(1 / ranks[0] if ranks else 0.0)
    return float(np.mean(found))


HYBRID = ("representation=hybrid", "representation.dense=8", "representation.lexical=16", "retriever1.similarity=dot")


@pytest.mark.parametrize("representation", [(), HYBRID], ids=["cls", "hybrid"])
def test_the_value_is_that_of_every_pair_scored_alone(representation, corpus, tmp_path):
    lines, _ = finetune(tmp_path / "r", corpus, "validation.every=4", "lr=1e-2", overrides=representation)
    assert list(values_of(lines)) == [4, 6]
    assert values_of(lines)[6] == pytest.approx(slow_measure(tmp_path / "r", corpus, "dev"), abs=1e-6)


def test_looking_changes_nothing_and_the_best_weights_are_handed_on(corpus, tmp_path):
    common = ("encoder.dropout=0.1", "lr=3e-2")
    plain, last = finetune(tmp_path / "plain", corpus, *common)
    looked, weights = finetune(tmp_path / "looked", corpus, *common, "validation.every=1")
    assert [line["loss"] for line in looked] == [line["loss"] for line in plain]
    assert same(weights, last)
    values = values_of(looked)
    best = max(values, key=values.get)
    assert best < 6, "otherwise this shows nothing"
    found, weights = finetune(tmp_path / "best", corpus, *common, "validation.every=1", "validation.keep=best")
    assert values_of(found) == values
    assert not same(weights, last)
    assert slow_measure(tmp_path / "best", corpus, "dev") == pytest.approx(values[best], abs=1e-6)
    record = json.loads((tmp_path / "best" / "metrics.json").read_text())
    assert (record["step"], record["kept_step"]) == (6, best)


class Stopped(Exception):
    """Ends the stage before it trains."""


def stop_at(made):
    """In the place of `fit`: keeps what it was called with."""

    def fit(_trainer, _module, data, *rest):
        made["groups"], made["looks"] = data.collate.groups, rest[-1][0]
        raise Stopped

    return fit


def test_held_out_training_queries_are_not_trained_with(corpus, tmp_path, capsys, monkeypatch):
    made = {}
    monkeypatch.setattr(training, "fit", stop_at(made))
    options = ["validation.every=0.5", "validation.split=train", "validation.queries=7"]
    with pytest.raises(Stopped):
        finetune(tmp_path / "r", corpus, *options)
    trained, held_out = set(made["groups"].ids), set(made["looks"].look.qrels)
    assert len(held_out) == 7
    assert trained | held_out == set(Prepared(corpus).qrels("train"))
    assert not trained & held_out
    assert made["looks"].every == 3
    assert "33 training queries, 7 held out for validation" in capsys.readouterr().out
    with pytest.raises(BadInput, match="validation.queries=40 would hold all 40 training queries"):
        finetune(tmp_path / "r", corpus, *options[:2], "validation.queries=40")


def test_queries_are_drawn_by_the_seed(corpus):
    prepared = Prepared(corpus)
    drawn = [Validation(every=1, queries=4).choose(prepared, seed, "x") for seed in (1, 1, 2)]
    assert [split for split, _ in drawn] == ["dev"] * 3
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(drawn[0][1]) == 4
    judged = prepared.qrels("dev")
    assert Validation(every=1).choose(prepared, 1, "x") == ("dev", judged)
    assert all(marks == judged[query] for query, marks in drawn[0][1].items())
    assert Validation().choose(prepared, 1, "x") == (None, {})


def test_passages_are_the_judged_ones_then_the_ranked_ones_then_random_ones(corpus):
    passages = Prepared(corpus).passages()
    qrels = {"q40": {"p40": 1, "p3": 0}, "q41": {"p41": 1}}
    run = Run({"q40": [("p40", 9.0), ("p50", 8.0), ("p52", 7.0)], "q41": [("p51", 5.0)], "q1": [("p9", 1.0)]})
    assert sample_passages(qrels, run, passages, 2, 0).tolist() == [3, 40, 41], "never without what is judged"
    assert sample_passages(qrels, run, passages, 4, 0).tolist() == [3, 40, 41, 51]
    assert sample_passages(qrels, run, passages, 5, 0).tolist() == [3, 40, 41, 50, 51]
    drawn = [sample_passages(qrels, run, passages, 12, seed).tolist() for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    for rows in drawn:
        assert rows == sorted(set(rows))
        assert len(rows) == 12
        assert {3, 40, 41, 50, 51, 52} < set(rows)
    for size in (None, 60, 1000):
        assert sample_passages(qrels, Run(), passages, size, 0).tolist() == list(range(60))


def test_the_ranking_of_the_stage_says_which_passages_are_hard(corpus, tmp_path):
    (tmp_path / "ranking").mkdir()
    run = Run({f"q{i}": [(f"p{i}", 3.0), ("p58", 2.0), ("p59", 1.0)] for i in range(50)})
    for split in ("train", "dev"):
        write_run(tmp_path / "ranking" / f"run.{split}.trec", run, "x")
    for split in ("train", "dev"):
        made, options = {}, ["validation.every=3", f"validation.split={split}", "validation.queries=1"]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(training, "fit", stop_at(made))
            with pytest.raises(Stopped):
                finetune(tmp_path / split, corpus, *options, "validation.passages=4", ranking=tmp_path / "ranking")
        (query,) = made["looks"].look.qrels
        rows = set(made["looks"].look.rows.tolist())
        assert len(rows) == 4
        assert {int(query[1:]), 58, 59} <= rows


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"every": 0}, "retriever1.validation: every must be a number of steps"),
        ({"every": 2.5}, "every must be a number of steps"),
        ({"patience": 2}, "patience needs looks: set every"),
        ({"keep": "best"}, "keep=best needs looks: set every"),
        ({"every": 2, "keep": "first"}, "keep must be one of last, best"),
        ({"every": 2, "queries": 0}, "queries must be at least 1"),
        ({"every": 2, "patience": 0}, "patience must be at least 1"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, words):
    with pytest.raises(BadInput, match=words):
        build({"_target_": "bmae_lightning.stage.validation.Validation"} | options, "retriever1.validation")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"measure": "RRR@10"}, "unknown measure 'RRR@10'"),
        ({"every": 2, "split": "dve"}, "validation.split: the corpus has no judgments for the split 'dve'"),
        ({"every": 2, "keep": "best"}, "no judgments for the split 'dev'.*set x.validation.split=train"),
        ({"every": 2, "patience": 2}, "no judgments for the split 'dev'"),
        ({"every": 2, "patience": 2, "split": "test"}, "would choose by the split 'test', which is reported"),
        ({"every": 2, "keep": "best", "split": "test"}, "validation.split=train .*, or x.validation.reported=\\[\\]"),
    ],
)
def test_mistakes_are_told_before_anything_runs(options, words):
    with pytest.raises(BadInput, match=words):
        Validation(**options, reported=["test"]).preflight("x", ["train", "test"])
    Validation(every=2, split="test", reported=["test"]).preflight("x", ["train", "test"])  # it may be looked at
    Validation(every=2, keep="best", split="test").preflight("x", ["train", "test"])
    Validation(every=2).preflight("x", ["train", "test"])


def test_without_a_dev_split_nothing_is_looked_at_and_that_is_said(collection, tmp_path, capsys):
    prepared = Prepared(prepare(tmp_path / "prepare", collection))
    assert Validation(every=2).choose(prepared, 0, "retriever1") == (None, {})
    assert "retriever1: no validation, the corpus has no split 'dev'" in capsys.readouterr().out


def test_every_rung_looks_as_the_first_one_does_unless_told_otherwise():
    options = ("retriever1.validation.every=3", "retriever2.validation.measure=nDCG@10")
    first, second, third = (node(stage, options)["validation"] for stage in ("retriever1", "retriever2", "distilled"))
    assert first["every"] == 3
    assert second == third == first | {"measure": "nDCG@10"}
    for scale in ("gpu", "paper"):
        found = node("retriever1", (f"scale={scale}",))["validation"]
        assert (found["every"], found["patience"], found["keep"]) == (0.1, None, "last")


def test_what_is_evaluated_and_how_is_no_reason_to_train_again():
    plain = fingerprint(node("retriever1"), {})
    assert fingerprint(node("retriever1", ("evaluate.splits=[dev]", "evaluate.batch_tokens=9")), {}) == plain
    assert fingerprint(node("retriever1", ("retriever1.validation.every=2",)), {}) != plain
