"""A published teacher: docT5query for queries, GPT-2 for continuations, or any other generating model (MASTER §3)."""

from dataclasses import dataclass
from pathlib import Path

from bmae_lightning.encoder.checkpoint import find_checkpoint
from bmae_lightning.pretraining.generate.sampling import Sampling
from bmae_lightning.pretraining.generate.writer import Writer, load_tokenizer
from bmae_lightning.runtime.checks import at_least


@dataclass
class PretrainedTeacher:
    """An encoder-decoder or causal language model by hub name or local directory.

    Args:
        name: local directory or hub name.
        sampling: how it draws tokens.
        tokenizer: local directory or hub name of its tokenizer; None: `name`.
        length: tokens of a passage that it reads: an encoder-decoder the first ones, a causal model the last ones.
        prefix: put before every passage, as some models want.
    """

    name: str
    sampling: Sampling
    tokenizer: str | None = None
    length: int = 512
    prefix: str = ""

    hub = ("name", "tokenizer")

    def __post_init__(self) -> None:
        at_least(1, length=self.length)

    @property
    def description(self) -> str:
        return self.name

    def find(self, key: str) -> None:
        """Raise BadInput if its files cannot be found or its tokenizer cannot be loaded."""
        directory, tokenizer = self._directories(key)
        load_tokenizer(tokenizer or directory, key)

    def writer(self, key: str) -> Writer:
        """The model, loaded."""
        directory, tokenizer = self._directories(key)
        return Writer(directory, self.sampling, self.length, self.prefix, tokenizer, key)

    def _directories(self, key: str) -> tuple[Path, Path | None]:
        model = find_checkpoint(self.name, key=f"{key}.name")
        if self.tokenizer is None:
            return model, None
        return model, find_checkpoint(self.tokenizer, key=f"{key}.tokenizer", weights=False)
