"""MASTER in both readings and CDMAE as composed: tasks, passes, masks, sharing (docs/methods.md §2.4, §2.5)."""

from copy import deepcopy
from functools import cache

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from support.paths import CONF, GOLDEN
from transformers import BertConfig, BertForMaskedLM

from bmae_lightning.command.plan import read_entry
from bmae_lightning.encoder.batch import TextBatch, Tokens
from bmae_lightning.encoder.model import Encoder
from bmae_lightning.encoder.vocabulary import Vocabulary
from bmae_lightning.pretraining.bmae import BottleneckMAE
from bmae_lightning.pretraining.bottleneck import ClsBottleneck
from bmae_lightning.pretraining.loss.normalise import mean_loss
from bmae_lightning.pretraining.noise import Noise
from bmae_lightning.pretraining.objective.masked import MaskedObjective
from bmae_lightning.runtime.configuration import build
from bmae_lightning.stage.streams import needs

VOCABULARY = Vocabulary.from_tokens((GOLDEN / "vocab_tiny.txt").read_text().splitlines())
TASKS = ["keywords", "queries", "continuation", "next", "complement"]
RELEASED = ("+experiment=master", "reading=code")
SHARED = [f"decoders.{name}.layers_of=keywords" for name in TASKS[1:]]


@cache
def _composed(*overrides):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return OmegaConf.to_container(compose("config", overrides=list(overrides)), resolve=True)


def composed(*overrides):
    """The resolved configuration, composed once."""
    return deepcopy(_composed(*overrides))


def parts(*overrides):
    """Views and decoders of an experiment."""
    config = read_entry(composed(*overrides)["pretrain"]).options
    return [
        build({name: node for name, node in config[group].items() if "_target_" in node}, group)
        for group in ("view", "decoders")
    ]


def make(*overrides):
    """The model of an experiment with an encoder of two layers; what the command does not select is dropped."""
    made = parts(*overrides)
    torch.manual_seed(0)
    sizes = {"vocab_size": 200, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "initializer_range": 0.3}
    encoder = Encoder(BertForMaskedLM(BertConfig(**sizes, **dropout, intermediate_size=64)), VOCABULARY)
    return BottleneckMAE(encoder.double(), ClsBottleneck(), *made).double()


def text(seed, lengths=(40, 7, 1, 24)):
    generator = torch.Generator().manual_seed(seed)
    size_B = torch.tensor(lengths)
    position_L = torch.arange(max(lengths) + 2)
    ids_BL = torch.randint(104, 200, (len(lengths), len(position_L)), generator=generator)
    ids_BL[0, 5] = VOCABULARY.unk_id
    ids_BL[0, 9] = VOCABULARY.sep_id
    ids_BL = ids_BL.masked_fill(position_L == size_B[:, None] + 1, 102).masked_fill(position_L == 0, 101)
    real_BL = position_L < size_B[:, None] + 2
    values = {name: torch.randn(ids_BL.shape, generator=generator) for name in ("keyword_weight", "importance")}
    return Tokens(ids_BL.masked_fill(~real_BL, 0), real_BL, values)


def batch():
    names = ("passage", "neighbour", "next", "queries", "continuation")
    streams = {name: text(seed) for seed, name in enumerate(names)}
    return TextBatch(streams, torch.arange(4), torch.zeros(4).long())


def passes(model):
    counted = []
    model.encoder.masked_lm.bert.register_forward_hook(lambda *_: counted.append(1))
    losses = model(batch()).losses
    return len(counted), losses


def labels(model, name, texts):
    """Labels of a view and of the decoder of that name, and the text."""
    noise = Noise(model.seed, texts.epoch_B, texts.passage_B)
    decoder = model.decoders[name]
    seen = model.encode(decoder.view, texts, noise).masked
    shown = decoder.shown(texts, VOCABULARY, noise, f"decoders.{name}", reference=seen)
    return seen.labels_BL >= 0, shown.labels_BL >= 0, texts.streams["passage"].ids_BL


@pytest.mark.parametrize(("reading", "rate"), [("paper", 0.3), ("code", 0.5)])
def test_complement_of_the_shared_view_and_of_a_view_of_its_own(reading, rate):
    model = make("+experiment=master", f"reading={reading}")
    assert model.decoders["complement"].view == ("passage" if reading == "paper" else "half_hidden")
    seen_BL, shown_BL, ids_BL = labels(model, "complement", batch())
    assert torch.equal(seen_BL | shown_BL, ~VOCABULARY.special_V[ids_BL])
    assert not (seen_BL & shown_BL).any()
    assert seen_BL[0].sum().item() == pytest.approx(rate * 38, abs=3)


def test_released_has_three_passes_and_eight_losses():
    model = make(*RELEASED)
    count, losses = passes(model)
    assert count == 3
    assert list(losses) == ["encoder/passage", "encoder/first_half", "encoder/half_hidden", *TASKS]
    assert set(model.weights.values()) == {1.0}
    views = {name: decoder.view for name, decoder in model.decoders.items()}
    assert views == dict.fromkeys(TASKS, "passage") | {"next": "first_half", "complement": "half_hidden"}
    assert model.streams == {"passage", "queries", "continuation"}
    assert model.values == {"keyword_weight"}


def test_the_papers_reading_has_one_pass_and_the_next_passage():
    """The views of the released code's passes are selected, and neither encoded nor read from the corpus."""
    model = make("+experiment=master")
    count, losses = passes(model)
    assert count == 1
    assert list(losses) == ["encoder/passage", *TASKS]
    assert model.streams == {"passage", "next", "queries", "continuation"}
    views, decoders = parts("+experiment=master")
    assert list(views) == ["passage", "first_half", "half_hidden"]
    read = {need.part for need in needs(views, decoders, MaskedObjective())}
    assert read == {"view.passage", *(f"decoders.{name}" for name in TASKS)}
    inputs = read_entry(composed("+experiment=master")["pretrain"]).inputs
    assert {"corpus", "statistics", "generate"} <= set(inputs)


def test_the_next_half_follows_the_first():
    model = make(*RELEASED)
    texts = batch()
    noise = Noise(0, texts.epoch_B, texts.passage_B)
    first = model.views["first_half"](texts, VOCABULARY, noise, "x").tokens
    second = model.decoders["next"].shown(texts, VOCABULARY, noise, "x").tokens
    for row, size in enumerate((40, 7, 1, 24)):
        halves = [tokens.ids_BL[row, tokens.real_BL[row]].tolist()[1:-1] for tokens in (first, second)]
        assert len(halves[0]) == size // 2
        assert sum(halves, []) == texts.streams["passage"].ids_BL[row, 1 : size + 1].tolist()


@pytest.mark.parametrize(
    ("kept", "count", "views"),
    [
        (["queries", "continuation", "next"], 2, {"encoder/passage", "encoder/first_half"}),
        (["keywords", "queries", "continuation", "complement"], 2, {"encoder/passage", "encoder/half_hidden"}),
        (["keywords", "next", "complement"], 3, {"encoder/passage", "encoder/first_half", "encoder/half_hidden"}),
        (["keywords"], 1, {"encoder/passage"}),
    ],
)
def test_a_task_goes_with_its_pass_and_its_mlm(kept, count, views):
    """Table 6 of MASTER: without complement there is no E3, without next no E2; the other losses stay as they are."""
    whole = make(*RELEASED)
    part = make(*RELEASED, f"decoders=[{','.join(kept)}]")
    made, losses = passes(part)
    assert made == count
    assert set(losses) == views | set(kept)
    part.load_state_dict(whole.state_dict(), strict=False)
    for name, loss in whole(batch()).losses.items():
        if name in losses:
            torch.testing.assert_close(part(batch()).losses[name].total, loss.total)


@pytest.mark.parametrize("name", TASKS)
def test_a_weight_of_zero_removes_exactly_its_terms(name):
    whole, zero = make(*RELEASED), make(*RELEASED, f"decoders.{name}.weight=0")
    gradients = []
    for model, left_out in ((whole, name), (zero, None)):
        output = model(batch())
        means = {key: mean_loss(loss, "micro_mean") for key, loss in output.losses.items()}
        sum(model.weights[key] * value for key, value in means.items() if key != left_out).backward()
        gradients.append({key: parameter.grad for key, parameter in model.named_parameters()})
    for key, gradient in gradients[0].items():
        other = gradients[1][key]
        if gradient is None:
            assert (other == 0).all()
        else:
            torch.testing.assert_close(other, gradient)


@pytest.mark.parametrize("reading", ["paper", "code"])
def test_own_layers_or_one_stack_for_all(reading):
    experiment = "+experiment=master", f"reading={reading}"
    own, shared = make(*experiment), make(*experiment, *SHARED)
    layer = sum(parameter.numel() for parameter in own.encoder.masked_lm.bert.encoder.layer[0].parameters())
    assert sum(parameter.numel() for parameter in own.decoders.parameters()) == 10 * layer
    assert sum(parameter.numel() for parameter in shared.decoders.parameters()) == 2 * layer
    sum(loss.total for name, loss in shared(batch()).losses.items() if name in TASKS[1:]).backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in shared.decoders["keywords"].layer.parameters())


def test_rates_of_table_8_are_overrides():
    rates = [f"decoders.{name}.mask.rate=0.7" for name in TASKS[:4]]
    model = make(*RELEASED, "view.passage.mask.rate=0.15", *rates)
    assert model.views["passage"].mask.rate == 0.15
    assert [model.decoders[name].shown.mask.rate for name in TASKS[:4]] == [0.7] * 4


def test_masks_of_cdmae_and_its_projection():
    model = make("+experiment=cdmae")
    assert model.values == {"importance"}
    decoder = model.decoders["shallow"]
    assert len(decoder.layer) == 2
    texts = batch()
    noise = Noise(0, texts.epoch_B, texts.passage_B)
    before = model.encode("passage", texts, noise)
    texts.streams["passage"].values["importance"].neg_()
    assert torch.equal(model.encode("passage", texts, noise).masked.ids_BL, before.masked.ids_BL)
    assert torch.equal(before.bottleneck_BD, before.hidden_BLD[:, 0])

    plain = make("+experiment=cdmae", "decoders.shallow.projection=false")
    plain.load_state_dict(model.state_dict(), strict=False)
    with torch.no_grad():
        decoder.project.weight.copy_(torch.eye(32))
        decoder.project.bias.zero_()
    for name, loss in plain(texts).losses.items():
        torch.testing.assert_close(model(texts).losses[name].total, loss.total)
    losses = model(texts).losses
    losses["encoder/passage"].total.backward(retain_graph=True)
    assert decoder.project.weight.grad is None
    losses["shallow"].total.backward()
    assert decoder.project.weight.grad.abs().sum() > 0


def test_papers_settings():
    at = "scale=paper", "corpus=beir", "corpus.path=x"
    settings = {
        "master": composed("+experiment=master", *at),
        "released": composed(*RELEASED, *at),
        "cdmae": composed("+experiment=cdmae", *at),
    }
    for name, config in settings.items():
        pretrain = config["pretrain"]
        warmup = 4000 if name == "master" else 0.1
        assert (pretrain["batch_size"], pretrain["lr"], pretrain["warmup"]) == (2048, 3e-4, warmup)
        assert pretrain["weight_decay"] == 0.01
        assert pretrain["crop"] == ("right" if name == "cdmae" else "window")
    assert settings["master"]["pretrain"]["encoder"]["name"] == "google-bert/bert-base-uncased"
    for name, steps, decay, length in (
        ("master", 120_000, None, 144),
        ("released", 80_000, 172_700, 128),
        ("cdmae", 80_000, 86_350, 150),
    ):
        pretrain = settings[name]["pretrain"]
        assert (pretrain["steps"], pretrain["decay_steps"], pretrain["length"]) == (steps, decay, length)


def test_a_neighbour_may_be_a_view():
    model = make("view=[passage,neighbour]", "decoders=[shallow]", "decoders.shallow.view=neighbour")
    assert model.streams == {"passage", "neighbour"}
    count, losses = passes(model)
    assert count == 2
    assert list(losses) == ["encoder/passage", "encoder/neighbour", "shallow"]
    assert all(loss.total.isfinite() and loss.count > 0 for loss in losses.values())
