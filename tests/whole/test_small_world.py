"""End to end on a made-up collection with planted lexical traps: order of the rungs, seeds, over-fitting.

A query names an entity and a side, `enab asc`. The passage that answers it names the entity and the side's other word,
`enab anc`; a trap names both words of the query and answers nothing. Queries of the test split are pairs that were not
trained on.
"""

import json
import random

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau
from support import forked
from support.contrast import contrastive_loss
from support.vectors import encode
from transformers import BertForMaskedLM

import bmae_lightning.command.experiment  # noqa: F401  forked processes find it imported
import bmae_lightning.stage.evaluate
import bmae_lightning.stage.score  # noqa: F401
from bmae_lightning.encoder.model import Encoder
from bmae_lightning.encoder.vocabulary import Vocabulary
from bmae_lightning.evaluation.measure.ranking import evaluate
from bmae_lightning.evaluation.measure.trec import Run, read_run
from bmae_lightning.lit.data import StepBatches
from bmae_lightning.lit.retriever import RetrieverBatches
from bmae_lightning.retrieval.dual_encoder import DualEncoder
from bmae_lightning.retrieval.index.exact import ExactIndex
from bmae_lightning.retrieval.negatives.source import Groups, RandomNegatives
from bmae_lightning.retrieval.representation.pooled import PooledRepresentation
from bmae_lightning.retrieval.reranking.teacher_scores import FILE, write_teacher_scores
from bmae_lightning.runtime.files import read_json
from bmae_lightning.stage.prepared import Prepared

ENTITIES, SIDES = 30, 6
STAGES = ["prepare", "pretrain", "bm25", "retriever1", "evaluate", "retriever2", "evaluate2"]
LADDER = [
    "+experiment=retromae", "recipe=ladder", "corpus=beir", "encoder=tiny", "encoder.layers=1", "encoder.dropout=0.0",
    "bottleneck=mean", "representation=mean", "logger=none", "baseline=false", "evaluate.train_depth=12",
    "pretrain.steps=30", "pretrain.batch_size=16", "pretrain.lr=3e-3", "pretrain.diagnostics.every=0",
    "negatives=random", "retriever1.train_group_size=1", "retriever1.steps=100", "retriever1.batch_size=16",
    "retriever1.lr=5e-3",
    "retriever2.train_group_size=4", "retriever2.steps=60", "evaluate2.train_depth=12", "reranker.steps=1",
    "distilled.negatives.depth=11",
    "distilled.train_group_size=12", "distilled.steps=50", "distilled.losses.contrastive.weight=0",
    "retriever1.checkpoint={every_steps:1000,every_minutes:15}",
]  # fmt: skip


def name(prefix, number):
    return prefix + chr(97 + number // 26) + chr(97 + number % 26)


def write_world(directory):
    """180 queries, each with its answer `a<entity>-<side>` and its trap `t<entity>-<side>`."""
    draw, pairs = random.Random(0), [(entity, side) for entity in range(ENTITIES) for side in range(SIDES)]
    others = [name("f", i) for i in range(30)]
    (directory / "qrels").mkdir(parents=True)

    def lines(file, texts):
        content = "".join(json.dumps({"_id": id, "text": " ".join(words)}) + "\n" for id, words in texts)
        (directory / file).write_text(content)

    def shuffled(words):
        return draw.sample([*words, *draw.sample(others, 3)], len(words) + 3)

    passages = {}
    for entity, side in pairs:
        for kind, word in (("a", "an"), ("t", "as")):
            passages[f"{kind}{entity}-{side}"] = shuffled([name("en", entity), name(word, side)])
    lines("corpus.jsonl", passages.items())
    lines("queries.jsonl", [(f"q{e}-{s}", [name("en", e), name("as", s)]) for e, s in pairs])
    draw.shuffle(pairs)
    for split, some in (("test", pairs[:36]), ("train", pairs[36:])):
        judged = "".join(f"q{e}-{s}\ta{e}-{s}\t1\n" for e, s in some)
        (directory / "qrels" / f"{split}.tsv").write_text("query-id\tcorpus-id\tscore\n" + judged)
    return directory


def oracle(query, passage):
    """What a teacher should say: the answer, then answers about the entity's other sides, then traps, then the rest."""
    (entity, side), (kind, of, other) = query[1:].split("-"), (passage[0], *passage[1:].split("-"))
    return 0.0 if of != entity else 2.0 if kind == "t" else 8.0 if other == side else 5.0


class World:
    """Finished stages of one seed."""

    def __init__(self, directory):
        self.directory = directory

    def __getitem__(self, stage):
        (found,) = (path.parent for path in self.directory.glob(f"outputs/store/{stage}-*/done"))
        return found

    def run(self, seed, *stages):
        """Climb to the last of the stages, in a forked process."""
        self.directory.mkdir(exist_ok=True)
        arguments = [f"corpus.path={self.directory.parent / 'beir'}", f"seed={seed}", f"stage=[{','.join(stages)}]"]
        process = forked.fork(forked.command, self.directory, 0, *LADDER, *arguments)
        assert forked.codes(process) == [0]
        return self

    def measured(self, stage):
        return read_json(self[stage] / "metrics.json")["test"]["mean"]["RR@10"]


@pytest.fixture(scope="module")
def worlds(tmp_path_factory):
    """The ladder with an oracle for a teacher, and its first rung with another seed."""
    root = tmp_path_factory.mktemp("worlds")
    write_world(root / "beir")
    first = World(root / "first").run(42, *STAGES, "reranker", "score")
    run = read_run(first["evaluate2"] / "run.train.trec")
    listed = [(query, passage) for query in run for passage in {f"a{query[1:]}", *run.passages(query)}]
    scores = np.array([oracle(query, passage) for query, passage in listed])
    write_teacher_scores(first["score"] / FILE, [(*map(list, zip(*listed, strict=True)), scores)])
    first.run(42, *STAGES, "reranker", "score", "distilled", "evaluate_distilled")
    return first, World(root / "second").run(7, *STAGES[:5])


def ranked(model, prepared, queries):
    """Run of the given queries by a retriever, all passages."""
    stores = prepared.queries(), prepared.passages()
    rows = [np.array([stores[0].row_of(query) for query in queries]), np.arange(len(stores[1]))]
    left, right = (
        encode(model, store, some, 32, 4096, "cpu", lambda n: None, passages)
        for store, some, passages in zip(stores, rows, (False, True), strict=True)
    )
    scores, found = ExactIndex().search(right, left, len(stores[1]))
    return Run.from_rows(list(queries), stores[1].external_ids, found, scores)


def retriever(directory, prepared):
    masked_lm, vocabulary = BertForMaskedLM.from_pretrained(directory), Vocabulary(prepared.tokenizer())
    return DualEncoder(Encoder(masked_lm, vocabulary), PooledRepresentation("mean"), "cos").eval()


def test_each_rung_is_better_than_the_one_below(worlds):
    world = worlds[0]
    prepared = Prepared(world["prepare"])
    qrels, passages = prepared.qrels("test"), list(prepared.passages().external_ids)
    draw = random.Random(0)
    by_chance = Run({query: [(p, -i) for i, p in enumerate(draw.sample(passages, len(passages)))] for query in qrels})
    before = ranked(retriever(world["pretrain"] / "encoder", prepared), prepared, qrels)
    chance, untrained = (evaluate(qrels, run, ["RR@10", "R@60"]).mean for run in (by_chance, before))
    assert chance["R@60"] + 0.1 < untrained["R@60"]
    rungs = [untrained["RR@10"], world.measured("evaluate"), world.measured("evaluate2")]
    assert rungs[0] + 0.3 < rungs[1] < rungs[2] - 0.05, rungs
    assert world.measured("bm25") < 0.5 < rungs[1], "the traps catch a ranker by words"
    assert rungs[2] > 0.8


def test_a_student_approaches_its_teacher(worlds):
    world = worlds[0]
    assert world.measured("evaluate_distilled") > 0.8
    agreement = {}
    for stage in ("evaluate2", "evaluate_distilled"):
        run = read_run(world[stage] / "run.test.trec")
        orders = []
        for query in run:
            entity = query[1:].split("-")[0]
            about = [passage for passage in run.passages(query) if passage[1:].split("-")[0] == entity]
            orders.append(kendalltau([-oracle(query, passage) for passage in about], range(len(about))).statistic)
        agreement[stage] = np.mean(orders)
    assert agreement["evaluate_distilled"] > agreement["evaluate2"] + 0.1, agreement


def test_another_seed_measures_the_same_within_a_tenth(worlds):
    first, second = worlds
    assert first["retriever1"].name != second["retriever1"].name
    assert abs(first.measured("evaluate") - second.measured("evaluate")) < 0.1
    vectors = [np.load(world["evaluate"] / "passages.npy") for world in worlds]
    assert np.abs(vectors[0] - vectors[1]).max() > 0.1


def test_thirty_two_queries_are_learned_by_heart(worlds):
    world = worlds[0]
    prepared = Prepared(world["prepare"])
    qrels = dict(list(prepared.qrels("train").items())[:32])
    groups = Groups(qrels, prepared.queries(), prepared.passages(), RandomNegatives(), None, 1, seed=0)
    torch.manual_seed(0)
    model = retriever(world["pretrain"] / "encoder", prepared)
    batches = RetrieverBatches(groups, prepared.queries(), prepared.passages(), model.encoder.vocabulary, 32, 32)
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-3)
    losses = []
    for items in StepBatches(32, 32, 40, seed=0, accumulate=1, rank=0, world=1, start=0):
        batch = batches(items)
        queries, passages = model(batch.queries, passages=False), model(batch.passages, passages=True)
        loss = contrastive_loss(queries.dense_BD, passages.dense_BD, 1, 0.05).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] > 0.5
    assert losses[-1] < 0.005
    assert evaluate(qrels, ranked(model.eval(), prepared, qrels), ["RR@10"]).mean["RR@10"] == 1.0
