"""SkipDecoder: against the layers written out, where its gradient goes, refusals."""

import pytest
import torch
from support.decoders import batch, layer_reference, small_encoder

from bmae_lightning.pretraining.bmae import BottleneckMAE
from bmae_lightning.pretraining.bottleneck import ClsBottleneck
from bmae_lightning.pretraining.corruption.bert import BertCorruption
from bmae_lightning.pretraining.decoder.skip import SkipDecoder
from bmae_lightning.pretraining.loss.normalise import mean_loss
from bmae_lightning.pretraining.mask.uniform import UniformMask
from bmae_lightning.pretraining.noise import Noise
from bmae_lightning.pretraining.view import View


class DetachedBottleneck(ClsBottleneck):
    def forward(self, hidden_BLD, real_BL):
        return super().forward(hidden_BLD, real_BL).detach()


def make(bottleneck=None, **arguments):
    encoder = small_encoder(4)
    views = {"passage": View(UniformMask(0.3), BertCorruption())}
    return BottleneckMAE(encoder, bottleneck or ClsBottleneck(), views, {"d": SkipDecoder(**arguments)})


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
