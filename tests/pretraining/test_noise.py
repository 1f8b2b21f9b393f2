"""Noise against Python integers, its statistics, and what it may depend on."""

import hashlib
import math

import pytest
import torch

from bmae_lightning.pretraining.noise import Noise, log, mix

MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15


def noise(seed=0, epochs=(0,), passages=(0,)):
    return Noise(seed, torch.tensor(epochs), torch.tensor(passages))


def mix_reference(value):
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & MASK
    return value ^ (value >> 31)


def uniform_reference(seed, salt, epoch, passage, row, position):
    start = int.from_bytes(hashlib.blake2b(f"{seed}\0{salt}".encode(), digest_size=8).digest(), "little")
    key = mix_reference((epoch * GOLDEN + start) & MASK)
    key = mix_reference((key + passage * GOLDEN) & MASK)
    key = mix_reference((key + (row + 1) * GOLDEN) & MASK)
    bits = mix_reference((key + (position + 1) * GOLDEN) & MASK)
    return ((bits >> 12) + 0.5) / 2**52


def test_equals_integer_reference():
    values = noise(7, (3, 0), (12345678901, 5)).uniform("decoders.enhanced/mask", 6, rows=4)
    for b, (epoch, passage) in enumerate([(3, 12345678901), (0, 5)]):
        for row in range(4):
            for position in range(6):
                expected = uniform_reference(7, "decoders.enhanced/mask", epoch, passage, row, position)
                assert values[b, row, position].item() == expected


def test_rowless_is_row_zero_and_prefixes_agree():
    source = noise(1, (0, 0, 2), (4, 5, 4))
    long = source.uniform("a", 40, rows=9)
    assert torch.equal(source.uniform("a", 17), long[:, 0, :17])
    assert torch.equal(source.uniform("a", 17, rows=3), long[:, :3, :17])


def test_independent_of_batch_composition():
    together = noise(1, (0, 1, 2), (10, 11, 12)).uniform("a", 8, rows=2)
    alone = noise(1, (1,), (11,)).uniform("a", 8, rows=2)
    assert torch.equal(together[1:2], alone)


def test_uniform_and_serially_independent():
    passages = torch.arange(2000)
    values = Noise(3, passages * 0, passages).uniform("a", 200)
    count = values.numel()
    assert values.min() > 0
    assert values.max() < 1
    assert abs(values.mean() - 0.5) < 4.5 * (1 / 12 / count) ** 0.5
    cells = (values[:, :-1] * 16).long() * 16 + (values[:, 1:] * 16).long()
    hits = torch.bincount(cells.flatten(), minlength=256).double()
    expected = cells.numel() / 256
    chi2 = ((hits - expected) ** 2 / expected).sum()
    assert abs(chi2 - 255) < 5 * (2 * 255) ** 0.5


@pytest.mark.parametrize("other", ["salt", "row", "position", "passage", "epoch", "seed"])
def test_uncorrelated_between(other):
    size = 400
    passages = torch.arange(size)
    first = Noise(0, passages * 0, passages).uniform("a", size + 1, rows=2)
    second = {
        "salt": lambda: Noise(0, passages * 0, passages).uniform("b", size + 1, rows=2)[:, 0, :size],
        "row": lambda: first[:, 1, :size],
        "position": lambda: first[:, 0, 1:],
        "passage": lambda: Noise(0, passages * 0, passages + 1).uniform("a", size + 1)[:, :size],
        "epoch": lambda: Noise(0, passages * 0 + 1, passages).uniform("a", size + 1)[:, :size],
        "seed": lambda: Noise(1, passages * 0, passages).uniform("a", size + 1)[:, :size],
    }[other]()
    pair = torch.stack([first[:, 0, :size].flatten(), second.flatten()])
    assert abs(torch.corrcoef(pair)[0, 1]) < 4.5 / size
    assert abs(torch.corrcoef((pair - 0.5).abs())[0, 1]) < 4.5 / size
    assert not torch.equal(pair[0], pair[1])


def test_avalanche():
    values = torch.arange(4000) * 977
    flips = torch.stack([mix(values) ^ mix(values ^ (1 << bit)) for bit in range(0, 62, 7)])
    share = torch.stack([(flips >> bit) & 1 for bit in range(64)]).double().mean(-1)
    assert (share - 0.5).abs().max() < 5 * 0.5 / 4000**0.5


def test_all_orders_of_four_words_are_equally_likely():
    passages = torch.arange(24000)
    order = Noise(0, passages * 0, passages).uniform("a", 4).argsort(-1)
    code = (order * torch.tensor([64, 16, 4, 1])).sum(-1)
    _, hits = code.unique(return_counts=True)
    assert len(hits) == 24
    assert ((hits - 1000.0) ** 2 / 1000).sum() < 23 + 5 * 46**0.5


def test_logarithm_is_a_logarithm():
    values = torch.rand(100_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ends = torch.tensor([2.0**-53, 1 - 2.0**-53, 1.0, 1e300, 1e-300], dtype=torch.float64)
    values = torch.cat([values.clamp(min=2.0**-53), 1 - values * 1e-9, values.clamp(min=2.0**-53) * 40, ends])
    expected = torch.tensor([math.log(value) for value in values.tolist()], dtype=torch.float64)
    torch.testing.assert_close(log(values), expected, rtol=1e-15, atol=0)
    assert torch.equal(log(values.float()), values.float().log())


def test_below_covers_its_range():
    passages = torch.arange(500)
    values = Noise(0, passages * 0, passages).below("a", 40, torch.where(passages < 250, 3, 5))
    assert values[:250].unique().tolist() == [0, 1, 2]
    assert values[250:].unique().tolist() == [0, 1, 2, 3, 4]


def test_refuses_unequal_shapes():
    with pytest.raises(ValueError, match="must both be"):
        noise(0, (0, 1), (5,))
