"""The training code path against the numbers of the published RetroMAE code (tests/golden/README.md §1-2)."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import BertConfig, BertForMaskedLM

from bmae_lightning.batch import TextBatch, Tokens, pad_rows
from bmae_lightning.bmae import BottleneckMAE
from bmae_lightning.bottleneck import ClsBottleneck
from bmae_lightning.corruption.corruption import Corrupted, Corruption
from bmae_lightning.decoder.enhanced import EnhancedDecoder
from bmae_lightning.encoder.model import Encoder
from bmae_lightning.loss.normalise import mean_loss
from bmae_lightning.mask.policy import MaskPolicy
from bmae_lightning.noise import Noise
from bmae_lightning.view import View
from bmae_lightning.vocabulary import Vocabulary

GOLDEN = Path(__file__).parent / "golden"
SET = GOLDEN / "retromae"


class GivenMask(MaskPolicy):
    """The recorded selection, whatever the noise."""

    def __init__(self, mask):
        self.mask = mask

    def select(self, tokens, vocabulary, noise, salt, rows=None, reference_BL=None):
        return self.mask


class GivenCorruption(Corruption):
    def __init__(self, ids_BL, labels_BL):
        self.ids_BL, self.labels_BL = ids_BL, labels_BL

    def corrupt(self, ids_BL, selected_BL, vocabulary, noise, salt):
        return Corrupted(self.ids_BL, self.labels_BL, selected_BL)


def vocabulary():
    return Vocabulary.from_tokens((GOLDEN / "vocab_tiny.txt").read_text().splitlines())


def build(dtype):
    inputs = load_file(SET / "inputs.safetensors")
    bert = json.loads((GOLDEN / "config.json").read_text())["bert"]
    keys = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    config = BertConfig(
        **{key: bert[key] for key in (*keys, "max_position_embeddings", "layer_norm_eps", "type_vocab_size")},
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    encoder = Encoder(BertForMaskedLM(config), vocabulary())
    view = View(GivenMask(inputs["enc_labels"] >= 0), GivenCorruption(inputs["enc_ids"], inputs["enc_labels"]))
    decoder = EnhancedDecoder(GivenMask(inputs["dec_attn"] == 0))
    model = BottleneckMAE(encoder, ClsBottleneck(), {"passage": view}, {"enhanced": decoder})
    weights = load_file(SET / "weights.safetensors")
    named = dict(model.named_parameters())
    assert {golden_name(name) for name in named} == set(weights)
    with torch.no_grad():
        for name, parameter in named.items():
            parameter.copy_(weights[golden_name(name)])
    tokens = Tokens(inputs["dec_ids"], inputs["enc_attn"].bool())
    rows = torch.arange(5)
    return model.to(dtype), TextBatch({"passage": tokens}, rows, rows * 0), inputs


def golden_name(name):
    return name.replace("encoder.masked_lm.", "encoder.", 1).replace("decoders.enhanced.", "decoder.", 1)


def close(value, expected, dtype, kind):
    value = value.detach().to(torch.float64)
    expected = torch.as_tensor(expected, dtype=torch.float64)
    if dtype == torch.float64:
        bound = 1e-10 + (1e-9 * expected.abs() if kind == "gradient" else 0)
    elif kind == "gradient":
        bound = 1e-5 + 5e-5 * expected.abs()
    else:
        bound = 1e-5 * expected.abs() if kind == "loss" else 2e-5 * expected.abs().clamp(min=1)
    assert ((value - expected).abs() <= bound).all(), (kind, (value - expected).abs().max())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_losses_logits_bottleneck_and_gradients(dtype):
    model, batch, inputs = build(dtype)
    key = str(dtype).removeprefix("torch.")
    expected = json.loads((SET / "expected.json").read_text())
    numbers = expected[key]

    output = model(batch)
    losses = {
        "enc": mean_loss(output.losses["encoder/passage"], "micro_mean"),
        "dec": mean_loss(output.losses["enhanced"], "micro_mean"),
    }
    losses["total"] = losses["enc"] + losses["dec"]
    assert (int(output.losses["encoder/passage"].count), int(output.losses["enhanced"].count)) == (16, 43)
    for term, value in losses.items():
        close(value, numbers["loss"][term], dtype, "loss")

    noise = Noise(0, batch.epoch_B, batch.passage_B)
    encoded = model.encode("passage", batch, noise)
    decoded = model.decoders["enhanced"].decode(model.encoder, encoded, batch, noise, "decoders.enhanced")
    assert torch.equal(decoded.labels_BL, inputs["dec_labels"])
    close(encoded.bottleneck_BD, load_file(SET / "expected.safetensors")[f"h.{key}"], dtype, "state")
    for part, hidden_BLD in (("encoder", encoded.hidden_BLD), ("decoder", decoded.hidden_BLD)):
        row, position, entry = torch.tensor(expected["where"][part]).T
        close(model.encoder.head(hidden_BLD)[row, position, entry], numbers[f"{part}_logits"], dtype, "state")

    norms = json.loads((SET / "grad_norms.json").read_text())[key]
    assert set(norms) == set(losses)
    for term, loss in losses.items():
        model.zero_grad()
        loss.backward(retain_graph=True)
        for name, parameter in model.named_parameters():
            norm = parameter.grad.norm() if parameter.grad is not None else torch.tensor(0.0)
            close(norm, norms[term][golden_name(name)], dtype, "gradient")


def test_visibility_of_the_original_is_a_fixed_point():
    """The recorded visibility satisfies our rules (diagonal, padding), so passing it through them changes nothing."""
    model, batch, inputs = build(torch.float32)
    decoder = model.decoders["enhanced"]
    noise = Noise(0, batch.epoch_B, batch.passage_B)
    visible_BLL = decoder.visible(model.encoder, batch.streams["passage"], noise, "x")
    assert torch.equal(visible_BLL, inputs["dec_attn"].bool())


def test_padding_of_the_original_collator():
    record = json.loads((SET / "records.json").read_text())
    words = vocabulary()
    rows = [np.array(ids) for ids in record["content_ids"]]
    tokens = pad_rows(
        rows,
        cls_id=words.cls_id,
        sep_id=words.sep_id,
        pad_id=words.pad_id,
        max_length=record["max_seq_length"],
    )
    inputs = load_file(SET / "inputs.safetensors")
    assert torch.equal(tokens.ids_BL, inputs["dec_ids"])
    assert torch.equal(tokens.real_BL, inputs["enc_attn"].bool())
