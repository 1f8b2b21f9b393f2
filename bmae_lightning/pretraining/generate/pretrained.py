"""A teacher that somebody else has trained: docT5query for queries, GPT-2 for continuations, or any other (MASTER §3)."""

from pathlib import Path

from bmae_lightning.encoder.checkpoint import find_checkpoint
from bmae_lightning.pretraining.generate.sampling import Sampling
from bmae_lightning.pretraining.generate.writer import Writer, load_tokenizer


class PretrainedTeacher:
    """An encoder-decoder or causal language model by hub name or local directory.

    Args:
        name: local directory or hub name.
        sampling: how it draws tokens.
        tokenizer: local directory or hub name of its tokenizer; None: `name`.
        length: tokens of a passage that it reads: the first ones of an encoder-decoder, the last ones of a causal model.
        prefix: put before every passage, as some models want.
    """

    def __init__(
        self, name: str, sampling: Sampling, tokenizer: str | None = None, length: int = 512, prefix: str = ""
    ) -> None:
        if length < 1:
            raise ValueError(f"length={length} must be at least 1")
        self.name, self.sampling, self.tokenizer, self.length, self.prefix = name, sampling, tokenizer, length, prefix

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
