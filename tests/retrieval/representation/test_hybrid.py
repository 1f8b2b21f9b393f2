"""Dense and lexical part against a loop over positions."""

import pytest
import torch

from bmae_lightning.retrieval.representation.hybrid import HybridRepresentation
from bmae_lightning.retrieval.representation.vectors import Sparse, Vectors, score
from bmae_lightning.runtime.errors import BadInput

V = 45


def build(encoder, *options):
    representation = HybridRepresentation(*options)
    representation.build(encoder)
    return representation


def both(encoder, tokens, representation):
    hidden_BLD = encoder(tokens.ids_BL, tokens.real_BL)
    return [representation(encoder, tokens, hidden_BLD, passages) for passages in (False, True)]


def pooled_by_loop(encoder, tokens, separator, head):
    if head == "mlm":
        logits_BLV = encoder.masked_lm(tokens.ids_BL, attention_mask=tokens.real_BL.long()).logits
    else:
        logits_BLV = encoder(tokens.ids_BL, tokens.real_BL) @ encoder.masked_lm.bert.embeddings.word_embeddings.weight.T
    rows = []
    for b in range(len(tokens.ids_BL)):
        positions = range(1, int(tokens.real_BL[b].sum()) - (separator == "exclude"))
        rows.append(torch.stack([logits_BLV[b, i] for i in positions]).amax(0) if positions else torch.zeros(V))
    return torch.stack(rows)


@pytest.mark.parametrize("separator", ["include", "exclude"])
@pytest.mark.parametrize("activation", ["none", "relu", "log1p_relu"])
@pytest.mark.parametrize("head", ["mlm", "linear"])
def test_queries_are_full_and_passages_keep_the_largest(encoder, tokens, separator, activation, head):
    representation = build(encoder, "cls", 6, 7, activation, separator, head)
    queries, passages = both(encoder, tokens, representation)
    mu_BV = pooled_by_loop(encoder, tokens, separator, head)
    if activation != "none":
        mu_BV = mu_BV.clamp(min=0)
    if activation == "log1p_relu":
        mu_BV = torch.log(1 + mu_BV)
    torch.testing.assert_close(queries.lexical, mu_BV)
    kept = passages.lexical
    assert kept.indices_BK.dtype == torch.int32
    torch.testing.assert_close(kept.values_BK, mu_BV.topk(7, dim=1).values)
    torch.testing.assert_close(kept.values_BK, mu_BV.gather(1, kept.indices_BK.long()))
    assert all(len(set(row)) == 7 for row in kept.indices_BK.tolist())
    hidden_BLD = encoder(tokens.ids_BL, tokens.real_BL)
    torch.testing.assert_close(queries.dense_BD, hidden_BLD[:, 0] @ representation.projection.weight.T)
    assert torch.equal(queries.dense_BD, passages.dense_BD)


def test_the_score_is_the_dense_product_plus_that_of_the_kept_entries(encoder, tokens):
    queries, passages = both(encoder, tokens, build(encoder, "cls", 6, 7))
    found_QN = score(queries, passages)
    for q in range(4):
        for p in range(4):
            entries = passages.lexical.indices_BK[p].tolist()
            lexical = sum(
                queries.lexical[q, e] * v for e, v in zip(entries, passages.lexical.values_BK[p], strict=True)
            )
            assert found_QN[q, p].item() == pytest.approx(
                (queries.dense_BD[q] @ passages.dense_BD[p] + lexical).item(), abs=1e-12
            )
    everything = both(encoder, tokens, build(encoder, "cls", 6, V))
    product_QN = everything[0].dense_BD @ everything[1].dense_BD.T + everything[0].lexical @ queries.lexical.T
    torch.testing.assert_close(score(*everything), product_QN)  # k = |V| is the full product

    kept = set(passages.lexical.indices_BK.flatten().tolist())
    changed_QV = queries.lexical.clone()
    changed_QV[:, [entry for entry in range(V) if entry not in kept]] += 5
    assert len(kept) < V
    assert torch.equal(score(Vectors(queries.dense_BD, changed_QV), passages), found_QN)
    changed_QV[:, sorted(kept)] += 5
    assert not torch.allclose(score(Vectors(queries.dense_BD, changed_QV), passages), found_QN)

    swapped_QN = score(*both(encoder, tokens, build(encoder, "cls", 0, 7))).T
    assert (swapped_QN - swapped_QN.T).abs().max() > 1e-3  # roles matter: only passages are thinned out


def test_order_does_not_matter_and_a_thinned_query_does(encoder, tokens):
    queries, passages = both(encoder, tokens, build(encoder, "cls", 6, 7))
    found_QN = score(queries, passages)
    order_K = torch.randperm(7, generator=torch.Generator().manual_seed(1))
    kept = passages.lexical
    shuffled = Sparse(kept.indices_BK[:, order_K], kept.values_BK[:, order_K], kept.size)
    torch.testing.assert_close(score(queries, Vectors(passages.dense_BD, shuffled)), found_QN)
    thinned = Vectors(queries.dense_BD, passages.lexical.full())  # the same texts as passages: only 7 entries left
    assert (score(thinned, passages) - found_QN).abs().max() > 1e-3


def test_passages_keep_exactly_k_different_entries(encoder, tokens):
    for k in (1, 7, V):
        kept = both(encoder, tokens, build(encoder, "cls", 6, k))[1].lexical
        assert kept.indices_BK.shape == kept.values_BK.shape == (4, k)
        assert all(len(set(row)) == k for row in kept.indices_BK.tolist())
        assert 0 <= kept.indices_BK.min() <= kept.indices_BK.max() < V < 2**15


def test_gradients_reach_encoder_head_and_projection_through_kept_values(encoder, tokens):
    queries, passages = both(encoder, tokens, build(encoder, "cls", 6, 7))
    queries.lexical.retain_grad()
    passages.lexical.values_BK.retain_grad()
    score(queries, passages).square().sum().backward()
    assert passages.lexical.values_BK.grad.abs().min() > 0
    kept = passages.lexical.indices_BK.flatten().unique().long()
    dropped = [entry for entry in range(V) if entry not in kept.tolist()]
    assert queries.lexical.grad[:, kept].abs().sum() > 0
    assert queries.lexical.grad[:, dropped].abs().sum() == 0
    missing = [name for name, p in encoder.masked_lm.named_parameters() if p.grad is None or not p.grad.abs().sum()]
    assert all("key.bias" in name for name in missing), missing


def test_either_part_alone(encoder, tokens):
    lexical = build(encoder, "cls", 0, 7)
    queries, passages = both(encoder, tokens, lexical)
    assert queries.dense_BD.shape == (4, 0)
    torch.testing.assert_close(score(queries, passages), queries.lexical @ passages.lexical.full().T)
    assert lexical.state_dict() == {}
    dense = build(encoder, "mean", 6, 0)
    assert both(encoder, tokens, dense)[1].lexical is None
    assert isinstance(passages.lexical, Sparse)


def test_an_empty_text_without_separator_has_no_entries(encoder, tokens):
    queries, passages = both(encoder, tokens, build(encoder, "cls", 6, 7, "none", "exclude"))
    assert queries.lexical[2].abs().sum() == 0
    assert passages.lexical.values_BK[2].abs().sum() == 0
    assert torch.isfinite(score(queries, passages)).all()


def test_mistakes(encoder):
    for options, word in (
        (("cls", 0, 0), "above 0"),
        (("cls", -1, 5), "negative"),
        (("cls", 5, 5, "gelu"), "activation"),
        (("cls", 5, 5, "none", "drop"), "separator"),
        (("cls", 5, 5, "none", "include", "lpu"), "lexical_head"),
    ):
        with pytest.raises(ValueError, match=word):
            HybridRepresentation(*options)
    with pytest.raises(BadInput, match="representation.lexical=46: the vocabulary has only 45"):
        build(encoder, "cls", 5, 46)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_without_a_lexical_part_it_is_a_projection_of_the_pooled_state(encoder, tokens, pooling):
    representation = HybridRepresentation(pooling, 5, lexical=0)
    representation.build(encoder)
    hidden_BLD = encoder(tokens.ids_BL, tokens.real_BL)
    vectors = representation(encoder, tokens, hidden_BLD, passages=True)
    states = hidden_BLD[:, 0]
    if pooling == "mean":
        states = torch.stack([hidden_BLD[b, : int(tokens.real_BL[b].sum())].mean(0) for b in range(4)])
    torch.testing.assert_close(vectors.dense_BD, states @ representation.projection.weight.T)
    assert vectors.lexical is None
    assert list(representation.state_dict()) == ["projection.weight"]
    assert representation.width(encoder) == 5


def test_every_build_makes_new_parameters(encoder):
    representation = HybridRepresentation("cls", 5, lexical=0)
    representation.build(encoder)
    first = representation.projection.weight
    representation.build(encoder)
    assert not torch.equal(first, representation.projection.weight)
    assert 0.01 < representation.projection.weight.std() < 0.03  # N(0, initializer_range)


def test_mistakes_without_a_lexical_part():
    with pytest.raises(ValueError, match="dense"):
        HybridRepresentation("cls", 0, lexical=0)
    with pytest.raises(ValueError, match="pooling"):
        HybridRepresentation("max", 5, lexical=0)
