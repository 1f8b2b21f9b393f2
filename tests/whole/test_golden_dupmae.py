"""The training code path against the numbers of the published DupMAE code (tests/golden/README.md §1, §3)."""

import pytest
import torch
from support.golden_sets import GivenCorruption, GivenMask, GoldenSet, Released, close, key, tiny_encoder

from bmae_lightning.encoder.batch import TextBatch, Tokens
from bmae_lightning.encoder.vocabulary_head import VocabularyHead
from bmae_lightning.pretraining.bmae import BottleneckMAE
from bmae_lightning.pretraining.bottleneck import ClsBottleneck
from bmae_lightning.pretraining.decoder.bag_of_words import BagOfWordsDecoder
from bmae_lightning.pretraining.decoder.enhanced import EnhancedDecoder
from bmae_lightning.pretraining.loss.bag_of_words import bag_of_words_loss, max_pool
from bmae_lightning.pretraining.loss.normalise import mean_loss
from bmae_lightning.pretraining.noise import Noise
from bmae_lightning.pretraining.view import View

GOLDEN, RELEASED = GoldenSet("dupmae", "enhanced"), Released("dupmae")


def build(dtype, **other):
    """other: options of the bag of words instead of the released ones."""
    inputs = GOLDEN.inputs
    view = View(GivenMask(inputs["enc_labels"] >= 0), GivenCorruption(inputs["enc_ids"], inputs["enc_labels"]))
    mask = GivenMask(inputs["dec_attn"] == 0)
    decoders = {
        "enhanced": RELEASED.decoder("enhanced", EnhancedDecoder, mask=mask, rows="independent"),  # after the pool
        "bag_of_words": RELEASED.decoder("bag_of_words", BagOfWordsDecoder, **other),
    }
    model = BottleneckMAE(tiny_encoder(), ClsBottleneck(), {"passage": view}, decoders)
    tokens = Tokens(inputs["dec_ids"], inputs["enc_attn"].bool())
    rows = torch.arange(5)
    return GOLDEN.fill(model).to(dtype), TextBatch({"passage": tokens}, rows, rows * 0), inputs


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_losses_logits_bottleneck_and_gradients(dtype):
    model, batch, inputs = build(dtype)
    numbers = GOLDEN.json("expected.json")[key(dtype)]

    output = model(batch)
    losses = {
        "enc": mean_loss(output.losses["encoder/passage"], RELEASED.norm),
        "dec": mean_loss(output.losses["enhanced"], RELEASED.norm),
        "bow": mean_loss(output.losses["bag_of_words"], RELEASED.norm),
    }
    losses["total"] = sum(model.weights[name] * mean_loss(loss, RELEASED.norm) for name, loss in output.losses.items())
    counts = {name: int(loss.count) for name, loss in output.losses.items()}
    assert counts == {"encoder/passage": 18, "enhanced": 54, "bag_of_words": 5}
    for term, value in losses.items():
        close(value, numbers["loss"][term], dtype, "loss")

    noise = Noise(0, batch.epoch_B, batch.passage_B)
    encoded = model.encode("passage", batch, noise)
    decoded = model.decoders["enhanced"].decode(model.encoder, encoded, batch, noise, "decoders.enhanced")
    assert torch.equal(decoded.labels_BL, inputs["dec_labels"])
    close(encoded.bottleneck_BD, GOLDEN.bottleneck(dtype), dtype, "state")
    GOLDEN.check_logits(model, "encoder", encoded.hidden_BLD, dtype)
    GOLDEN.check_logits(model, "decoder", decoded.hidden_BLD, dtype)

    bag = model.decoders["bag_of_words"].decode(model.encoder, encoded, batch, noise, "")
    for chunk in (5, 15, 1024):
        mu_BV = max_pool(bag.hidden_BLD, bag.pooled_BL, model.encoder.head, chunk)
        row, entry = torch.tensor(GOLDEN.json("expected.json")["where"]["mu"]).T
        close(mu_BV[row, entry], numbers["mu"], dtype, "state")

    GOLDEN.check_gradients(model, losses, dtype)


@pytest.mark.parametrize("paper", [{"pool": "paper"}, {"head": "linear"}])
def test_the_pool_and_the_head_of_the_paper_are_other_losses(paper):
    losses = []
    for other in ({}, paper):
        model, batch, _ = build(torch.float64, **other)
        losses.append(mean_loss(model(batch).losses["bag_of_words"], "micro_mean").item())
    assert abs(losses[0] - losses[1]) > 1e-3


def test_targets_are_those_of_the_original_collator():
    """The gradient at uniform logits is sum(w) / V - w, so it shows the weights w themselves."""
    model, batch, inputs = build(torch.float64)
    decoder, noise = model.decoders["bag_of_words"], Noise(0, batch.epoch_B, batch.passage_B)
    bag = decoder.decode(model.encoder, model.encode("passage", batch, noise), batch, noise, "")
    logits_B1V = torch.zeros(5, 1, 200, dtype=torch.float64, requires_grad=True)
    pooled_B1 = torch.ones(5, 1, dtype=torch.bool)
    as_they_are = VocabularyHead(torch.nn.Identity(), torch.eye(200, dtype=torch.float64))
    bag_of_words_loss(logits_B1V, pooled_B1, bag.labels_BL, as_they_are).total.backward()
    weight_BV = inputs["bow_weight"].double()
    torch.testing.assert_close(logits_B1V.grad[:, 0], weight_BV.sum(1, keepdim=True) / 200 - weight_BV)
