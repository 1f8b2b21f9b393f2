"""RoBERTa (Liu et al. 2019): positions begin behind the padding id, there are no segments."""

from typing import Any

from torch import nn

from bmae_lightning.encoder.backbone.backbone import Backbone
from bmae_lightning.encoder.vocabulary_head import VocabularyHead


class Family(Backbone):
    """RobertaForMaskedLM; also what XLM-R and MPNet share with it."""

    @classmethod
    def offset_of(cls, config: Any) -> int:
        return config.pad_token_id + 1

    @property
    def head(self) -> VocabularyHead:
        head = self.masked_lm.lm_head
        transform = lambda states: head.layer_norm(nn.functional.gelu(head.dense(states)))  # noqa: E731
        return VocabularyHead(transform, head.decoder.weight, head.decoder.bias)

    @property
    def head_parts(self) -> list[nn.Module]:
        return [self.masked_lm.lm_head]
