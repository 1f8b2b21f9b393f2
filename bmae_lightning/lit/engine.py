"""Lightning's Trainer with what changes the speed or the memory of training, not what is learned."""

import inspect
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.plugins.precision import HalfPrecision
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer


class TrueHalf(HalfPrecision):
    """Parameters and states in bf16, but not the numbers that masks and losses are made of.

    Lightning's own converts the batch, whose scores masks compare, and makes 16 bits the default of all new numbers.
    """

    def forward_context(self) -> AbstractContextManager:
        return nullcontext()

    def convert_input(self, data: Any) -> Any:
        return data


class Trainer(pl.Trainer):
    """Lightning's, with two options more, for the transformer layers of encoder and decoders.

    Args:
        compile: by torch.compile.
        gradient_checkpointing: keep what a layer reads, and compute the rest of it again in backward.

    Raises:
        ValueError: precision=16-true, with which nothing is learned.
    """

    def __init__(self, *, compile: bool = False, gradient_checkpointing: bool = False, **options: Any) -> None:
        if options.get("precision") == "16-true":
            raise ValueError(
                "precision=16-true loses small updates, so that nothing is learned; use bf16-true or 16-mixed"
            )
        if options.get("precision") == "bf16-true":
            options["plugins"] = [*(options.get("plugins") or ()), TrueHalf(options.pop("precision"))]
        super().__init__(**options)
        self.compiles, self.checkpoints_layers = compile, gradient_checkpointing

    def fit(self, model: pl.LightningModule, *given: Any, **named: Any) -> None:
        """See `pl.Trainer.fit`."""
        for layer in layers_of(model):
            if self.checkpoints_layers:
                layer.gradient_checkpointing = True
                layer._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)
            if self.compiles:
                layer.compile(dynamic=True)
        super().fit(model, *given, **named)


_own = [p for p in inspect.signature(Trainer).parameters.values() if p.kind is p.KEYWORD_ONLY]
Trainer.__signature__ = inspect.Signature([*inspect.signature(pl.Trainer).parameters.values(), *_own])


def layers_of(model: nn.Module) -> list[nn.Module]:
    """The transformer layers in a model, of whatever family."""
    return [part for part in model.modules() if isinstance(part, GradientCheckpointingLayer)]
