"""What the tests against tests/golden share: tiny encoder, recorded masks and texts, weights by name, tolerances.

The conventions are those of tests/golden/README.md §1.
"""

import json

import torch
from safetensors.torch import load_file
from support.compose import composed
from support.paths import GOLDEN
from transformers import BertConfig, BertForMaskedLM

from bmae_lightning.encoder.model import Encoder
from bmae_lightning.encoder.vocabulary import Vocabulary
from bmae_lightning.pretraining.corruption.corruption import Corrupted, Corruption
from bmae_lightning.pretraining.mask.policy import MaskPolicy


class GivenMask(MaskPolicy):
    """The recorded selection of the passages and positions that are asked for."""

    def __init__(self, mask):
        self.mask = mask

    def select(self, request):
        part = self.mask[request.noise.passage_B][..., : request.tokens.ids_BL.shape[1]]
        return part[:, : request.rows] if part.ndim == 3 else request.in_every_row(part)


class GivenCorruption(Corruption):
    """The recorded text and labels."""

    def __init__(self, ids_BL, labels_BL):
        self.ids_BL, self.labels_BL = ids_BL, labels_BL

    def corrupt(self, ids_BL, selected_BL, vocabulary, noise, salt):
        return Corrupted(self.ids_BL, self.labels_BL, selected_BL)


class Released:
    """What `reading=code` composes for an experiment."""

    def __init__(self, experiment):
        self.config = composed(f"+experiment={experiment}", "reading=code")

    @property
    def norm(self):
        return self.config["pretrain"]["loss_norm"]

    def decoder(self, name, kind, **given):
        """The decoder of that name, `given` instead of its own options."""
        options = {key: value for key, value in self.config["decoders"][name].items() if key != "_target_"}
        return kind(**options | given)


def tiny_vocabulary():
    return Vocabulary.from_tokens((GOLDEN / "vocab_tiny.txt").read_text().splitlines())


def tiny_encoder():
    bert = json.loads((GOLDEN / "config.json").read_text())["bert"]
    keys = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    config = BertConfig(
        **{key: bert[key] for key in (*keys, "max_position_embeddings", "layer_norm_eps", "type_vocab_size")},
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    return Encoder(BertForMaskedLM(config), tiny_vocabulary())


class GoldenSet:
    """One directory of tests/golden; decoder: our name of the decoder whose weights are called `decoder` there."""

    def __init__(self, name, decoder):
        self.directory, self.decoder = GOLDEN / name, decoder
        self.inputs = load_file(self.directory / "inputs.safetensors")

    def golden_name(self, name):
        return name.replace("encoder.masked_lm.", "encoder.", 1).replace(f"decoders.{self.decoder}.", "decoder.", 1)

    def fill(self, model):
        """The recorded weights, all of them and no others."""
        weights = load_file(self.directory / "weights.safetensors")
        named = dict(model.named_parameters())
        assert {self.golden_name(name) for name in named} == set(weights)
        with torch.no_grad():
            for name, parameter in named.items():
                parameter.copy_(weights[self.golden_name(name)])
        return model

    def json(self, name):
        return json.loads((self.directory / name).read_text())

    def bottleneck(self, dtype):
        return load_file(self.directory / "expected.safetensors")[f"h.{key(dtype)}"]

    def check_logits(self, model, part, hidden_BLD, dtype):
        expected = self.json("expected.json")
        row, position, entry = torch.tensor(expected["where"][part]).T
        logits = model.encoder.head(hidden_BLD)[row, position, entry]
        close(logits, expected[key(dtype)][f"{part}_logits"], dtype, "state")

    def check_gradients(self, model, losses, dtype):
        """losses: term -> scalar with a graph."""
        norms = self.json("grad_norms.json")[key(dtype)]
        assert set(norms) == set(losses)
        for term, loss in losses.items():
            model.zero_grad()
            loss.backward(retain_graph=True)
            for name, parameter in model.named_parameters():
                norm = parameter.grad.norm() if parameter.grad is not None else torch.tensor(0.0)
                close(norm, norms[term][self.golden_name(name)], dtype, "gradient")


def key(dtype):
    return str(dtype).removeprefix("torch.")


def close(value, expected, dtype, kind):
    """kind: 'loss', 'state' or 'gradient'."""
    value = value.detach().to(torch.float64)
    expected = torch.as_tensor(expected, dtype=torch.float64)
    if dtype == torch.float64:
        bound = 1e-10 + (1e-9 * expected.abs() if kind == "gradient" else 0)
    elif kind == "gradient":
        bound = 1e-5 + 5e-5 * expected.abs()
    else:
        bound = 1e-5 * expected.abs() if kind == "loss" else 2e-5 * expected.abs().clamp(min=1)
    assert ((value - expected).abs() <= bound).all(), (kind, (value - expected).abs().max())
