"""An encoder that starts from a pre-trained checkpoint, of any family in `backbone/`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bmae_lightning.encoder.checkpoint import find_checkpoint, load_checkpoint, read_config
from bmae_lightning.encoder.tokenizer import PretrainedTokenizer
from bmae_lightning.runtime.errors import BadInput

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass
class PretrainedEncoder:
    """Masked language model by hub name or local directory, in 32-bit weights.

    Args:
        name: local directory or hub name.
        tokenizer: where its word pieces come from.
        package: Python package that carries the checkpoint; tried first.
        sha256: what model.safetensors must hash to; other weights are refused.
        dropout: all dropouts of the network; None keeps the checkpoint's.
        key: where `name` is set, for messages.
        packed: compute real tokens only, see `Encoder`.
        family: a `Backbone` of your own, by its import path; None finds that of the checkpoint's type.
    """

    name: str
    tokenizer: PretrainedTokenizer
    package: str | None = None
    sha256: str | None = None
    dropout: float | None = None
    key: str = "encoder.name"
    packed: bool = True
    family: str | None = None

    hub = ("name",)

    def dimensions(self) -> tuple[int, int, bool]:
        """Number of layers and of positions, and whether decoders can copy layers, without loading any weights.

        Raises:
            BadInput: not found, or of no type that is known.
        """
        from bmae_lightning.encoder.backbone.backbone import family_of

        directory, label = find_checkpoint(self.name, self.package, self.sha256, self.key), f"{self.key}={self.name}"
        config = load_config(str(directory), label, self.family)
        kind = family_of(config, label)
        return config.num_hidden_layers, kind.limit_of(config), kind.copies

    def masked_lm(self, vocabulary_size: int, pad_id: int = 0) -> tuple["PreTrainedModel", list[str]]:
        """The model, and the parameters that the checkpoint lacks and that are new (an LM head, for example).

        pad_id: not read, a checkpoint has its own.

        Raises:
            BadInput: not found, of no type that is known, or with fewer word pieces than the tokenizer.
        """
        return load_masked_lm(
            str(find_checkpoint(self.name, self.package, self.sha256, self.key)),
            vocabulary_size,
            self.dropout,
            f"{self.key}={self.name}",
            self.family,
        )


def load_config(directory: str, label: str, family: str | None = None) -> Any:
    """The transformers configuration of a masked language model.

    Raises:
        BadInput: there is none, its type is not known, or it says something that transformers would not do.
    """
    from bmae_lightning.encoder.backbone.backbone import OWN, family_of

    config = read_config(directory, label)
    if family is not None:
        setattr(config, OWN, family)
    kind = family_of(config, label)
    for name, value in kind.fixed.items():
        if (found := getattr(config, name, value)) not in (value, None):
            raise BadInput(
                f"{label}: its config.json has {name}={found!r}, transformers computes it as {name}={value!r} only; "
                "use another checkpoint"
            )
    return config


def load_masked_lm(
    directory: str, vocabulary_size: int, dropout: float | None, label: str, family: str | None = None
) -> tuple["PreTrainedModel", list[str]]:
    """The masked language model in `directory` in float32, and the names of parameters that the checkpoint lacks.

    Raises:
        BadInput: see `load_checkpoint`; also for an unknown type of model, and for more tokens than it embeds.
    """
    from transformers import AutoModelForMaskedLM

    from bmae_lightning.encoder.backbone.backbone import family_of, set_dropout

    config = load_config(directory, label, family)
    if config.vocab_size < vocabulary_size:
        raise BadInput(
            f"{label}: the model has {config.vocab_size} word pieces, the tokenizer of the prepared corpus has "
            f"{vocabulary_size}: prepare the corpus with this encoder"
        )
    kind = family_of(config, label)
    kind.read(config, Path(directory))
    if dropout is not None:
        set_dropout(config, dropout)
    return load_checkpoint(
        AutoModelForMaskedLM, directory, label, "masked language model", kind.unused, new_head=True, config=config,
        attn_implementation="sdpa" if kind.packs else "eager",
    )  # fmt: skip
