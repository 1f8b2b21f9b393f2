"""BottleneckMAE: the properties that hold for any method of the grid (gradients, padding, means, determinism)."""

from dataclasses import replace

import pytest
import torch
from support.decoders import VOCABULARY, encode, small_encoder
from support.decoders import batch as random_batch

from bmae_lightning.encoder.batch import TextBatch, Tokens
from bmae_lightning.pretraining.bmae import BottleneckMAE, used_views
from bmae_lightning.pretraining.bottleneck import ClsBottleneck
from bmae_lightning.pretraining.corruption.bert import BertCorruption
from bmae_lightning.pretraining.corruption.hide import HideCorruption
from bmae_lightning.pretraining.decoder.enhanced import EnhancedDecoder
from bmae_lightning.pretraining.decoder.shallow import ShallowDecoder
from bmae_lightning.pretraining.loss.normalise import mean_loss
from bmae_lightning.pretraining.mask.complement import ComplementMask
from bmae_lightning.pretraining.mask.uniform import UniformMask
from bmae_lightning.pretraining.noise import Noise
from bmae_lightning.pretraining.objective.masked import MaskedObjective
from bmae_lightning.pretraining.view import View

NAMES = ["enhanced", "pooled", "shallow"]


class DetachedBottleneck(ClsBottleneck):
    def forward(self, hidden_BLD, real_BL):
        return super().forward(hidden_BLD, real_BL).detach()


def decoders():
    return {
        "enhanced": EnhancedDecoder(UniformMask(0.5)),
        "pooled": EnhancedDecoder(UniformMask(0.5), rows="pooled", query="embedded"),
        "shallow": ShallowDecoder(UniformMask(0.5), BertCorruption(), layers=2),
    }


def make(bottleneck=None, views=None, parts=None, dropout=0.0, **arguments):
    encoder = small_encoder(dropout=dropout)
    views = views or {"passage": View(UniformMask(0.3), BertCorruption())}
    return BottleneckMAE(
        encoder, bottleneck or ClsBottleneck(), views, decoders() if parts is None else parts, **arguments
    ).double()


def batch(lengths=(14, 3, 8, 1), pad=0):
    return random_batch(lengths, pad, first=7)


def decode(model, name, encoded, texts, noise):
    return model.decoders[name](model.encoder, encoded, texts, noise, f"decoders.{name}")


@pytest.mark.parametrize("name", NAMES)
def test_gradient_reaches_encoder_layers_through_the_bottleneck_only(name):
    for bottleneck in (DetachedBottleneck(), ClsBottleneck()):
        model = make(bottleneck)
        model(batch()).losses[name].total.backward()
        bert, head = model.encoder.masked_lm.bert, model.encoder.masked_lm.cls.predictions
        size = sum(p.grad.abs().sum() for p in bert.encoder.parameters() if p.grad is not None)
        assert (size == 0) == isinstance(bottleneck, DetachedBottleneck)
        for parameter in (bert.embeddings.word_embeddings.weight, head.bias, head.transform.dense.weight):
            assert parameter.grad.abs().sum() > 0


@pytest.mark.parametrize("name", NAMES)
def test_only_row_zero_of_the_encoder_output_matters(name):
    model, texts = make(), batch()
    encoded, noise = encode(model, texts)
    noisy_BLD = torch.cat([encoded.hidden_BLD[:, :1], torch.randn_like(encoded.hidden_BLD[:, 1:])], 1)
    bottleneck_BD = model.bottleneck(noisy_BLD, texts.streams["passage"].real_BL)
    disturbed = replace(encoded, hidden_BLD=noisy_BLD, bottleneck_BD=bottleneck_BD)
    before, after = (decode(model, name, seen, texts, noise).total for seen in (encoded, disturbed))
    assert torch.equal(before, after)
    labelled = encoded.masked.labels_BL >= 0
    assert not torch.allclose(model.encoder.head(noisy_BLD[labelled]), model.encoder.head(encoded.hidden_BLD[labelled]))


@pytest.mark.parametrize("name", NAMES)
def test_only_the_bottleneck_links_encoder_and_decoder(name):
    model, texts = make(), batch()
    encoded, noise = encode(model, texts)
    other, _ = encode(model, replace(texts, passage_B=texts.passage_B + 100))
    assert not torch.equal(encoded.masked.ids_BL, other.masked.ids_BL)
    same = replace(other, bottleneck_BD=encoded.bottleneck_BD)
    losses = [decode(model, name, seen, texts, noise).total for seen in (encoded, same, other)]
    assert torch.equal(losses[0], losses[1])
    assert not torch.equal(losses[0], losses[2])


@pytest.mark.parametrize("name", NAMES)
def test_the_id_in_slot_zero_of_the_decoder_is_irrelevant(name):
    model, texts = make(), batch()
    encoded, noise = encode(model, texts)
    tokens = texts.streams["passage"]
    changed = tokens.ids_BL.clone()
    changed[:, 0] = 103  # [MASK] belongs to a word, so masks are made from the original
    decoder = model.decoders[name]
    if name == "shallow":
        seen = (tokens.real_BL,)
    else:
        seen = (tokens.real_BL, decoder.visible(model.encoder, tokens, noise, f"decoders.{name}"))
    states = [decoder.read(model.encoder, encoded.bottleneck_BD, ids_BL, *seen) for ids_BL in (tokens.ids_BL, changed)]
    assert torch.equal(*states)


def test_padding_changes_nothing():
    model = make()
    short, padded = model(batch()), model(batch(pad=9))
    singles = [model(single(batch(pad=3), row)) for row in range(4)]
    for name, loss in short.losses.items():
        assert loss.count == padded.losses[name].count
        torch.testing.assert_close(loss.total, padded.losses[name].total, rtol=1e-9, atol=1e-9)
        alone = sum(one.losses[name].total for one in singles)
        torch.testing.assert_close(loss.total, alone, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(short.rates[name], padded.rates[name])


def single(texts, row):
    return texts.map(lambda tensor: tensor[row : row + 1])


def test_mean_is_over_tokens_not_over_examples():
    model = make()
    together = model(batch()).losses
    alone = [model(single(batch(), row)).losses for row in range(4)]
    for name in NAMES:
        means = torch.stack([mean_loss(losses[name], "micro_mean") for losses in alone])
        counts = torch.stack([losses[name].count for losses in alone])
        whole = mean_loss(together[name], "micro_mean")
        torch.testing.assert_close(whole, (means * counts).sum() / counts.sum())
        assert not torch.allclose(whole, means.mean(), rtol=1e-3)


def test_weights_stay_tied_and_decoders_own_layers_only():
    model = make()
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.01)
    sum(loss.total for loss in model(batch()).losses.values()).backward()
    optimiser.step()
    masked_lm = model.encoder.masked_lm
    embedding, output = masked_lm.bert.embeddings.word_embeddings.weight, masked_lm.cls.predictions.decoder.weight
    assert embedding.data_ptr() == output.data_ptr()
    names = [name for name, _ in model.decoders.named_parameters()]
    assert all(name.split(".")[1] == "layer" for name in names)
    per_layer = sum(1 for _ in masked_lm.bert.encoder.layer[0].parameters())
    assert len(names) == 4 * per_layer
    storages = {parameter.data_ptr() for parameter in model.encoder.parameters()}
    assert not storages & {parameter.data_ptr() for parameter in model.decoders.parameters()}


def test_same_losses_for_the_same_passage_and_epoch():
    model, texts = make(), batch()
    order = torch.tensor([2, 0, 3, 1])
    shuffled = texts.map(lambda tensor: tensor[order])
    encoded, _ = encode(model, texts)
    again, _ = encode(model, shuffled)
    assert torch.equal(encoded.masked.ids_BL[order], again.masked.ids_BL)
    for name, loss in model(texts).losses.items():
        torch.testing.assert_close(loss.total, model(shuffled).losses[name].total)
    for other in (replace(texts, epoch_B=texts.epoch_B + 1), replace(texts, passage_B=texts.passage_B + 1)):
        assert not torch.equal(encode(model, other)[0].masked.ids_BL, encoded.masked.ids_BL)
    model.seed = 1
    assert not torch.equal(encode(model, texts)[0].masked.ids_BL, encoded.masked.ids_BL)


def test_labels_of_whole_model_are_original_ordinary_ids():
    model, texts = make(), batch()
    texts.streams["passage"].ids_BL[0, 2:6] = 100
    encoded, noise = encode(model, texts)
    original_BL = texts.streams["passage"].ids_BL
    shown = model.decoders["shallow"].shown(texts, VOCABULARY, noise, "decoders.shallow")
    for text in (encoded.masked, shown):
        labelled_BL = text.labels_BL >= 0
        assert labelled_BL.any()
        assert torch.equal(text.labels_BL[labelled_BL], original_BL[labelled_BL])
        assert not VOCABULARY.special_V[original_BL[labelled_BL]].any()


def test_a_batch_without_labels():
    model = make()
    output = model(batch((0, 0)))
    total = sum(mean_loss(loss, "micro_mean") for loss in output.losses.values())
    total.backward()
    assert total.item() == 0
    for name, parameter in model.named_parameters():
        assert parameter.grad is None or (parameter.grad == 0).all(), name
    assert all(rate == 0 for rate in output.rates.values())


def test_encoder_and_decoder_masks_are_independent():
    count = 2000
    model = make()
    texts = batch((20,) * 2)
    ids_BL = texts.streams["passage"].ids_BL[:1].expand(count, -1)
    many = TextBatch(
        {"passage": Tokens(ids_BL, torch.ones_like(ids_BL).bool())}, torch.arange(count), torch.zeros(count).long()
    )
    noise = Noise(0, many.epoch_B, many.passage_B)
    encoder_BL = model.views["passage"](many, VOCABULARY, noise, "views.passage").selected_BL
    shallow_BL = model.decoders["shallow"].shown(many, VOCABULARY, noise, "decoders.shallow").selected_BL
    enhanced_BL = ~model.decoders["enhanced"].visible(
        model.encoder, many.streams["passage"], noise, "decoders.enhanced"
    )[:, 1]
    for other_BL in (shallow_BL, enhanced_BL):
        for position in range(2, 21):
            pair = torch.stack([encoder_BL[:, position], other_BL[:, position]]).double()
            assert abs(torch.corrcoef(pair)[0, 1]) < 4.5 / count**0.5


def test_half_precision_autocast_is_close_and_trains():
    model = make().float()
    exact = model(batch()).losses
    with torch.autocast("cpu", torch.bfloat16):
        losses = model(batch()).losses
    sum(loss.total for loss in losses.values()).backward()
    for name, loss in losses.items():
        assert loss.total.dtype == torch.float32
        torch.testing.assert_close(loss.total, exact[name].total, rtol=0.03, atol=0.0)
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_output_names_weights_and_rates():
    views = {"passage": View(UniformMask(0.3), BertCorruption()), "wide": View(UniformMask(0.8), HideCorruption())}
    parts = {"a": EnhancedDecoder(UniformMask(0.5), weight=0.25), "b": EnhancedDecoder(UniformMask(0.5), view="wide")}
    model = make(views=views, parts=parts, objective=MaskedObjective(0.5))
    output = model(batch((20, 30)))
    weights = {"encoder/passage": 0.5, "encoder/wide": 0.5, "a": 0.25, "b": 1.0}
    assert output.weights == model.weights == weights
    assert output.losses.keys() == output.rates.keys() == weights.keys()
    encoded, _ = encode(model, batch((20, 30)))
    assert output.losses["encoder/passage"].count == encoded.masked.selected_BL.sum()
    assert output.rates["encoder/passage"].item() == pytest.approx(encoded.masked.selected_BL.sum().item() / 50)
    assert output.rates["encoder/wide"] > 0.7
    assert model.streams == {"passage"}
    assert not output.rates["a"].requires_grad


def test_only_views_in_use_are_encoded():
    views = {"passage": View(UniformMask(0.3), BertCorruption()), "wide": View(UniformMask(0.8), HideCorruption())}
    model = make(
        views=views, parts={"b": EnhancedDecoder(UniformMask(0.5), view="wide")}, objective=MaskedObjective(0.0)
    )
    passes = []
    model.encoder.masked_lm.bert.register_forward_hook(lambda *_: passes.append(1))
    assert list(model(batch()).losses) == ["b"]
    assert len(passes) == 1


def test_unknown_view():
    with pytest.raises(ValueError, match="decoders.d.view: there is no view 'pasage'; did you mean 'passage'"):
        make(parts={"d": EnhancedDecoder(UniformMask(0.5), view="pasage")})


@pytest.mark.parametrize("name", ["half", "values", "training", "a.b"])
def test_names_that_torch_needs_itself(name):
    with pytest.raises(ValueError, match=f"another use for the name '{name}'"):
        make(parts={name: EnhancedDecoder(UniformMask(0.5))})


def test_a_view_without_its_decoder_goes_unless_it_stands_alone():
    views = {
        "passage": View(UniformMask(0.3), BertCorruption()),
        "wide": View(UniformMask(0.8), HideCorruption(), alone=False),
    }
    both = {"a": EnhancedDecoder(UniformMask(0.5)), "b": EnhancedDecoder(UniformMask(0.5), view="wide")}
    assert set(make(views=views, parts=both)(batch()).losses) == {"encoder/passage", "encoder/wide", "a", "b"}
    one = {"a": EnhancedDecoder(UniformMask(0.5))}
    assert set(make(views=views, parts=one)(batch()).losses) == {"encoder/passage", "a"}
    with pytest.raises(ValueError, match="nothing would be learned"):
        used_views({"wide": views["wide"]}, {}, MaskedObjective())
    with pytest.raises(ValueError, match="nothing would be learned"):
        used_views(views, {}, MaskedObjective(0.0))


def test_rebuild_shows_what_was_seen_and_made():
    model, texts = make(dropout=0.1), batch()
    model.train()
    rows = model.rebuild(texts, 3)
    assert model.training
    assert model.encoder.training
    assert [len(row.original) for row in rows] == [16, 5, 10]
    model.eval()
    encoded, noise = encode(model, texts.first(3))
    for b, row in enumerate(rows):
        size = len(row.original)
        assert row.original == texts.streams["passage"].ids_BL[b, :size].tolist()
        assert row.masked == {"passage": encoded.masked.ids_BL[b, :size].tolist()}
        assert list(row.rebuilt) == ["encoder/passage", *NAMES]
        best = model.encoder.head(encoded.hidden_BLD[b]).argmax(-1)
        for position in range(size):
            labelled = encoded.masked.labels_BL[b, position] >= 0
            expected = best[position].item() if labelled else row.original[position]
            assert row.rebuilt["encoder/passage"][position] == expected
        assert (row.rebuilt["enhanced"][0], row.rebuilt["enhanced"][-1]) == (101, 102)


def test_masks_that_relate_to_the_view_need_its_text():
    for parts, views, message in (
        ({"d": ShallowDecoder(ComplementMask(), BertCorruption(), span="second_half")}, None, r"decoders\.d\.mask"),
        ({"d": EnhancedDecoder(ComplementMask(), stream="queries")}, None, r"decoders\.d\.mask"),
        ({}, {"passage": View(ComplementMask(), BertCorruption())}, r"view\.passage\.mask"),
    ):
        with pytest.raises(ValueError, match=message):
            make(views=views, parts=parts)
