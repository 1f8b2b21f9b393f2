"""MPNet (Song et al. 2020): RoBERTa's parts with relative positions in attention, by modules of its own."""

from torch import nn

from bmae_lightning.encoder.backbone.roberta import Family as Roberta


class Family(Roberta):
    """MPNetForMaskedLM, padded: its attention does not call transformers' registry."""

    packs = typed = False

    @classmethod
    def layer_state(cls, layer: nn.Module) -> None:
        """Its layers need the relative positions of the whole encoder."""
