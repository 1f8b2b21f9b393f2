"""Shards of generated texts: what is written about which passage, in which order, and what is skipped."""

from functools import partial

import pytest
import pytorch_lightning as pl
from torch import nn

from bmae_lightning.lit.generate import generate
from bmae_lightning.pretraining.generate.record import Generated
from bmae_lightning.pretraining.generate.shards import TextShards

TEXTS = [(f"p{i}", "word " * (i * 7 % 5 + 1) + str(i)) for i in range(11)]


class Echo:
    """Writes `count` texts that say what it was given; every third one is empty."""

    def __init__(self, count):
        self.count, self.model, self.calls = count, nn.Linear(1, 1), []

    def write(self, texts, rows, seed, salt):
        self.calls.append((texts, rows, salt))
        return [
            ["" if (row + i) % 3 == 2 else f"{salt}/{seed}/{row}/{i}: {text}" for i in range(self.count)]
            for text, row in zip(texts, rows, strict=True)
        ]


def run(directory, writers, texts=lambda: iter(TEXTS)):
    shards = TextShards(directory / "checkpoints", len(TEXTS), 4)
    trainer = partial(pl.Trainer, accelerator="cpu", devices=1)
    generate(trainer, writers, shards, texts, 3, 5, "generate", directory)
    return shards


def test_every_passage_gets_its_texts(tmp_path):
    found = list(run(tmp_path, {"queries": Echo(2), "continuation": Echo(1)}).read())
    assert [record.id for record in found] == [id for id, _ in TEXTS]
    for row, (record, (_, text)) in enumerate(zip(found, TEXTS, strict=True)):
        wanted = [f"generate/queries/5/{row}/{i}: {text}" for i in range(2) if (row + i) % 3 != 2]
        assert record.queries == wanted, "an empty query is none"
        assert record.continuation == ("" if row % 3 == 2 else f"generate/continuation/5/{row}/0: {text}")


@pytest.mark.parametrize(("role", "queries", "continuation"), [("queries", 1, None), ("continuation", 0, "text")])
def test_one_of_the_two_may_be_left_out(tmp_path, role, queries, continuation):
    record = next(run(tmp_path, {role: Echo(1)}).read())
    assert len(record.queries) == queries
    assert (record.continuation is None) == (continuation is None)


def test_the_longest_texts_of_a_shard_go_first_in_batches(tmp_path):
    writer = Echo(1)
    run(tmp_path, {"queries": writer})
    assert [len(texts) for texts, _, _ in writer.calls] == [3, 1, 3, 1, 3]
    lengths = [len(text) for texts, _, _ in writer.calls[:2] for text in texts]
    assert lengths == sorted(lengths, reverse=True)
    assert sorted(row for _, rows, _ in writer.calls[:2] for row in rows) == [0, 1, 2, 3]


def test_finished_shards_are_kept_and_their_passages_skipped(tmp_path):
    shards = TextShards(tmp_path / "checkpoints", len(TEXTS), 4)
    shards.write(1, [Generated(id, ["kept"], None) for id, _ in TEXTS[4:8]])
    writer = Echo(1)
    found = list(run(tmp_path, {"queries": writer}).read())
    assert [record.queries for record in found[4:8]] == [["kept"]] * 4
    assert sorted(row for _, rows, _ in writer.calls for row in rows) == [0, 1, 2, 3, 8, 9, 10]
    run(tmp_path, {"queries": writer}, texts=lambda: iter(()))
    assert len(writer.calls) == 3, "nothing is missing, nothing is written"
