"""The encoder: a masked language model of transformers, and what decoders borrow from it.

Decoders share its embeddings, positions and head (all five methods) and own only layers of one kind, BERT's.
Shapes: B passages, L positions, R x T rows of a layout, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.models.bert.modeling_bert import BertLayer

from bmae_lightning.encoder.backbone.backbone import backbone_of
from bmae_lightning.encoder.borrowed import HEADS, INITS, check_copies
from bmae_lightning.encoder.dropout import with_cheap_dropout
from bmae_lightning.encoder.layout import ATTENTION, Layout, Packed, Padded
from bmae_lightning.encoder.vocabulary import Vocabulary
from bmae_lightning.encoder.vocabulary_head import VocabularyHead
from bmae_lightning.runtime.checks import choice
from bmae_lightning.runtime.errors import BadInput


class Encoder(nn.Module):
    """masked_lm: the network, exported after pre-training.  vocabulary: of the tokenizer it was made for.

    packed: compute real tokens only, where the family can, see `layout.py`; False pads, with the same results.
    Attributes: backbone, the network by its parts.  detection, own_places: made where something asks for them.
    by_passage: of `head`, set by who averages the losses.
    """

    def __init__(self, masked_lm: PreTrainedModel, vocabulary: Vocabulary, packed: bool = True):
        super().__init__()
        if vocabulary.size > masked_lm.config.vocab_size:
            raise BadInput(
                f"the tokenizer has {vocabulary.size} tokens, the encoder embeds only {masked_lm.config.vocab_size}: "
                "use the tokenizer of the same checkpoint"
            )
        with_cheap_dropout(masked_lm)
        self.masked_lm = masked_lm
        self.vocabulary = vocabulary
        self.packed = packed
        self.backbone = backbone_of(masked_lm)
        self.detection: nn.Module | None = None
        self.own_places: nn.Embedding | None = None
        self.by_passage = False

    @property
    def config(self):
        return self.masked_lm.config

    @property
    def width(self) -> int:
        return self.config.hidden_size

    @property
    def dropout(self) -> float:
        """The rate of its hidden dropout."""
        return self.backbone.layer_config().hidden_dropout_prob

    def layout(self, real_BL: Tensor) -> Layout:
        """The rows that decoder layers read of texts with these real positions."""
        return (Packed if self.packed else Padded)(real_BL)

    def forward(self, ids_BL: Tensor, real_BL: Tensor, types_BL: Tensor | None = None) -> Tensor:
        """Last-layer hidden states [B, L, D]; real_BL is False on padding, types_BL are token types, None for all 0."""
        return self.with_early(ids_BL, real_BL, (), types_BL)[0]

    def with_early(
        self, ids_BL: Tensor, real_BL: Tensor, layers: Iterable[int], types_BL: Tensor | None = None
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """Last-layer states and those after the given layers (1 = the first, 0 = the embeddings), each [B, L, D].

        types_BL: token types, None for all 0.  What stands at padding has no meaning.
        """
        limit = self.backbone.limit
        if ids_BL.shape[1] > limit:
            raise BadInput(
                f"a text of {ids_BL.shape[1]} tokens does not fit the encoder's {limit} positions; lower max_length"
            )
        return self.backbone.states(ids_BL, real_BL, types_BL, self.packed, tuple(layers))

    def embed(self, ids_RT: Tensor, position_RT: Tensor | None = None) -> Tensor:
        """Word + position + type embeddings, normalised, with dropout [R, T, D]."""
        position_RT = _places(ids_RT, position_RT)
        if self.own_places is None:
            return self.backbone.embed(ids_RT, None, position_RT)
        return self.backbone.embed(None, self.backbone.words(ids_RT) + self.own_places(position_RT), position_RT)

    def embed_bare(self, ids_RT: Tensor, position_RT: Tensor | None = None) -> Tensor:
        """Word + position embeddings alone [R, T, D]."""
        rows_RTE = self._place_rows(_places(ids_RT, position_RT))
        return self.backbone.widen(self.backbone.words(ids_RT) + rows_RTE)

    def embed_vectors(self, vectors_RTD: Tensor, position_RT: Tensor | None = None) -> Tensor:
        """The embedding module with vectors in place of word embeddings [R, T, D]."""
        position_RT = _places(vectors_RTD[..., 0], position_RT)
        if self.own_places is not None:
            vectors_RTD = vectors_RTD + self.own_places(position_RT)
        return self.backbone.embed(None, vectors_RTD, position_RT)

    def position_rows(self, position_RT: Tensor) -> Tensor:
        """The position embedding at these positions [R, T, D]."""
        return self.backbone.widen(self._place_rows(position_RT))

    def _place_rows(self, position_RT: Tensor) -> Tensor:
        if self.own_places is not None:
            return self.own_places(position_RT)
        return self.backbone.places(self.backbone.position_ids(position_RT))

    def need_positions(self) -> None:
        """Make learned positions for decoders where the backbone has none; the encoder itself does not read them."""
        if self.backbone.places is None and self.own_places is None:
            like = self.backbone.words.weight
            self.own_places = nn.Embedding(self.backbone.limit, like.shape[1], device=like.device, dtype=like.dtype)
            nn.init.normal_(self.own_places.weight, std=self.config.initializer_range)

    def check_word_width(self, what: str) -> None:
        """Raise BadInput where `what` needs word embeddings as wide as the states and they are not."""
        narrow = self.backbone.words.weight.shape[1]
        if narrow != self.width:
            raise BadInput(
                f"{what} needs word embeddings of the encoder's width {self.width}, this one's are {narrow} wide"
            )

    @property
    def head(self) -> VocabularyHead:
        """From hidden states [..., D] to vocabulary logits [..., V]; the output projection is the word embedding."""
        return self.backbone.head._replace(by_passage=self.by_passage)

    def head_of(self, kind: str) -> VocabularyHead:
        """'mlm': `head`.  'linear': inner products with the word embedding alone, DupMAE's LPU (Eq. 5)."""
        choice(HEADS, head=kind)
        if kind == "mlm":
            return self.head
        self.check_word_width("head=linear")
        return VocabularyHead(nn.Identity(), self.backbone.words.weight)

    def freeze_head(self, frozen: bool = True) -> None:
        """Stop training the vocabulary head, where no loss names tokens, but not the embedding that it shares."""
        for part in self.backbone.head_parts:
            for parameter in part.parameters():
                parameter.requires_grad_(not frozen or parameter is self.backbone.words.weight)

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
        config, own = self.backbone.layer_config(), self.backbone.layers
        config._attn_implementation = ATTENTION
        with torch.random.fork_rng(devices=[], enabled=init == "last_layers"):  # copies draw nothing
            layers = nn.ModuleList(BertLayer(config) for _ in range(count))
        if init == "last_layers":
            check_copies(init, count, len(own), self.backbone.copies)
            for layer, source in zip(layers, own[-count:], strict=True):
                layer.load_state_dict(self.backbone.layer_state(source))
        else:
            for module in layers.modules():
                if isinstance(module, nn.Linear):
                    nn.init.normal_(module.weight, std=self.config.initializer_range)
                    nn.init.zeros_(module.bias)
        with_cheap_dropout(layers)
        like = next(own.parameters())
        return layers.to(device=like.device, dtype=like.dtype)


def _places(like_RT: Tensor, position_RT: Tensor | None) -> Tensor:
    return torch.arange(like_RT.shape[1], device=like_RT.device)[None] if position_RT is None else position_RT
