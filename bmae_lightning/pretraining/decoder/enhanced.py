"""Enhanced decoding (RetroMAE §3.3, Eq. 4-8): one two-stream layer; every position sees its own sample of the text.

The query stream is bottleneck + position, keys and values are the uncorrupted text with the bottleneck in slot 0; no
position sees itself, so every content token carries loss.
Shapes: B passages, L positions (second L: keys), D width, K masks to pick from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from bmae_lightning.encoder.batch import TextBatch, Tokens
from bmae_lightning.pretraining.decoder.decoder import Decoded, Decoder, Encoded, content_labels
from bmae_lightning.pretraining.kernels.dispatch import compiled_twin
from bmae_lightning.pretraining.loss.vocabulary import IGNORED
from bmae_lightning.pretraining.mask.policy import MaskPolicy, MaskRequest
from bmae_lightning.pretraining.noise import Noise
from bmae_lightning.pretraining.view import share, take
from bmae_lightning.runtime.checks import choice

if TYPE_CHECKING:
    from bmae_lightning.encoder.model import Encoder

QUERIES = ("raw", "embedded")
CONTEXTS = ("raw", "embedded")
ROWS = ("others", "independent", "pooled")
POOL = 256


@dataclass(kw_only=True, eq=False, repr=False)
class EnhancedDecoder(Decoder):
    """Recovers every content token from the bottleneck and a sample of the other tokens drawn for that position.

    mask: hides keys, drawn once per row.  view: whose bottleneck.  stream, span: the text.  weight: of the loss.
    query: 'raw' adds bare position rows to the bottleneck (Eq. 4, DupMAE Eq. 2), 'embedded' sends it through the
    embedding module (DupMAE's code).  context: of keys and values, 'raw' adds bare word and position rows (Eq. 4),
    'embedded' is the embedding module's output with type, norm and dropout (code).
    rows: 'others' draws for each row a sample of the tokens other than its own and [CLS] (Eq. 7; of masks `uniform`
    alone, the others draw as for 'independent'), 'independent' a mask of the whole text, in which [SEP] always stays
    visible, and then hides the row's own token as well, 'pooled' picks such masks with replacement from min(T, 256)
    draws (code).  layers: 1; a second layer would read the first one's outputs as keys and so leak every token back to
    itself.
    Relations: `ShallowDecoder` hides the same words from all positions and learns from these alone (basic decoding,
    §3.2).
    """

    mask: MaskPolicy = field(kw_only=False)
    layers: int = 1
    query: str = "raw"
    context: str = "embedded"
    rows: str = "independent"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layers != 1:
            raise ValueError(
                f"layers must be 1 for enhanced decoding, got {self.layers}: a second layer would let each token see "
                "itself through the others; use a shallow decoder for more layers"
            )
        choice(QUERIES, query=self.query)
        choice(CONTEXTS, context=self.context)
        choice(ROWS, rows=self.rows)

    def build(self, encoder: Encoder, built: Mapping[str, Decoder]) -> None:
        if self.query == "embedded":
            encoder.check_word_width("query: embedded")
        encoder.need_positions()
        self.layer: nn.ModuleList = encoder.new_layers(1)

    def decode(self, encoder: Encoder, encoded: Encoded, batch: TextBatch, noise: Noise, salt: str) -> Decoded:
        tokens = take(batch, self.stream, self.span, encoder.vocabulary)
        visible_BLL = self.visible(encoder, tokens, noise, salt, encoded.masked.selection_in(self.stream, self.span))
        labels_BL = content_labels(tokens)
        hidden_BLD = self.read(encoder, encoded.bottleneck_BD, tokens.ids_BL, tokens.real_BL, visible_BLL)
        labelled_BL = labels_BL != IGNORED
        rows_B1 = labelled_BL.sum(1, keepdim=True).clamp(min=1)
        masked_BL = (labelled_BL[:, :, None] & ~visible_BLL).sum(1) / rows_B1 * labelled_BL
        return Decoded(hidden_BLD, labels_BL, tokens.ids_BL, share(masked_BL, labelled_BL), masked_BL)

    def visible(
        self, encoder: Encoder, tokens: Tokens, noise: Noise, salt: str, reference_BL: Tensor | None = None
    ) -> Tensor:
        """Which key (last axis) each row may see, bool [B, L, L]: never itself or padding; padding rows see nothing."""
        request = MaskRequest(tokens, encoder.vocabulary, noise, salt, reference_BL=reference_BL)
        return visible_keys(tokens.real_BL, lambda part, length: self.draw(request.part(part, length)))

    def draw(self, request: MaskRequest) -> tuple[Tensor, Tensor]:
        """Masks [B, K, L] and which of them each row takes: int64 [B, L]."""
        count, length = request.tokens.ids_BL.shape
        pooled = self.rows == "pooled"
        rows = min(length, POOL) if pooled else length
        asked = replace(request, salt=f"{request.salt}/mask", rows=rows, others=self.rows == "others")
        hidden_BKL = self.mask.select(asked)
        if pooled:
            size_B = request.length_B.clamp(1, POOL)
            return hidden_BKL, request.noise.below(f"{request.salt}/pool", length, size_B)
        return hidden_BKL, torch.arange(length, device=hidden_BKL.device).expand(count, -1)

    def read(
        self, encoder: Encoder, bottleneck_BD: Tensor, ids_BL: Tensor, real_BL: Tensor, visible_BLL: Tensor
    ) -> Tensor:
        """The two-stream layer, with the parameters of an ordinary one [B, L, D]; the residual is the query stream."""
        layer, layout = self.layer[0], encoder.layout(real_BL)
        attention = layer.attention.self
        query_RTD = self.query_stream(encoder, layout.spread(bottleneck_BD), layout.position_RT)
        embed = encoder.embed_bare if self.context == "raw" else encoder.embed
        context_RTD = layout.with_first(embed(layout.pack(ids_BL), layout.position_RT), bottleneck_BD)

        def heads(states_RTD: Tensor) -> Tensor:
            return states_RTD.unflatten(-1, (attention.num_attention_heads, -1)).transpose(1, 2)

        mixed_RTD = layout.attend(
            heads(attention.query(query_RTD)),
            heads(attention.key(context_RTD)),
            heads(attention.value(context_RTD)),
            attention.dropout.p if attention.training else 0.0,
            visible_BLL=never_empty(visible_BLL),
        )
        return layout.unpack(layer.feed_forward_chunk(layer.attention.output(mixed_RTD, query_RTD)))

    def query_stream(self, encoder: Encoder, bottleneck_RTD: Tensor, position_RT: Tensor) -> Tensor:
        """Bottleneck + position rows [R, T, D] (Eq. 4), bare or through the whole embedding module."""
        if self.query == "raw":
            return bottleneck_RTD + encoder.position_rows(position_RT)
        return encoder.embed_vectors(bottleneck_RTD, position_RT)


@compiled_twin
def visible_keys(real_BL: Tensor, draw: Callable[[Tensor | slice, int], tuple[Tensor, Tensor]]) -> Tensor:
    """Keys that each row may see, bool [B, L, L]: real ones, not hidden by the row's mask, and not itself.

    draw: (which passages, length) -> masks [B, K, L] of these passages cut to a length, and each row's choice [B, L].
    """
    hidden_BKL, pick_BL = draw(slice(None), real_BL.shape[1])
    hidden_BLL = hidden_BKL[torch.arange(len(pick_BL), device=pick_BL.device)[:, None], pick_BL]
    self_LL = torch.eye(pick_BL.shape[1], dtype=torch.bool, device=pick_BL.device)
    return real_BL[:, :, None] & real_BL[:, None] & ~hidden_BLL & ~self_LL


def never_empty(visible_BLL: Tensor) -> Tensor:
    """visible_BLL with slot 0 shown to rows that see nothing (padding), so that their softmax is finite."""
    blind_BL = ~visible_BLL.any(-1)
    return torch.cat([visible_BLL[:, :, :1] | blind_BL[:, :, None], visible_BLL[:, :, 1:]], dim=-1)
