"""The contrastive loss of given vectors, as tensors or `Vectors`, without a training step around it."""

from typing import Any, NamedTuple

from torch import Tensor

from bmae_lightning.encoder.batch import RetrievalBatch
from bmae_lightning.retrieval.loss import contrastive
from bmae_lightning.retrieval.loss.loss import ScoredBatch
from bmae_lightning.retrieval.representation.vectors import Vectors


class Contrast(NamedTuple):
    """The loss, the share of queries whose positive is first, and scores / temperature of the own passages."""

    loss: Tensor
    first: Tensor
    group_bn: Tensor


def scored_batch(
    queries: Any, passages: Any, group: int, temperature: float = 1.0, offset: int = 0, all_queries: Any = None,
    known_bN: Tensor | None = None,
) -> ScoredBatch:  # fmt: skip
    """all_queries: those of all processes, as if they had been gathered.  known_bN: labelled positives."""
    queries, passages, all_queries = (
        Vectors(each) if isinstance(each, Tensor) else each for each in (queries, passages, all_queries)
    )
    batch = ScoredBatch(queries, passages, RetrievalBatch(None, None), group, temperature, offset)
    if all_queries is not None:
        batch.all_queries = all_queries
    if known_bN is not None:
        batch.known_bN = known_bN
    return batch


def contrastive_logits(*sides: Any, form: str = "plain", **options: Any) -> tuple[Tensor, Tensor]:
    batch = scored_batch(*sides, **options)
    return contrastive.contrastive_logits(batch, form, options.get("known_bN"))


def contrastive_loss(*sides: Any, form: str = "plain", mask_hard_negatives: bool = False, **options: Any) -> Contrast:
    batch, known = scored_batch(*sides, **options), options.get("known_bN") is not None
    loss = contrastive.Contrastive(1.0, form, known, mask_hard_negatives)
    found = loss(batch.queries, batch.passages, batch)
    return Contrast(found.loss, found.parts["in_batch_RR@1"], batch.scores_bn)
