"""The training code path against the numbers of the published RetroMAE code (tests/golden/README.md §1-2)."""

import numpy as np
import pytest
import torch
from support.golden_sets import (
    GivenCorruption,
    GivenMask,
    GoldenSet,
    Released,
    close,
    key,
    tiny_encoder,
    tiny_vocabulary,
)

from bmae_lightning.encoder.batch import TextBatch, Tokens
from bmae_lightning.pretraining.bmae import BottleneckMAE
from bmae_lightning.pretraining.bottleneck import ClsBottleneck
from bmae_lightning.pretraining.corruption.bert import BertCorruption
from bmae_lightning.pretraining.decoder.enhanced import EnhancedDecoder
from bmae_lightning.pretraining.loss.normalise import mean_loss
from bmae_lightning.pretraining.mask.uniform import UniformMask
from bmae_lightning.pretraining.noise import Noise
from bmae_lightning.pretraining.view import View

GOLDEN, RELEASED = GoldenSet("retromae", "enhanced"), Released("retromae")


def build(dtype):
    inputs = GOLDEN.inputs
    view = View(GivenMask(inputs["enc_labels"] >= 0), GivenCorruption(inputs["enc_ids"], inputs["enc_labels"]))
    mask = GivenMask(inputs["dec_attn"] == 0)
    decoder = RELEASED.decoder("enhanced", EnhancedDecoder, mask=mask, rows="independent")  # recorded after the pool
    model = BottleneckMAE(tiny_encoder(), ClsBottleneck(), {"passage": view}, {"enhanced": decoder})
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
    }
    losses["total"] = losses["enc"] + losses["dec"]
    assert (int(output.losses["encoder/passage"].count), int(output.losses["enhanced"].count)) == (16, 43)
    for term, value in losses.items():
        close(value, numbers["loss"][term], dtype, "loss")

    noise = Noise(0, batch.epoch_B, batch.passage_B)
    encoded = model.encode("passage", batch, noise)
    decoded = model.decoders["enhanced"].decode(model.encoder, encoded, batch, noise, "decoders.enhanced")
    assert torch.equal(decoded.labels_BL, inputs["dec_labels"])
    close(encoded.bottleneck_BD, GOLDEN.bottleneck(dtype), dtype, "state")
    GOLDEN.check_logits(model, "encoder", encoded.hidden_BLD, dtype)
    GOLDEN.check_logits(model, "decoder", decoded.hidden_BLD, dtype)

    GOLDEN.check_gradients(model, losses, dtype)


def test_masks_and_corruption_of_the_released_code_are_composed():
    """What the recorded inputs were drawn with (tests/golden/masking)."""
    passage, enhanced = RELEASED.config["view"]["passage"], RELEASED.config["decoders"]["enhanced"]
    assert passage["corruption"] == {
        "_target_": f"{BertCorruption.__module__}.BertCorruption",
        "mask": 0.8,
        "random": 0.1,
    }
    for mask, rate in ((passage["mask"], 0.3), (enhanced["mask"], 0.5)):
        target = f"{UniformMask.__module__}.UniformMask"
        assert {"_target_": target, "rate": rate, "fill": "exact", "specials": "count"}.items() <= mask.items()
    assert enhanced["rows"] == "pooled"


def test_visibility_of_the_original_is_a_fixed_point():
    """The recorded visibility satisfies our rules (diagonal, padding), so passing it through them changes nothing."""
    model, batch, inputs = build(torch.float32)
    decoder = model.decoders["enhanced"]
    noise = Noise(0, batch.epoch_B, batch.passage_B)
    visible_BLL = decoder.visible(model.encoder, batch.streams["passage"], noise, "x")
    assert torch.equal(visible_BLL, inputs["dec_attn"].bool())


def test_padding_of_the_original_collator():
    record = GOLDEN.json("records.json")
    words = tiny_vocabulary()
    rows = [np.array(ids) for ids in record["content_ids"]]
    tokens = words.pad(rows, record["max_seq_length"])
    inputs = GOLDEN.inputs
    assert torch.equal(tokens.ids_BL, inputs["dec_ids"])
    assert torch.equal(tokens.real_BL, inputs["enc_attn"].bool())
