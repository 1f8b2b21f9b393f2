"""In-batch contrastive loss over a dual encoder's vectors: the soft-max cross-entropy of every query's positive.

L_i = -s(q_i, p_i0) + log sum_jk exp s(q_i, p_jk) over all passages of the global batch, and SimLM's extensions (its
Eq. 3 and the form of its released code), where the positive passage, too, is pushed away from negatives.
Shapes as in `loss`, and C columns of the soft-max.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from bmae_lightning.retrieval.loss.loss import LossParts, RetrieverLoss, ScoredBatch
from bmae_lightning.retrieval.representation.vectors import Vectors
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
        """The mean cross-entropy of the given queries, and `in_batch_RR@1`: how many have their positive first."""
        logits_bC, absent_bC = contrastive_logits(batch, self.form, batch.known_bN if self.needs_positives else None)
        if self.mask_hard_negatives:
            absent_bC = absent_bC.scatter(1, batch.own_bn[:, 1:], True)
        logits_bC = logits_bC.masked_fill(absent_bC, float("-inf"))
        first_b = logits_bC[:, : len(passages)].detach().argmax(dim=1) == batch.target_b
        loss = scale_gradient(F.cross_entropy(logits_bC, batch.target_b), self.grad_scale)
        return LossParts(loss, {"in_batch_RR@1": first_b.to(logits_bC.dtype).mean()})


def contrastive_logits(
    batch: ScoredBatch, form: str = "plain", known_bN: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Scores / temperature [b, C], and which of them take no part in the soft-max (True) [b, C].

    The first N columns are query → passages, the target of row i is (offset + i)·n. By form there are
    plain: N columns.
    simlm_code: N + 3B: query → passages, own positive → queries, query → queries, own positive → positives, where the
        last three leave out the row's own query and positive (docs/finetuning.md §1.4).
    eq3_literal: 2N: query → passages, own positive → passages but itself, so that every negative passage stands
        against the query and against the positive; queries are no negatives.

    Args:
        known_bN: columns that are positives of the row's query and so no negatives of it; the target itself stays.

    Raises:
        ValueError: an unknown form, or queries of this process only where `simlm_code` needs those of all.
    """
    choice(FORMS, form=form)
    blocks = [batch.scores_bN]
    target_bN = torch.arange(len(batch.passages), device=batch.target_b.device) == batch.target_b[:, None]
    known_bN = torch.zeros_like(target_bN) if known_bN is None else known_bN & ~target_bN
    absent = [known_bN]
    if form != "plain":
        positives = batch.passages[:: batch.group]
        own = positives[batch.offset : batch.offset + len(batch.queries)]
    if form == "simlm_code":
        queries = batch.all_queries
        if len(queries) != len(positives):
            raise ValueError(
                f"all_queries: {len(queries)} queries, but {len(positives)} groups of passages; "
                "gather the queries of all processes as well"
            )
        blocks += [batch.score(own, queries), batch.score(batch.queries, queries), batch.score(own, positives)]
        absent += 3 * [(known_bN | target_bN)[:, :: batch.group]]
    elif form == "eq3_literal":
        blocks.append(batch.score(own, batch.passages))
        absent.append(known_bN | target_bN)
    return torch.cat(blocks, dim=1), torch.cat(absent, dim=1)


def scale_gradient(loss: Tensor, scale: float) -> Tensor:
    """The same value with `scale` times the gradient: 1 / W imitates codes that forget the number of devices W."""
    return loss if scale == 1 else scale * loss + (1 - scale) * loss.detach()
