"""The training code path against the numbers of the published SimLM code (tests/golden/README.md §1, §4).

Views, decoders and the loss's normalisation are those of `+experiment=simlm reading=code`. The recorded draws stand in
for the generator and the recorded selection for the masks; labels and what the generator is shown are our own.
"""

import pytest
import torch
from support.golden_sets import GivenMask, GoldenSet, close, key, tiny_encoder
from support.stages import composed_stage
from torch import nn

from bmae_lightning.encoder.batch import TextBatch, Tokens
from bmae_lightning.pretraining.bmae import BottleneckMAE
from bmae_lightning.pretraining.generator.generator import Generator
from bmae_lightning.pretraining.loss.normalise import mean_loss
from bmae_lightning.pretraining.noise import Noise

GOLDEN = GoldenSet("simlm", "shallow")
SIDES = {"views.passage": "enc", "decoders.shallow": "dec"}


class RecordedGenerator(Generator):
    """The draws of the original, by side; keeps what it was shown."""

    def __init__(self):
        super().__init__()
        self.masked_lm = nn.Identity()
        self.shown = {}

    def network(self, tokenizer, directory):
        raise AssertionError

    def replace(self, shown_BL, original_BL, selected_BL, real_BL, noise, salt, types_BL=None, size=None):
        side = SIDES[salt.removesuffix("/corruption/generator")]
        self.shown[side] = (shown_BL, selected_BL, real_BL, types_BL)
        return GOLDEN.inputs[f"{side}_ids"], None


def released():
    """The stage as the released code has it."""
    return composed_stage("pretrain", "+experiment=simlm", "reading=code")


def build(dtype, labels="all", segments=True):
    inputs, stage = GOLDEN.inputs, released()
    view, decoder = stage.view["passage"], stage.decoders["shallow"]
    view.mask, decoder.mask = (GivenMask(inputs[f"{side}_mask_labels"] >= 0) for side in ("enc", "dec"))
    view.corruption.labels, view.segments = labels, segments
    model = BottleneckMAE(
        tiny_encoder(), stage.bottleneck, stage.view, stage.decoders, objective=stage.objective,
        generator=RecordedGenerator(),
    )  # fmt: skip
    original_BL = torch.where(inputs["labels"] >= 0, inputs["labels"], inputs["enc_ids"])
    rows = torch.arange(5)
    batch = TextBatch({"passage": Tokens(original_BL, inputs["attn"].bool())}, rows, rows * 0)
    return GOLDEN.fill(model).to(dtype), batch


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_losses_logits_bottleneck_and_gradients(dtype):
    model, batch = build(dtype)
    expected = GOLDEN.json("expected.json")[key(dtype)]
    output = model(batch)
    assert output.losses.keys() == output.weights.keys() == {"encoder/passage", "shallow"}
    assert [int(loss.count) for loss in output.losses.values()] == [56, 56]
    parts = [mean_loss(loss, released().loss_norm) for loss in output.losses.values()]
    losses = {"enc": parts[0], "dec": parts[1], "total": sum(parts)}
    for term, value in losses.items():
        close(value, expected["loss"][term], dtype, "loss")

    noise = Noise(0, batch.epoch_B, batch.passage_B)
    encoded = model.encode("passage", batch, noise)
    decoded = model.decoders["shallow"].decode(model.encoder, encoded, batch, noise, "decoders.shallow")
    close(encoded.bottleneck_BD, GOLDEN.bottleneck(dtype), dtype, "state")
    GOLDEN.check_logits(model, "encoder", encoded.hidden_BLD, dtype)
    GOLDEN.check_logits(model, "decoder", decoded.hidden_BLD, dtype)
    GOLDEN.check_gradients(model, losses, dtype)


def test_the_papers_reading_gives_another_loss():
    paper = composed_stage("pretrain", "+experiment=simlm")
    model, batch = build(torch.float64)
    value = mean_loss(model(batch).losses["encoder/passage"], paper.loss_norm).item()
    assert abs(value - GOLDEN.json("expected.json")["float64"]["loss"]["enc"]) > 1e-3
    assert (released().generator.dropout, paper.generator.dropout) == (True, False)


def test_labels_and_what_the_generator_reads_are_those_of_the_original():
    model, batch = build(torch.float32)
    inputs, noise = GOLDEN.inputs, Noise(0, batch.epoch_B, batch.passage_B)
    encoded = model.encode("passage", batch, noise)
    decoded = model.decoders["shallow"].decode(model.encoder, encoded, batch, noise, "decoders.shallow")
    assert torch.equal(encoded.masked.types_BL, inputs["token_type_ids"])
    for side, labels_BL in (("enc", encoded.masked.labels_BL), ("dec", decoded.labels_BL)):
        assert torch.equal(labels_BL, inputs["labels"])
        shown_BL, selected_BL, real_BL, types_BL = model.generator.shown[side]
        assert torch.equal(shown_BL, inputs[f"{side}_masked_ids"])
        assert torch.equal(selected_BL, inputs[f"{side}_mask_labels"] >= 0)
        assert torch.equal(real_BL, inputs["attn"].bool())
        assert torch.equal(types_BL, inputs["token_type_ids"])
    replaced_BL = encoded.masked.selected_BL & (encoded.masked.ids_BL != encoded.masked.tokens.ids_BL)
    ratio = GOLDEN.json("expected.json")["float64"]["replace_ratio_of_real_positions"]
    assert replaced_BL.sum() / inputs["attn"].sum() == pytest.approx(ratio, abs=1e-8)


def test_token_types_and_labels_change_the_losses():
    """What is compared above can fail: other readings of the paper give other numbers."""
    expected = GOLDEN.json("expected.json")["float64"]["loss"]
    for options in ({"labels": "selected"}, {"segments": False}):
        model, batch = build(torch.float64, **options)
        value = mean_loss(model(batch).losses["encoder/passage"], "micro_mean").item()
        assert abs(value - expected["enc"]) > 1e-3, options
