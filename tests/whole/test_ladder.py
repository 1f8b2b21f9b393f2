"""The whole ladder on a small collection, what each rung must satisfy, and kills on the way."""

import json
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from support import backbones, forked
from support import command as tools
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import bmae_lightning.command.experiment  # noqa: F401  forked processes find it imported
import bmae_lightning.stage.evaluate
import bmae_lightning.stage.report
import bmae_lightning.stage.score  # noqa: F401
from bmae_lightning.evaluation.measure.scores import read_scores
from bmae_lightning.evaluation.measure.trec import read_run
from bmae_lightning.lit.retriever import RetrieverModule
from bmae_lightning.retrieval.negatives.hard_negatives import negatives_from_run
from bmae_lightning.retrieval.negatives.source import Groups, RankedNegatives
from bmae_lightning.retrieval.reranking.score_pairs import PairShards
from bmae_lightning.retrieval.reranking.teacher_scores import FILE, TeacherScores
from bmae_lightning.stage.prepared import Prepared

DEPTH = 7
LADDER = [
    *tools.TINY, "recipe=ladder", "logger=none", "baseline=false", "pretrain.steps=2", "retriever1.steps=3",
    "reranker.steps=3", "reranker.batch_size=4", "reranker.forward_factor=2", "reranker.r_drop=true",
    "evaluate.train_depth=20", "evaluate2.train_depth=20", f"distilled.negatives.depth={DEPTH}", "rerank.depth=6",
    "evaluate.depth=40", "score.shard=4",
    "distilled.checkpoint={every_steps:1,every_minutes:15}",
]  # fmt: skip


class Finished:
    """The stages of a run by name."""

    def __init__(self, outputs: Path) -> None:
        self.outputs = outputs

    def __getitem__(self, stage: str) -> Path:
        (found,) = (path for path in (self.outputs / "store").glob(f"{stage}-*") if (path / "done").is_file())
        return found


@pytest.fixture(scope="module")
def ladder(tmp_path_factory, collection):
    directory = tmp_path_factory.mktemp("ladder")
    output = tools.command(*LADDER, f"corpus.path={collection}", cwd=directory)
    return directory, output, Finished(directory / "outputs")


def test_every_rung_is_a_row(ladder):
    _, output, stages = ladder
    report = json.loads((stages["report"] / "report.json").read_text())
    names = ["bm25", "retromae", "retromae retriever2", "retromae re-ranked", "retromae distilled"]
    assert [arm["name"] for arm in report["arms"]] == names
    assert all(re.search(rf"^{name} +\d\.\d", output, re.MULTILINE) for name in names)
    titles = {curve["title"] for curve in report["curves"]}
    assert {f"Fine-tuning ({rung})" for rung in ("retriever1", "retriever2", "reranker", "distilled")} <= titles


def test_mined_negatives_are_the_best_ranks_without_positives(ladder):
    _, _, stages = ladder
    prepared = Prepared(stages["prepare"])
    for rung in ("evaluate", "evaluate2"):
        run, qrels = read_run(stages[rung] / "run.train.trec"), prepared.qrels("train")
        assert set(run) == set(qrels)
        negatives = negatives_from_run(run, qrels, DEPTH)
        for query, listed in negatives.items():
            ranked = run.passages(query)
            assert len(ranked) == 20
            assert listed == [passage for passage in ranked if passage not in qrels[query]][:DEPTH]
            assert not set(listed) & set(qrels[query])


def test_queries_with_too_few_negatives_are_filled_and_counted(ladder):
    _, _, stages = ladder
    prepared = Prepared(stages["prepare"])
    run = read_run(stages["evaluate"] / "run.train.trec").cut(3)
    groups = Groups(
        prepared.qrels("train"), prepared.queries(), prepared.passages(), RankedNegatives(200), run, 8, seed=0
    )
    assert groups.short == len(groups) == 40
    drawn = groups.draw(0, 0)
    assert len(set(drawn)) == 8
    barred = {prepared.passages().row_of(passage) for passage in groups.positives[groups.ids[0]]}
    assert not barred & set(drawn[1:])


def test_re_ranking_keeps_the_set_of_the_top_and_the_order_below(ladder):
    _, _, stages = ladder
    before, after = (read_run(stages[stage] / "run.test.trec") for stage in ("evaluate2", "rerank"))
    logits = read_scores(stages["rerank"] / "scores.test.parquet")
    assert set(before) == set(after) == set(logits)
    for query in before:
        old, new = before.passages(query), after.passages(query)
        assert len(old) == 40
        assert sorted(old[:6]) == sorted(new[:6])
        assert old[6:] == new[6:]
        scores = [score for _, score in logits[query]]
        assert logits.passages(query) == new
        assert scores[:6] == sorted(scores[:6], reverse=True)
        assert set(scores[6:]) == {-math.inf}
    assert len({score for query in before for _, score in logits[query][:6]}) > 6
    assert any(before.passages(query) != after.passages(query) for query in before)
    measured = [json.loads((stages[s] / "metrics.json").read_text())["test"]["mean"] for s in ("evaluate2", "rerank")]
    assert measured[0]["R@1000"] == measured[1]["R@1000"]


def test_every_passage_that_can_be_drawn_has_a_teacher_score(ladder):
    _, _, stages = ladder
    prepared = Prepared(stages["prepare"])
    queries, passages = prepared.queries(), prepared.passages()
    teacher = TeacherScores(stages["score"] / FILE, queries, passages)
    run = read_run(stages["evaluate2"] / "run.train.trec")
    groups = Groups(prepared.qrels("train"), queries, passages, RankedNegatives(DEPTH), run, 4, seed=42)
    assert len(teacher) == 40 * (1 + DEPTH)
    teacher.check(groups)
    for epoch in range(5):
        rows = [groups.draw(number, epoch) for number in range(len(groups))]
        assert np.isfinite(teacher.of(groups.query_rows, rows).numpy()).all()
    lines = tools.metrics(stages.outputs, "distilled")
    assert all(line["loss/distillation"] >= 0 for line in lines)


def test_a_missing_teacher_score_is_one_line(ladder, tmp_path, collection, capfd):
    directory, _, stages = ladder
    later = [stages[stage].name for stage in ("distilled", "evaluate_distilled", "report")]
    shutil.copytree(directory / "outputs", tmp_path / "outputs", ignore=lambda _, names: set(names) & set(later))
    path = tmp_path / "outputs" / "store" / stages["score"].name / FILE
    table = pq.read_table(path)
    pq.write_table(table.slice(1), path)
    assert forked.codes(forked.fork(forked.command, tmp_path, 2, *LADDER, f"corpus.path={collection}")) == [0]
    (line,) = (line for line in capfd.readouterr().err.splitlines() if line.startswith("error: "))
    query, passage = (table[name][0].as_py() for name in ("query", "passage"))
    assert f"there is no teacher score of query {query} and passage {passage}" in line


def test_kill_9_while_mining_scoring_and_distilling_ends_in_the_same_bytes(ladder, tmp_path, collection):
    directory, _, stages = ladder
    later = [stages[stage].name for stage in ("score", "distilled", "evaluate_distilled", "report")]
    shutil.copytree(directory / "outputs", tmp_path / "outputs", ignore=lambda _, names: set(names) & set(later))
    mining = tmp_path / "outputs" / "store" / stages["evaluate2"].name  # as killed between two of its searches
    for name in ("done", "metrics.json", "run.test.trec"):
        (mining / name).unlink()
    (mining / "passages.npy").rename(mining / "passages.npy.partial")
    searched = (mining / "run.train.trec").stat().st_mtime_ns
    scoring, distilling = (tmp_path / "outputs" / "store" / name / "checkpoints" for name in later[:2])

    def run(owner=None, act="", calls=0):
        if owner is not None:
            forked.kill_before(owner, act, calls)
        forked.command(tmp_path, 0, *LADDER, f"corpus.path={collection}")

    assert forked.codes(forked.fork(run, PairShards, "write", 30)) == [-9]
    assert len(list(scoring.glob("shard-*.npy"))) == 30
    assert forked.codes(forked.fork(run, RetrieverModule, "training_step", 2)) == [-9]
    assert max(path.name for path in distilling.glob("step-*")) == "step-00000002.ckpt"
    assert forked.codes(forked.fork(run)) == [0]
    again = Finished(tmp_path / "outputs")
    assert (again["score"] / FILE).read_bytes() == (stages["score"] / FILE).read_bytes()
    assert (mining / "run.train.trec").stat().st_mtime_ns == searched
    for stage in ("evaluate2", "evaluate_distilled", "rerank"):
        name = "run.test.trec"
        assert (again[stage] / name).read_bytes() == (stages[stage] / name).read_bytes()
    losses = [[line["loss"] for line in tools.metrics(of.outputs, "distilled")] for of in (stages, again)]
    assert losses[0] == losses[1]


def test_two_devices_write_the_same_scores(ladder, tmp_path, collection):
    directory, _, stages = ladder
    later = [stages[stage].name for stage in ("score", "distilled", "evaluate_distilled", "report")]
    shutil.copytree(directory / "outputs", tmp_path / "outputs", ignore=lambda _, names: set(names) & set(later))
    arguments = [*LADDER, f"corpus.path={collection}", "stage=[score]", "+trainer@score.trainer=ddp_cpu"]
    output = tools.command(*arguments, cwd=tmp_path)
    assert "1 of 2 processes" in output
    again = Finished(tmp_path / "outputs")
    assert again["score"].name != stages["score"].name
    assert (again["score"] / FILE).read_bytes() == (stages["score"] / FILE).read_bytes()


@pytest.mark.parametrize("kind", ["deberta", "roberta"])
def test_a_re_ranker_with_word_pieces_of_its_own_scores_as_transformers_does(kind, ladder, tmp_path, collection):
    directory, _, stages = ladder
    later = [
        path.name
        for path in (directory / "outputs" / "store").iterdir()
        if path.name.startswith(("reranker", "report"))
    ]
    shutil.copytree(directory / "outputs", tmp_path / "outputs", ignore=lambda _, names: set(names) & set(later))
    texts = [passage.content for passage in Prepared(stages["prepare"]).source().passages()]
    backbone = backbones.write_backbone(kind, tmp_path / "backbone", texts)
    options = [f"reranker.backbone={backbone}", "reranker.length=40", "reranker.workers=1"]
    output = tools.command(*LADDER, *options, f"corpus.path={collection}", cwd=tmp_path)
    assert "has word pieces of its own, the corpus is tokenised for it" in output
    found = Finished(tmp_path / "outputs")
    made = [path for path in (tmp_path / "outputs" / "store").glob("score-*") if path.name != stages["score"].name]
    scores = pq.read_table(made[0] / FILE).to_pylist()
    model = AutoModelForSequenceClassification.from_pretrained(found["reranker"] / "reranker").eval()
    tokenizer = AutoTokenizer.from_pretrained(found["reranker"] / "reranker")
    source = Prepared(found["prepare"]).source()
    queries = {query.id: query.text for query in source.queries()}
    passages = {passage.id: passage.content for passage in source.passages()}
    pairs = scores[:: len(scores) // 20]
    given = tokenizer(
        [queries[pair["query"]] for pair in pairs], [passages[pair["passage"]] for pair in pairs],
        truncation="only_second", max_length=40, padding=True, return_tensors="pt",
    )  # fmt: skip
    with torch.inference_mode():
        expected = model(**given).logits[:, 0]
    np.testing.assert_allclose([pair["score"] for pair in pairs], expected.numpy(), atol=1e-5)
    assert expected.std() > 1e-4
