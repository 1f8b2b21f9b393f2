"""The head that names tokens: a small network on every state, then one inner product with each word piece's embedding.

Shapes: D width, V vocabulary.
"""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor
from torch.nn.functional import linear


class VocabularyHead(NamedTuple):
    """transform: maps states [..., D] to states [..., D].  weight_VD, bias_V: the map to logits; bias_V may be None.

    by_passage: the losses of its rows are going to be averaged by passage, see `linear_cross_entropy`.
    """

    transform: Callable[[Tensor], Tensor]
    weight_VD: Tensor
    bias_V: Tensor | None = None
    by_passage: bool = False

    def __call__(self, hidden: Tensor) -> Tensor:
        """Logits [..., V] of hidden states [..., D]."""
        return linear(self.transform(hidden), self.weight_VD, self.bias_V)
