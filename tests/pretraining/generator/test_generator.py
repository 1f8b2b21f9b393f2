"""Generator: what it draws, what it costs, when it learns, what it does in training mode."""

import pytest
import torch
from support.generators import SIZE, VOCABULARY, GivenLogits, TinyGenerator, noise, texts
from torch import nn

from bmae_lightning.pretraining.generator.generator import CHUNK
from bmae_lightning.runtime.errors import BadInput


def drawn(generator, batch, share=0.5, salt="x"):
    """(original, selection, what the generator made of it); every second content token is selected."""
    tokens = batch.streams["passage"]
    selected_BL = tokens.real_BL & ~VOCABULARY.special_V[tokens.ids_BL] & (tokens.ids_BL % 2 == 0)
    shown_BL = tokens.ids_BL.masked_fill(selected_BL, VOCABULARY.mask_id)
    ids_BL, loss = generator.replace(shown_BL, tokens.ids_BL, selected_BL, tokens.real_BL, noise(batch), salt)
    return tokens.ids_BL, selected_BL, ids_BL, loss


def many(count, length=30):
    return texts((length,) * count)


def test_draws_are_uniform_where_the_logits_are():
    generator = GivenLogits(torch.zeros(SIZE)).build(None)
    _, selected_BL, ids_BL, _ = drawn(generator, many(3000))
    hits_V = torch.bincount(ids_BL[selected_BL], minlength=SIZE).double()
    expected = selected_BL.sum() / SIZE
    chi = ((hits_V - expected) ** 2 / expected).sum()
    assert abs(chi - (SIZE - 1)) < 4.5 * (2 * (SIZE - 1)) ** 0.5


def test_a_sure_generator_leaves_no_chance():
    generator = GivenLogits(torch.zeros(SIZE).index_fill(0, torch.tensor(150), 1e4)).build(None)
    _, selected_BL, ids_BL, _ = drawn(generator, many(50))
    assert (ids_BL[selected_BL] == 150).all()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_draws_follow_the_softmax_at_a_temperature(temperature):
    logits_V = torch.randn(SIZE, generator=torch.Generator().manual_seed(0)) * 2
    logits_V[100:] = -torch.inf
    generator = GivenLogits(logits_V, temperature=temperature).build(None)
    _, selected_BL, ids_BL, _ = drawn(generator, many(4000))
    count = int(selected_BL.sum())
    found_V = torch.bincount(ids_BL[selected_BL], minlength=SIZE) / count
    p_V = (logits_V.double() / temperature).softmax(0)
    assert found_V[100:].sum() == 0
    assert ((found_V - p_V).abs() <= 4.5 * (p_V * (1 - p_V) / count) ** 0.5 + 1e-12).all()


def test_ids_behind_the_size_are_never_drawn():
    generator, tokens = GivenLogits(torch.zeros(SIZE)).build(None), many(300).streams["passage"]
    selected_BL = tokens.real_BL
    ids_BL, _ = generator.replace(tokens.ids_BL, tokens.ids_BL, selected_BL, selected_BL, noise(many(300)), "x", size=9)
    assert sorted(set(ids_BL[selected_BL].tolist())) == list(range(9))


def test_a_draw_is_the_first_id_above_the_uniform_number():
    generator = TinyGenerator().build(None)
    states_NE = torch.randn(40, 16, generator=torch.Generator().manual_seed(2))
    uniform_N = torch.rand(40, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    found = generator.draw(states_NE, uniform_N)
    for state_E, uniform, index in zip(states_NE, uniform_N, found, strict=True):
        probabilities = generator.backbone.head(state_E).detach().double().softmax(0).tolist()
        total, expected = 0.0, None
        for candidate, probability in enumerate(probabilities):
            total += probability
            if total > uniform:
                expected = candidate
                break
        assert index == expected


def test_other_positions_keep_their_ids():
    original_BL, selected_BL, ids_BL, _ = drawn(TinyGenerator().build(None), many(40))
    assert torch.equal(ids_BL[~selected_BL], original_BL[~selected_BL])
    assert (ids_BL[selected_BL] != original_BL[selected_BL]).double().mean() > 0.5


def test_draws_depend_on_the_passage_only():
    """Not on the batch around it, its padding, or its row; but on salt, seed, epoch and number of the passage."""
    generator, batch = TinyGenerator().build(None).double(), texts()
    _, selected_BL, ids_BL, _ = drawn(generator, batch)
    for row in range(5):
        one = texts(pad=9).map(lambda tensor, row=row: tensor[row : row + 1])
        assert torch.equal(drawn(generator, one)[2][0, : ids_BL.shape[1]], ids_BL[row])
    assert not torch.equal(drawn(generator, batch, salt="y")[2], ids_BL)
    assert not torch.equal(drawn(generator, texts(first=8))[2], ids_BL)


def test_two_draws_are_independent():
    generator = GivenLogits(torch.zeros(SIZE)).build(None)
    batch = many(3000)
    _, selected_BL, first_BL, _ = drawn(generator, batch, salt="views.passage")
    second_BL = drawn(generator, batch, salt="decoders.shallow")[2]
    p, count = 1 / SIZE, int(selected_BL.sum())
    agreement = (first_BL == second_BL)[selected_BL].double().mean()
    assert abs(agreement - p) < 4.5 * (p * (1 - p) / count) ** 0.5


def test_logits_exist_at_selected_rows_only_and_a_few_at_a_time():
    generator, rows = TinyGenerator().build(None), []
    generator.masked_lm.cls.predictions.transform.register_forward_hook(
        lambda module, inputs, output: rows.append(output.shape[:-1].numel())
    )
    _, selected_BL, _, _ = drawn(generator, many(60))
    assert sum(rows) == selected_BL.sum() > CHUNK
    assert max(rows) <= CHUNK


def test_nothing_selected():
    batch = texts((3, 2))
    tokens = batch.streams["passage"]
    none_BL = torch.zeros_like(tokens.real_BL)
    generator = TinyGenerator(train=True).build(None)
    ids_BL, loss = generator.replace(tokens.ids_BL, tokens.ids_BL, none_BL, tokens.real_BL, noise(batch), "x")
    assert torch.equal(ids_BL, tokens.ids_BL)
    loss.total.backward()
    assert loss.total == loss.count == 0
    assert all((parameter.grad == 0).all() for parameter in generator.parameters())


def test_a_frozen_generator_stays_in_eval_mode():
    generator = TinyGenerator(hidden_dropout=0.5).build(None)
    model = nn.Sequential(generator).train()
    assert not any(module.training for module in generator.modules())
    assert model.training
    batch = texts()
    tokens = batch.streams["passage"]
    states = [generator.states(tokens.ids_BL, tokens.real_BL) for _ in range(2)]
    assert torch.equal(*states)
    assert not any(parameter.requires_grad for parameter in generator.parameters())
    assert drawn(generator, batch)[3] is None


def test_dropout_of_the_released_code():
    generator = TinyGenerator(hidden_dropout=0.5, dropout=True).build(None).train()
    tokens = texts().streams["passage"]
    assert not torch.equal(*[generator.states(tokens.ids_BL, tokens.real_BL) for _ in range(2)])
    assert not any(parameter.requires_grad for parameter in generator.parameters())
    generator.eval()
    assert torch.equal(*[generator.states(tokens.ids_BL, tokens.real_BL) for _ in range(2)])


def test_a_trained_generator_learns_to_tell_the_selected_ids():
    generator = TinyGenerator(train=True).build(None).train()
    assert generator.masked_lm.training
    batch = texts()
    original_BL, selected_BL, ids_BL, loss = drawn(generator, batch)
    assert loss.count_B.tolist() == selected_BL.sum(1).tolist()
    tokens = batch.streams["passage"]
    shown_BL = original_BL.masked_fill(selected_BL, VOCABULARY.mask_id)
    logits_NV = generator.masked_lm(shown_BL, attention_mask=tokens.real_BL.long()).logits[selected_BL]
    expected = nn.functional.cross_entropy(logits_NV, original_BL[selected_BL], reduction="sum")
    torch.testing.assert_close(loss.total, expected)
    loss.total.backward()
    assert all(parameter.grad is not None for parameter in generator.parameters())
    with torch.no_grad():
        assert drawn(generator, batch)[3] is None
        assert torch.equal(drawn(generator, batch)[2], ids_BL)


def test_bf16_draws_in_full_precision():
    generator, batch = TinyGenerator().build(None), many(60)
    _, selected_BL, ids_BL, _ = drawn(generator, batch)
    with torch.autocast("cpu", torch.bfloat16):
        half_BL = drawn(generator, batch)[2]
    assert (half_BL == ids_BL)[selected_BL].double().mean() > 0.8


def test_refused():
    for options, message in (
        ({"temperature": 0.0}, "temperature must be above 0, got 0.0"),
        ({"weight": -1.0}, "weight must be a number of at least 0, got -1.0"),
    ):
        with pytest.raises(ValueError, match=message):
            TinyGenerator(**options)
    with pytest.raises(BadInput, match="66 tokens does not fit the generator's 64 positions"):
        drawn(TinyGenerator().build(None), texts((10,), pad=54))
