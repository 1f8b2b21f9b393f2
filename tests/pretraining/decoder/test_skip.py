"""SkipDecoder: against the layers written out, where its gradient goes, refusals."""

import pytest
import torch
from support.paths import GOLDEN
from transformers import BertConfig, BertForMaskedLM

from bmae_lightning.encoder.batch import TextBatch, Tokens
from bmae_lightning.encoder.model import Encoder
from bmae_lightning.encoder.vocabulary import Vocabulary
from bmae_lightning.pretraining.bmae import BottleneckMAE
from bmae_lightning.pretraining.bottleneck import ClsBottleneck
from bmae_lightning.pretraining.corruption.bert import BertCorruption
from bmae_lightning.pretraining.decoder.skip import SkipDecoder
from bmae_lightning.pretraining.loss.normalise import mean_loss
from bmae_lightning.pretraining.mask.uniform import UniformMask
from bmae_lightning.pretraining.noise import Noise
from bmae_lightning.pretraining.view import View

TOKENS = (GOLDEN / "vocab_tiny.txt").read_text().splitlines()


class DetachedBottleneck(ClsBottleneck):
    def forward(self, hidden_BLD, real_BL):
        return super().forward(hidden_BLD, real_BL).detach()


def make(bottleneck=None, **arguments):
    torch.manual_seed(0)
    sizes = {"vocab_size": 200, "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4}
    dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "initializer_range": 0.3}
    config = BertConfig(**sizes, **dropout, intermediate_size=64, max_position_embeddings=64)
    encoder = Encoder(BertForMaskedLM(config), Vocabulary.from_tokens(TOKENS)).double()
    views = {"passage": View(UniformMask(0.3), BertCorruption())}
    return BottleneckMAE(encoder, bottleneck or ClsBottleneck(), views, {"d": SkipDecoder(**arguments)})


def batch(lengths=(12, 3, 7), pad=0):
    size_B = torch.tensor(lengths)
    ids_BL = torch.randint(104, 200, (len(lengths), max(lengths) + 2), generator=torch.Generator().manual_seed(1))
    ids_BL = torch.nn.functional.pad(ids_BL, (0, pad))
    position_L = torch.arange(ids_BL.shape[1])
    ids_BL = ids_BL.masked_fill(position_L == size_B[:, None] + 1, 102).masked_fill(position_L == 0, 101)
    real_BL = position_L < size_B[:, None] + 2
    tokens = Tokens(ids_BL.masked_fill(~real_BL, 0), real_BL)
    return TextBatch({"passage": tokens}, torch.arange(len(lengths)), torch.zeros(len(lengths)).long())


def layer_reference(layer, states_LD):
    """One post-norm layer over one unpadded text, head by head."""
    self = layer.attention.self
    size = self.attention_head_size
    query, key, value = self.query(states_LD), self.key(states_LD), self.value(states_LD)
    parts = []
    for head in range(self.num_attention_heads):
        part = slice(head * size, (head + 1) * size)
        parts.append((query[:, part] @ key[:, part].T / size**0.5).softmax(-1) @ value[:, part])
    out = layer.attention.output
    states_LD = out.LayerNorm(states_LD + out.dense(torch.cat(parts, -1)))
    inner = torch.nn.functional.gelu(layer.intermediate.dense(states_LD))
    return layer.output.LayerNorm(states_LD + layer.output.dense(inner))


@pytest.mark.parametrize(("skip_from", "layers", "init"), [(0, 1, "random"), (1, 2, "random"), (3, 2, "last_layers")])
def test_loss_equals_the_layers_written_out(skip_from, layers, init):
    model, texts = make(skip_from=skip_from, layers=layers, init=init), batch()
    text = model.views["passage"](
        texts, model.encoder.vocabulary, Noise(0, texts.epoch_B, texts.passage_B), "views.passage"
    )
    bert, total, count = model.encoder.masked_lm.bert, 0.0, 0
    for b, size in enumerate((14, 5, 9)):
        states = [bert.embeddings(text.ids_BL[b : b + 1, :size])[0]]
        for layer in bert.encoder.layer:
            states.append(layer_reference(layer, states[-1]))
        hidden_LD = torch.cat([states[-1][:1], states[skip_from][1:]])
        for layer in model.decoders["d"].layer:
            hidden_LD = layer_reference(layer, hidden_LD)
        log_LV = model.encoder.head(hidden_LD).log_softmax(-1)
        for position in range(size):
            label = text.labels_BL[b, position].item()
            if label >= 0:
                total, count = total - log_LV[position, label], count + 1
    loss = model(texts).losses["d"]
    assert loss.count == count > 0
    torch.testing.assert_close(loss.total, total, rtol=1e-9, atol=1e-9)


def test_late_layers_learn_through_the_bottleneck_only():
    for bottleneck in (ClsBottleneck(), DetachedBottleneck()):
        model = make(bottleneck, skip_from=2)
        model(batch()).losses["d"].total.backward()
        for number, layer in enumerate(model.encoder.masked_lm.bert.encoder.layer):
            gradient = layer.output.dense.weight.grad
            learns = gradient is not None and bool(gradient.abs().sum() > 0)
            assert learns == (number < 2 or type(bottleneck) is ClsBottleneck)


def test_padding_changes_nothing():
    model = make(skip_from=2)
    one, padded = model(batch()), model(batch(pad=9))
    torch.testing.assert_close(one.losses["d"].total, padded.losses["d"].total, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(one.rates["d"], padded.rates["d"])


def test_own_layers_only_and_no_stream_of_its_own():
    model = make(skip_from=2, layers=3)
    per_layer = sum(1 for _ in model.encoder.masked_lm.bert.encoder.layer[0].parameters())
    assert len(list(model.decoders.parameters())) == 3 * per_layer
    assert model.streams == {"passage"}


def test_a_batch_without_labels():
    model = make(skip_from=2)
    loss = mean_loss(model(batch((0, 0))).losses["d"], "micro_mean")
    assert loss.item() == 0
    loss.backward()
    assert all((p.grad == 0).all() for p in model.parameters() if p.grad is not None)


def test_rebuilt_text_guesses_only_masked_positions():
    model, texts = make(skip_from=2), batch()
    labels_BL = model.encode("passage", texts, Noise(0, texts.epoch_B, texts.passage_B)).masked.labels_BL
    for b, row in enumerate(model.rebuild(texts, 3)):
        for position, original in enumerate(row.original):
            assert labels_BL[b, position] >= 0 or row.rebuilt["d"][position] == original


def test_half_of_the_depth():
    assert make(skip_from=None).decoders["d"].early_layers == (2,)


@pytest.mark.parametrize("skip_from", [4, 6])
def test_skip_from_beyond_the_encoder(skip_from):
    with pytest.raises(ValueError, match=f"skip_from={skip_from} must be below the encoder's depth of 4 layers; use"):
        make(skip_from=skip_from)


def test_refusals():
    with pytest.raises(ValueError, match="layers must be at least 1, got 0"):
        SkipDecoder(layers=0)
    with pytest.raises(ValueError, match="skip_from must be an encoder layer, 0 for the embeddings, got -1"):
        SkipDecoder(skip_from=-1)
    with pytest.raises(ValueError, match="init must be one of random, last_layers, got 'zero'"):
        SkipDecoder(init="zero")
