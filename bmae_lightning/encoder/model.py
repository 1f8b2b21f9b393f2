"""The encoder: a Hugging Face BERT with its masked-language-model head, and what decoders borrow from it.

Decoders share its embeddings, positions and head (all five methods) and own only layers of the same kind.
Shapes: B passages, L positions, D width, V vocabulary.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from transformers import BertForMaskedLM
from transformers.models.bert.modeling_bert import BertLayer

from bmae_lightning.encoder.vocabulary import Vocabulary
from bmae_lightning.encoder.vocabulary_head import VocabularyHead
from bmae_lightning.runtime.checks import choice
from bmae_lightning.runtime.errors import BadInput

INITS = ("random", "last_layers")
HEADS = ("mlm", "linear")


class Encoder(nn.Module):
    """masked_lm: the network, exported after pre-training.  vocabulary: of the tokenizer it was made for."""

    def __init__(self, masked_lm: BertForMaskedLM, vocabulary: Vocabulary):
        super().__init__()
        if vocabulary.size > masked_lm.config.vocab_size:
            raise BadInput(
                f"the tokenizer has {vocabulary.size} tokens, the encoder embeds only {masked_lm.config.vocab_size}: "
                "use the tokenizer of the same checkpoint"
            )
        masked_lm.set_attn_implementation("sdpa")
        self.masked_lm = masked_lm
        self.vocabulary = vocabulary
        self.detection: nn.Module | None = None

    @property
    def config(self):
        return self.masked_lm.config

    @property
    def width(self) -> int:
        return self.config.hidden_size

    def forward(self, ids_BL: Tensor, real_BL: Tensor, types_BL: Tensor | None = None) -> Tensor:
        """Last-layer hidden states [B, L, D]; real_BL is False on padding, types_BL are token types, None for all 0."""
        return self.with_early(ids_BL, real_BL, (), types_BL)[0]

    def with_early(
        self, ids_BL: Tensor, real_BL: Tensor, layers: Iterable[int], types_BL: Tensor | None = None
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """Last-layer states and those after the given layers (1 = the first, 0 = the embeddings), each [B, L, D].

        types_BL: token types, None for all 0.
        """
        layers = tuple(layers)
        limit = self.config.max_position_embeddings
        if ids_BL.shape[1] > limit:
            raise BadInput(
                f"a text of {ids_BL.shape[1]} tokens does not fit the encoder's {limit} positions; lower max_length"
            )
        output = self.masked_lm.bert(
            input_ids=ids_BL,
            attention_mask=real_BL.long(),
            token_type_ids=types_BL,
            output_hidden_states=bool(layers),
        )
        return output.last_hidden_state, {layer: output.hidden_states[layer] for layer in layers}

    def embed(self, ids_BL: Tensor) -> Tensor:
        """Word + position + type embeddings, normalised, with dropout [B, L, D]."""
        return self.masked_lm.bert.embeddings(input_ids=ids_BL)

    def embed_bare(self, ids_BL: Tensor) -> Tensor:
        """Word + position embeddings alone [B, L, D]."""
        return self.masked_lm.get_input_embeddings()(ids_BL) + self.position_rows(ids_BL.shape[1])

    def embed_vectors(self, vectors_BLD: Tensor) -> Tensor:
        """The embedding module with vectors in place of word embeddings [B, L, D]."""
        return self.masked_lm.bert.embeddings(inputs_embeds=vectors_BLD)

    def position_rows(self, length: int) -> Tensor:
        """The first rows of the position embedding [L, D]."""
        return self.masked_lm.bert.embeddings.position_embeddings.weight[:length]

    @property
    def head(self) -> VocabularyHead:
        """From hidden states [..., D] to vocabulary logits [..., V]; the output projection is the word embedding."""
        parts = self.masked_lm.cls.predictions
        return VocabularyHead(parts.transform, parts.decoder.weight, parts.decoder.bias)

    def head_of(self, kind: str) -> VocabularyHead:
        """'mlm': `head`.  'linear': inner products with the word embedding alone, DupMAE's LPU (Eq. 5)."""
        choice(HEADS, head=kind)
        return (
            self.head if kind == "mlm" else VocabularyHead(nn.Identity(), self.masked_lm.get_input_embeddings().weight)
        )

    def freeze_head(self) -> None:
        """Stop training the vocabulary head, where no loss names tokens, but not the embedding that it shares."""
        embedding_VD = self.masked_lm.get_input_embeddings().weight
        for parameter in self.masked_lm.cls.parameters():
            if parameter is not embedding_VD:
                parameter.requires_grad_(False)

    def detector(self) -> nn.Module:
        """The head that tells replaced tokens from original ones: logits [..., 1]. The first call makes it."""
        if self.detection is None:
            first, last = self.new_linear(self.width, self.width), self.new_linear(self.width, 1)
            self.detection = nn.Sequential(first, nn.GELU(), last)
        return self.detection

    def new_linear(self, inputs: int, outputs: int, bias: bool = True) -> nn.Linear:
        """A linear map with N(0, initializer_range) weights and a bias, if any, of 0 to begin with."""
        like = next(self.masked_lm.parameters())
        linear = nn.Linear(inputs, outputs, bias=bias, device=like.device, dtype=like.dtype)
        nn.init.normal_(linear.weight, std=self.config.initializer_range)
        if bias:
            nn.init.zeros_(linear.bias)
        return linear

    def new_layers(self, count: int, init: str = "random") -> nn.ModuleList:
        """Transformer layers of the encoder's shape: N(0, initializer_range) weights, or copies of its last layers."""
        choice(INITS, init=init)
        own = self.masked_lm.bert.encoder.layer
        if init == "last_layers":
            check_copies(init, count, len(own))
            return nn.ModuleList(copy.deepcopy(layer) for layer in own[-count:])
        layers = nn.ModuleList(BertLayer(self.config) for _ in range(count))
        for module in layers.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=self.config.initializer_range)
                nn.init.zeros_(module.bias)
        like = next(own.parameters())
        return layers.to(device=like.device, dtype=like.dtype)


def check_copies(init: str, count: int, depth: int) -> None:
    """Raise ValueError where `count` layers cannot be copied from an encoder of `depth` layers."""
    if init == "last_layers" and count > depth:
        raise ValueError(f"init: last_layers copies {count} layers but the encoder has {depth}; lower layers")


def key_mask(real_BL: Tensor) -> Tensor:
    """The attention mask [B, 1, 1, L] of a bidirectional layer; slot 0 is always visible, so every row has a key."""
    first_L = torch.arange(real_BL.shape[1], device=real_BL.device) == 0
    return (real_BL | first_L)[:, None, None]
