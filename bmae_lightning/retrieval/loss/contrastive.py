"""In-batch contrastive loss over a dual encoder's vectors: the soft-max cross-entropy of every query's positive.

L_i = -s(q_i, p_i0) + log sum_jk exp s(q_i, p_jk) over all passages of the global batch, and SimLM's extensions (its
Eq. 3 and the form of its released code), where the positive passage, too, is pushed away from negatives.
Shapes as in `loss`, and C columns of the soft-max.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from bmae_lightning.retrieval.loss.loss import (
    LossParts,
    RetrieverLoss,
    ScoredBatch,
    check_temperature,
    own_columns,
    targets,
)
from bmae_lightning.retrieval.representation.vectors import Vectors, dot
from bmae_lightning.runtime.checks import choice

FORMS = ("plain", "simlm_code", "eq3_literal")


class Contrastive(RetrieverLoss):
    """In-batch contrastive loss with hard negatives, shared by all processes.

    Relations: `form=plain` is InfoNCE (DPR, RetroMAE); the other two are SimLM's. Beside `Distillation` it is the term
    that keeps passages of other queries away, with a weight of 0.2 in SimLM.

    Args:
        weight: factor in the optimised sum.
        form: which other pairs of the batch are pushed apart, see `contrastive_logits`.
        mask_known_positives: a labelled positive of a query that stands elsewhere in the batch is no negative of it.
        mask_hard_negatives: leave a query's own hard negatives out; a teacher's scores are then all that orders them.
        grad_scale: factor of the gradient, not of the value; 1 / W imitates codes that leave the gradient divided by
            their number of processes W.

    Raises:
        ValueError: an unknown form.
    """

    def __init__(
        self, weight: float = 1.0, form: str = "plain", mask_known_positives: bool = False,
        mask_hard_negatives: bool = False, grad_scale: float = 1.0,
    ) -> None:  # fmt: skip
        super().__init__(weight)
        choice(FORMS, form=form)
        self.form, self.needs_positives = form, mask_known_positives
        self.mask_hard_negatives, self.grad_scale = mask_hard_negatives, grad_scale

    def __call__(self, queries: Vectors, passages: Vectors, batch: ScoredBatch) -> LossParts:
        """Its loss, and `in_batch_RR@1`: the share of queries whose positive scores highest among all passages."""
        known_bN = batch.known_bN if self.needs_positives else None
        all_queries = batch.all_queries if self.form == "simlm_code" else None
        contrast = contrastive_loss(
            queries, passages, batch.group, 1.0, batch.offset, self.form, all_queries, known_bN,
            self.mask_hard_negatives, batch.score,
        )  # fmt: skip
        return LossParts(scale_gradient(contrast.loss, self.grad_scale), {"in_batch_RR@1": contrast.first})


class Contrast(NamedTuple):
    """loss: mean over the given queries.  first: share of them whose positive scores highest (RR@1), detached.

    group_bn: scores / temperature of every query with its own passages, nothing masked, for distillation.
    """

    loss: Tensor
    first: Tensor
    group_bn: Tensor


def contrastive_logits(
    queries: Any, passages: Any, group: int, temperature: float = 1.0, offset: int = 0, form: str = "plain",
    all_queries: Any = None, known_bN: Tensor | None = None, score: Callable[[Any, Any], Tensor] = dot,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Scores / temperature [b, C], and which of them take no part in the soft-max (True) [b, C].

    The first N columns are query → passages, the target of row i is (offset + i)·n. Arguments as for
    `contrastive_loss`. By form there are
    plain: N columns.
    simlm_code: N + 3B: query → passages, own positive → queries, query → queries, own positive → positives, where the
        last three leave out the row's own query and positive (docs/finetuning.md §1.4).
    eq3_literal: 2N: query → passages, own positive → passages but itself, so that every negative passage stands
        against the query and against the positive; queries are no negatives.
    """
    choice(FORMS, form=form)
    check_temperature(temperature)
    if group < 1 or len(passages) % group or (offset + len(queries)) * group > len(passages):
        raise ValueError(
            f"group {group}: {len(passages)} passages cannot serve {len(queries)} queries from {offset} on; "
            "every query needs `group` passages"
        )
    blocks = [score(queries, passages)]
    target_b = targets(len(queries), group, offset, blocks[0].device)
    target_bN = torch.arange(len(passages), device=blocks[0].device) == target_b[:, None]
    known_bN = torch.zeros_like(target_bN) if known_bN is None else known_bN & ~target_bN
    absent = [known_bN]
    if form != "plain":
        positives = passages[::group]
        own = positives[offset : offset + len(queries)]
    if form == "simlm_code":
        of_all = queries if all_queries is None else all_queries
        if len(of_all) != len(positives):
            raise ValueError(
                f"all_queries: {len(of_all)} queries, but {len(positives)} groups of passages; "
                "gather the queries of all processes as well"
            )
        blocks += [score(own, of_all), score(queries, of_all), score(own, positives)]
        absent += 3 * [(known_bN | target_bN)[:, ::group]]
    elif form == "eq3_literal":
        blocks.append(score(own, passages))
        absent.append(known_bN | target_bN)
    return torch.cat(blocks, dim=1) / temperature, torch.cat(absent, dim=1)


def contrastive_loss(
    queries: Any, passages: Any, group: int, temperature: float = 1.0, offset: int = 0, form: str = "plain",
    all_queries: Any = None, known_bN: Tensor | None = None, mask_hard_negatives: bool = False,
    score: Callable[[Any, Any], Tensor] = dot,
) -> Contrast:  # fmt: skip
    """Contrastive loss of some queries against all passages of the batch.

    queries, passages: vectors [b, D] and [N, D] (unit length where the similarity is the cosine), or anything else
    that can be counted, sliced and scored; passages in the order i·n + j.  group: n, passages per query.
    offset: number of the first given query within the global batch.  form: see `contrastive_logits`.
    all_queries: of all processes, needed by `simlm_code` where there are several.
    known_bN: columns that are positives of the row's query and so no negatives of it; the target itself always counts.
    mask_hard_negatives: leave the query's own hard negatives out.  score: [A, C] from two sets of vectors.

    Raises:
        ValueError: temperature not positive, an unknown form, or passages that do not belong to the queries.
    """
    logits_bC, absent_bC = contrastive_logits(
        queries, passages, group, temperature, offset, form, all_queries, known_bN, score
    )
    target_b = targets(len(queries), group, offset, logits_bC.device)
    own_bn = own_columns(target_b, group)
    group_bn = logits_bC.gather(1, own_bn)
    if mask_hard_negatives:
        absent_bC = absent_bC.scatter(1, own_bn[:, 1:], True)
    logits_bC = logits_bC.masked_fill(absent_bC, float("-inf"))
    first_b = logits_bC[:, : len(passages)].detach().argmax(dim=1) == target_b
    return Contrast(F.cross_entropy(logits_bC, target_b), first_b.to(logits_bC.dtype).mean(), group_bn)


def scale_gradient(loss: Tensor, scale: float) -> Tensor:
    """The same value with `scale` times the gradient: 1 / W imitates codes that forget the number of devices W."""
    return loss if scale == 1 else scale * loss + (1 - scale) * loss.detach()
