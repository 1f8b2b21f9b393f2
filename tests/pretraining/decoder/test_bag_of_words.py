"""BagOfWordsDecoder inside the model: which positions it pools, what it counts, where its gradient goes."""

from dataclasses import replace

import pytest
import torch
from support.decoders import batch, encode, small_encoder

from bmae_lightning.pretraining.bmae import BottleneckMAE
from bmae_lightning.pretraining.bottleneck import ClsBottleneck
from bmae_lightning.pretraining.corruption.bert import BertCorruption
from bmae_lightning.pretraining.decoder.bag_of_words import BagOfWordsDecoder
from bmae_lightning.pretraining.decoder.enhanced import EnhancedDecoder
from bmae_lightning.pretraining.loss.normalise import mean_loss
from bmae_lightning.pretraining.mask.uniform import UniformMask
from bmae_lightning.pretraining.objective.masked import MaskedObjective
from bmae_lightning.pretraining.view import View


def make(*others, encoder_weight=1.0, **arguments):
    encoder = small_encoder()
    decoders = {"d": BagOfWordsDecoder(**arguments), **{f"other{i}": other for i, other in enumerate(others)}}
    views = {"passage": View(UniformMask(0.3), BertCorruption())}
    return BottleneckMAE(encoder, ClsBottleneck(), views, decoders, objective=MaskedObjective(encoder_weight))


def decode(model, encoded, texts, noise):
    return model.decoders["d"].decode(model.encoder, encoded, texts, noise, "decoders.d")


@pytest.mark.parametrize("pool", ["code", "paper"])
def test_which_positions_are_pooled(pool):
    model, texts = make(pool=pool), batch()
    encoded, noise = encode(model, texts)
    decoded = decode(model, encoded, texts, noise)
    assert encoded.masked.selected_BL.any()
    for b, size in enumerate((12, 3, 7)):
        for position in range(14):
            expected = 1 <= position <= size + 1
            if pool == "paper":
                expected &= position <= size and not encoded.masked.selected_BL[b, position]
            assert decoded.pooled_BL[b, position] == expected
    share = 0 if pool == "code" else encoded.masked.selected_BL.sum().item() / 22
    assert decoded.rate.item() == pytest.approx(share)


@pytest.mark.parametrize("pool", ["code", "paper"])
def test_masked_positions_matter_to_the_codes_pool_only(pool):
    model, texts = make(pool=pool), batch()
    encoded, noise = encode(model, texts)
    hidden_BLD = encoded.hidden_BLD.clone()
    hidden_BLD[encoded.masked.selected_BL] = torch.randn(32).double()
    before, after = (
        model.decoders["d"](model.encoder, seen, texts, noise, "x").total
        for seen in (encoded, replace(encoded, hidden_BLD=hidden_BLD))
    )
    assert torch.equal(before, after) == (pool == "paper")


def test_targets_come_from_the_original_text_and_keep_unknown_tokens():
    model, texts = make(), batch()
    texts.streams["passage"].ids_BL[0, 3:5] = 100
    encoded, noise = encode(model, texts)
    decoded = decode(model, encoded, texts, noise)
    for b, size in enumerate((12, 3, 7)):
        labels = decoded.labels_BL[b][decoded.labels_BL[b] >= 0]
        assert torch.equal(labels, texts.streams["passage"].ids_BL[b, 1 : size + 1])


@pytest.mark.parametrize("pool", ["code", "paper"])
def test_padding_and_the_plain_mean_over_passages(pool):
    model = make(pool=pool)
    loss, padded = (model(batch(pad=pad)).losses["d"] for pad in (0, 9))
    assert loss.count == padded.count == 3
    torch.testing.assert_close(loss.total, padded.total, rtol=1e-9, atol=1e-9)
    alone = [model(batch(pad=2).map(lambda t, row=row: t[row : row + 1])).losses["d"] for row in range(3)]
    means = torch.stack([mean_loss(one, "micro_mean") for one in alone])
    torch.testing.assert_close(mean_loss(loss, "micro_mean"), means.mean(), rtol=1e-9, atol=1e-9)


def test_a_batch_without_content():
    model = make()
    loss = model(batch((0, 0))).losses["d"]
    assert loss.total.item() == 0
    mean_loss(loss, "micro_mean").backward()
    assert all((p.grad == 0).all() for p in model.parameters() if p.grad is not None)


def test_weight_zero_removes_the_gradient_and_leaves_the_other_losses():
    """With weight 0 the optimised loss is that of the other decoders, exactly."""
    grown = {}
    for name, model in {
        "with": make(EnhancedDecoder(UniformMask(0.5)), weight=0.0),
        "without": BottleneckMAE(make().encoder, *plain()),
    }.items():
        torch.manual_seed(3)
        for parameter in model.decoders.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
        output = model.double()(batch())
        sum(output.weights[key] * mean_loss(loss, "micro_mean") for key, loss in output.losses.items()).backward()
        grown[name] = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    for one, other in zip(grown["with"], grown["without"], strict=True):
        torch.testing.assert_close(one, other)


def plain():
    decoders = {"other0": EnhancedDecoder(UniformMask(0.5))}
    return ClsBottleneck(), {"passage": View(UniformMask(0.3), BertCorruption())}, decoders


def test_no_parameters_no_text_but_a_gradient_into_every_encoder_layer():
    model, texts = make(encoder_weight=0.0), batch()
    assert not list(model.decoders.parameters())
    assert model.streams == {"passage"}
    output = model(texts)
    assert output.weights == {"d": 0.1}
    output.losses["d"].total.backward()
    for layer in model.encoder.masked_lm.bert.encoder.layer:
        assert layer.output.dense.weight.grad.abs().sum() > 0
    assert all("d" not in row.rebuilt for row in model.rebuild(texts, 2))


def test_the_linear_head_is_the_word_embedding_alone():
    """DupMAE Eq. 5-8 by its letter; nothing of the masked language model's head takes part, and it is not trained."""
    model, texts = make(head="linear", normalise="none", pool="paper", weight=1.0, encoder_weight=0.0), batch()
    encoded, noise = encode(model, texts)
    decoded = decode(model, encoded, texts, noise)
    embedding_VD = model.encoder.masked_lm.bert.embeddings.word_embeddings.weight
    expected = []
    for b in range(3):
        mu_V = (decoded.hidden_BLD[b, decoded.pooled_BL[b]] @ embedding_VD.T).amax(0).log_softmax(0)
        expected.append(-sum(mu_V[label] for label in set(decoded.labels_BL[b].tolist()) - {-100}))
    loss = model(texts).losses["d"]
    torch.testing.assert_close(loss.total_B, torch.stack(expected), rtol=1e-6, atol=0)
    mean_loss(loss, "sum").backward()
    assert embedding_VD.grad.abs().sum() > 0
    own = [p for p in model.encoder.masked_lm.cls.parameters() if p is not embedding_VD]
    assert own
    assert not any(p.requires_grad for p in own)


def test_refusals():
    with pytest.raises(ValueError, match="pool must be one of code, paper, got 'all'"):
        BagOfWordsDecoder(pool="all")
    with pytest.raises(ValueError, match="normalise must be one of length, none, got 'mean'"):
        BagOfWordsDecoder(normalise="mean")
    with pytest.raises(ValueError, match="head must be one of mlm, linear, got 'lpu'"):
        BagOfWordsDecoder(head="lpu")
