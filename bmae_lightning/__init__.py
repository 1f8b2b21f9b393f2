"""Bottlenecked masked auto-encoders for dense retrieval: pre-train, fine-tune, index, evaluate, compare."""

import sys

from bmae_lightning.runtime.former import FormerPlaces

__version__ = "0.2.0"

sys.meta_path.append(FormerPlaces())
