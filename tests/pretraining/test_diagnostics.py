"""Diagnostics: every number against an independent way to get it, and nothing left behind."""

import math

import pytest
import torch
from support.decoders import VOCABULARY, small_encoder
from transformers import BertConfig, BertForMaskedLM

from bmae_lightning.encoder.batch import TextBatch
from bmae_lightning.encoder.vocabulary import Vocabulary
from bmae_lightning.pretraining.bmae import BottleneckMAE
from bmae_lightning.pretraining.bottleneck import ClsBottleneck, MeanBottleneck
from bmae_lightning.pretraining.corruption.bert import BertCorruption
from bmae_lightning.pretraining.corruption.hide import HideCorruption
from bmae_lightning.pretraining.corruption.replace import ReplaceCorruption
from bmae_lightning.pretraining.decoder.bag_of_words import BagOfWordsDecoder
from bmae_lightning.pretraining.decoder.enhanced import EnhancedDecoder
from bmae_lightning.pretraining.decoder.replaced_token_detection import ReplacedTokenDetectionDecoder
from bmae_lightning.pretraining.decoder.shallow import ShallowDecoder
from bmae_lightning.pretraining.decoder.skip import SkipDecoder
from bmae_lightning.pretraining.diagnostics import diagnose, function_positions
from bmae_lightning.pretraining.generator.generator import Generator
from bmae_lightning.pretraining.loss.normalise import NORMS, mean_loss
from bmae_lightning.pretraining.mask.complement import ComplementMask
from bmae_lightning.pretraining.mask.policy import MaskPolicy
from bmae_lightning.pretraining.mask.uniform import UniformMask
from bmae_lightning.pretraining.noise import Noise
from bmae_lightning.pretraining.objective.masked import MaskedObjective
from bmae_lightning.pretraining.view import View

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}


def decoders():
    """One of every kind."""
    return {
        "enhanced": EnhancedDecoder(UniformMask(0.5)),
        "pooled": EnhancedDecoder(UniformMask(0.5), rows="pooled", query="embedded", stream="neighbour", weight=0.5),
        "shallow": ShallowDecoder(UniformMask(0.5), BertCorruption(), layers=2, projection=True),
        "shared": ShallowDecoder(ComplementMask(), HideCorruption(), layers_of="shallow"),
        "second": ShallowDecoder(UniformMask(0.5), BertCorruption(), view="first", span="second_half"),
        "detect": ReplacedTokenDetectionDecoder(UniformMask(0.5), BertCorruption()),
        "replaced": ShallowDecoder(UniformMask(0.5), ReplaceCorruption(), stream="neighbour"),
        "skip": SkipDecoder(skip_from=1),
        "bag": BagOfWordsDecoder(weight=3.0),
    }


class SmallGenerator(Generator):
    def network(self, tokenizer, directory):
        torch.manual_seed(4)
        return BertForMaskedLM(BertConfig(vocab_size=VOCABULARY.size, **SIZES, max_position_embeddings=64))


def make(parts=None, bottleneck=None, dropout=0.0, vocabulary=VOCABULARY, views=None, **arguments):
    views = views or {
        "passage": View(UniformMask(0.3), BertCorruption()),
        "first": View(UniformMask(0.4), BertCorruption(), span="first_half"),
    }
    encoder = small_encoder(vocabulary=vocabulary, dropout=dropout)
    parts = decoders() if parts is None else parts
    if any(
        isinstance(getattr(part, "shown", None) and part.shown.corruption, ReplaceCorruption) for part in parts.values()
    ):
        arguments = {"generator": SmallGenerator(dropout=True).build(None)} | arguments
    return BottleneckMAE(encoder, bottleneck or MeanBottleneck(), views, parts, **arguments).double().eval()


def batch(lengths=(14, 4, 8, 2)):
    draw = torch.Generator().manual_seed(1)
    streams = {
        name: VOCABULARY.pad([torch.randint(104, 200, (n,), generator=draw).numpy() for n in lengths], 40)
        for name in ("passage", "neighbour")
    }
    return TextBatch(streams, torch.arange(len(lengths)) + 7, torch.zeros(len(lengths)).long())


def pick(texts, row):
    return texts.map(lambda tensor: tensor[row : row + 1])


def test_true_is_the_training_loss_and_names_are_complete():
    model, texts = make(), batch()
    found, losses = diagnose(model, texts), model(texts).losses
    for name, loss in losses.items():
        if name in set(model.decoders) - {"bag"}:
            mean = (loss.total / loss.count).item()
            assert found[f"bottleneck/{name}/true"] == pytest.approx(mean, rel=1e-12)
    names = {
        f"bottleneck/{name}/{kind}" for name in set(model.decoders) - {"bag"} for kind in ("true", "shuffled", "zero")
    }
    names |= {f"gradient_share/{name}" for name in losses}
    names |= {f"function_words/{name}" for name in set(losses) - {"bag"}} | {
        "function_words/text",
        "function_words/text/neighbour",
    }
    assert set(found) == names
    assert all(math.isfinite(value) for value in found.values())


@pytest.mark.parametrize("kind", ["shuffled", "zero"])
def test_another_bottleneck_passage_by_passage(kind):
    """The slow way: each passage alone, with the vector of the passage before it, or zeros, handed to the decoder."""
    model, texts = make(), batch()
    found = diagnose(model, texts)
    for name, decoder in model.decoders.items():
        if name == "bag":
            continue
        total, count = 0.0, 0
        for row in range(4):
            one, other = pick(texts, row), pick(texts, (row - 1) % 4)
            noise = Noise(model.seed, one.epoch_B, one.passage_B)
            seen = model.encode(decoder.view, one, noise)
            given = model.encode(decoder.view, other, Noise(model.seed, other.epoch_B, other.passage_B)).bottleneck_BD
            given = torch.zeros_like(given) if kind == "zero" else given
            swapped = type(seen)(seen.hidden_BLD, given, seen.masked, seen.early)
            loss = decoder(model.encoder, swapped, one, noise, f"decoders.{name}")
            total, count = total + loss.total.item(), count + loss.count.item()
        assert found[f"bottleneck/{name}/{kind}"] == pytest.approx(total / count, rel=1e-9), name


class DeafDecoder(ShallowDecoder):
    """Reads the corrupted text alone: [CLS] stays in slot 0."""

    def read(self, encoder, bottleneck_BD, ids_BL, real_BL):
        return super().read(encoder, encoder.embed(ids_BL)[:, 0], ids_BL, real_BL)


def test_a_decoder_that_ignores_the_bottleneck_is_found_out():
    parts = {"deaf": DeafDecoder(UniformMask(0.5), BertCorruption()), "enhanced": EnhancedDecoder(UniformMask(0.5))}
    found = diagnose(make(parts), batch())
    assert found["bottleneck/deaf/true"] == found["bottleneck/deaf/shuffled"] == found["bottleneck/deaf/zero"]
    assert len({found[f"bottleneck/enhanced/{kind}"] for kind in ("true", "shuffled", "zero")}) == 3
    assert found["gradient_share/deaf"] == 0
    assert found["gradient_share/enhanced"] > 0


def test_a_batch_of_one_has_nothing_to_shuffle():
    found = diagnose(make(), pick(batch(), 0))
    assert "bottleneck/enhanced/zero" in found
    assert not [name for name in found if name.endswith("/shuffled")]


@pytest.mark.parametrize("norm", NORMS)
def test_gradient_shares_are_those_of_a_plain_backward(norm):
    """The slow way: a whole backward per loss, through the states of the encoder's last layer where they were made."""
    model, texts = make(objective=MaskedObjective(2.0)), batch()
    kept = []
    layer = model.encoder.masked_lm.bert.encoder.layer[-1]
    layer.register_forward_hook(
        lambda module, given, states: kept.append(states if torch.is_tensor(states) else states[0])
    )
    lengths = {}
    for name in model.weights:
        kept.clear()
        output = model(texts)
        for states in kept:
            states.retain_grad()
        (output.weights[name] * mean_loss(output.losses[name], norm)).backward()
        lengths[name] = sum(s.grad.square().sum().item() for s in kept if s.grad is not None) ** 0.5
    assert len(kept) == 2, "one pass per view"
    found = diagnose(model, texts, norm)
    for name, length in lengths.items():
        assert found[f"gradient_share/{name}"] == pytest.approx(length / sum(lengths.values()), rel=1e-6), name
    assert sum(value for name, value in found.items() if name.startswith("gradient_share/")) == pytest.approx(1)


def test_a_loss_without_weight_moves_nothing_but_is_looked_at():
    parts = {
        "a": EnhancedDecoder(UniformMask(0.5)),
        "b": ShallowDecoder(UniformMask(0.5), HideCorruption(), weight=0.0),
    }
    found = diagnose(make(parts, objective=MaskedObjective(0.0)), batch())
    assert found["gradient_share/a"] == 1
    assert found["gradient_share/b"] == 0
    assert found["bottleneck/b/true"] > 0
    assert "gradient_share/encoder/passage" not in found


WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "the",
    "cat",
    "sat",
    "on",
    "mat",
    "##ted",
    ",",
    "re",
    "##al",
    "dogs",
]
SMALL = Vocabulary.from_tokens(WORDS)


def ids(text):
    return torch.tensor([WORDS.index(word) for word in text.split()]).numpy()


class Chosen(MaskPolicy):
    """Selects the given columns, in every row drawn."""

    def __init__(self, *columns):
        self.columns = columns

    def select(self, request):
        position_L = torch.arange(request.tokens.ids_BL.shape[1])
        return request.in_every_row(torch.isin(position_L, torch.tensor(self.columns)) & request.tokens.real_BL)


def test_function_words_on_a_batch_made_by_hand():
    tokens = SMALL.pad([ids("the cat sat on the mat ##ted ,"), ids("re ##al dogs , [UNK] on ##ted"), ids("")], 20)
    assert function_positions(tokens, SMALL).long().tolist() == [
        #    the cat sat on the mat ted ,
        [0, 1, 0, 0, 1, 1, 0, 0, 1, 0],
        # re-al is a word of two pieces, and so is on-ted
        [0, 0, 0, 0, 1, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ]
    texts = TextBatch({"passage": tokens, "queries": SMALL.pad([ids("dogs the"), ids("on cat sat"), ids("the")], 9)},
                      torch.arange(3), torch.zeros(3).long())  # fmt: skip
    parts = {
        "shallow": ShallowDecoder(Chosen(1, 2, 4, 7), HideCorruption()),  # the cat on ##ted ; re ##al , ##ted
        "enhanced": EnhancedDecoder(Chosen(2, 4, 5)),  # cat on the ; ##al , [UNK]
        "queries": ShallowDecoder(Chosen(2), HideCorruption(), stream="queries"),  # the ; cat
        "idle": ShallowDecoder(Chosen(), HideCorruption()),
    }
    views = {"passage": View(Chosen(0, 1, 2, 3), HideCorruption())}  # the cat sat ; re ##al dogs
    found = diagnose(make(parts, vocabulary=SMALL, views=views), texts)
    assert found["function_words/encoder/passage"] == pytest.approx(1 / 6)
    assert found["function_words/shallow"] == pytest.approx(3 / 8)
    # a chosen position is hidden in all rows of its text (8 and 7), any other in its own row alone; [UNK] never counts
    expected = (2 + 2 / 8 + 1) / (3 + 5 / 8 + 2 + 4 / 7)
    assert found["function_words/enhanced"] == pytest.approx(expected)
    assert found["function_words/queries"] == pytest.approx(1 / 2)
    assert "function_words/idle" not in found, "a share of nothing"
    assert found["function_words/text"] == pytest.approx(5 / 14)
    assert found["function_words/text/queries"] == pytest.approx(3 / 6)


def test_nothing_is_left_behind():
    model, texts = make(dropout=0.2, generator=SmallGenerator().build(None)), batch()
    model.train()
    modes = [module.training for module in model.modules()]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(5)
    random = torch.get_rng_state()
    first = diagnose(model, texts)
    assert torch.equal(torch.get_rng_state(), random)
    assert [module.training for module in model.modules()] == modes
    assert any(modes)
    assert not all(modes)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    torch.manual_seed(6)
    assert diagnose(model, texts) == first, "no dropout within"


def test_modes_and_random_states_come_back_after_an_error():
    model, texts = make({"enhanced": EnhancedDecoder(UniformMask(0.5), stream="nowhere")}).train(), batch()
    with pytest.raises(ValueError, match="nowhere"):
        diagnose(model, texts)
    assert all(module.training for module in model.modules())


def test_in_bfloat16_it_is_nearly_the_same():
    model, texts = make(bottleneck=ClsBottleneck()).float(), batch()
    exact = diagnose(model, texts)
    with torch.autocast("cpu", torch.bfloat16):
        rough = diagnose(model, texts)
    assert set(rough) == set(exact)
    for name, value in exact.items():
        assert rough[name] == pytest.approx(value, rel=0.1, abs=0.02), name


def test_without_decoders_the_encoder_alone_is_looked_at():
    found = diagnose(make({}), batch())
    assert set(found) == {
        *(f"gradient_share/encoder/{view}" for view in ("passage", "first")),
        *(f"function_words/encoder/{view}" for view in ("passage", "first")),
        "function_words/text",
    }
