"""An encoder of BERT architecture that starts from random weights."""

from typing import TYPE_CHECKING

from bmae_lightning.encoder.tokenizer import PretrainedTokenizer, TrainedTokenizer

if TYPE_CHECKING:
    from transformers import BertForMaskedLM


class ScratchEncoder:
    """BERT masked language model with random weights, the same for every arm of an experiment.

    Args:
        tokenizer: where the word pieces come from.
        layers, width, heads: number of layers, hidden size, attention heads; the feed-forward size is 4 x width.
        positions: longest input in word pieces.
        dropout: hidden and attention dropout.
        seed: of the initial weights.
    """

    def __init__(
        self,
        tokenizer: TrainedTokenizer | PretrainedTokenizer,
        layers: int,
        width: int,
        heads: int,
        positions: int = 512,
        dropout: float = 0.1,
        seed: int = 0,
    ) -> None:
        if width % heads:
            raise ValueError(f"width={width} must be a multiple of heads={heads}")
        self.tokenizer, self.layers, self.width, self.heads = tokenizer, layers, width, heads
        self.positions, self.dropout, self.seed = positions, dropout, seed

    def dimensions(self) -> tuple[int, int]:
        """Number of layers and of positions."""
        return self.layers, self.positions

    def masked_lm(self, vocabulary_size: int) -> tuple["BertForMaskedLM", list[str]]:
        """The model; the second value, parameters that a checkpoint lacks, is empty: all of them are new by intention."""
        import torch
        from transformers import BertConfig, BertForMaskedLM

        config = BertConfig(
            vocab_size=vocabulary_size,
            hidden_size=self.width,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            intermediate_size=4 * self.width,
            max_position_embeddings=self.positions,
            hidden_dropout_prob=self.dropout,
            attention_probs_dropout_prob=self.dropout,
            attn_implementation="sdpa",
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return BertForMaskedLM(config), []
