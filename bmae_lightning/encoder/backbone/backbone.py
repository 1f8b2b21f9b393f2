"""What the package must know of a family of encoders: where embeddings, layers and head are, and what limits them.

One file a family, named like transformers' `model_type`, with a class `Family`. This base describes BERT and those
that differ from it by little.
Shapes: B texts, L positions, R x T rows of a layout, D width, E width of the word embedding, V vocabulary.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from transformers import BertConfig

from bmae_lightning.encoder.vocabulary_head import VocabularyHead
from bmae_lightning.runtime.configuration import locate
from bmae_lightning.runtime.errors import BadInput

if TYPE_CHECKING:
    from bmae_lightning.encoder.layout import Layout

BERT = BertConfig().to_dict()
LAYER = (
    "intermediate_size", "hidden_act", "layer_norm_eps", "initializer_range", "hidden_dropout_prob",
    "attention_probs_dropout_prob",
)  # fmt: skip
HERE = "bmae_lightning.encoder.backbone"
OWN = "backbone_family"
"""The attribute of a configuration that names a class outside the package."""


class Backbone(ABC):
    """A masked language model of transformers, by its parts.

    packs: its layers call transformers' attention registry, so that they can read packed rows.  stack: the module of
    its base model that holds the layers, None where that is the base itself.  copies: whether decoders can begin as
    copies of its layers.  shape: what its configuration calls what BERT's has under other names.  fixed: the only value
    of options that transformers does not read.  unused: parameters of checkpoints that a masked language model has no
    use for, as a regular expression.
    """

    packs = True
    stack: str | None = "encoder"
    copies = True
    fixed: Mapping[str, Any] = MappingProxyType({"position_embedding_type": "absolute", "is_decoder": False})
    unused = r"(^|\.)pooler\.|position_ids$"
    shape: Mapping[str, str] = MappingProxyType({})

    def __init__(self, masked_lm: nn.Module) -> None:
        self.masked_lm = masked_lm
        self.base: nn.Module = masked_lm.base_model
        self.config = masked_lm.config
        if self.packs:
            from bmae_lightning.encoder.layout import ATTENTION

            masked_lm.set_attn_implementation(ATTENTION)
            self.packs = self.config._attn_implementation == ATTENTION
        self.offset, self.limit = self.offset_of(self.config), self.limit_of(self.config)

    @classmethod
    def offset_of(cls, config: Any) -> int:
        """The position of the first token."""
        return 0

    @classmethod
    def limit_of(cls, config: Any) -> int:
        """Tokens that a text may have."""
        return config.max_position_embeddings - cls.offset_of(config)

    @classmethod  # noqa: B027  most have no such thing
    def read(cls, config: Any, directory: Path) -> None:
        """Set in its configuration what only the weights of a checkpoint tell."""

    @property
    def typed(self) -> bool:
        """Whether it tells token types apart."""
        return getattr(self.config, "type_vocab_size", 0) > 1

    @property
    def layers(self) -> nn.ModuleList:
        return getattr(self.base, self.stack).layer

    @property
    def words(self) -> nn.Embedding:
        """The word embedding [V, E]."""
        return self.masked_lm.get_input_embeddings()

    @property
    def places(self) -> nn.Embedding | None:
        """The learned position embedding, None where there is none."""
        return self.base.embeddings.position_embeddings

    def position_ids(self, position_RT: Tensor) -> Tensor:
        return position_RT + self.offset if self.offset else position_RT

    def run(self, ids_RT: Tensor, layout: Layout, types_RT: Tensor | None, early: bool) -> Any:
        """The output of the base model; early: with the states after every layer."""
        types = {"token_type_ids": types_RT} if self.typed else {}
        return self.base(
            input_ids=ids_RT, attention_mask=layout.mask_BL, position_ids=self.position_ids(layout.position_RT),
            output_hidden_states=early, **types, **layout.options,
        )  # fmt: skip

    def states(
        self, ids_BL: Tensor, real_BL: Tensor, types_BL: Tensor | None, packed: bool, layers: Sequence[int] = ()
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """Last-layer states and those after some layers (0 = the embeddings) [B, L, D]; at padding without meaning.

        types_BL: token types, None for all 0.  packed: compute real tokens only, where the family can.
        """
        from bmae_lightning.encoder.layout import Packed, Padded

        layout = Packed(real_BL) if packed and self.packs else Padded(real_BL)
        types_RT = None if types_BL is None else layout.pack(types_BL)
        output = self.run(layout.pack(ids_BL), layout, types_RT, early=bool(layers))
        early = {layer: layout.unpack(output.hidden_states[layer]) for layer in layers}
        return layout.unpack(output.last_hidden_state), early

    def embed(self, ids_RT: Tensor | None, vectors_RTE: Tensor | None, position_RT: Tensor) -> Tensor:
        """The embedding module on ids, or on vectors in place of word embeddings [R, T, D]."""
        return self.base.embeddings(
            input_ids=ids_RT, inputs_embeds=vectors_RTE, position_ids=self.position_ids(position_RT)
        )

    def widen(self, x_RTE: Tensor) -> Tensor:
        """From the width of the word embedding to that of the states [R, T, D]."""
        return x_RTE

    @property
    @abstractmethod
    def head(self) -> VocabularyHead:
        """From hidden states [..., D] to vocabulary logits [..., V]; the output projection is the word embedding."""

    @property
    @abstractmethod
    def head_parts(self) -> list[nn.Module]:
        """The modules of the head, the word embedding perhaps among their parameters."""

    def layer_config(self) -> BertConfig:
        """Of the layers that decoders own: BERT's, with the encoder's width, heads and dropout."""
        config = self.config
        known = {name: getattr(config, self.shape.get(name, name), BERT[name]) for name in LAYER}
        return BertConfig(hidden_size=config.hidden_size, num_attention_heads=config.num_attention_heads, **known)

    def layer_state(self, layer: nn.Module) -> dict[str, Tensor]:
        """The parameters of one of its layers under BERT's names."""
        return layer.state_dict()


def backbone_of(masked_lm: nn.Module) -> Backbone:
    """The family of a masked language model; see `family_of`."""
    return family_of(masked_lm.config, type(masked_lm).__name__)(masked_lm)


def family_of(config: Any, label: str) -> type[Backbone]:
    """The class that a configuration names under `backbone_family`, else the one of its `model_type`.

    Raises:
        BadInput: there is none; the message begins with `label`.
    """
    if own := getattr(config, OWN, None):
        found = locate(str(own), f"{label}: {OWN}")
        if not (isinstance(found, type) and issubclass(found, Backbone)):
            raise BadInput(f"{label}: {OWN}={own} is no {HERE}.backbone.Backbone")
        return found
    name = f"{HERE}.{config.model_type.replace('-', '_')}"
    if find_spec(name) is None:
        raise BadInput(
            f"{label}: no encoder of type {config.model_type!r} is known; name a class for it with encoder.family "
            "(docs/extending.md)"
        )
    return importlib.import_module(name).Family


def known_family(config: Any) -> type[Backbone] | None:
    """As `family_of`; None where there is none."""
    try:
        return family_of(config, "")
    except BadInput:
        return None


def limit_of(config: Any) -> int | None:
    """Tokens that a network of transformers, of any type, can read at most; None where nothing limits them."""
    kind = known_family(config)
    return getattr(config, "max_position_embeddings", None) if kind is None else kind.limit_of(config)


def set_dropout(config: Any, rate: float) -> None:
    """One rate for all that a configuration of transformers says of dropout."""
    for name in vars(config):
        if name.endswith(("dropout", "dropout_prob")):
            setattr(config, name, rate)
