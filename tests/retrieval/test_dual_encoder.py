"""Shared and separate encoders, and what is saved of them."""

import dataclasses
import sys
import types

import numpy as np
import pytest
import torch
from support.contrast import contrastive_loss
from support.encoders import TOKENS, small_encoder
from transformers import BertTokenizerFast

from bmae_lightning.retrieval.dual_encoder import DualEncoder, load_dual_encoder, save_dual_encoder
from bmae_lightning.retrieval.representation.hybrid import HybridRepresentation
from bmae_lightning.retrieval.representation.pooled import PooledRepresentation
from bmae_lightning.retrieval.representation.vectors import Vectors
from bmae_lightning.retrieval.retriever_config import RetrieverConfig
from bmae_lightning.runtime.errors import BadInput

REPRESENTATIONS = {
    "cls": lambda: PooledRepresentation("cls"),
    "projected": lambda: HybridRepresentation("mean", 5, lexical=0),
    "hybrid": lambda: HybridRepresentation("cls", 5, 7, "relu", "exclude"),
    "lexical": lambda: HybridRepresentation("cls", 0, 7),
    "linear": lambda: HybridRepresentation("cls", 5, 7, lexical_head="linear"),
}


def build(representation="cls", similarity="dot", shared=True, segments=False):
    return DualEncoder(small_encoder(2, dropout=0.0), REPRESENTATIONS[representation](), similarity, shared, segments)


def texts(model, count, seed):
    draw = np.random.default_rng(seed)
    return model.encoder.vocabulary.pad([draw.integers(5, 45, int(draw.integers(1, 9))) for _ in range(count)], 10)


def loss(model, detached=None):
    """A contrastive loss in which the vectors of one side may be constants."""
    sides = [model(texts(model, 3, 1), passages=False), model(texts(model, 6, 2), passages=True)]
    if detached is not None:
        sides[detached] = Vectors(*(tensor.detach() for tensor in sides[detached].tensors()))
    return contrastive_loss(*sides, 2).loss


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("representation", REPRESENTATIONS)
def test_both_sides_in_one_pass_are_those_of_two(representation, shared, packed):
    model = build(representation, shared=shared, segments=True).double()
    model.encoder.packed = packed
    queries, passages = texts(model, 3, 1), texts(model, 6, 2)
    found = model.both(queries, passages)
    for side, (one, tokens) in enumerate(zip(found, (queries, passages), strict=True)):
        for ours, theirs in zip(one.tensors(), model(tokens, passages=bool(side)).tensors(), strict=True):
            torch.testing.assert_close(ours, theirs)


def gradients(model, encoder, **options):
    model.zero_grad()
    loss(model, **options).backward()
    return {name: p.grad for name, p in encoder.named_parameters() if p.grad is not None}


def test_a_shared_encoder_receives_both_sides_and_separate_ones_their_own():
    model = build().double()
    whole = gradients(model, model.encoder)
    query_side, passage_side = gradients(model, model.encoder, detached=1), gradients(model, model.encoder, detached=0)
    assert set(whole) == set(query_side)
    for name in whole:
        torch.testing.assert_close(whole[name], query_side[name] + passage_side[name], rtol=0, atol=1e-12)

    model = build(shared=False).double()
    pairs = list(zip(model.encoder.parameters(), model.passage_encoder.parameters(), strict=True))
    assert all(torch.equal(one, two) and one is not two for one, two in pairs)
    assert loss(model).item() == pytest.approx(loss(build().double()).item(), abs=1e-12)
    for encoder, side in ((model.encoder, query_side), (model.passage_encoder, passage_side)):
        found = gradients(model, encoder)
        assert all(torch.allclose(found[name], side[name], rtol=0, atol=1e-12) for name in side)
    torch.optim.SGD(model.parameters(), 0.1).step()
    assert any(not torch.equal(one, two) for one, two in pairs)


def test_the_text_behind_a_title_has_a_token_type_of_its_own():
    model, plain = build(segments=True).eval(), build().eval()
    vocabulary = model.encoder.vocabulary
    tokens = vocabulary.pad([np.array([7, 8, vocabulary.sep_id, 9]), np.array([7, 8, 9])], 10)
    found, without = model(tokens, passages=True).dense_BD, plain(tokens, passages=True).dense_BD
    types_BL = torch.tensor([[0, 0, 0, 0, 1, 1], [0] * 6])
    states_BLD = model.encoder.masked_lm.bert(tokens.ids_BL, tokens.real_BL.long(), types_BL).last_hidden_state
    torch.testing.assert_close(found, states_BLD[:, 0])
    assert torch.equal(found[1], without[1])
    assert (found[0] - without[0]).abs().max() > 1e-3


def test_a_shared_encoder_is_saved_once(tmp_path):
    names = list(build().state_dict())
    assert not [name for name in names if name.startswith("passage_encoder")]
    assert len(list(build(shared=False).state_dict())) == 2 * len(names)
    for shared in (True, False):
        save(build(shared=shared), tmp_path / str(shared))
        weights = list((tmp_path / str(shared)).rglob("model.safetensors"))
        assert len(weights) == (1 if shared else 2)


def save(model, directory):
    (directory / "tokenizer").mkdir(parents=True)
    BertTokenizerFast(vocab={token: i for i, token in enumerate(TOKENS)}).save_pretrained(directory / "tokenizer")
    config = RetrieverConfig(
        tokenizer="digest", similarity=model.similarity, query_length=8, passage_length=10, shared=model.shared,
        **model.representation.record(),
    )  # fmt: skip
    save_dual_encoder(model, config, directory / "tokenizer", directory)
    return config


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("representation", list(REPRESENTATIONS))
def test_a_loaded_retriever_makes_the_same_vectors(representation, shared, tmp_path):
    model = build(representation, shared=shared).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # so that the two encoders differ
            parameter.add_(0.05 * torch.randn(parameter.shape))
    config = save(model, tmp_path / "retriever")
    loaded, found = load_dual_encoder(tmp_path / "retriever", dropout=0.3)
    assert found == config
    assert not loaded.training
    assert loaded.encoder.config.hidden_dropout_prob == 0.3
    assert loaded.shared == shared
    for passages in (False, True):
        one, two = model(texts(model, 4, 3), passages=passages), loaded(texts(model, 4, 3), passages=passages)
        assert all(torch.equal(a, b) for a, b in zip(one.tensors(), two.tensors(), strict=True))
    if not shared:
        assert (
            not torch.equal(loaded(texts(model, 4, 3), passages=False).dense_BD, two.dense_BD)
            or not two.dense_BD.numel()
        )


def test_records_of_older_versions_load(tmp_path):
    save(build(), tmp_path)
    (tmp_path / "retriever_spec.json").write_text(
        '{"pooling": "cls", "tokenizer": "d", "similarity": "cos", "query_length": 8, "passage_length": 9, '
        '"query_prefix": "", "passage_prefix": ""}'
    )
    model, config = load_dual_encoder(tmp_path)
    assert (config.shared, config.dense, config.lexical) == (True, None, 0)
    norms_B = model(texts(model, 3, 0), passages=True).dense_BD.norm(dim=1)
    torch.testing.assert_close(norms_B, torch.ones(3))


def test_the_head_is_trained_only_where_it_is_used():
    for name in REPRESENTATIONS:
        model = build(name).train()
        loss(model).backward()
        assert [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None] == []
        assert model.encoder.masked_lm.cls.predictions.bias.requires_grad == (name in ("hybrid", "lexical"))


def test_mistakes(tmp_path):
    with pytest.raises(ValueError, match="similarity: cos is for dense"):
        build("hybrid", "cos")
    with pytest.raises(ValueError, match="similarity must be one of dot, cos"):
        build("cls", "euclid")
    save(build("projected"), tmp_path)
    (tmp_path / "representation.safetensors").unlink()
    with pytest.raises(BadInput, match="representation.safetensors"):
        load_dual_encoder(tmp_path)
    with pytest.raises(BadInput, match="no retriever"):
        load_dual_encoder(tmp_path / "nowhere")


class LastToken(PooledRepresentation):
    """A representation that the package does not have: the state of a token counted from the end."""

    def __init__(self, back: int = 1) -> None:
        super().__init__()
        self.back = back

    def forward(self, encoder, tokens, hidden_BLD, passages):
        return Vectors(hidden_BLD[range(len(hidden_BLD)), tokens.real_BL.sum(1) - self.back])


def test_a_representation_from_elsewhere_is_read_back(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "elsewhere", types.SimpleNamespace(LastToken=LastToken))
    monkeypatch.setattr(LastToken, "__module__", "elsewhere")
    model = build()
    model = DualEncoder(model.encoder, LastToken(2), "dot").eval()
    config = save(model, tmp_path / "retriever")
    assert config.representation == {"_target_": "elsewhere.LastToken", "back": 2}
    loaded, found = load_dual_encoder(tmp_path / "retriever")
    assert found == config
    assert loaded.representation.back == 2
    assert torch.equal(loaded(texts(model, 4, 3), False).dense_BD, model(texts(model, 4, 3), False).dense_BD)


def test_a_record_calls_nothing_but_a_representation(tmp_path):
    config = save(build(), tmp_path / "retriever")
    called = tmp_path / "called"
    node = {"_target_": "os.mkdir", "path": str(called)}
    dataclasses.replace(config, representation=node).save(tmp_path / "retriever")
    with pytest.raises(BadInput, match="os.mkdir is no PooledRepresentation"):
        load_dual_encoder(tmp_path / "retriever")
    assert not called.exists()
