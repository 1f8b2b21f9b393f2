"""Dropout by 16-bit numbers: its law, its gradient, what repeats it, and where it stands aside."""

import pytest
import torch
from support.encoders import small_encoder
from torch import nn

from bmae_lightning.encoder.dropout import STEPS, Dropout, dropout


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_a_share_is_zero_and_the_rest_is_scaled_up(rate):
    torch.manual_seed(0)
    made = dropout(torch.ones(401, 1001), rate)
    share, count = (made == 0).double().mean().item(), made.numel()
    assert abs(share - rate) < 4.5 * (rate * (1 - rate) / count) ** 0.5 + 1 / STEPS
    kept = made[made != 0]
    assert kept.unique().numel() == 1
    assert kept[0].item() == pytest.approx(1 / (1 - rate), rel=1e-3)
    neighbours = ((made[:, 1:] == 0) & (made[:, :-1] == 0)).double().mean().item()
    assert abs(neighbours - rate**2) < 4.5 * (rate**2 / count) ** 0.5


def test_the_gradient_passes_where_the_value_did_and_the_state_repeats_it():
    x = torch.randn(7, 9, dtype=torch.float64, requires_grad=True)
    state = torch.get_rng_state()
    made = dropout(x, 0.3)
    made.sum().backward()
    torch.testing.assert_close(x.grad * x, made)
    assert not torch.equal(dropout(x, 0.3), made)
    torch.set_rng_state(state)
    assert torch.equal(dropout(x, 0.3), made)
    assert dropout(torch.ones(3, 5)[:, ::2].bfloat16(), 0.5).dtype == torch.bfloat16


def test_modules_of_an_encoder_use_it_and_stand_aside_in_evaluation():
    encoder = small_encoder()
    parts = [*encoder.modules(), *encoder.new_layers(1).modules()]
    kinds = {type(part) for part in parts if isinstance(part, nn.Dropout)}
    assert kinds == {Dropout}
    x = torch.randn(5)
    assert Dropout(0.5).eval()(x) is x
    for rate, wanted in ((0.0, x), (1.0, 0 * x)):
        assert torch.equal(Dropout(rate)(x), wanted)
