"""BERT (Devlin et al. 2019)."""

from torch import nn

from bmae_lightning.encoder.backbone.backbone import Backbone
from bmae_lightning.encoder.vocabulary_head import VocabularyHead


class Family(Backbone):
    """BertForMaskedLM."""

    unused = rf"{Backbone.unused}|^cls\.seq_relationship\."

    @property
    def head(self) -> VocabularyHead:
        parts = self.masked_lm.cls.predictions
        return VocabularyHead(parts.transform, parts.decoder.weight, parts.decoder.bias)

    @property
    def head_parts(self) -> list[nn.Module]:
        return [self.masked_lm.cls]
