"""Replaced language modelling and its relatives as whole models: masks, labels, draws, joint training, gradients."""

import pytest
import torch
from support.generators import SIZE, VOCABULARY, GivenLogits, ReturnsOriginal, TinyGenerator, noise, texts
from transformers import BertConfig, BertForMaskedLM

from bmae_lightning.encoder.batch import TextBatch
from bmae_lightning.encoder.model import Encoder
from bmae_lightning.pretraining.bmae import BottleneckMAE
from bmae_lightning.pretraining.bottleneck import ClsBottleneck
from bmae_lightning.pretraining.corruption.bert import BertCorruption
from bmae_lightning.pretraining.corruption.hide import HideCorruption
from bmae_lightning.pretraining.corruption.replace import ReplaceCorruption
from bmae_lightning.pretraining.decoder.replaced_token_detection import ReplacedTokenDetectionDecoder
from bmae_lightning.pretraining.decoder.shallow import ShallowDecoder
from bmae_lightning.pretraining.loss.normalise import mean_loss
from bmae_lightning.pretraining.mask.fixed import FixedMask
from bmae_lightning.pretraining.mask.superset import SupersetMask
from bmae_lightning.pretraining.mask.uniform import UniformMask
from bmae_lightning.pretraining.objective.masked import MaskedObjective
from bmae_lightning.pretraining.objective.replaced import ReplacedObjective
from bmae_lightning.pretraining.view import View


def encoder():
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=SIZE, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=64, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    return Encoder(BertForMaskedLM(config), VOCABULARY)


def make(generator=None, rates=(0.3, 0.5), **options):
    """SimLM's model."""
    generator = (generator or TinyGenerator()).build(None)
    corruption = ReplaceCorruption(**options)
    view = View(UniformMask(rates[0]), corruption)
    decoder = ShallowDecoder(
        SupersetMask(rates[1], rates[0]), ReplaceCorruption(**options), layers=2, init="last_layers"
    )
    return BottleneckMAE(encoder(), ClsBottleneck(), {"passage": view}, {"shallow": decoder}, generator=generator)


def sides(model, batch):
    """The masked texts of the encoder and of the decoder."""
    draws = noise(batch, model.seed)
    seen = model.views["passage"](batch, VOCABULARY, draws, "views.passage")
    with torch.no_grad():
        return seen, model.decoders["shallow"].shown(batch, VOCABULARY, draws, "decoders.shallow", reference=seen)


def objective(model, batch):
    output = model(batch)
    return sum(output.weights[name] * mean_loss(loss, "micro_mean") for name, loss in output.losses.items())


def train(model, batch, steps, lr=1e-2):
    model.train()
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=lr)
    for step in range(steps):
        optimiser.zero_grad()
        loss = objective(model, TextBatch(batch.streams, batch.passage_B, batch.epoch_B + step))
        loss.backward()
        optimiser.step()
    return loss


@pytest.mark.parametrize("rates", [(0.15, 0.15), (0.15, 0.3), (0.3, 0.5), (0.3, 1.0)])
def test_the_encoders_positions_are_replaced_in_the_decoder_too(rates):
    batch = texts((40, 9, 1, 25))
    seen, shown = sides(make(rates=rates), batch)
    assert not (seen.selected_BL & ~shown.selected_BL).any()
    if rates[1] == 1:
        assert torch.equal(shown.selected_BL, ~VOCABULARY.special_V[batch.streams["passage"].ids_BL])


def test_texts_and_labels_of_both_sides():
    batch = texts((40, 9, 1, 25))
    batch.streams["passage"].ids_BL[0, 3:5] = VOCABULARY.unk_id
    model = make()
    original_BL = batch.streams["passage"].ids_BL
    content_BL = ~VOCABULARY.special_V[original_BL]
    for text in sides(model, batch):
        assert torch.equal(text.ids_BL[~text.selected_BL], original_BL[~text.selected_BL])
        assert torch.equal(text.labels_BL, original_BL.masked_fill(~content_BL, -100))
    output = model(batch)
    assert [int(loss.count) for loss in output.losses.values()] == [int(content_BL.sum())] * 2


@pytest.mark.parametrize("dropout", [False, True])
def test_a_frozen_generator_is_bit_identical_after_training(dropout):
    generator = TinyGenerator(hidden_dropout=0.3, dropout=dropout)
    model = make(generator)
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    train(model, texts(), 3)
    assert generator.training == dropout
    assert all(torch.equal(value, before[name]) for name, value in generator.state_dict().items())
    assert all(parameter.grad is None for parameter in generator.parameters())
    assert set(model.weights) == {"encoder/passage", "shallow"}


def test_encoder_and_decoder_draw_independently():
    model = make(GivenLogits(torch.zeros(SIZE)))
    seen, shown = sides(model, texts((40,) * 1500))
    both_BL = seen.selected_BL & shown.selected_BL
    assert torch.equal(both_BL, seen.selected_BL)
    p, count = 1 / SIZE, int(both_BL.sum())
    agreement = (seen.ids_BL == shown.ids_BL)[both_BL].double().mean()
    assert abs(agreement - p) < 4.5 * (p * (1 - p) / count) ** 0.5


def test_the_decoder_starts_as_the_encoders_last_layers_and_diverges():
    model = make()
    own = model.decoders["shallow"].layer
    last = model.encoder.masked_lm.bert.encoder.layer[-2:]
    pairs = list(zip(own.parameters(), last.parameters(), strict=True))
    assert all(torch.equal(one, two) and one.data_ptr() != two.data_ptr() for one, two in pairs)
    train(model, texts(), 1)
    changed = [not torch.equal(one, two) for one, two in pairs if one.dim() > 1]
    assert all(changed)


@pytest.mark.parametrize("rates", [(0.15, 0.3), (0.3, 0.5)])
def test_the_selected_share_of_words_is_near_the_rate(rates):
    output = make(rates=rates)(texts((60, 62) * 100))
    assert output.rates["encoder/passage"] == pytest.approx(rates[0], abs=0.03)
    assert output.rates["shallow"] == pytest.approx(rates[1], abs=0.03)


def test_without_replacements_both_sides_are_copy_tasks():
    model = make(ReturnsOriginal())
    batch = texts((12, 7, 9, 10))
    seen, shown = sides(model, batch)
    assert torch.equal(seen.ids_BL, batch.streams["passage"].ids_BL)
    assert torch.equal(shown.ids_BL, seen.ids_BL)
    train(model, batch, 120)
    for loss in model(batch).losses.values():
        assert mean_loss(loss, "micro_mean") < 0.1


def test_a_joint_generator_learns_from_its_own_loss_only():
    generator = TinyGenerator(train=True, weight=0.2)
    model = make(generator)
    output = model(texts())
    assert output.losses.keys() == output.weights.keys() == {"encoder/passage", "generator/passage", "shallow"}
    assert output.weights["generator/passage"] == 0.2
    seen, _ = sides(model, texts())
    assert torch.equal(output.losses["generator/passage"].count_B, seen.selected_BL.sum(1))
    for name, loss in output.losses.items():
        model.zero_grad()
        loss.total.backward(retain_graph=True)
        reached = [p.grad is not None and bool(p.grad.any()) for p in generator.parameters()]
        assert any(reached) == (name == "generator/passage"), name
        outside = [p.grad is not None and bool(p.grad.any()) for p in model.encoder.parameters()]
        assert any(outside) == (name != "generator/passage"), name


def test_joint_training_improves_the_generator():
    generator = TinyGenerator(train=True)
    model = make(generator)
    before = mean_loss(model(texts()).losses["generator/passage"], "micro_mean")
    train(model, texts(), 30)
    assert mean_loss(model(texts()).losses["generator/passage"], "micro_mean") < before - 0.5


def test_losses_do_not_depend_on_the_batch():
    model = make().double()
    together = model(texts(pad=3)).losses
    for row in range(5):
        alone = model(texts().map(lambda tensor, row=row: tensor[row : row + 1])).losses
        for name, loss in together.items():
            torch.testing.assert_close(alone[name].total, loss.total_B[row])


def test_no_network_is_kept_where_no_corruption_asks():
    view, decoder = View(UniformMask(0.3), BertCorruption()), ShallowDecoder(UniformMask(0.5), BertCorruption())
    model = BottleneckMAE(encoder(), ClsBottleneck(), {"p": view},
                          {"d": ShallowDecoder(UniformMask(0.5), BertCorruption(), view="p")},
                          generator=TinyGenerator().build(None))  # fmt: skip
    assert model.generator is None
    replace = View(UniformMask(0.3), ReplaceCorruption())
    with pytest.raises(ValueError, match="view.passage.corruption asks for a generator"):
        BottleneckMAE(encoder(), ClsBottleneck(), {"passage": replace}, {"shallow": decoder})
    with pytest.raises(ValueError, match="decoders.shallow.corruption asks for a generator"):
        BottleneckMAE(encoder(), ClsBottleneck(), {"passage": view}, {
            "shallow": ShallowDecoder(UniformMask(0.5), ReplaceCorruption())})  # fmt: skip
    with pytest.raises(ValueError, match="generator.train: .* no view has the corruption `replace`"):
        BottleneckMAE(encoder(), ClsBottleneck(), {"passage": view}, {"shallow": decoder},
                      generator=TinyGenerator(train=True).build(None))  # fmt: skip


def variants():
    plain, replaced = BertCorruption(), ReplaceCorruption()
    superset = SupersetMask(0.5, 0.3)
    options = {"layers": 2, "init": "last_layers"}
    return {
        "simlm": (View(UniformMask(0.3), replaced), ShallowDecoder(superset, replaced, **options), None, False),
        "joint": (View(UniformMask(0.3), replaced), ShallowDecoder(superset, replaced, **options), None, True),
        "encdec_mlm": (View(UniformMask(0.3), plain), ShallowDecoder(superset, plain, **options), None, False),
        "encdec_rtd": (
            View(UniformMask(0.3), replaced),
            ReplacedTokenDetectionDecoder(superset, replaced, **options),
            ReplacedObjective(),
            False,
        ),
        "mlm": (View(UniformMask(0.3), plain), None, None, False),
        "autoencoder": (
            View(FixedMask("nothing"), HideCorruption()),
            ShallowDecoder(FixedMask("everything"), HideCorruption(), **options),
            MaskedObjective(0.0),
            False,
        ),
    }


@pytest.mark.parametrize("name", variants())
def test_every_parameter_that_is_trained_has_a_gradient(name):
    """Distributed training stops at parameters that no loss reaches."""
    view, decoder, aim, joint = variants()[name]
    generator = TinyGenerator(train=joint).build(None) if name in ("simlm", "joint", "encdec_rtd") else None
    decoders = {"d": decoder} if decoder is not None else {}
    model = BottleneckMAE(encoder(), ClsBottleneck(), {"passage": view}, decoders, objective=aim, generator=generator)
    loss = objective(model, texts())
    assert loss.isfinite()
    loss.backward()
    without = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not without
    assert model.encoder.masked_lm.bert.encoder.layer[0].output.dense.weight.grad.abs().sum() > 0
    frozen = [n for n, p in model.named_parameters() if not p.requires_grad and not n.startswith("generator")]
    assert bool(frozen) == (name == "encdec_rtd")
    assert all("cls.predictions" in n for n in frozen)
    model.rebuild(texts(), 2)


def test_an_auto_encoder_sees_all_and_rebuilds_all():
    view, decoder, aim, _ = variants()["autoencoder"]
    model = BottleneckMAE(encoder(), ClsBottleneck(), {"passage": view}, {"d": decoder}, objective=aim)
    batch, tokens = texts(), texts().streams["passage"]
    output = model(batch)
    assert list(output.losses) == ["d"]
    assert output.rates["encoder/passage"] == 0
    assert output.rates["d"] == 1
    assert output.losses["d"].count == (~VOCABULARY.special_V[tokens.ids_BL]).sum()
    shown = decoder.shown(batch, VOCABULARY, noise(batch), "x")
    assert (shown.ids_BL[~VOCABULARY.special_V[tokens.ids_BL]] == VOCABULARY.mask_id).all()
