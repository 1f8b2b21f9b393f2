"""A generator that starts from a checkpoint: SimLM's is `google/electra-base-generator`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bmae_lightning.corpus.tokens.wordpiece import fast_backend
from bmae_lightning.encoder.checkpoint import find_checkpoint, load_checkpoint, read_config
from bmae_lightning.encoder.tokenizer import PretrainedTokenizer, TrainedTokenizer, load_tokenizer
from bmae_lightning.pretraining.generator.generator import Generator
from bmae_lightning.runtime.errors import BadInput

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

KEY = "generator.name"
OTHERWISE = "use generator=corpus, which trains one with the encoder's vocabulary, or another checkpoint"


class PretrainedGenerator(Generator):
    """name: local directory or hub name of any masked language model over the encoder's vocabulary; see `Generator`."""

    hub = ("name",)

    def __init__(
        self,
        name: str,
        train: bool = False,
        dropout: bool = False,
        temperature: float = 1.0,
        weight: float = 0.2,
    ):
        super().__init__(train, dropout, temperature, weight)
        self.name = name

    def preflight(self, tokenizer: PretrainedTokenizer | TrainedTokenizer) -> None:
        """Compares the vocabulary too, where the encoder's exists already."""
        directory = find_checkpoint(self.name, key=KEY)
        config = read_config(directory, f"{KEY}={self.name}")
        if isinstance(tokenizer, PretrainedTokenizer):
            encoders = load_tokenizer(find_checkpoint(tokenizer.name, tokenizer.package))
            check_vocabulary(directory, config, encoders, f"{KEY}={self.name}")

    def network(self, tokenizer: PreTrainedTokenizerBase, directory: Path | None) -> PreTrainedModel:
        return load_network(find_checkpoint(self.name, key=KEY), tokenizer, f"{KEY}={self.name}")


def load_network(directory: Path, tokenizer: PreTrainedTokenizerBase, label: str) -> PreTrainedModel:
    """The masked language model in `directory`, in 32-bit weights; label begins the messages.

    Raises BadInput: unreadable, no masked language model, parameters missing, or another vocabulary than tokenizer's.
    """
    import torch
    from transformers import AutoModelForMaskedLM

    check_vocabulary(directory, read_config(directory, label), tokenizer, label)
    with torch.random.fork_rng(devices=[]):
        return load_checkpoint(
            AutoModelForMaskedLM, directory, label, "masked language model",
            hint="; an ELECTRA discriminator or a dual encoder is no generator",
        )[0]  # fmt: skip


def check_vocabulary(directory: Path, config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase, label: str) -> None:
    """Raise BadInput unless every id means the same word piece; of a checkpoint without tokenizer the size counts."""
    wanted, size = _pieces(tokenizer), config.vocab_size
    known = any((directory / name).is_file() for name in ("tokenizer.json", "vocab.txt"))
    found = _pieces(load_tokenizer(directory)) if known else wanted
    if known and len(found) < size:  # of a padded vocabulary
        size = len(found)
    if size != len(wanted):
        raise BadInput(
            f"{label}: the generator has {size} word pieces, the encoder's tokenizer {len(wanted)}; they must have one "
            f"vocabulary: {OTHERWISE}"
        )
    for piece in wanted:
        if found.get(piece) != wanted[piece]:
            here = next((other for other, index in found.items() if index == wanted[piece]), "nothing")
            raise BadInput(
                f"{label}: the generator has another vocabulary than the encoder's tokenizer (id {wanted[piece]} is "
                f"{here!r} there and {piece!r} here): {OTHERWISE}"
            )


def _pieces(tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
    """Word piece -> id, by id."""
    return dict(sorted(fast_backend(tokenizer).get_vocab(with_added_tokens=True).items(), key=lambda item: item[1]))
