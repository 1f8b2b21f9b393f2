"""An encoder that starts from a pre-trained BERT-type checkpoint."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bmae_lightning.encoder.checkpoint import find_checkpoint, load_checkpoint, read_config
from bmae_lightning.encoder.tokenizer import PretrainedTokenizer
from bmae_lightning.runtime.errors import BadInput

if TYPE_CHECKING:
    from transformers import BertForMaskedLM


@dataclass
class PretrainedEncoder:
    """BERT masked language model by hub name or local directory, in 32-bit weights.

    Args:
        name: local directory or hub name.
        tokenizer: where its word pieces come from.
        package: Python package that carries the checkpoint; tried first.
        sha256: what model.safetensors must hash to; other weights are refused.
        dropout: hidden and attention dropout; None keeps the checkpoint's.
        key: where `name` is set, for messages.
        packed: compute real tokens only, see `Encoder`.
    """

    name: str
    tokenizer: PretrainedTokenizer
    package: str | None = None
    sha256: str | None = None
    dropout: float | None = None
    key: str = "encoder.name"
    packed: bool = True

    hub = ("name",)

    def dimensions(self) -> tuple[int, int]:
        """Number of layers and of positions, without loading any weights.

        Raises:
            BadInput: not found, or not of type BERT.
        """
        directory = str(find_checkpoint(self.name, self.package, self.sha256, self.key))
        config = load_config(directory, f"{self.key}={self.name}")
        return config.num_hidden_layers, config.max_position_embeddings

    def masked_lm(self, vocabulary_size: int, pad_id: int = 0) -> tuple["BertForMaskedLM", list[str]]:
        """The model, and the parameters that the checkpoint lacks and that are new (an LM head, for example).

        Raises:
            BadInput: not found, not of type BERT, or with another vocabulary than the tokenizer's.
        """
        return load_masked_lm(
            str(find_checkpoint(self.name, self.package, self.sha256, self.key)),
            vocabulary_size,
            self.dropout,
            f"{self.key}={self.name}",
        )


def load_config(directory: str, label: str) -> Any:
    """The transformers configuration of a BERT-type model; BadInput for none or for another type."""
    config = read_config(directory, label)
    if config.model_type != "bert":
        raise BadInput(
            f"{label}: the model is of type {config.model_type!r}; only BERT-type masked language models work"
        )
    return config


def load_masked_lm(
    directory: str, vocabulary_size: int, dropout: float | None, label: str
) -> tuple["BertForMaskedLM", list[str]]:
    """BertForMaskedLM in `directory` in float32, and the names of parameters that the checkpoint lacks.

    Raises:
        BadInput: see `load_checkpoint`; also for another type of model or vocabulary size, and for a missing layer.
    """
    from transformers import BertForMaskedLM

    config = load_config(directory, label)
    if config.vocab_size != vocabulary_size:
        raise BadInput(
            f"{label}: the model has {config.vocab_size} word pieces, the tokenizer of the prepared corpus has "
            f"{vocabulary_size}: prepare the corpus with this encoder"
        )
    rates = {} if dropout is None else {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    return load_checkpoint(
        BertForMaskedLM, directory, label, "BERT masked language model", (".encoder.layer.", "the encoder"),
        attn_implementation="sdpa", **rates,
    )  # fmt: skip
