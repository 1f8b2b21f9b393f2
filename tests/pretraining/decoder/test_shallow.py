"""ShallowDecoder: basic decoding against layers written out, depths, refusals."""

import pytest
import torch
from support.decoders import batch, layer_reference, small_encoder

from bmae_lightning.pretraining.bmae import BottleneckMAE
from bmae_lightning.pretraining.bottleneck import ClsBottleneck
from bmae_lightning.pretraining.corruption.bert import BertCorruption
from bmae_lightning.pretraining.decoder.enhanced import EnhancedDecoder
from bmae_lightning.pretraining.decoder.shallow import ShallowDecoder
from bmae_lightning.pretraining.mask.uniform import UniformMask
from bmae_lightning.pretraining.noise import Noise
from bmae_lightning.pretraining.view import View


def make(**arguments):
    encoder = small_encoder(3, positions=32)
    decoder = ShallowDecoder(UniformMask(0.5), BertCorruption(), **arguments)
    return BottleneckMAE(
        encoder, ClsBottleneck(), {"passage": View(UniformMask(0.3), BertCorruption())}, {"d": decoder}
    )


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("init", ["random", "last_layers"])
def test_labels_only_at_selected_positions_at_every_depth(layers, init):
    model, texts = make(layers=layers, init=init), batch()
    noise = Noise(0, texts.epoch_B, texts.passage_B)
    encoded = model.encode("passage", texts, noise)
    decoder = model.decoders["d"]
    decoded = decoder.decode(model.encoder, encoded, texts, noise, "decoders.d")
    text = decoder.shown(texts, model.encoder.vocabulary, noise, "decoders.d")
    assert torch.equal(decoded.labels_BL >= 0, text.selected_BL)
    assert 0 < int(text.selected_BL.sum()) < 22
    assert decoded.rate.item() == pytest.approx(text.selected_BL.sum().item() / 22)
    assert len(decoder.layer) == layers
    for b, length in enumerate((14, 5, 9)):
        states_LD = model.encoder.embed(text.ids_BL)[b, :length].clone()
        states_LD[0] = encoded.bottleneck_BD[b]
        for layer in decoder.layer:
            states_LD = layer_reference(layer, states_LD)
        torch.testing.assert_close(decoded.hidden_BLD[b, :length], states_LD)
    loss = decoder(model.encoder, encoded, texts, noise, "decoders.d")
    logits = model.encoder.head(decoded.hidden_BLD[text.selected_BL]).log_softmax(-1)
    labels = texts.streams["passage"].ids_BL[text.selected_BL]
    torch.testing.assert_close(loss.total, -logits[torch.arange(len(labels)), labels].sum())
    assert loss.count == len(labels)


def test_enhanced_decoding_refuses_more_layers():
    for layers in (0, 2):
        with pytest.raises(ValueError, match=f"layers must be 1 for enhanced decoding, got {layers}: .*see itself"):
            EnhancedDecoder(UniformMask(0.5), layers=layers)


def test_refuses_bad_arguments():
    with pytest.raises(ValueError, match="layers must be at least 1, got 0"):
        make(layers=0)
    with pytest.raises(ValueError, match="init must be one of random, last_layers, got 'lastlayers'"):
        make(init="lastlayers")
    with pytest.raises(ValueError, match="copies 4 layers but the encoder has 3"):
        make(layers=4, init="last_layers")


def test_shared_layers_have_one_owner():
    torch.manual_seed(0)
    parts = {
        "first": ShallowDecoder(UniformMask(0.5), BertCorruption(), layers=2),
        "second": ShallowDecoder(UniformMask(0.5), BertCorruption(), layers_of="first"),
        "own": ShallowDecoder(UniformMask(0.5), BertCorruption(), layers=2),
    }
    encoder = make().encoder
    model = BottleneckMAE(
        encoder, ClsBottleneck(), {"passage": View(UniformMask(0.3), BertCorruption())}, parts
    ).double()
    names = [name for name in model.decoders.state_dict() if "second" in name]
    assert names == []
    assert model.decoders["second"].stack[0] is model.decoders["first"].layer
    model(batch()).losses["second"].total.backward()
    assert model.decoders["first"].layer[1].output.dense.weight.grad.norm() > 0
    assert model.decoders["own"].layer[1].output.dense.weight.grad is None


def test_shared_layers_must_stand_before():
    for name in ("later", "d"):
        with pytest.raises(
            ValueError, match=f"layers_of='{name}' is no earlier shallow decoder with layers of its own"
        ):
            make(layers_of=name)


def test_an_identity_projection_changes_nothing_and_learns_from_the_decoder_alone():
    plain, projected = make(), make(projection=True)
    torch.manual_seed(3)
    project = projected.decoders["d"].project
    rest = {name: value for name, value in projected.state_dict().items() if ".project." not in name}
    assert len(projected.state_dict()) == len(rest) + 2
    assert project.bias.abs().sum() == 0
    assert 0 < project.weight.std() < 0.5
    plain.load_state_dict(rest)
    with torch.no_grad():
        project.weight.copy_(torch.eye(32))
    one, other = plain(batch()), projected(batch())
    torch.testing.assert_close(one.losses["d"].total, other.losses["d"].total)
    other.losses["encoder/passage"].total.backward(retain_graph=True)
    assert project.weight.grad is None
    other.losses["d"].total.backward()
    assert project.weight.grad.norm() > 0
    assert project.bias.grad.norm() > 0
