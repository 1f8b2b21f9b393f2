"""Iterative mining: rankings by the current model, one schedule, the same end after a kill or with two processes."""

import functools
import os
import shutil
import socket
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf
from support import forked
from support.stages import prepare

from bmae_lightning.command.plan import read_entry
from bmae_lightning.evaluation.measure.trec import Run, read_run
from bmae_lightning.lit.metrics_file import read_metrics
from bmae_lightning.lit.retriever import RetrieverModule
from bmae_lightning.retrieval import dual_encoder
from bmae_lightning.retrieval.negatives.source import Groups, RandomNegatives
from bmae_lightning.runtime.configuration import build, config_directory
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import write_json
from bmae_lightning.runtime.run_stage import run_stage
from bmae_lightning.runtime.shards import ArrayShards
from bmae_lightning.stage import training, validation
from bmae_lightning.stage.prepared import Prepared
from bmae_lightning.stage.refresh import Refresh, Rounds

STEPS, DEPTH = 10, 9
GROUPS = ["encoder=tiny", "logger=none", "representation=mean", "pooling=mean", "negatives@retriever2.negatives=random"]
OPTIONS = [
    f"steps={STEPS}", "batch_size=8", "train_group_size=4", "lr=1e-2", "encoder.dropout=0.1",
    "checkpoint.every_steps=2",
    "refresh.every_steps=4", f"refresh.depth={DEPTH}", "refresh.shard=16", "refresh.query_shard=12",
]  # fmt: skip
"""Segments end at steps 4, 8 and 10; a round takes 4 shards of passages and 4 of queries."""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory, collection):
    return prepare(tmp_path_factory.mktemp("refresh"), collection)


@functools.cache
def composed():
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_directory()), version_base="1.3"):
        content = OmegaConf.to_container(compose("config", overrides=GROUPS), resolve=True)["retriever2"]
    return read_entry(content).options


def node(*options):
    """Retriever 2 with options of its own."""
    return OmegaConf.to_container(OmegaConf.merge(composed(), OmegaConf.from_dotlist([*OPTIONS, *options])))


def manifest(directory, corpus, *options):
    """What the pipeline writes before it runs the stage."""
    directory.mkdir(parents=True)
    context = {
        "stage": "retriever2",
        "arm": "",
        "directory": str(directory),
        "group": "g",
        "output_dir": str(directory),
    }
    context["inputs"] = {"corpus": str(corpus)}
    write_json(directory / "manifest.json", {"fingerprint": "x", "context": context, "config": node(*options)})
    return directory / "manifest.json"


def lines_of(directory):
    lines = read_metrics(directory / "metrics.jsonl")
    return [{name: value for name, value in line.items() if name != "queries_per_second"} for line in lines]


def product(directory):
    """The weights and the rankings, to the byte."""
    paths = [directory / "retriever" / "model.safetensors", *sorted(directory.glob("round-*/*"))]
    return {str(path.relative_to(directory)): path.read_bytes() for path in paths}


def slow_ranking(model, corpus):
    """Query id -> ids of the best passages, every text encoded alone, every pair scored."""
    prepared, pad = Prepared(corpus), model.encoder.vocabulary.pad
    passages, queries = prepared.passages(), prepared.queries()
    model.eval()
    with torch.inference_mode():
        kept_ND = torch.cat([model(pad([passages[row]], 64), passages=True).dense_BD for row in range(len(passages))])
        found = {}
        for query in prepared.qrels("train"):
            scores_N = kept_ND @ model(pad([queries[queries.row_of(query)]], 32), passages=False).dense_BD[0]
            order = np.argsort(-scores_N.numpy(), kind="stable")[:DEPTH]
            found[query] = [passages.external_id(int(row)) for row in order]
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory, corpus):
    """Uninterrupted, and what was seen of it: slow rankings by the models that mined, negatives of every segment."""
    directory, slow, lists = tmp_path_factory.mktemp("whole") / "stage", [], []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        renew, fit = Rounds.renew, training.fit

        def watched(self, number, trainer, model, groups):
            slow.append(slow_ranking(model, corpus))
            return renew(self, number, trainer, model, groups)

        def listening(trainer, module, data, *rest):
            lists.append((data.steps, dict(data.collate.groups.negatives)))
            return fit(trainer, module, data, *rest)

        patch.setattr(Rounds, "renew", watched)
        patch.setattr(training, "fit", listening)
        run_stage(manifest(directory, corpus))
    torch.set_num_threads(threads)
    return directory, slow, lists


def test_every_round_is_the_ranking_of_the_model_as_it_is(whole, corpus):
    directory, slow, lists = whole
    assert sorted(path.name for path in directory.glob("round-*")) == ["round-1", "round-2"]
    assert [steps for steps, _ in lists] == [4, 8, 10]
    assert not any(lists[0][1].values()), "the first segment draws random ones, as it was told to"
    positives = {query: set(marks) for query, marks in Prepared(corpus).qrels("train").items()}
    for number in (1, 2):
        run = read_run(directory / f"round-{number}" / "run.train.trec")
        assert {query: run.passages(query) for query in run} == slow[number - 1]
        kept = {query: [p for p in listed if p not in positives[query]] for query, listed in slow[number - 1].items()}
        assert lists[number][1] == kept
    assert slow[0] != slow[1]


def test_vectors_do_not_stay(whole):
    directory, _, _ = whole
    assert not list(directory.rglob("passages*")) + list(directory.rglob("shard-*"))


def test_the_schedule_is_that_of_one_training(whole, corpus, tmp_path):
    directory, _, _ = whole
    run_stage(manifest(tmp_path / "static", corpus, "refresh.every_steps=null"))
    with_refresh, static = lines_of(directory), lines_of(tmp_path / "static")
    assert [line["lr"] for line in with_refresh] == [line["lr"] for line in static]
    losses = [[line["loss"] for line in lines] for lines in (with_refresh, static)]
    assert losses[0][:4] == pytest.approx(losses[1][:4], rel=1e-6)
    assert losses[0][4] > losses[1][4], "mined negatives are harder than random ones"


@pytest.mark.parametrize(
    ("owner", "name", "calls"),
    [
        (ArrayShards, "write", 6),  # of round 1, while searching
        (RetrieverModule, "training_step", 4),  # before the first step with round 1
        (RetrieverModule, "training_step", 7),
        (dual_encoder, "save_dual_encoder", 0),
    ],
)
def test_kill_9_changes_no_byte(owner, name, calls, whole, corpus, tmp_path):
    path = manifest(tmp_path / "killed", corpus)

    def killed():
        forked.kill_before(owner, name, calls)
        run_stage(path)

    assert forked.codes(forked.fork(killed)) == [-9]
    if (name, calls) == ("training_step", 7):  # as if a newer checkpoint were lost: rankings that no weights belong to
        for directory in (path.parent, path.parent / "checkpoints"):
            (directory / "round-2").mkdir()
            (directory / "round-2" / "run.train.trec").write_text("of other weights")
    assert forked.codes(forked.fork(run_stage, path)) == [0]
    assert product(path.parent) == product(whole[0])
    assert lines_of(path.parent) == lines_of(whole[0])
    assert not list(path.parent.rglob("passages*")) + list(path.parent.rglob("shard-*"))


def as_rank(rank, world, port, path):
    """A process of `torchrun`, from its environment."""
    os.environ |= {"TORCHELASTIC_RUN_ID": "x", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "GROUP_RANK": "0", "WORLD_SIZE": str(world)}
    run_stage(path)
    assert torch.distributed.get_world_size() == world


def test_two_processes_end_as_one(corpus, tmp_path):
    options = [
        "encoder.dropout=0.0",
        "lr=1e-3",
        "validation.every=5",
        "validation.split=train",
    ]
    options += ["validation.queries=8", "validation.keep=best"]
    run_stage(manifest(tmp_path / "one", corpus, *options))
    path = manifest(tmp_path / "two", corpus, *options, "trainer.devices=2", "trainer.strategy=ddp")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert forked.codes(*(forked.fork(as_rank, rank, 2, port, path) for rank in range(2))) == [0, 0]
    one, two = lines_of(tmp_path / "one"), lines_of(tmp_path / "two")
    assert [line["loss"] for line in two] == pytest.approx([line["loss"] for line in one], abs=1e-3)
    assert [line.get("validation/RR@10") for line in two] == pytest.approx(
        [line.get("validation/RR@10") for line in one]
    )
    for number in (1, 2):
        name = f"round-{number}/run.train.trec"
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
    assert not list((tmp_path / "two").rglob("passages*"))


def test_a_training_that_stops_early_mines_no_more(corpus, tmp_path, monkeypatch):
    values = iter([0.5, 0.4, 0.3])
    monkeypatch.setattr(validation.Sample, "__call__", lambda *_: next(values))
    options = ["validation.every=4", "validation.patience=1", "validation.split=train"]
    path = manifest(tmp_path / "stage", corpus, *options, "validation.queries=8")
    run_stage(path)
    before = product(path.parent)
    assert lines_of(path.parent)[-1]["step"] == 8
    assert sorted(entry.name for entry in path.parent.glob("round-*")) == ["round-1"]
    shutil.rmtree(path.parent / "retriever")  # as killed before it was written
    (path.parent / "done").unlink()
    run_stage(path)
    assert product(path.parent) == before


@pytest.mark.parametrize(
    ("options", "ends"),
    [
        ({}, [10]),
        ({"every_steps": 3}, [3, 6, 9, 10]),
        ({"every_steps": 5}, [5, 10]),
        ({"every_steps": 10}, [10]),
        ({"every_steps": 99}, [10]),
        ({"every_epochs": 1}, [5, 10]),  # 40 queries, 8 at a time
        ({"every_epochs": 0.75}, [4, 8, 10]),
        ({"every_epochs": 0.01}, list(range(1, 11))),
    ],
)
def test_ends_of_segments(options, ends):
    assert Refresh(**options).ends(10, 40, 8) == ends


def test_a_draw_follows_from_seed_epoch_query_and_round(corpus):
    prepared = Prepared(corpus)
    qrels, queries, passages = prepared.qrels("train"), prepared.queries(), prepared.passages()
    rankings = [Run({query: [(f"p{(7 * i + k) % 60}", -i) for i in range(30)] for query in qrels}) for k in (1, 2)]
    groups = [Groups(qrels, queries, passages, RandomNegatives(), None, 4, seed=5) for _ in range(2)]
    groups[0].renew(rankings[0], 20)
    for drawn in groups:
        drawn.renew(rankings[1], 20)
    for number, epoch in ((0, 0), (3, 1), (39, 2)):
        rows = groups[0].draw(number, epoch)
        assert rows == groups[1].draw(number, epoch)
        query = groups[0].ids[number]
        listed = [p for p in rankings[1].passages(query) if p not in qrels[query]][:20]
        assert set(rows[1:]) <= {passages.row_of(passage) for passage in listed}
    assert groups[0].short == 0


def test_mistakes_are_told_before_anything_runs():
    for options, words in [
        ({"every_steps": 3, "every_epochs": 1}, "give either every_steps or every_epochs"),
        ({"every_steps": 0}, "every_steps must be at least 1"),
        ({"every_epochs": 0}, "every_epochs must be above 0"),
        ({"every_steps": 3, "depth": 0}, "depth must be at least 1"),
    ]:
        with pytest.raises(BadInput, match=f"retriever2.refresh: {words}"):
            build({"_target_": "bmae_lightning.stage.refresh.Refresh"} | options, "retriever2.refresh")
    with pytest.raises(
        BadInput, match="retriever2: refresh mines hard negatives, and with train_group_size=1 none is drawn"
    ):
        build(node("train_group_size=1"), "retriever2")
    stage = build(node(), "retriever2")
    stage.name = "retriever2"
    with pytest.raises(BadInput, match="retriever2.refresh mines new negatives, which score has not scored"):
        stage.check_inputs({"scores": SimpleNamespace(stage="score", config={})})
