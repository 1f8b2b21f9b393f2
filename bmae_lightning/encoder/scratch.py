"""An encoder of BERT architecture that starts from random weights."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bmae_lightning.encoder.tokenizer import PretrainedTokenizer, TrainedTokenizer

if TYPE_CHECKING:
    from transformers import BertForMaskedLM


@dataclass
class ScratchEncoder:
    """BERT masked language model with random weights, the same for every arm of an experiment.

    Args:
        tokenizer: where the word pieces come from.
        layers, width, heads: number of layers, hidden size, attention heads; the feed-forward size is 4 x width.
        positions: longest input in word pieces.
        dropout: hidden and attention dropout.
        seed: of the initial weights.
        packed: compute real tokens only, see `Encoder`.
    """

    tokenizer: TrainedTokenizer | PretrainedTokenizer
    layers: int
    width: int
    heads: int
    positions: int = 512
    dropout: float = 0.1
    seed: int = 0
    packed: bool = True

    family = None

    def __post_init__(self) -> None:
        check_heads(self.width, self.heads)

    def dimensions(self) -> tuple[int, int, bool]:
        """Number of layers and of positions, and whether decoders can copy layers."""
        return self.layers, self.positions, True

    def masked_lm(self, vocabulary_size: int, pad_id: int = 0) -> tuple["BertForMaskedLM", list[str]]:
        """The model; the second value, the parameters that a checkpoint lacks, is empty: all weights are random.

        pad_id: of the token whose embedding is and stays 0.
        """
        from transformers import BertForMaskedLM

        more = {"pad_token_id": pad_id, "attn_implementation": "sdpa"}
        return random_model(BertForMaskedLM, self, vocabulary_size, self.dropout, **more), []


def random_model(kind: type, options: Any, vocabulary_size: int, dropout: float, **more: Any) -> Any:
    """A model of BERT's or ELECTRA's class with random weights; torch's own random state stays as it was.

    options: an object with layers, width, heads, positions and the seed of the weights.  more: for the configuration.
    """
    import torch

    config = kind.config_class(
        vocab_size=vocabulary_size,
        hidden_size=options.width,
        num_hidden_layers=options.layers,
        num_attention_heads=options.heads,
        intermediate_size=4 * options.width,
        max_position_embeddings=options.positions,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        **more,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        return kind(config)


def check_heads(width: int, heads: int) -> None:
    """Raise ValueError unless every attention head gets an equal part of the width."""
    if heads < 1 or width < 1 or width % heads:
        raise ValueError(f"width={width} must be a multiple of heads={heads}")
