"""The schedule's corner points, the groups of AdamW, steps from epochs."""

import math

import pytest
import torch
from torch import nn

from bmae_lightning.lit.optimisation import AdamW, LinearSchedule, number_of_steps


def rates(steps, warmup, made=None):
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=2.0)
    schedule = (made or LinearSchedule()).make(optimiser, steps, warmup)
    seen = []
    for _ in range(steps + 1):
        seen.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        schedule.step()
    return seen


@pytest.mark.parametrize("warmup", [0.2, 2])
def test_the_rate_rises_to_its_peak_and_falls_to_zero(warmup):
    assert rates(10, warmup) == pytest.approx([0, 1, 2, 1.75, 1.5, 1.25, 1, 0.75, 0.5, 0.25, 0])


def test_no_warmup():
    assert rates(4, 0) == pytest.approx([2, 1.5, 1, 0.5, 0])


def test_biases_and_norms_do_not_decay_and_frozen_parameters_are_left_out():
    module = nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2), nn.Linear(2, 2))
    module[2].requires_grad_(False)
    groups = AdamW([0.9, 0.999]).make(module, 1e-3, 0.1).param_groups
    assert [(len(group["params"]), group["weight_decay"]) for group in groups] == [(1, 0.1), (3, 0.0)]


def test_wrong_betas():
    with pytest.raises(ValueError, match="betas"):
        AdamW([0.9, 1.5])


def test_warm_up_by_the_logarithm_of_the_step():
    """DeepSpeed's WarmupDecayLR: ln(step + 1) / ln(warm-up), then linear to 0."""
    seen = rates(16, 8, LinearSchedule("logarithm"))
    assert seen[:8] == pytest.approx([2 * math.log(step + 1) / math.log(8) for step in range(8)])
    assert (seen[7], seen[8], seen[12], seen[16]) == (2.0, 2.0, 1.0, 0.0)
    with pytest.raises(ValueError, match="growth must be one of linear, logarithm, got 'square'"):
        LinearSchedule("square")


def test_steps_from_epochs():
    assert number_of_steps(7, None, 100, 10) == 7
    assert number_of_steps(None, 3, 100, 32) == 10
    assert number_of_steps(None, 0.5, 100, 32) == 2
    assert number_of_steps(None, 0.07, 100, 1) == 7  # as floats 7.000000000000001
    for steps, epochs in [(None, None), (1, 1), (0, None)]:
        with pytest.raises(ValueError, match="steps"):
            number_of_steps(steps, epochs, 100, 10)


def test_the_fused_kernel_goes_with_clipping_under_mixed_precision():
    """The settings of trainer=gpu, which Lightning refuses for an optimiser that says it undoes loss scaling."""
    import pytorch_lightning as pl
    from torch.utils.data import DataLoader

    class Module(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 1)

        def training_step(self, batch, index):
            return self.layer(batch).square().mean() * 1e6

        def configure_optimizers(self):
            return AdamW([0.9, 0.999]).make(self, 1e-2, 0.0)

    module = Module()
    before = module.layer.weight.detach().clone()
    pl.Trainer(
        accelerator="cpu", precision="bf16-mixed", gradient_clip_val=1.0, max_steps=1, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    ).fit(module, DataLoader(torch.ones(2, 4), batch_size=2))  # fmt: skip
    assert not torch.equal(before, module.layer.weight)
    assert module.layer.weight.grad is None or module.layer.weight.grad.norm() <= 1.0
