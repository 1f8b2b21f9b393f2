"""Where the word pieces come from: the tokenizer of a checkpoint, or one trained on the corpus."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bmae_lightning.encoder.checkpoint import find_checkpoint, first_line, quiet_transformers
from bmae_lightning.runtime.checks import choice
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import replacing

KINDS = ("wordpiece", "bpe", "unigram")


def load_tokenizer(directory: Path | str) -> Any:
    """The transformers tokenizer in `directory`.

    Raises:
        BadInput: there is none, it has no vocabulary, or it is no fast tokenizer.
    """
    from transformers import AutoTokenizer

    quiet_transformers()
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(directory))
    except (OSError, ValueError, ImportError) as error:
        pieces = next(Path(directory).glob("*.model"), None)
        if pieces is not None and find_spec("sentencepiece") is None:
            raise BadInput(
                f"{directory}: reading {pieces.name} needs sentencepiece: pip install sentencepiece"
            ) from error
        raise BadInput(f"{directory}: no tokenizer can be loaded from it ({first_line(error)})") from error
    if not tokenizer.is_fast:
        raise BadInput(f"{directory}: needs a fast tokenizer (tokenizer.json)")
    if tokenizer.vocab_size <= len(tokenizer.all_special_tokens):  # what a directory with config.json alone gives
        raise BadInput(f"{directory}: the tokenizer has no vocabulary: add tokenizer.json or vocab.txt")
    return tokenizer


@dataclass
class PretrainedTokenizer:
    """The tokenizer of a checkpoint.

    Args:
        name: local directory or hub name.
        package: Python package that carries it.
    """

    name: str
    package: str | None = None

    hub = ("name",)

    def preflight(self) -> None:
        """Raise BadInput if the tokenizer cannot be found."""
        find_checkpoint(self.name, self.package)

    def make(self, texts: Callable[[], Iterator[str]], directory: Path) -> None:
        """Save the tokenizer into `directory`; `texts` is not needed."""
        with replacing(directory) as made:
            load_tokenizer(find_checkpoint(self.name, self.package)).save_pretrained(made)


@dataclass
class TrainedTokenizer:
    """A vocabulary trained on the corpus, deterministic.

    Args:
        size: number of word pieces, special tokens included.
        stage: the stage whose collection it is trained on; all other collections of a run are read with it.
        kind: `wordpiece` as BERT's, lower-cased; `bpe` as RoBERTa's, of bytes; `unigram` as XLM-R's, of SentencePiece.
    """

    size: int = 8000
    stage: str = "prepare"
    kind: str = KINDS[0]

    def __post_init__(self) -> None:
        choice(KINDS, kind=self.kind)
        least = 300 if self.kind == "bpe" else 100  # all bytes are word pieces
        if self.size < least:
            raise ValueError(f"size must be at least {least} word pieces, got {self.size}")

    def preflight(self) -> None:
        """Nothing can be missing."""

    def make(self, texts: Callable[[], Iterator[str]], directory: Path) -> None:
        """Train on `texts()` and save the tokenizer into `directory`."""
        if self.kind == "wordpiece":
            from bmae_lightning.corpus.tokens.wordpiece import train_wordpiece

            train_wordpiece(texts(), self.size, directory)
            return
        from bmae_lightning.encoder.trained_tokenizer import train_bpe, train_unigram

        with replacing(directory) as made:
            (train_bpe if self.kind == "bpe" else train_unigram)(texts, self.size, made)
