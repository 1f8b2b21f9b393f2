"""A generator of random weights."""

import pytest
import torch
from support.generators import tokenizer

from bmae_lightning.pretraining.generator.scratch import ScratchGenerator


def test_random_weights_depend_on_the_seed_only(tmp_path):
    words, made = tokenizer(tmp_path), []
    for seed in (3, 3, 4):
        torch.manual_seed(len(made))
        state = torch.get_rng_state()
        generator = ScratchGenerator(layers=1, width=16, heads=2, embedding=24, seed=seed).build(words)
        assert torch.equal(torch.get_rng_state(), state)
        made.append(torch.cat([parameter.flatten() for parameter in generator.parameters()]))
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])
    assert generator.trained
    assert generator.backbone.head.weight_VD.shape == (200, 24)
    with pytest.raises(ValueError, match="width=16 must be a multiple of heads=3"):
        ScratchGenerator(layers=1, width=16, heads=3, embedding=24)
