"""The training code path against the numbers of the published MASTER code (tests/golden/README.md §1, §5)."""

import pytest
import torch
from safetensors.torch import load_file
from support.compose import composed
from support.golden_sets import GoldenSet, close, key, tiny_encoder, tiny_vocabulary
from support.masks import select

from bmae_lightning.encoder.batch import TextBatch, Tokens
from bmae_lightning.pretraining.bmae import BottleneckMAE
from bmae_lightning.pretraining.bottleneck import ClsBottleneck
from bmae_lightning.pretraining.corruption.corruption import Corrupted, Corruption
from bmae_lightning.pretraining.decoder.shallow import ShallowDecoder
from bmae_lightning.pretraining.loss.normalise import mean_loss
from bmae_lightning.pretraining.mask.complement import ComplementMask
from bmae_lightning.pretraining.mask.policy import MaskPolicy
from bmae_lightning.pretraining.noise import Noise
from bmae_lightning.pretraining.view import View, take

VOCABULARY = tiny_vocabulary()

VIEWS = {"passage": ("e1", "whole"), "first_half": ("e2", "first_half"), "half_hidden": ("e3", "whole")}
DECODERS = {
    "keywords": ("d1_mkp", "passage", "passage", "whole"),
    "queries": ("d2_dor", "passage", "queries", "whole"),
    "continuation": ("d3_gor", "passage", "continuation", "whole"),
    "next": ("d4_npr", "first_half", "passage", "second_half"),
    "complement": ("d5_cmp", "half_hidden", "passage", "whole"),
}
"""name -> (recorded stream, view, stream, span)"""
ATTENTION = {"e2": "half1", "d2_dor": "query", "d3_gor": "gpt", "d4_npr": "half2"}


def term_of(name):
    """The fixture's name of a loss."""
    if name.startswith("encoder/"):
        return f"mlm_{VIEWS[name.removeprefix('encoder/')][0]}"
    return DECODERS[name][0].split("_")[1]


def original(recorded):
    labels_BL = SET.inputs[f"{recorded}.labels"]
    return torch.where(labels_BL >= 0, labels_BL, SET.inputs[f"{recorded}.ids"])


def real(recorded):
    return SET.inputs[f"attn.{ATTENTION.get(recorded, 'passage')}"].bool()


class Recorded(GoldenSet):
    """Five decoders and their names there."""

    def __init__(self):
        super().__init__("master", "")

    def golden_name(self, name):
        name = name.replace("encoder.masked_lm.", "encoder.", 1)
        for decoder in DECODERS:
            name = name.replace(f"decoders.{decoder}.", f"decoder.{term_of(decoder)}.", 1)
        return name


SET = Recorded()


class Given(MaskPolicy, Corruption):
    """The recorded selection and ids of one stream, whatever the noise; a half has fewer columns than the record."""

    def __init__(self, recorded):
        self.ids_BL, self.labels_BL = SET.inputs[f"{recorded}.ids"], SET.inputs[f"{recorded}.labels"]

    def select(self, request):
        return request.in_every_row(self.labels_BL[:, : request.tokens.ids_BL.shape[1]] >= 0)

    def corrupt(self, ids_BL, selected_BL, vocabulary, noise, salt):
        width = ids_BL.shape[1]
        assert (self.labels_BL[:, width:] < 0).all()
        return Corrupted(self.ids_BL[:, :width], self.labels_BL[:, :width], selected_BL)


def build(dtype, **layers_of):
    views = {name: View(Given(recorded), Given(recorded), span=span) for name, (recorded, span) in VIEWS.items()}
    decoders = {
        name: ShallowDecoder(
            Given(recorded),
            Given(recorded),
            view=view,
            stream=stream,
            span=span,
            layers=2,
            layers_of=layers_of.get(name),
        )  # fmt: skip
        for name, (recorded, view, stream, span) in DECODERS.items()
    }
    model = BottleneckMAE(tiny_encoder(), ClsBottleneck(), views, decoders)
    if not layers_of:
        SET.fill(model)
    streams = {"passage": "e1", "queries": "d2_dor", "continuation": "d3_gor"}
    tokens = {name: Tokens(original(recorded), real(recorded)) for name, recorded in streams.items()}
    rows = torch.arange(5)
    return model.to(dtype), TextBatch(tokens, rows, rows * 0)


def passes(model, batch):
    """Recorded stream -> last states, and view -> encoded."""
    noise = Noise(0, batch.epoch_B, batch.passage_B)
    encoded = {name: model.encode(name, batch, noise) for name in model.views}
    states = {recorded: encoded[name].hidden_BLD for name, (recorded, _) in VIEWS.items()}
    for name, (recorded, view, *_) in DECODERS.items():
        decoded = model.decoders[name].decode(model.encoder, encoded[view], batch, noise, f"decoders.{name}")
        states[recorded] = decoded.hidden_BLD
    return states, encoded


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_losses_logits_bottlenecks_and_gradients(dtype):
    model, batch = build(dtype)
    expected = SET.json("expected.json")
    numbers = expected[key(dtype)]

    output = model(batch)
    losses = {term_of(name): mean_loss(loss, "micro_mean") for name, loss in output.losses.items()}
    assert len(losses) == 8
    assert set(output.weights.values()) == {1.0}
    losses["total"] = sum(losses.values())
    for term, value in losses.items():
        close(value, numbers["loss"][term], dtype, "loss")
    counts = SET.json("records.json")["label_counts"]
    recorded = [*(name for name, _ in VIEWS.values()), *(name for name, *_ in DECODERS.values())]
    assert [int(loss.count) for loss in output.losses.values()] == [counts[name] for name in recorded]

    states, encoded = passes(model, batch)
    vectors = load_file(SET.directory / "expected.safetensors")
    for number, name in enumerate(VIEWS, 1):
        close(encoded[name].bottleneck_BD, vectors[f"h{number}.{key(dtype)}"], dtype, "state")
    for name in recorded:
        row, position, entry = torch.tensor(expected["where"][name]).T
        close(model.encoder.head(states[name])[row, position, entry], numbers["logits"][name], dtype, "state")

    names = losses if dtype == torch.float64 else {"total"}
    SET.check_gradients(model, {term: losses[term] for term in names}, dtype)


def test_what_is_built_here_is_what_reading_code_composes():
    pretrain = composed("+experiment=master", "reading=code")["pretrain"]
    views = {name: (view["stream"], view["span"]) for name, view in pretrain["view"].items()}
    assert views == {name: ("passage", span) for name, (_, span) in VIEWS.items()}
    decoders = {
        name: tuple(node[key] for key in ("_target_", "view", "stream", "span", "layers", "layers_of"))
        for name, node in pretrain["decoders"].items()
    }
    shallow = f"{ShallowDecoder.__module__}.ShallowDecoder"
    assert decoders == {name: (shallow, *read, 2, None) for name, (_, *read) in DECODERS.items()}
    weights = {pretrain["objective"]["weight"], *(node["weight"] for node in pretrain["decoders"].values())}
    assert (weights, pretrain["loss_norm"]) == ({1.0}, "micro_mean")


def test_halves_are_those_of_the_original():
    _, batch = build(torch.float64)
    for recorded, span in (("e2", "first_half"), ("d4_npr", "second_half")):
        half = take(batch, "passage", span, VOCABULARY)
        width = half.ids_BL.shape[1]
        assert not real(recorded)[:, width:].any()
        assert torch.equal(half.real_BL, real(recorded)[:, :width])
        assert torch.equal(half.ids_BL, original(recorded)[:, :width])


def test_the_complement_is_that_of_the_original():
    _, batch = build(torch.float64)
    tokens = batch.streams["passage"]
    seen_BL, recorded_BL = SET.inputs["e3.labels"] >= 0, SET.inputs["d5_cmp.labels"] >= 0
    mask_BL = select(ComplementMask(), tokens, VOCABULARY, None, "x", reference_BL=seen_BL)
    assert torch.equal(mask_BL, recorded_BL)


def test_the_first_three_decoders_read_one_bottleneck():
    model, batch = build(torch.float64)
    calls = []
    model.encoder.masked_lm.bert.register_forward_hook(lambda *_: calls.append(1))
    read = {}
    for name, decoder in model.decoders.items():
        inner = decoder.decode
        decoder.decode = lambda encoder, encoded, *rest, name=name, inner=inner: (
            read.__setitem__(name, encoded.bottleneck_BD),
            inner(encoder, encoded, *rest),
        )[1]
    model(batch)
    assert len(calls) == 3
    assert read["keywords"] is read["queries"] is read["continuation"]
    for name in ("next", "complement"):
        assert not torch.allclose(read[name], read["keywords"])
    assert not torch.allclose(read["next"], read["complement"])


def test_shared_decoders_have_one_stack():
    own, _ = build(torch.float64)
    shared, batch = build(torch.float64, **dict.fromkeys(list(DECODERS)[1:], "keywords"))
    layer = sum(parameter.numel() for parameter in own.encoder.masked_lm.bert.encoder.layer[0].parameters())
    assert sum(parameter.numel() for parameter in own.decoders.parameters()) == 10 * layer
    assert sum(parameter.numel() for parameter in shared.decoders.parameters()) == 2 * layer
    shared.load_state_dict(own.state_dict(), strict=False)
    storages = [parameter.data_ptr() for parameter in own.decoders.parameters()]
    assert len(set(storages)) == len(storages)
    losses = {name: shared(batch).losses[name].total.item() for name in DECODERS}
    mine = {name: own(batch).losses[name].total.item() for name in DECODERS}
    assert losses["keywords"] == pytest.approx(mine["keywords"], abs=1e-12)
    assert all(abs(losses[name] - mine[name]) > 1e-3 for name in list(DECODERS)[1:])
