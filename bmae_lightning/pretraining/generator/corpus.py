"""A generator that a stage trained on the corpus: no download, and always the encoder's vocabulary."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bmae_lightning.pretraining.generator.generator import Generator
from bmae_lightning.pretraining.generator.pretrained import load_network
from bmae_lightning.runtime.errors import BadInput

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class CorpusGenerator(Generator):
    """stage: the stage that trains it, `pretrain.inputs.generator`; the other options are those of `Generator`."""

    def __init__(
        self,
        stage: str = "masked_lm",
        train: bool = False,
        dropout: bool = False,
        temperature: float = 1.0,
        weight: float = 0.2,
    ):
        super().__init__(train, dropout, temperature, weight)
        self.stage = stage

    def network(self, tokenizer: PreTrainedTokenizerBase, directory: Path | None) -> PreTrainedModel:
        if directory is None:
            raise BadInput(f"generator.stage={self.stage}: pretrain.inputs.generator is empty, name this stage there")
        return load_network(directory / "encoder", tokenizer, f"generator.stage={self.stage}")
