"""MPNet (Song et al. 2020): RoBERTa's parts with relative positions in attention, by modules of its own."""

from typing import Any

from bmae_lightning.encoder.backbone.roberta import Family as Roberta


class Family(Roberta):
    """MPNetForMaskedLM, padded: its attention does not call transformers' registry."""

    packs = False
    copies = False  # layers need the relative positions of the whole encoder
    fixed = {**Roberta.fixed, "relative_attention_num_buckets": 32}

    @classmethod
    def offset_of(cls, config: Any) -> int:
        return 2  # whatever the padding id is
