"""The training code path against the numbers of the published DupMAE code (tests/golden/README.md §1, §3)."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import BertConfig, BertForMaskedLM

from bmae_lightning.batch import TextBatch, Tokens
from bmae_lightning.bmae import BottleneckMAE
from bmae_lightning.bottleneck import ClsBottleneck
from bmae_lightning.corruption.corruption import Corrupted, Corruption
from bmae_lightning.decoder.bag_of_words import BagOfWordsDecoder
from bmae_lightning.decoder.enhanced import EnhancedDecoder
from bmae_lightning.encoder.model import Encoder
from bmae_lightning.loss.bag_of_words import bag_of_words_loss, max_pool
from bmae_lightning.loss.normalise import mean_loss
from bmae_lightning.mask.policy import MaskPolicy
from bmae_lightning.noise import Noise
from bmae_lightning.view import View
from bmae_lightning.vocabulary import Vocabulary

GOLDEN = Path(__file__).parent / "golden"
SET = GOLDEN / "dupmae"


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


def build(dtype, pool="code"):
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
    decoders = {
        "enhanced": EnhancedDecoder(GivenMask(inputs["dec_attn"] == 0), query="embedded"),
        "bag_of_words": BagOfWordsDecoder(pool=pool),
    }
    model = BottleneckMAE(encoder, ClsBottleneck(), {"passage": view}, decoders)
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
        "bow": mean_loss(output.losses["bag_of_words"], "micro_mean"),
    }
    losses["total"] = sum(model.weights[name] * mean_loss(loss, "micro_mean") for name, loss in output.losses.items())
    counts = {name: int(loss.count) for name, loss in output.losses.items()}
    assert counts == {"encoder/passage": 18, "enhanced": 54, "bag_of_words": 5}
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

    bag = model.decoders["bag_of_words"].decode(model.encoder, encoded, batch, noise, "")
    for chunk in (5, 15, 1024):
        mu_BV = max_pool(bag.hidden_BLD, bag.pooled_BL, model.encoder.head, chunk)
        row, entry = torch.tensor(expected["where"]["mu"]).T
        close(mu_BV[row, entry], numbers["mu"], dtype, "state")

    norms = json.loads((SET / "grad_norms.json").read_text())[key]
    assert set(norms) == set(losses)
    for term, loss in losses.items():
        model.zero_grad()
        loss.backward(retain_graph=True)
        for name, parameter in model.named_parameters():
            norm = parameter.grad.norm() if parameter.grad is not None else torch.tensor(0.0)
            close(norm, norms[term][golden_name(name)], dtype, "gradient")


def test_p28_the_pool_of_the_paper_is_another_loss():
    losses = []
    for pool in ("code", "paper"):
        model, batch, _ = build(torch.float64, pool)
        losses.append(mean_loss(model(batch).losses["bag_of_words"], "micro_mean").item())
    assert abs(losses[0] - losses[1]) > 1e-3


def test_p25_targets_are_those_of_the_original_collator():
    """The gradient at uniform logits is sum(w) / V - w, so it shows the weights w themselves."""
    model, batch, inputs = build(torch.float64)
    decoder, noise = model.decoders["bag_of_words"], Noise(0, batch.epoch_B, batch.passage_B)
    bag = decoder.decode(model.encoder, model.encode("passage", batch, noise), batch, noise, "")
    logits_B1V = torch.zeros(5, 1, 200, dtype=torch.float64, requires_grad=True)
    pooled_B1 = torch.ones(5, 1, dtype=torch.bool)
    bag_of_words_loss(logits_B1V, pooled_B1, bag.labels_BL, lambda logits: logits).total.backward()
    weight_BV = inputs["bow_weight"].double()
    torch.testing.assert_close(logits_B1V.grad[:, 0], weight_BV.sum(1, keepdim=True) / 200 - weight_BV)
