"""Scores of pairs: each as if it were scored alone, and finished shards are never scored again."""

import numpy as np
import pytest
import torch
from support.stores import random_rows, write_store
from transformers import BertConfig, BertForMaskedLM

from bmae_lightning.encoder.batch import pad_pairs
from bmae_lightning.retrieval.reranking.cross_encoder import cross_encoder_of
from bmae_lightning.retrieval.reranking.pair_texts import PairLayout, PairTexts
from bmae_lightning.retrieval.reranking.score_pairs import PairScorer, PairShards
from bmae_lightning.runtime.errors import BadInput


@pytest.fixture
def masked_lm():
    torch.manual_seed(0)
    return BertForMaskedLM(
        BertConfig(
            vocab_size=45, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
            initializer_range=0.5,
        )
    ).eval()  # fmt: skip


def test_a_cross_encoder_has_the_layers_of_its_encoder(masked_lm):
    model = cross_encoder_of(masked_lm).eval()
    ids_PL = torch.tensor([[2, 9, 3, 11, 3]])
    torch.testing.assert_close(
        model.classifier.bert(input_ids=ids_PL).last_hidden_state, masked_lm.bert(input_ids=ids_PL).last_hidden_state
    )
    assert model.classifier.config.num_labels == 1


def test_scores_do_not_depend_on_the_batch(masked_lm, tmp_path):
    model = cross_encoder_of(masked_lm).eval()
    queries, passages = (
        write_store(tmp_path / "q", random_rows([3, 5, 2])),
        write_store(tmp_path / "p", random_rows([4, 30, 1, 9])),
    )
    pairs_P2 = np.array([(q, p) for q in range(3) for p in range(4)], dtype=np.int32)
    texts, done = PairTexts(queries, passages, PairLayout(2, 3, 0)), []
    scores_P = PairScorer(model, texts, 16, 50)(pairs_P2, done.append)
    assert sum(done) == 12
    assert len(done) > 3
    special = {"cls_id": 2, "sep_id": 3, "pad_id": 0}
    for (query, passage), found in zip(pairs_P2, scores_P, strict=True):
        alone = model(pad_pairs([queries[query]], [passages[passage]], **special, max_length=16))
        np.testing.assert_allclose(found, alone.item(), atol=1e-5)
    torch.nn.init.constant_(model.classifier.classifier.bias, float("nan"))
    with pytest.raises(BadInput, match="score of query 0 and passage 0 is not a number"):
        PairScorer(model, texts, 16, 50)(pairs_P2, done.append)


def test_finished_shards_are_kept_and_the_end_is_the_same(tmp_path):
    pairs_P2 = np.arange(22, dtype=np.int32).reshape(11, 2)
    shards = PairShards(tmp_path / "s", pairs_P2, 3)
    assert shards.count == 4
    for number in (0, 3):
        shards.write(number, shards.pairs(number).sum(1).astype(np.float32))
    again = PairShards(tmp_path / "s", pairs_P2, 3)
    assert again.missing() == [1, 2]
    assert (again.missing(0, 2), again.missing(1, 2)) == ([2], [1])
    for number in again.missing():
        again.write(number, again.pairs(number).sum(1).astype(np.float32))
    assert np.concatenate(list(again.read())).tolist() == pairs_P2.sum(1).tolist()
    np.save(again.path(1), np.zeros(2, dtype=np.float32))
    with pytest.raises(BadInput, match=r"shard-000001.npy has the shape .2,. instead of .3,.; delete the file"):
        list(again.read())
