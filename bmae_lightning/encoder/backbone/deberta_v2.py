"""DeBERTa v2 and v3 (He et al. 2021): relative positions in attention, often no absolute ones."""

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from bmae_lightning.encoder.backbone.backbone import Backbone
from bmae_lightning.encoder.checkpoint import weight_names
from bmae_lightning.encoder.vocabulary_head import VocabularyHead


class Family(Backbone):
    """DebertaV2ForMaskedLM, padded: its attention does not call transformers' registry."""

    packs = False
    copies = False  # layers need the relative positions of the whole encoder
    unused = rf"{Backbone.unused}|^mask_predictions\."

    @classmethod
    def read(cls, config: Any, directory: Path) -> None:
        config.legacy = not any(name.startswith("lm_predictions.") for name in weight_names(directory))

    def widen(self, x_RTE: Tensor) -> Tensor:
        project = self.base.embeddings.embed_proj
        return x_RTE if project is None else project(x_RTE)

    @property
    def head(self) -> VocabularyHead:
        if self.masked_lm.legacy:
            head = self.masked_lm.cls.predictions
            return VocabularyHead(head.transform, head.decoder.weight, head.decoder.bias)
        head = self.masked_lm.lm_predictions.lm_head
        transform = lambda states: head.LayerNorm(head.transform_act_fn(head.dense(states)))  # noqa: E731
        return VocabularyHead(transform, self.words.weight, head.bias)

    @property
    def head_parts(self) -> list[nn.Module]:
        return [self.masked_lm.cls if self.masked_lm.legacy else self.masked_lm.lm_predictions]
