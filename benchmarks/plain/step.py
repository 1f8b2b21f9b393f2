"""A pre-training step in the plain way: padded, logits of every position, eager attention, masks drawn in Python.

Written from docs/methods.md, for the parameters of a `BottleneckMAE`, so that both compute the same losses: the
yardstick of benchmarks/step.py. Dropout aside, `losses(…, loops=False)` gives the very numbers of the model, because it
then takes the model's masks (tests/benchmarks/test_plain.py).
Shapes: B passages, L positions, D width, V vocabulary.
"""

import random

import slow_masks as slow
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bmae_lightning.encoder.batch import TextBatch, Tokens
from bmae_lightning.pretraining.bmae import BottleneckMAE
from bmae_lightning.pretraining.decoder.bag_of_words import BagOfWordsDecoder
from bmae_lightning.pretraining.decoder.decoder import Decoder, content_labels
from bmae_lightning.pretraining.decoder.enhanced import EnhancedDecoder
from bmae_lightning.pretraining.mask.complement import ComplementMask
from bmae_lightning.pretraining.mask.keyword import KeywordMask
from bmae_lightning.pretraining.mask.superset import SupersetMask
from bmae_lightning.pretraining.noise import Noise
from bmae_lightning.pretraining.view import MaskedText, View, take


class PlainStep:
    """model: of BERT type, its attention becomes eager.  words: the vocabulary's pieces.  loops: draw in Python."""

    def __init__(self, model: BottleneckMAE, words: list[str], loops: bool = True) -> None:
        model.encoder.packed = False
        if model.generator is not None:
            model.generator.packed = False
        self.model, self.encoder, self.words, self.loops = model, model.encoder, words, loops
        self.bert, self.head = model.encoder.masked_lm.bert, model.encoder.masked_lm.cls
        self.known, self.draw = model.encoder.vocabulary, random.Random(0)
        self.special = set(torch.nonzero(self.known.special_V).flatten().tolist())
        for module in model.modules():
            if hasattr(module, "config"):
                module.config._attn_implementation = "eager"

    def losses(self, batch: TextBatch) -> dict[str, Tensor]:
        """The mean of each loss over its labels (of a bag of words over passages), not weighted yet."""
        noise = Noise(self.model.seed, batch.epoch_B, batch.passage_B)
        seen, losses = {}, {}
        for name, view in self.model.views.items():
            text = self.text(view, batch, noise, f"views.{name}")
            hidden_BLD = self.bert(
                text.ids_BL, attention_mask=text.tokens.real_BL.long(), token_type_ids=text.types_BL
            ).last_hidden_state
            seen[name] = text, hidden_BLD, self.model.bottleneck(hidden_BLD, text.tokens.real_BL)
            if self.model.objective.weight:
                losses[f"encoder/{name}"] = self.named(hidden_BLD, text.labels_BL)
        for name, decoder in self.model.decoders.items():
            losses[name] = self.decoded(decoder, *seen[decoder.view], batch, noise, f"decoders.{name}")
        return losses

    def loss(self, batch: TextBatch) -> Tensor:
        """What is optimised."""
        return sum(self.model.weights[name] * loss for name, loss in self.losses(batch).items())

    def named(self, hidden_BLD: Tensor, labels_BL: Tensor) -> Tensor:
        """Cross-entropy over logits [B, L, V] of all positions."""
        return cross_entropy(self.head(hidden_BLD).flatten(0, 1), labels_BL.flatten(), ignore_index=-100)

    def decoded(
        self, decoder: Decoder, text: MaskedText, hidden_BLD: Tensor, bottleneck_BD: Tensor, batch: TextBatch,
        noise: Noise, salt: str,
    ) -> Tensor:  # fmt: skip
        if isinstance(decoder, BagOfWordsDecoder):
            return self.bag(decoder, text, hidden_BLD, take(batch, decoder.stream, decoder.span, self.known))
        if isinstance(decoder, EnhancedDecoder):
            tokens = take(batch, decoder.stream, decoder.span, self.known)
            visible_BLL = self.visible(decoder, tokens, noise, salt)
            return self.named(self.two_streams(decoder, bottleneck_BD, tokens, visible_BLL), content_labels(tokens))
        shown = self.text(decoder.shown, batch, noise, salt, text)
        states_BLD = self.bert.embeddings(shown.ids_BL)
        states_BLD = torch.cat([decoder.project(bottleneck_BD)[:, None], states_BLD[:, 1:]], 1)
        for layer in decoder.stack[0]:
            states_BLD = layer(states_BLD, additive(shown.tokens.real_BL[:, None, None], states_BLD.dtype))
        return self.named(states_BLD, shown.labels_BL)

    def two_streams(
        self, decoder: EnhancedDecoder, bottleneck_BD: Tensor, tokens: Tokens, visible_BLL: Tensor
    ) -> Tensor:
        layer, attention, embeddings = decoder.layer[0], decoder.layer[0].attention.self, self.bert.embeddings
        place_LD = embeddings.position_embeddings.weight[: tokens.ids_BL.shape[1]]
        if decoder.query == "raw":
            query_BLD = bottleneck_BD[:, None] + place_LD
        else:
            query_BLD = embeddings(inputs_embeds=bottleneck_BD[:, None].expand(-1, len(place_LD), -1))
        raw = decoder.context == "raw"
        context_BLD = embeddings.word_embeddings(tokens.ids_BL) + place_LD if raw else embeddings(tokens.ids_BL)
        context_BLD = torch.cat([bottleneck_BD[:, None], context_BLD[:, 1:]], 1)

        def heads(states_BLD: Tensor) -> Tensor:
            return states_BLD.unflatten(-1, (attention.num_attention_heads, -1)).transpose(1, 2)

        scores = heads(attention.query(query_BLD)) @ heads(attention.key(context_BLD)).transpose(2, 3)
        scores = scores * attention.scaling + additive(visible_BLL[:, None], scores.dtype)
        mixed = attention.dropout(scores.softmax(-1)) @ heads(attention.value(context_BLD))
        return layer.feed_forward_chunk(layer.attention.output(mixed.transpose(1, 2).flatten(2), query_BLD))

    def bag(self, decoder: BagOfWordsDecoder, text: MaskedText, hidden_BLD: Tensor, tokens: Tokens) -> Tensor:
        """A dense target [B, V] against the maximum of logits [B, L, V]."""
        words_VD = self.bert.embeddings.word_embeddings.weight
        logits_BLV = self.head(hidden_BLD) if decoder.head == "mlm" else hidden_BLD @ words_VD.T
        pooled_BL = decoder.pooled(self.encoder, text)
        mu_BV = logits_BLV.masked_fill(~pooled_BL[:, :, None], float("-inf")).max(1).values
        labels_BL = content_labels(tokens)
        target_BV = torch.zeros_like(mu_BV)
        for row, labels_L in enumerate(labels_BL):
            target_BV[row, labels_L[labels_L >= 0]] = 1.0
        if decoder.normalise == "length":
            target_BV /= (labels_BL >= 0).sum(1, keepdim=True)
        return -(target_BV * mu_BV.log_softmax(1)).sum(1).mean()

    def text(
        self, view: View, batch: TextBatch, noise: Noise, salt: str, reference: MaskedText | None = None
    ) -> MaskedText:
        """The masked text of a view."""
        if not self.loops:
            with torch.no_grad():
                return view(batch, self.known, noise, salt, reference)
        tokens = take(batch, view.stream, view.span, self.known)
        before = reference.selection_in(view.stream, view.span) if reference is not None else None
        masks = [self.mask(view.mask, row, before, tokens) for row in range(len(tokens.ids_BL))]
        rows = [ids[real].tolist() for ids, real in zip(tokens.ids_BL, tokens.real_BL, strict=True)]
        made = [
            slow.corrupt(ids, mask, self.special, self.known.mask_id, self.known.size, self.draw)
            for ids, mask in zip(rows, masks, strict=True)
        ]
        ids_BL, labels_BL = slow.padded([ids for ids, _ in made], 0), slow.padded([label for _, label in made], -100)
        selected_BL = slow.padded(masks, 0).bool()
        if view.corruption.generates:
            ids_BL, labels_BL = self.replaced(tokens, selected_BL)
        types_BL = tokens.segments(self.known.sep_id) if view.segments else None
        return MaskedText(
            ids_BL=ids_BL, labels_BL=labels_BL, selected_BL=selected_BL, tokens=tokens, stream=view.stream,
            span=view.span, types_BL=types_BL,
        )  # fmt: skip

    @torch.no_grad()
    def replaced(self, tokens: Tokens, selected_BL: Tensor) -> tuple[Tensor, Tensor]:
        """The generator's draws at every position, of which the selected ones are taken; all ids are labels."""
        selected_BL = selected_BL & ~self.known.is_special(tokens.ids_BL)
        network = self.model.generator.masked_lm
        shown_BL = tokens.ids_BL.masked_fill(selected_BL, self.known.mask_id)
        logits_BLV = network(shown_BL, attention_mask=tokens.real_BL.long()).logits
        drawn_BL = torch.distributions.Categorical(logits=logits_BLV).sample()
        labels_BL = tokens.ids_BL.masked_fill(self.known.is_special(tokens.ids_BL), -100)
        return torch.where(selected_BL, drawn_BL, tokens.ids_BL), labels_BL

    def pieces(self, tokens: Tokens, row: int) -> list[str]:
        return [self.words[token] for token in tokens.ids_BL[row][tokens.real_BL[row]].tolist()]

    def mask(self, policy: object, row: int, reference_BL: Tensor | None, tokens: Tokens) -> list[int]:
        """0 or 1 for every token of a text."""
        pieces = self.pieces(tokens, row)
        before = [] if reference_BL is None else reference_BL[row][tokens.real_BL[row]].int().tolist()
        if isinstance(policy, ComplementMask):
            return [1 - chosen for chosen in before]
        if isinstance(policy, KeywordMask):
            return slow.keywords(pieces, policy.rate, {}, self.draw)
        if isinstance(policy, SupersetMask):
            more = (policy.rate - policy.encoder_rate) / (1 - policy.encoder_rate)
            mask = slow.whole_words(pieces, more, len(pieces), slow.EDGES, self.draw)
            return [one or other for one, other in zip(mask, before, strict=True)]
        return slow.whole_words(pieces, policy.rate, len(pieces), slow.EDGES, self.draw)

    def visible(self, decoder: EnhancedDecoder, tokens: Tokens, noise: Noise, salt: str) -> Tensor:
        if not self.loops:
            return decoder.visible(self.encoder, tokens, noise, salt)
        texts = [self.pieces(tokens, row) for row in range(len(tokens.ids_BL))]
        return slow.padded_squares([slow.rows_visible(text, decoder.mask.rate, self.draw) for text in texts]).bool()


def additive(visible: Tensor, dtype: torch.dtype) -> Tensor:
    """0 where a key is seen, the least number elsewhere."""
    return torch.zeros(visible.shape, dtype=dtype).masked_fill(~visible, torch.finfo(dtype).min)


def optimiser(model: nn.Module, lr: float = 1e-4) -> torch.optim.Optimizer:
    """AdamW that updates one parameter after the other."""
    return torch.optim.AdamW(
        (p for p in model.parameters() if p.requires_grad), lr=lr, weight_decay=0.01, foreach=False, fused=False
    )
