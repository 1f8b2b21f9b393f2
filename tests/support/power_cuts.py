"""A training that ends as in a power cut, in this process."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bmae_lightning.lit.metrics import StepMetrics


@contextmanager
def power_cut(monkeypatch: pytest.MonkeyPatch, step: int) -> Iterator[None]:
    """What runs in this block dies behind this optimiser step."""
    logged = StepMetrics.on_train_batch_end

    def cut(self, trainer, *rest):
        logged(self, trainer, *rest)
        if trainer.global_step == step:
            raise OSError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(StepMetrics, "on_train_batch_end", cut)
        with pytest.raises(OSError, match="power cut"):
            yield
