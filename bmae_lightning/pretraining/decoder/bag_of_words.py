"""Bag-of-words decoding (DupMAE §3.1): the encoder's own token states, max-pooled in the vocabulary, name the words.

It has no parameters and reads no bottleneck; its gradient reaches the encoder through every pooled position.
Shapes: B passages, L positions of the view, T positions of the text, D width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from bmae_lightning.encoder.batch import TextBatch
from bmae_lightning.encoder.borrowed import HEADS
from bmae_lightning.pretraining.decoder.decoder import Decoded, Decoder, Encoded, content_labels
from bmae_lightning.pretraining.loss.bag_of_words import NORMALISE, bag_of_words_loss
from bmae_lightning.pretraining.loss.vocabulary import IGNORED, TokenLoss
from bmae_lightning.pretraining.noise import Noise
from bmae_lightning.pretraining.view import MaskedText, share, take
from bmae_lightning.runtime.checks import choice

if TYPE_CHECKING:
    from bmae_lightning.encoder.model import Encoder

POOLS = ("code", "paper")


@dataclass(frozen=True)
class Pooled(Decoded):
    """hidden_BLD: of the view.  labels, original [B, T]: of the text.  pooled_BL: positions of the view that count."""

    pooled_BL: Tensor | None = None


@dataclass(kw_only=True, eq=False, repr=False)
class BagOfWordsDecoder(Decoder):
    """Recovers the set of content tokens, without order, from the view's own states.

    view: whose states.  stream, span: the text.  weight: of the loss (code 0.1, paper 1).  pool: 'code' takes every
    real position but [CLS], 'paper' leaves out masked positions and [SEP] as well.  normalise: 'length' divides by the
    number of content tokens (code), 'none' does not (paper).  head: 'mlm', the masked language model's (code), or
    'linear', the word embedding alone (paper's LPU; that it is tied is our choice).  The loss counts passages: its mean
    is over texts, not tokens.
    Relations: the only decoder that does not read the bottleneck; DupMAE uses it beside `EnhancedDecoder`.
    """

    weight: float = 0.1
    pool: str = "code"
    normalise: str = "length"
    head: str = "mlm"

    reads_bottleneck = False

    def __post_init__(self) -> None:
        super().__post_init__()
        choice(POOLS, pool=self.pool)
        choice(NORMALISE, normalise=self.normalise)
        choice(HEADS, head=self.head)

    @property
    def uses_head(self) -> bool:
        return self.head == "mlm"

    names_tokens = True

    def check_norm(self, norm: str, key: str) -> None:
        """Refuse a sum over its words beside losses that are means, or the reverse: 3,621 beside 7.1 + 7.1 nats."""
        if (self.normalise == "none") != (norm == "sum"):
            wanted, other = ("length", "sum") if self.normalise == "none" else ("none", "micro_mean")
            raise ValueError(
                f"loss_norm={norm} and {key}.normalise={self.normalise}: one is a sum over a passage, the other a "
                f"mean; set {key}.normalise={wanted}, or pretrain.loss_norm={other}"
            )

    def build(self, encoder: Encoder, built: Mapping[str, Decoder]) -> None:
        pass

    def decode(self, encoder: Encoder, encoded: Encoded, batch: TextBatch, noise: Noise, salt: str) -> Pooled:
        tokens = take(batch, self.stream, self.span, encoder.vocabulary)
        pooled_BL = self.pooled(encoder, encoded.masked)
        content_BL = content_labels(encoded.masked.tokens) != IGNORED
        left_out = share(content_BL & ~pooled_BL, content_BL)
        return Pooled(encoded.hidden_BLD, content_labels(tokens), tokens.ids_BL, left_out, pooled_BL=pooled_BL)

    def pooled(self, encoder: Encoder, text: MaskedText) -> Tensor:
        """The positions of the view whose logits are pooled, bool [B, L]."""
        pooled_BL = text.tokens.real_BL.clone()
        pooled_BL[:, 0] = False
        if self.pool == "paper":
            pooled_BL &= ~text.selected_BL & (text.tokens.ids_BL != encoder.vocabulary.sep_id)
        return pooled_BL

    def loss(self, encoder: Encoder, decoded: Pooled) -> TokenLoss:
        head = encoder.head_of(self.head)
        return bag_of_words_loss(decoded.hidden_BLD, decoded.pooled_BL, decoded.labels_BL, head, self.normalise)

    def rebuilt(self, encoder: Encoder, decoded: Pooled) -> None:
        """A set has no order, so there is no text."""
        return
