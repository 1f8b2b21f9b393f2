"""How a teacher draws its next token: temperature, the k likeliest tokens, the nucleus (MASTER's two outside teachers).

A draw is a pure function of (seed, passage, number of the text, position), so a text does not depend on the batch, the
shard or the device that it is written in.
Shapes: N texts, V vocabulary, K candidates, S steps.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sampling:
    """Options of sampling.

    Args:
        count: texts per passage.
        top_k: candidates kept, the likeliest; None keeps all.
        top_p: the nucleus: the fewest likeliest candidates whose probabilities reach this sum.
        temperature: scores are divided by it.
        tokens: most tokens of a text.
    """

    count: int = 1
    top_k: int | None = None
    top_p: float = 1.0
    temperature: float = 1.0
    tokens: int = 64

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"count={self.count}: at least one text per passage; leave the teacher out with =null")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k={self.top_k} must be at least 1, or null for all candidates")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p={self.top_p} must lie in (0, 1]")
        if self.temperature <= 0:
            raise ValueError(
                f"temperature={self.temperature} must be positive; top_k=1 takes the likeliest token always"
            )
        if self.tokens < 1:
            raise ValueError(f"tokens={self.tokens} must be at least 1")

    def choose(self, scores_NV: Tensor, uniform_N: Tensor) -> Tensor:
        """The token [N] that each row's uniform number in (0, 1) falls on among its candidates, likeliest first."""
        size = min(self.top_k or scores_NV.shape[1], scores_NV.shape[1])
        scores_NK, id_NK = scores_NV.topk(size)
        probability_NK = (scores_NK.float() / self.temperature).softmax(dim=1)
        below_NK = probability_NK.cumsum(dim=1) - probability_NK
        kept_NK = probability_NK * ((below_NK < self.top_p) & (probability_NK > 0))
        sum_NK = kept_NK.cumsum(dim=1)
        place_N = (sum_NK <= uniform_N[:, None].to(sum_NK.dtype) * sum_NK[:, -1:]).sum(dim=1)
        place_N = torch.minimum(place_N, (kept_NK > 0).sum(dim=1) - 1)
        return id_NK.gather(1, place_N[:, None])[:, 0]


class Draws:
    """A logits processor of transformers that leaves one token possible: the one that `Sampling` chose.

    Args:
        sampling: how to choose.
        uniform_NS: a number in (0, 1) for every text and step.
    """

    def __init__(self, sampling: Sampling, uniform_NS: Tensor) -> None:
        self.sampling, self.uniform_NS, self.step = sampling, uniform_NS, 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        chosen_N = self.sampling.choose(scores, self.uniform_NS[:, self.step])
        self.step += 1
        return torch.full_like(scores, -torch.inf).scatter_(1, chosen_N[:, None], 0.0)
