"""The classifier on [CLS], and BERT's way of cutting pairs."""

import numpy as np
import pytest
import torch
from support.generators import VOCABULARY

from bmae_lightning.encoder.batch import Pairs
from bmae_lightning.encoder.model import Encoder
from bmae_lightning.evaluation.glue.classifier import Classifier, classifier_loss, cut_longer
from bmae_lightning.lit.classifier import LabelledTexts, predict


@pytest.fixture(scope="module")
def encoder():
    from transformers import BertConfig, BertForMaskedLM

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=VOCABULARY.size, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=24, initializer_range=0.5,
    )  # fmt: skip
    return Encoder(BertForMaskedLM(config), VOCABULARY)


def slowly(first, second, room):
    """One piece after the other from the longer text, the second one where they are equal."""
    first, second = list(first), list(second)
    while len(first) + len(second) > room:
        (first if len(first) > len(second) else second).pop()
    return first, second


def test_pairs_are_cut_as_by_bert():
    for a in range(9):
        for b in range(9):
            for room in range(1, 12):
                cut = cut_longer(np.arange(a), np.arange(b), room)
                assert tuple(map(list, cut)) == slowly(range(a), range(b), room)


def texts(encoder, second=True):
    draw = np.random.default_rng(1)
    rows = [[draw.integers(5, VOCABULARY.size, draw.integers(1, 14)) for _ in range(9)] for _ in range(2)]
    return LabelledTexts(rows[0], rows[1] if second else None, np.arange(9, dtype=np.float32) % 2, VOCABULARY, 12)


def test_rows_of_a_batch(encoder):
    pairs, label = texts(encoder)([(3, 0), (4, 0)])
    assert label.tolist() == [1.0, 0.0]
    assert pairs.ids_PL.shape[1] <= 12
    for ids, real, types in zip(pairs.ids_PL, pairs.real_PL, pairs.types_PL, strict=True):
        row = ids[real].tolist()
        assert row[0] == VOCABULARY.cls_id
        assert row[-1] == VOCABULARY.sep_id
        assert row.count(VOCABULARY.sep_id) == 2
        assert types[real].tolist() == sorted(types[real].tolist())
        assert types[real].sum() == len(row) - row.index(VOCABULARY.sep_id) - 1
    one, _ = texts(encoder, second=False)([(3, 0), (4, 0)])
    assert not one.types_PL.any()
    assert all(
        ids[real].tolist().count(VOCABULARY.sep_id) == 1 for ids, real in zip(one.ids_PL, one.real_PL, strict=True)
    )


def test_it_is_a_linear_map_of_the_last_cls_state_and_all_of_it_learns(encoder):
    model = Classifier(encoder, 2).eval()
    pairs, label = texts(encoder)([(row, 0) for row in range(9)])
    hidden, _ = encoder.eval().with_early(pairs.ids_PL, pairs.real_PL, (), pairs.types_PL)
    wanted = hidden[:, 0] @ model.linear.weight.T + model.linear.bias
    torch.testing.assert_close(model(pairs), wanted)
    classifier_loss(model(pairs), label).backward()
    assert all(parameter.grad is not None for parameter in model.parameters() if parameter.requires_grad)
    torch.testing.assert_close(model.predict(pairs), wanted.argmax(1).float())
    plain = Pairs(pairs.ids_PL, pairs.real_PL, torch.zeros_like(pairs.types_PL))
    assert not torch.allclose(model(plain), wanted, atol=1e-4)


def test_losses():
    scores, label = torch.tensor([[0.0, 1.0], [2.0, 0.0]]), torch.tensor([1.0, 1.0])
    wanted = -(torch.log_softmax(scores, 1)[0, 1] + torch.log_softmax(scores, 1)[1, 1]) / 2
    torch.testing.assert_close(classifier_loss(scores, label), wanted)
    assert classifier_loss(torch.tensor([[1.0], [3.0]]), torch.tensor([2.0, 0.0])) == pytest.approx(5.0)


def test_predictions_stand_in_the_order_of_the_rows(encoder):
    model, rows = Classifier(encoder, 1), texts(encoder)
    found = predict(model, rows, 4, "cpu")
    assert len(set(found.round(3))) > 5
    for row in range(9):
        alone = model.predict(rows([(row, 0)]).pairs).item()
        assert found[row] == pytest.approx(alone, abs=1e-5)
