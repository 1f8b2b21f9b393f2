"""DeBERTa (He et al. 2021), the first version: with absolute positions, and byte pairs for word pieces."""

from bmae_lightning.encoder.backbone.deberta_v2 import Family

__all__ = ["Family"]
