"""How texts become vectors: a small record saved beside every checkpoint and read by every later stage."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bmae_lightning.runtime.checks import choice
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import read_json, write_json

FILE = "retriever_spec.json"
POOLINGS, SIMILARITIES = ("cls", "mean"), ("dot", "cos")


@dataclass(frozen=True)
class RetrieverConfig:
    """Representation, similarity, lengths and prefixes of an encoder.

    Attributes:
        pooling: `cls` or `mean`.
        tokenizer: digest of the vocabulary.
        similarity: `dot` or `cos`; None where the checkpoint has not been trained to retrieve.
        query_length, passage_length: word pieces with [CLS] and [SEP]; None as above.
        query_prefix, passage_prefix: put before every text.
        segments: token type 1 behind the [SEP] between a title and its text; without such a [SEP] it changes nothing.
        shared: one encoder for queries and passages; otherwise that of passages lies in `passage/`.
        dense: dimensions of a projected dense part (0: there is none), None for the pooled state itself.
        lexical: vocabulary entries kept per passage, 0 without a lexical part.
        activation, separator, lexical_head: of the lexical part, see `HybridRepresentation`.
        representation: `_target_` and options that make the representation again; None where the fields above say it
            all, as for checkpoints from elsewhere.
    """

    pooling: str
    tokenizer: str
    similarity: str | None = None
    query_length: int | None = None
    passage_length: int | None = None
    query_prefix: str = ""
    passage_prefix: str = ""
    segments: bool = False
    shared: bool = True
    dense: int | None = None
    lexical: int = 0
    activation: str = "none"
    separator: str = "include"
    lexical_head: str = "mlm"
    representation: dict[str, Any] | None = None

    def save(self, directory: Path) -> None:
        write_json(directory / FILE, dataclasses.asdict(self))

    @staticmethod
    def load(directory: Path) -> "RetrieverConfig | None":
        """The record in `directory`, or None where there is none (a foreign checkpoint).

        Raises:
            BadInput: the file is damaged or of another version.
        """
        if not (directory / FILE).is_file():
            return None
        try:
            return RetrieverConfig(**read_json(directory / FILE))
        except TypeError as error:
            raise BadInput(f"{directory / FILE}: not written by this version ({error})") from error

    def require(self, directory: Path, remedy: dict[str, str], **wanted: Any) -> None:
        """Compare with what a stage is configured to use.

        Args:
            directory: where this record comes from.
            remedy: field -> option that sets it.
            wanted: field -> value of the stage.

        Raises:
            BadInput: a value differs; names both.
        """
        for name, value in wanted.items():
            found = getattr(self, name)
            if found is not None and found != value:
                raise BadInput(
                    f"{remedy.get(name, name)}: this stage has {name}={value!r}, but the encoder in {directory} was "
                    f"trained with {name}={found!r}; use the same for both"
                )


def check_similarity(similarity: str, representation: Any) -> None:
    """Raise ValueError for a similarity that does not exist or that the representation does not have."""
    choice(SIMILARITIES, similarity=similarity)
    if similarity == "cos" and representation.lexical:
        raise ValueError("similarity: cos is for dense representations; one with a lexical part is scored by dot")
