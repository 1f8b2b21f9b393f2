"""What the package must know of a family of encoders: where embeddings, layers and head are, and what limits them.

One file a family, named like transformers' `model_type`, with a class `Family`. This base describes BERT and those
that differ from it by little.
Shapes: B texts, L positions, R x T rows of a layout, D width, E width of the word embedding, V vocabulary.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn
from transformers import BertConfig

from bmae_lightning.encoder.layout import ATTENTION, Layout, Packed, Padded
from bmae_lightning.encoder.vocabulary_head import VocabularyHead
from bmae_lightning.runtime.errors import BadInput

BERT = BertConfig().to_dict()
HERE = "bmae_lightning.encoder.backbone"


class Backbone:
    """A masked language model of transformers, by its parts.

    packs: its layers call transformers' attention registry, so that they can read packed rows.  typed: it embeds token
    types.  offset: position of the first token.  dropouts: what its configuration calls the rates of dropout, that of
    states first, of attention second.  shape: what it calls sizes that BERT's configuration has under other names.
    """

    packs = True
    typed = True
    offset = 0
    dropouts: tuple[str, ...] = ("hidden_dropout_prob", "attention_probs_dropout_prob")
    shape: Mapping[str, str] = MappingProxyType({})

    def __init__(self, masked_lm: nn.Module) -> None:
        self.masked_lm = masked_lm
        self.base: nn.Module = masked_lm.base_model
        self.config = masked_lm.config
        if self.packs:
            masked_lm.set_attn_implementation(ATTENTION)

    @property
    def limit(self) -> int:
        """Tokens that a text may have."""
        return self.config.max_position_embeddings - self.offset

    @property
    def layers(self) -> nn.ModuleList:
        return self.base.encoder.layer

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
    def head(self) -> VocabularyHead:
        """From hidden states [..., D] to vocabulary logits [..., V]; the output projection is the word embedding."""
        raise NotImplementedError

    @property
    def head_parts(self) -> list[nn.Module]:
        """The modules of the head, the word embedding perhaps among their parameters."""
        raise NotImplementedError

    def layer_config(self) -> BertConfig:
        """Of the layers that decoders own: BERT's, with the encoder's width, heads and dropout."""
        config = self.config
        sizes = ("intermediate_size", "hidden_act", "layer_norm_eps", "initializer_range")
        known = {name: getattr(config, self.shape.get(name, name), BERT[name]) for name in sizes}
        hidden, attention = (getattr(config, name) for name in self.dropouts[:2])
        made = BertConfig(
            hidden_size=config.hidden_size, num_attention_heads=config.num_attention_heads,
            hidden_dropout_prob=hidden, attention_probs_dropout_prob=attention, **known,
        )  # fmt: skip
        made._attn_implementation = ATTENTION
        return made

    @classmethod
    def layer_state(cls, layer: nn.Module) -> dict[str, Tensor] | None:
        """The parameters of one of its layers under BERT's names, None where BERT's layer has no such parts."""
        return layer.state_dict()


def backbone_of(masked_lm: nn.Module) -> Backbone:
    """The family of a masked language model, by its `model_type`.

    Raises:
        BadInput: there is none.
    """
    return family_of(masked_lm.config.model_type, type(masked_lm).__name__)(masked_lm)


def family_of(model_type: str, label: str) -> type[Backbone]:
    """The class of a family; BadInput, which begins with `label`, where there is none."""
    name = f"{HERE}.{model_type.replace('-', '_')}"
    if find_spec(name) is None:
        raise BadInput(f"{label}: no encoder of type {model_type!r} is known; add {name.replace('.', '/')}.py")
    return importlib.import_module(name).Family
