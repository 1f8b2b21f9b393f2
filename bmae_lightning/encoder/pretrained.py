"""An encoder that starts from a pre-trained BERT-type checkpoint."""

from typing import TYPE_CHECKING, Any

from bmae_lightning.encoder.checkpoint import find_checkpoint
from bmae_lightning.encoder.tokenizer import PretrainedTokenizer
from bmae_lightning.runtime.errors import BadInput

if TYPE_CHECKING:
    from transformers import BertForMaskedLM


class PretrainedEncoder:
    """BERT masked language model by hub name or local directory, in 32-bit weights.

    Args:
        name: local directory or hub name.
        tokenizer: where its word pieces come from.
        package: Python package that carries the checkpoint; tried first.
        sha256: what model.safetensors must hash to; other weights are refused.
        dropout: hidden and attention dropout; None keeps the checkpoint's.
    """

    def __init__(
        self,
        name: str,
        tokenizer: PretrainedTokenizer,
        package: str | None = None,
        sha256: str | None = None,
        dropout: float | None = None,
    ) -> None:
        self.name, self.tokenizer, self.package, self.sha256, self.dropout = name, tokenizer, package, sha256, dropout

    def dimensions(self) -> tuple[int, int]:
        """Number of layers and of positions, without loading any weights.

        Raises:
            BadInput: not found, or not of type BERT.
        """
        directory = str(find_checkpoint(self.name, self.package, self.sha256))
        config = load_config(directory, f"encoder.name={self.name}")
        return config.num_hidden_layers, config.max_position_embeddings

    def masked_lm(self, vocabulary_size: int) -> tuple["BertForMaskedLM", list[str]]:
        """The model, and the parameters that the checkpoint lacks and that are new (an LM head, for example).

        Raises:
            BadInput: not found, not of type BERT, or with another vocabulary than the tokenizer's.
        """
        return load_masked_lm(
            str(find_checkpoint(self.name, self.package, self.sha256)),
            vocabulary_size,
            self.dropout,
            f"encoder.name={self.name}",
        )


def load_config(directory: str, label: str) -> Any:
    """The transformers configuration of a BERT-type model; BadInput for none or for another type."""
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(directory)
    except (OSError, ValueError) as error:
        raise BadInput(f"{label}: no model configuration in {directory} ({str(error).splitlines()[0]})") from error
    if config.model_type != "bert":
        raise BadInput(
            f"{label}: the model is of type {config.model_type!r}; only BERT-type masked language models work"
        )
    return config


def load_masked_lm(
    directory: str, vocabulary_size: int, dropout: float | None, label: str
) -> tuple["BertForMaskedLM", list[str]]:
    """Load BertForMaskedLM from `directory` in float32; returns the names of parameters that were not in the checkpoint."""
    import torch
    from safetensors import SafetensorError
    from transformers import BertForMaskedLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    config = load_config(directory, label)
    if config.vocab_size != vocabulary_size:
        raise BadInput(
            f"{label}: the model has {config.vocab_size} word pieces, the tokenizer of the prepared corpus has "
            f"{vocabulary_size}: prepare the corpus with this encoder"
        )
    changes: dict[str, Any] = {}
    if dropout is not None:
        changes = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    try:
        model, loading = BertForMaskedLM.from_pretrained(
            directory, dtype=torch.float32, output_loading_info=True, attn_implementation="sdpa", **changes
        )
    except (RuntimeError, OSError, ValueError, SafetensorError) as error:
        raise BadInput(
            f"{label}: the weights in {directory} are of another architecture than its config.json, or cannot be read "
            f"({str(error).strip().splitlines()[0]})"
        ) from error
    new = sorted(name for name in loading["missing_keys"] if name != "cls.predictions.decoder.weight")
    if lost := [name for name in new if ".encoder.layer." in name]:
        raise BadInput(f"{label}: the checkpoint lacks {len(lost)} parameters of the encoder, such as {lost[0]}")
    return model, new
