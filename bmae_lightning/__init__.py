"""Bottlenecked masked auto-encoders for dense retrieval: pre-train, fine-tune, index, evaluate, compare."""

__version__ = "0.1.0"
