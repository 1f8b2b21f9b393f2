"""The bottleneck: one vector per passage, all that a decoder learns of the encoder's input.

All five methods take the last-layer [CLS] state; the mean is the usual alternative of dense retrievers.
Shapes: B passages, L positions, D width.
"""

from torch import Tensor, nn


class ClsBottleneck(nn.Module):
    """The last-layer state of [CLS], as it is: no pooler, no normalisation."""

    pooling = "cls"

    def forward(self, hidden_BLD: Tensor, real_BL: Tensor) -> Tensor:
        return hidden_BLD[:, 0]


class MeanBottleneck(nn.Module):
    """The mean of the last-layer states over all real positions, [CLS] and [SEP] included."""

    pooling = "mean"

    def forward(self, hidden_BLD: Tensor, real_BL: Tensor) -> Tensor:
        weight_BL1 = real_BL.to(hidden_BLD.dtype)[:, :, None]
        return (hidden_BLD * weight_BL1).sum(1) / weight_BL1.sum(1).clamp(min=1)
