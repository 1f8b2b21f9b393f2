"""In-batch contrastive loss over a dual encoder's vectors: the soft-max cross-entropy of every query's positive.

L_i = -s(q_i, p_i0) + log sum_jk exp s(q_i, p_jk), s = dot product / temperature, over all passages of the global batch.
Shapes: b queries of this process, N = B·n passages of all processes (row i·n is the positive of query i), D width.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class Contrast(NamedTuple):
    """loss: mean over the given queries.  first: share of them whose positive scores highest (RR@1), detached."""

    loss: Tensor
    first: Tensor


def scores(queries_bD: Tensor, passages_ND: Tensor, temperature: float) -> Tensor:
    """Dot products / temperature: [b, N]; at least in float32, under autocast as well."""
    with torch.autocast(queries_bD.device.type, enabled=False):
        if queries_bD.dtype in (torch.float16, torch.bfloat16):
            queries_bD = queries_bD.float()
        return queries_bD @ passages_ND.to(queries_bD.dtype).T / temperature


def targets(queries: int, group: int, offset: int = 0, device: torch.device | None = None) -> Tensor:
    """Row of the positive of each query: (offset + i)·n."""
    return (offset + torch.arange(queries, device=device)) * group


def contrastive_loss(
    queries_bD: Tensor, passages_ND: Tensor, group: int, temperature: float = 1.0, offset: int = 0
) -> Contrast:
    """Contrastive loss of some queries against all passages of the batch.

    queries_bD: vectors, unit length where the similarity is the cosine.  passages_ND: vectors in the order i·n + j.
    group: n, passages per query.  offset: number of the first given query within the global batch.

    Raises:
        ValueError: temperature not positive, or passages that do not belong to the queries.
    """
    if temperature <= 0:
        raise ValueError(f"temperature must be above 0, got {temperature}")
    if group < 1 or len(passages_ND) % group or (offset + len(queries_bD)) * group > len(passages_ND):
        raise ValueError(
            f"group {group}: {len(passages_ND)} passages cannot serve {len(queries_bD)} queries from {offset} on; "
            "every query needs `group` passages"
        )
    scores_bN = scores(queries_bD, passages_ND, temperature)
    target_b = targets(len(queries_bD), group, offset, queries_bD.device)
    first_b = scores_bN.detach().argmax(dim=1) == target_b
    return Contrast(F.cross_entropy(scores_bN, target_b), first_b.to(scores_bN.dtype).mean())
