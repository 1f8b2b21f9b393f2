"""CamemBERT (Martin et al. 2020): RoBERTa for French."""

from bmae_lightning.encoder.backbone.roberta import Family

__all__ = ["Family"]
