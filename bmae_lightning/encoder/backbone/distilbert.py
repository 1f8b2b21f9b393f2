"""DistilBERT (Sanh et al. 2019): BERT without segments, under other names."""

from torch import Tensor, nn

from bmae_lightning.encoder.backbone.backbone import Backbone
from bmae_lightning.encoder.vocabulary_head import VocabularyHead

NAMES = {
    "attention.q_lin": "attention.self.query", "attention.k_lin": "attention.self.key",
    "attention.v_lin": "attention.self.value", "attention.out_lin": "attention.output.dense",
    "sa_layer_norm": "attention.output.LayerNorm", "ffn.lin1": "intermediate.dense", "ffn.lin2": "output.dense",
    "output_layer_norm": "output.LayerNorm",
}  # fmt: skip
"""What DistilBERT calls the parts of a layer -> what BERT does."""


class Family(Backbone):
    """DistilBertForMaskedLM."""

    stack = "transformer"
    shape = {
        "intermediate_size": "hidden_dim", "hidden_act": "activation", "hidden_dropout_prob": "dropout",
        "attention_probs_dropout_prob": "attention_dropout",
    }  # fmt: skip

    @property
    def head(self) -> VocabularyHead:
        model = self.masked_lm
        transform = lambda states: model.vocab_layer_norm(model.activation(model.vocab_transform(states)))  # noqa: E731
        return VocabularyHead(transform, model.vocab_projector.weight, model.vocab_projector.bias)

    @property
    def head_parts(self) -> list[nn.Module]:
        return [self.masked_lm.vocab_transform, self.masked_lm.vocab_layer_norm, self.masked_lm.vocab_projector]

    def layer_state(self, layer: nn.Module) -> dict[str, Tensor]:
        state = layer.state_dict()
        return {f"{new}.{part}": state[f"{old}.{part}"] for old, new in NAMES.items() for part in ("weight", "bias")}
