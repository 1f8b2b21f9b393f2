"""What an epoch of fine-tuning consumes, and how its texts are cut."""

from collections import Counter

import numpy as np
import pytest
from support.stores import write_store

from bmae_lightning.encoder.vocabulary import Vocabulary
from bmae_lightning.lit.data import StepBatches
from bmae_lightning.lit.optimisation import number_of_steps
from bmae_lightning.lit.retriever import RetrieverBatches
from bmae_lightning.retrieval.negatives.source import Groups, RandomNegatives

TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{i}" for i in range(60))]
QUERIES, GROUP, EPOCHS = 10, 3, 6
QRELS = {f"q{i}": {f"p{3 * i + j}": 1 for j in range(1 + i % 3)} for i in range(QUERIES)}


@pytest.fixture
def stores(tmp_path):
    draw, made = np.random.default_rng(0), []
    for prefix, count in (("q", QUERIES), ("p", 3 * QUERIES)):
        rows = [draw.integers(5, len(TOKENS), int(draw.integers(1, 40))) for _ in range(count)]
        made.append(write_store(tmp_path / prefix, rows, prefix, len(TOKENS)))
    return made


def batches(stores, batch_size, query_length=12, passage_length=20):
    """The batches of all epochs, as training sees them; their number is what `epochs` makes of it."""
    groups = Groups(QRELS, *stores, RandomNegatives(), None, GROUP, seed=1)
    collate = RetrieverBatches(groups, *stores, Vocabulary.from_tokens(TOKENS), query_length, passage_length)
    steps = number_of_steps(None, EPOCHS, QUERIES, batch_size)
    assert steps * batch_size == EPOCHS * QUERIES
    return [
        (items, collate(items))
        for items in StepBatches(QUERIES, batch_size, steps, seed=1, accumulate=1, rank=0, world=1, start=0)
    ]


@pytest.mark.parametrize("batch_size", [2, 4, 5])
def test_epochs_consume_every_query_once_and_every_pair_in_turn(stores, batch_size):
    made = batches(stores, batch_size)
    assert sum(len(batch.passage_N) for _, batch in made) == EPOCHS * QUERIES * GROUP
    visits = Counter(item for items, _ in made for item in items)
    assert visits == Counter((number, epoch) for number in range(QUERIES) for epoch in range(EPOCHS))
    pairs = Counter(
        (number, int(passage))
        for items, batch in made
        for (number, _), passage in zip(items, batch.passage_N[::GROUP], strict=True)
    )
    expected = {(i, 3 * i + j): EPOCHS // (1 + i % 3) for i in range(QUERIES) for j in range(1 + i % 3)}
    assert pairs == expected


@pytest.mark.parametrize(("query_length", "passage_length"), [(3, 3), (8, 20), (64, 64)])
def test_no_text_exceeds_its_length_with_the_special_tokens(stores, query_length, passage_length):
    for items, batch in batches(stores, 5, query_length, passage_length):
        rows = [[number for number, _ in items], batch.passage_N.tolist()]
        for tokens, store, numbers, length in (
            (batch.queries, stores[0], rows[0], query_length),
            (batch.passages, stores[1], rows[1], passage_length),
        ):
            assert tokens.ids_BL.shape[1] <= length
            for line, real, row in zip(tokens.ids_BL.tolist(), tokens.real_BL.tolist(), numbers, strict=True):
                kept = line[: sum(real)]
                assert kept == [2, *store[row].tolist()[: length - 2], 3]
