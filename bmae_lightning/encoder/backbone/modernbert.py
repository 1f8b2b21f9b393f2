"""ModernBERT (Warner et al. 2024): rotary positions, attention to all or to near tokens by layer, 8,192 tokens."""

from typing import Any

from torch import Tensor, nn

from bmae_lightning.encoder.backbone.backbone import Backbone
from bmae_lightning.encoder.layout import Layout
from bmae_lightning.encoder.vocabulary_head import VocabularyHead


class Family(Backbone):
    """ModernBertForMaskedLM.  Decoders get learned positions, which the encoder has none of."""

    stack = None
    copies = False  # layers are gated and have one matrix for queries, keys and values
    shape = {
        "hidden_act": "hidden_activation", "layer_norm_eps": "norm_eps", "hidden_dropout_prob": "mlp_dropout",
        "attention_probs_dropout_prob": "attention_dropout",
    }  # fmt: skip
    places = None

    @property
    def layers(self) -> nn.ModuleList:
        return self.base.layers

    def run(self, ids_RT: Tensor, layout: Layout, types_RT: Tensor | None, early: bool) -> Any:
        mask = layout.mask_BL
        if mask is None:  # packed rows: the layout knows what a row may see
            mask = {"full_attention": None, "sliding_attention": None}
        return self.base(
            input_ids=ids_RT, attention_mask=mask, position_ids=layout.position_RT, output_hidden_states=early,
            **layout.options,
        )  # fmt: skip

    def embed(self, ids_RT: Tensor | None, vectors_RTE: Tensor | None, position_RT: Tensor) -> Tensor:
        return self.base.embeddings(input_ids=ids_RT, inputs_embeds=vectors_RTE)

    @property
    def head(self) -> VocabularyHead:
        return VocabularyHead(self.masked_lm.head, self.masked_lm.decoder.weight, self.masked_lm.decoder.bias)

    @property
    def head_parts(self) -> list[nn.Module]:
        return [self.masked_lm.head, self.masked_lm.decoder]
