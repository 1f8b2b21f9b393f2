"""XLM-R (Conneau et al. 2020): RoBERTa over 100 languages and SentencePiece."""

from bmae_lightning.encoder.backbone.roberta import Family

__all__ = ["Family"]
