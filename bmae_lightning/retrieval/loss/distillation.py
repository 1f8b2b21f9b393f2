"""Distillation of a teacher's scores over each query's own passages (docs/finetuning.md §1.7).

KL(teacher ‖ student), the soft-label cross-entropy (DupMAE, Eq. 15: KL plus the teacher's entropy) or the squared
difference of the margins positive - negative (MarginMSE). Shapes: B queries, n passages of a query, positive first.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from bmae_lightning.retrieval.loss.loss import LossParts, RetrieverLoss, ScoredBatch
from bmae_lightning.retrieval.representation.vectors import Vectors
from bmae_lightning.runtime.checks import choice

KINDS = ("kl", "soft_cross_entropy", "margin_mse")
REDUCTIONS = ("queries", "elements")


def distillation_loss(student_Bn: Tensor, teacher_Bn: Tensor, kind: str = "kl", reduction: str = "queries") -> Tensor:
    """Loss of the student's scores against the teacher's, in float32 or wider (scalar).

    student_Bn: scores / temperature.  teacher_Bn: raw scores, no temperature.
    reduction: `queries`: the sum over a query's terms, averaged over queries; `elements`: the mean over all terms.
    A query has n terms, for `margin_mse` n - 1.

    Raises:
        ValueError: an unknown kind or reduction, other shapes, or margins of groups of one.
    """
    choice(KINDS, kind=kind)
    choice(REDUCTIONS, reduction=reduction)
    if student_Bn.shape != teacher_Bn.shape:
        raise ValueError(
            f"teacher scores have shape {tuple(teacher_Bn.shape)}, the student's {tuple(student_Bn.shape)}; "
            "one score per passage of a query's own group is needed"
        )
    wide = torch.float64 if student_Bn.dtype == torch.float64 else torch.float32
    student_Bn, teacher_Bn = student_Bn.to(wide), teacher_Bn.to(wide)
    if kind == "margin_mse":
        if student_Bn.shape[1] < 2:
            raise ValueError("kind: margin_mse compares a positive with negatives; a group needs at least 2 passages")
        terms = ((student_Bn[:, :1] - student_Bn[:, 1:]) - (teacher_Bn[:, :1] - teacher_Bn[:, 1:])).square()
    elif kind == "kl":
        terms = F.kl_div(student_Bn.log_softmax(1), teacher_Bn.log_softmax(1), reduction="none", log_target=True)
    else:
        terms = -teacher_Bn.softmax(1) * student_Bn.log_softmax(1)
    return terms.sum(1).mean() if reduction == "queries" else terms.mean()


class Distillation(RetrieverLoss):
    """Distillation of a teacher's scores, usually those of a re-ranker.

    Relations: orders a query's own passages only, so `Contrastive` stands beside it (RetroMAE, SimLM, CDMAE, MASTER);
    alone in DupMAE (`contrastive.weight=0`).

    Args:
        weight: factor in the optimised sum.
        kind: `kl` | `soft_cross_entropy` | `margin_mse`.
        reduction: `queries` | `elements`, see `distillation_loss`.

    Raises:
        ValueError: an unknown kind or reduction.
    """

    needs_teacher = True

    def __init__(self, weight: float = 1.0, kind: str = "kl", reduction: str = "queries") -> None:
        super().__init__(weight)
        choice(KINDS, kind=kind)
        choice(REDUCTIONS, reduction=reduction)
        self.kind, self.reduction = kind, reduction

    def __call__(self, queries: Vectors, passages: Vectors, batch: ScoredBatch) -> LossParts:
        """`distillation_loss` of the scores of each query's own passages."""
        return LossParts(distillation_loss(batch.scores_bn, batch.teacher_bn, self.kind, self.reduction))
