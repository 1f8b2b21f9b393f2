"""A generator that starts from a checkpoint: SimLM's is `google/electra-base-generator`; no equation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bmae_lightning.corpus.tokens.wordpiece import fast_backend
from bmae_lightning.encoder.checkpoint import find_checkpoint
from bmae_lightning.encoder.tokenizer import PretrainedTokenizer, TrainedTokenizer, load_tokenizer
from bmae_lightning.pretraining.generator.generator import Generator
from bmae_lightning.runtime.errors import BadInput

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

KEY = "generator.name"
OTHERWISE = "use generator=corpus, which trains one with the encoder's vocabulary, or another checkpoint"


class PretrainedGenerator(Generator):
    """name: local directory or hub name of any masked language model over the encoder's vocabulary; see `Generator`."""

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
        config = load_config(directory, f"{KEY}={self.name}")
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
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    check_vocabulary(directory, load_config(directory, label), tokenizer, label)
    try:
        with torch.random.fork_rng(devices=[]):
            model, loading = AutoModelForMaskedLM.from_pretrained(
                str(directory), dtype=torch.float32, output_loading_info=True
            )
    except Exception as error:  # noqa: BLE001  whatever is wrong with the files, it is the user's to know
        raise BadInput(
            f"{label}: no masked language model can be read from {directory} ({str(error).strip().splitlines()[0]})"
        ) from error
    named = dict(model.named_parameters(remove_duplicate=False))
    loaded = {value.data_ptr() for name, value in named.items() if name not in loading["missing_keys"]}
    if lost := [n for n in sorted(loading["missing_keys"]) if n not in named or named[n].data_ptr() not in loaded]:
        raise BadInput(
            f"{label}: {directory} lacks {len(lost)} parameters of a masked language model, such as {lost[0]}; "
            "an ELECTRA discriminator or a dual encoder is no generator"
        )
    return model


def load_config(directory: Path, label: str) -> PretrainedConfig:
    """The configuration of any model in `directory`; BadInput for none."""
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(str(directory))
    except (OSError, ValueError) as error:
        raise BadInput(f"{label}: no model configuration in {directory} ({str(error).splitlines()[0]})") from error


def check_vocabulary(directory: Path, config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase, label: str) -> None:
    """Raise BadInput unless every id means the same word piece; a checkpoint without tokenizer is judged by its size."""
    wanted = _pieces(tokenizer)
    if config.vocab_size != len(wanted):
        raise BadInput(
            f"{label}: the generator has {config.vocab_size} word pieces, the encoder's tokenizer {len(wanted)}; they must "
            f"have one vocabulary: {OTHERWISE}"
        )
    if not any((directory / name).is_file() for name in ("tokenizer.json", "vocab.txt")):
        return
    found = _pieces(load_tokenizer(directory))
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
