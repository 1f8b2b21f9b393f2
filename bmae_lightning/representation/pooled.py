"""A text's vector is the [CLS] state or the mean of all states of the last layer, nothing added (finetuning §1.1)."""

import torch
from torch import nn

from bmae_lightning.bottleneck import ClsBottleneck, MeanBottleneck

POOLINGS = {"cls": ClsBottleneck, "mean": MeanBottleneck}


class PooledRepresentation(nn.Module):
    """Args:
    pooling: `cls` or `mean` (over all real positions, [CLS] and [SEP] included).
    """

    def __init__(self, pooling: str = "cls") -> None:
        super().__init__()
        if pooling not in POOLINGS:
            raise ValueError(f"pooling must be one of {', '.join(POOLINGS)}, got {pooling!r}")
        self.pooling = pooling
        self.pool = POOLINGS[pooling]()

    def forward(self, hidden_BLD: torch.Tensor, real_BL: torch.Tensor) -> torch.Tensor:
        """Vectors [B, D] from last-layer states [B, L, D] and the mask of real positions [B, L]."""
        return self.pool(hidden_BLD, real_BL)
